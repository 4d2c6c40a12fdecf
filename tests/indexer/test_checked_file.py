"""Files of a collection under use: what is changed, cut short or replaced meanwhile never answers in their place."""

import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from indexer import checked_file, collection
from indexer.build.build import build
from indexer.checked_file import CheckedFile
from indexer.collection import Collection, CollectionChanged, view_files
from indexer.manifest import CollectionError
from tests.helpers.making import QUICK, write_images


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    write_images(folder / "images", range(20))
    build(folder / "made", folder / "images", settings=QUICK, device="cpu")
    return folder / "made"


@pytest.fixture
def copy(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "copy"))


@pytest.fixture
def all_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked_file, "IN_MEMORY", 0)


def flip(path: Path, place: int = -3) -> None:
    """Change one byte in place, as a failing disk or an editor does."""
    with open(path, "r+b") as file:
        file.seek(place, os.SEEK_END)
        byte = file.read(1)
        file.seek(place, os.SEEK_END)
        file.write(bytes([byte[0] ^ 64]))


@pytest.mark.parametrize("view", QUICK.views)
@pytest.mark.parametrize("mapped", [False, True])
def test_both_ways_give_the_same(view: str, mapped: bool, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = np.load(kept / view / "vectors.npy")
    monkeypatch.setattr(checked_file, "IN_MEMORY", 0 if mapped else 1 << 30)
    made = Collection(kept)
    assert np.array_equal(made.vectors(view), expected)
    assert made.vectors(view).flags.aligned
    assert not made.vectors(view).flags.writeable
    found = made.nearest(view, expected, 3)
    assert found.rows[:, 0].tolist() == list(range(20))
    assert all(file.mapped == mapped for file in made._files.values())
    made.check_unchanged()


@pytest.mark.parametrize("view", QUICK.views)
@pytest.mark.parametrize("kind", ["vectors", "index"])
@pytest.mark.parametrize("harm", ["flip", "cut", "flip and put the time back"])
@pytest.mark.usefixtures("all_mapped")
def test_a_mapped_file_that_changes_answers_no_more(
    view: str, kind: str, harm: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "_QUICK", 0)  # else the index of so few codes is not used
    made = Collection(copy)
    queries = np.array(made.vectors(view))
    made.nearest(view, queries, 3)
    path = copy / view_files(view)[kind]
    before = path.stat()
    if harm == "cut":
        os.truncate(path, before.st_size // 2)
    else:
        flip(path)
        if harm != "flip":
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    for use in (lambda: made.nearest(view, queries, 3), lambda: made.vectors(view), made.check_unchanged):
        with pytest.raises(CollectionChanged, match=f"{path} was changed while it was in use; build the collection again"):
            use()


@pytest.mark.parametrize("kind", ["vectors", "index"])
@pytest.mark.usefixtures("all_mapped")
def test_a_change_during_a_search_gives_no_answer(kind: str, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from indexer.search import faiss_index

    made = Collection(copy)
    queries = np.array(made.vectors("sift"))
    search = faiss_index.search

    def disturbed(*arguments: object) -> object:
        flip(copy / view_files("sift")[kind])
        return search(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(faiss_index, "search", disturbed)
    with pytest.raises(CollectionChanged):
        made.nearest("sift", queries, 3)


def test_what_happens_to_a_small_file_changes_no_answer(copy: Path) -> None:
    made = Collection(copy)
    expected = {view: made.nearest(view, np.array(made.vectors(view)), 3) for view in made.views}
    names = made.names
    for path in copy.rglob("*.*"):
        if path.is_file() and path.stat().st_size:
            os.truncate(path, path.stat().st_size // 2)
    for view, before in expected.items():
        after = made.nearest(view, made.vectors(view), 3)
        assert np.array_equal(after.rows, before.rows)
        assert np.array_equal(after.distances, before.distances)
    assert made.names == names
    made.check_unchanged()


@pytest.mark.usefixtures("all_mapped")
def test_what_leaves_the_bytes_alone_is_no_change(copy: Path) -> None:
    """Owner, mode and links move the same time as a write does; a file replaced by renaming stays for those who have it open."""
    made = Collection(copy)
    queries = np.array(made.vectors("sift"))
    expected = made.nearest("sift", queries, 3)
    for name in view_files("sift").values():
        (copy / name).chmod(0o640)
        (copy / "new").write_bytes(b"other bytes")
        os.replace(copy / "new", copy / name)
    found = made.nearest("sift", queries, 3)
    assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(made.vectors("sift"), queries)


@pytest.mark.usefixtures("all_mapped")
def test_a_truncated_file_does_not_end_the_process(copy: Path) -> None:
    program = f"""
import os
import numpy as np
from indexer import checked_file
from indexer.collection import Collection, CollectionChanged
checked_file.IN_MEMORY = 0
made = Collection({str(copy)!r})
queries = np.array(made.vectors("sift"))
made.nearest("sift", queries, 3)
for name in ("vectors.npy", "index.faiss"):
    os.truncate(made.folder / "sift" / name, 10)
try:
    made.nearest("sift", queries, 3)
except CollectionChanged:
    print("noticed")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "noticed\n")


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("harm", ["change", "cut", "empty", "unknown", "gone"])
def test_other_bytes_than_those_written_are_refused(
    mapped: bool, harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked_file, "IN_MEMORY", 0 if mapped else 1 << 30)
    path = tmp_path / "file"
    path.write_bytes(bytes(range(200)) * 10)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert bytes(CheckedFile(path, digest).content) == path.read_bytes()
    match harm:
        case "change":
            flip(path)
        case "cut":
            os.truncate(path, 7)
        case "empty":
            os.truncate(path, 0)
        case "gone":
            path.unlink()
    with pytest.raises(CollectionError, match=rf"{path}: .*; build the collection again"):
        CheckedFile(path, None if harm == "unknown" else digest)


@pytest.mark.parametrize("mapped", [False, True])
def test_the_bytes_that_gave_the_checksum_are_those_that_are_used(
    mapped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is replaced between the two, as an attacker would, gives the earlier bytes."""
    monkeypatch.setattr(checked_file, "IN_MEMORY", 0 if mapped else 1 << 30)
    path = tmp_path / "file"
    path.write_bytes(b"right" * 100)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    measured = CheckedFile._digest

    def then_replaced(file: CheckedFile) -> str:
        (tmp_path / "other").write_bytes(b"wrong" * 100)
        os.replace(tmp_path / "other", path)
        return measured(file)

    monkeypatch.setattr(CheckedFile, "_digest", then_replaced)
    with suppress(CollectionError):  # refusing it is right too: the time of the inode has moved
        assert bytes(CheckedFile(path, digest).content) == b"right" * 100
