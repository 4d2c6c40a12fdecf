"""Images that were moved are read from where they are now, and vectors stay what they were."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from embeddings.images.errors import Missing, MissingFolder
from indexer.build.build import build
from indexer.collection import Collection
from query.database.moved import MovedError, relocate_collection, relocate_runs
from query.database.pictures import RunPictures
from query.database.store import Store
from query.inputs.images import images_of
from tests.helpers.making import slice_of, write_images
from tests.helpers.runs import add_run
from tests.helpers.toy import TOY


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """A folder with collections of both sides and a run; the real images were moved from ``real`` to ``new/real``."""
    write_images(tmp_path / "real", range(5))
    write_images(tmp_path / "generated", range(3, 9))
    generated = build(tmp_path / "g.c", tmp_path / "generated", settings=TOY)
    real = build(tmp_path / "r.c", tmp_path / "real", fitted_on=generated)
    with Store.open(tmp_path / "r.duckdb") as store:
        add_run(store, (real, generated))
    (tmp_path / "new").mkdir()
    shutil.move(tmp_path / "real", tmp_path / "new" / "real")
    return tmp_path


def test_a_collection_of_moved_images_reads_them_where_they_are(moved: Path) -> None:
    with pytest.raises(MissingFolder, match=f"not there: {moved}/real; if it was moved.* synthtrace relocate"):
        images_of(Collection(moved / "r.c")).read(0)
    before = Collection(moved / "r.c").vectors("toy").tobytes()
    found = relocate_collection(moved / "r.c", moved / "new" / "real")
    assert (found.before, found.after, found.images, found.missing) == (f"{moved}/real", f"{moved}/new/real", 5, ())
    collection = Collection(moved / "r.c")
    assert collection.check() == []
    assert collection.vectors("toy").tobytes() == before
    for row in range(5):
        np.testing.assert_array_equal(images_of(collection).read(row), slice_of(row))
    built = build(moved / "r.c", moved / "new" / "real", fitted_on=Collection(moved / "g.c"))  # goes on from there
    assert built.names == collection.names
    (moved / "new" / "real" / "001.png").unlink()
    with pytest.raises(Missing, match=r"001\.png: No such file"):
        images_of(collection).read(1)
    assert relocate_collection(moved / "r.c", moved / "new" / "real").missing == ("001.png",)


def test_runs_of_moved_images_read_them_where_they_are(moved: Path) -> None:
    with Store.open(moved / "r.duckdb") as store:
        generated = len(Collection(moved / "g.c"))
        with pytest.raises(MissingFolder):
            RunPictures(store, 1).read(generated)
        relocate_runs(store, "real", moved / "new" / "real")
        np.testing.assert_array_equal(RunPictures(store, 1).read(generated), slice_of(0))
        np.testing.assert_array_equal(RunPictures(store, 1).read(0), slice_of(3))


def test_another_folder_is_refused_and_nothing_changes(moved: Path) -> None:
    before = (moved / "r.c" / "manifest.json").read_bytes()
    with pytest.raises(MovedError, match=r"new holds none of the 5 images, such as '000\.png'; name the folder"):
        relocate_collection(moved / "r.c", moved / "new")
    write_images(moved / "other", range(20, 25))
    for number in range(5):
        (moved / "other" / f"{20 + number:03d}.png").rename(moved / "other" / f"{number:03d}.png")
    with pytest.raises(MovedError, match="is another image than the one that was indexed"):
        relocate_collection(moved / "r.c", moved / "other")
    assert (moved / "r.c" / "manifest.json").read_bytes() == before
