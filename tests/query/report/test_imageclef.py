"""The file to hand in: what it holds, what is refused, and every fault that the organisers' check would find."""

import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from query.database.store import Run, Store
from query.inputs.tables import TableError
from query.report.imageclef import SubmissionError, expected, faults, identity, submission, write_submission

IDS = [f"real_unknown_{number:04d}" for number in range(1, 6)]
ANSWERS: list[bool | None] = [True, False, True, None, False]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Five images without a label, of which one is left open, and a labelled one."""
    path = tmp_path / "run.duckdb"
    with Store.open(path) as store:
        write_run(store)
    return path


def write_run(store: Store, names: list[str] | None = None, failed: str = "") -> None:
    names = names or [f"{name}.png" for name in [*IDS[::-1], "used_0001"]]
    count = len(names)
    text = dict.fromkeys(("path", "name", "sha256"), names)
    numbers = {name: np.full(count, 8) for name in ("width", "height", "bytes")}
    number = store.begin_run(Run("compare", 3, False, "r", "g", count, 1), [])
    store.add("images", {"image_id": np.arange(count), "role": ["real"] * count, "mode": ["L"] * count, **text, **numbers})
    store.add("labels", {"image_id": [count - 1], "used": [True]})
    if failed:
        store.add("failures", {"role": ["real"], "path": [failed], "reason": ["empty"]})
    used: list[Any] = [*ANSWERS[::-1], True][:count]
    store.add("decisions", {"image_id": np.arange(len(used)), "method": ["svm"] * len(used), "used": used})
    store.finish_run(number)


def test_each_id_stands_once_without_header_and_suffix(database: Path, tmp_path: Path) -> None:
    with Store.open(database, read_only=True) as store:
        answers = submission(store, "svm", undecided=True)
    write_submission(tmp_path / "run.csv", answers)
    wanted = "".join(f"{name},{int(used is not False)}\n" for name, used in zip(IDS, ANSWERS, strict=True))
    assert (tmp_path / "run.csv").read_bytes() == wanted.encode()
    assert stat.S_IMODE((tmp_path / "run.csv").stat().st_mode) == 0o600
    assert faults(tmp_path / "run.csv", expected(database).ids) == []


def test_labelled_images_are_handed_in_on_demand_only(database: Path) -> None:
    with Store.open(database, read_only=True) as store:
        assert list(submission(store, "svm", undecided=False)) == IDS
        assert list(submission(store, "svm", undecided=False, every=True)) == [*IDS, "used_0001"]
    assert expected(database, every=True).ids == [*IDS, "used_0001"]


def test_what_has_no_answer_is_never_guessed(database: Path) -> None:
    with Store.open(database) as store:
        with pytest.raises(SubmissionError, match=r"no answer for 1 of 5 images \(real_unknown_0004\).*--undecided"):
            submission(store, "svm")
        write_run(store, failed="real_unknown_0006.png")
        with pytest.raises(SubmissionError, match="2 of 6"):
            submission(store, "svm")
        assert submission(store, "svm", undecided=True)["real_unknown_0006"] is True
        assert "real_unknown_0006" not in submission(store, "svm", run=1, undecided=True)


def test_what_cannot_be_handed_in_is_refused_in_one_line(database: Path) -> None:
    with Store.open(database) as store:
        with pytest.raises(SubmissionError, match="no decisions of 'cnn'; there are those of svm"):
            submission(store, "cnn")
        write_run(store, ["a/x.png", "b/x.png", "c.png"])
        with pytest.raises(SubmissionError, match=r"several images have the id 'x' \(1 such"):
            submission(store, "svm", undecided=True)
        write_run(store, ["only.png"])
        with pytest.raises(SubmissionError, match="has a label; --all"):
            submission(store, "svm")


def test_every_fault_is_told_with_its_line(tmp_path: Path) -> None:
    good = [f"{name},1" for name in IDS]
    planted = {
        "real_unknown_0009,1": "line 6: wrong id 'real_unknown_0009'",
        "real_unknown_0002.png,1": "line 6: wrong id 'real_unknown_0002.png'; write 'real_unknown_0002'",
        "real_unknown_0002,0": "line 6: id 'real_unknown_0002' again, it stands in line 2 already",
        "": "line 6: is empty",
        "real_unknown_0002": "line 6: must be id,score; got 'real_unknown_0002'",
        "id,score": "line 6: wrong id 'id'",
    }
    for line, fault in planted.items():
        (tmp_path / "f.csv").write_text("\n".join([*good, line, ""]))
        assert faults(tmp_path / "f.csv", IDS)[0] == fault
    for score in ("2", "0.5", "", "yes", " 1"):
        (tmp_path / "f.csv").write_text("\n".join([*good[:-1], f"{IDS[-1]},{score}"]))
        assert faults(tmp_path / "f.csv", IDS) == [f"line 5: score must be 0 or 1, got {score!r}"]
    (tmp_path / "f.csv").write_text("\n".join(good[:3]))
    assert faults(tmp_path / "f.csv", IDS) == ["missing id 'real_unknown_0004'", "missing id 'real_unknown_0005'"]
    with pytest.raises(SubmissionError, match="cannot be read"):
        faults(tmp_path / "none.csv", IDS)


def test_ids_come_from_a_list_too(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("b.png,0\n\na,1\n")
    assert expected(tmp_path / "ids.txt").ids == ["a", "b"]
    for text, message in (("", "the file is empty"), ("image\n", "holds no id"), ("a\na.png\n", "'a'")):
        (tmp_path / "ids.txt").write_text(text)
        with pytest.raises((SubmissionError, TableError), match=message):
            expected(tmp_path / "ids.txt")
    with pytest.raises(SubmissionError, match="No such file"):
        expected(tmp_path / "none.txt")


def test_an_id_loses_nothing_but_an_images_suffix() -> None:
    assert [identity(name) for name in ("a.PNG", "x/a.b.png", "v1.2", "a.tif#3")] == ["a", "a.b", "v1.2", "a.tif#3"]
