"""The demo: slices, audit and truth, small."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import query.flow
from embeddings.files.spreadsheet import read_rows
from indexer.build.build import Settings
from query.comparison.matching import Budget, MatchSettings
from query.demo import DemoSize, _compared, _hits, demo
from query.flow import Audit, AuditSettings

SETTINGS = AuditSettings(Settings(views={"phash": {}}), matching=MatchSettings(Budget(images=0)), device="cpu")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    return demo(tmp_path_factory.mktemp("demo"), DemoSize(150, 12), SETTINGS)


def lines(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(read_rows(file))


def test_hits_are_those_of_the_tables(done: Audit) -> None:
    """Counted again from the files that the summary tells people to look at."""
    source = {line["generated_image"]: line["phash_source"] for line in lines(done.out / "csv" / "source_map.csv")}
    hits: dict[str, list[bool]] = {}
    for line in lines(done.out / "slices" / "truth_generated.csv"):
        parents = set(line["sources"].split("|")) - {"-", ""}
        if parents:
            names = [line["kind"]] + [f"warp {line['strength']}"] * (line["kind"] == "warp")
            for name in names:
                hits.setdefault(name, []).append(source[line["generated"]] in parents)
    truth = done.as_dict()["truth"]
    found = truth["first_hit"]["phash"]
    for name, expected in hits.items():
        assert found[name]["images"] == len(expected)
        assert found[name]["value"] == pytest.approx(np.mean(expected))
    assert truth["copies"] == len(hits["warp"]) + len(hits["blend"]) < truth["generated_images"] == 150
    assert found["warp 1"]["value"] > 0.8  # chance is 1 in 12


def test_copied_and_used_are_told_apart(done: Audit) -> None:
    d1 = {
        line["name"]: float(line["value"])
        for line in lines(done.out / "csv" / "scores.csv")
        if (line["view"], line["score"], line["role"]) == ("phash", "d1", "real")
    }
    reals = lines(done.out / "slices" / "truth_real.csv")
    assert [sum(line["used"] == "1" for line in reals), len(reals)] == [6, 12]
    was = {"used": [line["used"] == "1" for line in reals], "copied": [int(line["descendants"]) > 0 for line in reals]}
    assert sum(was["copied"]) == 3
    values = np.array([d1[line["real"]] for line in reals])
    for name, positive in was.items():
        yes, no = values[positive], values[~np.array(positive)]
        expected = np.mean((yes[:, None] < no) + 0.5 * (yes[:, None] == no))
        assert done.as_dict()["truth"]["auroc"]["phash"][name]["value"] == pytest.approx(expected)


def test_the_summary_ends_with_the_truth(done: Audit) -> None:
    assert (done.out / "summary.txt").read_text() == done.summary
    assert len(done.summary.splitlines()) <= 40
    assert "copy 3 of 12 real ones" in done.summary.partition("THE TRUTH")[2]
    before, _, truth = done.details.partition("THE TRUTH")
    assert "What this does not say" in before
    for note in ("copy 3 of the real ones", "chance 8.3%", "chance 0.50", "slices/truth_generated.csv"):
        assert note in truth, note
    assert "Labels: 6 used, 6 not used" in before
    assert "12 labelled (6 used, 6 not used)" in before
    assert "How well methods predict" in before
    json.dumps(done.as_dict(), allow_nan=False)


def test_methods_are_judged_by_the_labels(done: Audit) -> None:
    """Counted again from the tables, on images that no method saw the label of."""
    was = {line["real"]: line["used"] == "1" for line in lines(done.out / "slices" / "truth_real.csv")}
    for method, found in done.as_dict()["evaluation"]["methods"].items():
        note = [line for line in lines(done.out / "csv" / "decisions.csv") if line["method"] == method]
        assert {line["role"] for line in note} == {"cross-fitted"}
        right = [was[line["real_image"]] == (line["decided_used"] == "true") for line in note]
        assert found["measures"]["accuracy"]["value"] == pytest.approx(np.mean(right))
        assert len(right) == 12
    assert "phash" in done.as_dict()["evaluation"]["methods"]


def test_finished_slices_are_used_again(done: Audit) -> None:
    times = {path: path.stat().st_mtime_ns for path in (done.out / "slices").rglob("*")}
    note: list[str] = []
    again = demo(done.out, DemoSize(150, 12), SETTINGS, say=note.append)
    assert {path: path.stat().st_mtime_ns for path in (done.out / "slices").rglob("*")} == times
    assert again.as_dict() == done.as_dict()
    assert again.summary == done.summary
    assert not any("drawing" in line for line in note)


def test_other_or_unfinished_slices_are_drawn_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("write_plots", "write_pictures", "write_evaluation"):  # the slowest part of a small audit
        monkeypatch.setattr(query.flow, name, lambda *_: None)
    demo(tmp_path / "out", DemoSize(20, 4), SETTINGS)
    other = demo(tmp_path / "out", DemoSize(21, 4), SETTINGS)
    assert other.as_dict()["counts"]["generated"]["images"] == 21
    (tmp_path / "out" / "slices" / "arguments.json").unlink()
    (tmp_path / "out" / "slices" / "generated" / "generated_00001.png").unlink()
    mended = demo(tmp_path / "out", DemoSize(21, 4), SETTINGS)
    assert mended.as_dict()["counts"]["generated"]["images"] == 21


@pytest.mark.parametrize("sizes", [{"real": 3}, {"generated": 0}, {"seed": -1}])
def test_too_small_a_demo_is_refused(tmp_path: Path, sizes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least 4 real images"):
        demo(tmp_path / "out", DemoSize(**sizes))
    assert not (tmp_path / "out").exists()


def test_a_share_is_said_of_what_was_compared() -> None:
    names = [f"g{i}" for i in range(10)]
    copies = pd.DataFrame({"kind": ["blend"] * 10, "strength": [0] * 10, "parents": [("a",)] * 5 + [("b",)] * 5}, index=names)
    reals = pd.DataFrame({"group": ["p", "q"]}, index=["a", "b"])
    found = pd.Series({"g0": "a", "g5": "b", "g6": "a"})
    shares = {view: _hits(_compared(copies, view, found), found, reals)["blend"] for view in ("matched", "sift")}
    assert [shares["matched"].images, shares["matched"].value] == [3, pytest.approx(2 / 3)]
    assert [shares["sift"].images, shares["sift"].value] == [10, pytest.approx(0.2)]  # blank in the view: a miss
