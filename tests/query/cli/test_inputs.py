"""Arguments of commands become files."""

from pathlib import Path

import numpy as np

from embeddings.images.decoding import Decoding
from embeddings.images.orientation import Orientation
from indexer.build.build import Settings, build
from indexer.hits import frames_of
from query.cli.inputs import named_files, oriented, source_of
from tests.helpers.formats import npy, npz, png, tarred, zipped
from tests.helpers.pictures import GREY


def test_images_in_archives_and_arrays_are_looked_up_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"x/b.png": png(GREY), "c.zip": b"x", "d.txt": b"x"}))
    (tmp_path / "b.npz").write_bytes(npz(images=np.stack([GREY, GREY[::-1]])))
    (tmp_path / "c.npy").write_bytes(npy(GREY))
    files, broken = named_files([str(tmp_path)])
    names = [path.relative_to(tmp_path).as_posix() for path in files]
    assert names == ["a.zip/x/b.png", "b.npz/images", "c.npy"]
    assert [path for path, _ in broken] == [str(tmp_path / "a.zip" / "c.zip")]
    assert [len(frames_of(path, Decoding())) for path in files] == [1, 2, 1]
    (alone,), _ = named_files([str(tmp_path / "a.zip" / "x" / "b.png")])
    np.testing.assert_array_equal(frames_of(alone, Decoding())[0][1], GREY)


def test_the_files_of_a_collection_are_those_on_disk(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tar").write_bytes(tarred({"b.png": png(GREY), "c.png": png(GREY)}))
    (tmp_path / "in" / "d.png").write_bytes(png(GREY))
    made = build(tmp_path / "c", tmp_path / "in", settings=Settings(views={"phash": {}}), device="cpu")
    assert list(source_of(made).paths.values()) == [tmp_path / "in" / "a.tar", tmp_path / "in" / "d.png"]


def test_turned_images_keep_their_names(tmp_path: Path) -> None:
    """Labels and groups go by them, also where all images lie in one folder below the one that was named."""
    (tmp_path / "in" / "scans").mkdir(parents=True)
    (tmp_path / "in" / "notes.txt").write_bytes(b"x")
    for name in ("a.png", "b.png"):
        (tmp_path / "in" / "scans" / name).write_bytes(png(GREY))
    plain = build(tmp_path / "c", tmp_path / "in", settings=Settings(views={"phash": {}}), device="cpu")
    turned = oriented(plain, tmp_path / "d", Orientation.ROTATE_90, fitted_on=plain, device="cpu")
    assert turned.names == plain.names == ["scans/a.png", "scans/b.png"]
    assert turned.manifest.source == plain.manifest.source
    assert turned.manifest.left_out == plain.manifest.left_out
