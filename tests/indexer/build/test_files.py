"""Collections of arrays, archives and tables: a row for each picture, read again one by one."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from embeddings.images.decode import decode_all
from embeddings.images.errors import Altered, NoImages
from embeddings.images.find import LeftOut
from embeddings.images.workers import Decoded, Request
from indexer.build import build
from indexer.build.build import Settings
from indexer.collection import ArrayReading, Collection
from query.inputs.pictures import Pictures
from query.text import array_reading, left_out
from tests.helpers.formats import NEEDS_SIMPLEITK, metaimage, npy, npz, parquet, png, tarred, tiff, zipped
from tests.helpers.pictures import GREY

STACK = np.stack([np.roll(GREY, 5 * shift, 0) for shift in range(9)])
PNGS = {f"{number}.png": png(picture) for number, picture in enumerate(STACK)}
SETTINGS = Settings(views={"phash": {}})


def index(folder: Path, *inputs: Path, **options: Any) -> Collection:
    return build.build(folder, *inputs, settings=SETTINGS, device="cpu", **options)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    pages = tiff(STACK[:2], photometric="minisblack")
    contents = {
        "a.npy": npy(STACK / np.float32(255)),
        "deep/one.npy": npy(GREY),
        "b.npz": npz(images=STACK[:4], labels=np.zeros((4, 1))),
        "c.zip": zipped({**{f"in/{name}": content for name, content in PNGS.items()}, "read.txt": b"x", "two.tif": pages}),
        "d.tar": tarred({**PNGS, "0.cls": b"1"}),
        "e.parquet": parquet({"image": [{"bytes": content, "path": name} for name, content in PNGS.items()]}, 4),
        "f.png": PNGS["0.png"],
        "broken.npy": b"nothing",
        "notes.txt": b"x", "more.txt": b"x", ".x": b"x",
    }  # fmt: skip
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def test_every_picture_has_a_row_and_is_read_again(images: Path, tmp_path: Path) -> None:
    made = index(tmp_path / "c", images)
    nine = range(9)
    names = [f"a.npy#{number}" for number in nine] + [f"b.npz/images#{number}" for number in range(4)]
    names += [f"c.zip/in/{number}.png" for number in nine] + ["c.zip/two.tif#0", "c.zip/two.tif#1"]
    names += (
        [f"d.tar/{number}.png" for number in nine] + ["deep/one.npy"] + [f"e.parquet/{number}.png" for number in nine] + ["f.png"]
    )
    assert made.names == names
    pictures = [*STACK, *STACK[:4], *STACK, *STACK[:2], *STACK, GREY, *STACK, GREY]
    read = Pictures(made)
    order = np.random.default_rng(0).permutation(len(names))
    for row in order:
        np.testing.assert_array_equal(read.read(int(row)), pictures[row])
    vectors = made.vectors("phash")
    assert all((vectors[names.index(f"{group}{number}{end}")] == vectors[number]).all() for number in nine
               for group, end in (("c.zip/in/", ".png"), ("d.tar/", ".png"), ("e.parquet/", ".png")))  # fmt: skip
    failed = {row["path"]: row["error"] for row in made.table.to_pylist() if row["row"] is None}
    assert list(failed) == ["broken.npy"]
    assert failed["broken.npy"].startswith("the content is no .npy array")


def test_readings_and_what_is_left_out_are_recorded_and_told(images: Path, tmp_path: Path) -> None:
    made = index(tmp_path / "c", images)
    assert made.arrays == [
        ArrayReading("a.npy", "array NHW float32 0..1", 9), ArrayReading("b.npz/images", "array NHW uint8 as-stored", 4),
        ArrayReading("deep/one.npy", "array HW uint8 as-stored", 1),
    ]  # fmt: skip
    assert array_reading(made.arrays[0]) == "a.npy: 9 pictures, read as N x H x W of float32, 0..1 to 0..255"
    assert made.left_out == [
        LeftOut(".txt", 3, "more.txt"), LeftOut(".cls", 1, "d.tar/0.cls"), LeftOut(".npy", 1, "b.npz/labels.npy"),
        LeftOut("hidden", 1, ".x"),
    ]  # fmt: skip
    assert left_out(made.left_out[:2]) == "left out by name: 3 .txt (such as more.txt), 1 .cls (such as d.tar/0.cls)"


def test_an_unchanged_folder_is_left_alone_and_only_new_pictures_are_embedded(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = index(tmp_path / "c", images)
    decoded: list[str] = []

    def counting(requests: Sequence[Request]) -> Generator[Decoded, None, None]:
        for request in requests:
            name, frame = Path(str(request.source)).name, request.frame
            decoded.append(name if frame is None else f"{name}#{frame.number}")
        return decode_all(requests)

    monkeypatch.setattr(build, "decode_all", counting)
    assert index(tmp_path / "c", images).manifest == first.manifest
    assert decoded == []
    changed = STACK / np.float32(255)
    changed[3] = changed[3, ::-1]
    (images / "a.npy").write_bytes(npy(changed))
    (images / "d.tar").write_bytes(tarred({**PNGS, "new.png": png(255 - GREY)}))
    second = index(tmp_path / "c", images)
    assert decoded == ["a.npy#3", "new.png"]
    assert len(second) == len(first) + 1
    np.testing.assert_array_equal(Pictures(second).read(3), STACK[3, ::-1])


def test_an_array_whose_range_changes_is_embedded_anew(tmp_path: Path) -> None:
    """One picture decides how all are read: what was -1..1 is not what is windowed."""
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.npy").write_bytes(npy(STACK / np.float32(127.5) - 1))
    readings = [index(tmp_path / "c", images).arrays[0].reading]
    values = STACK / np.float32(127.5) - 1
    values[8] *= 40
    (images / "a.npy").write_bytes(npy(values))
    readings.append(index(tmp_path / "c", images).arrays[0].reading)
    assert readings == ["array NHW float32 -1..1", "array NHW float32 windowed"]


def test_a_changed_picture_is_refused_and_the_others_are_read(images: Path, tmp_path: Path) -> None:
    made = index(tmp_path / "c", images)
    changed = STACK / np.float32(255)
    changed[3] = 0
    (images / "a.npy").write_bytes(npy(changed))
    read = Pictures(made)
    np.testing.assert_array_equal(read.read(2), STACK[2])
    with pytest.raises(Altered, match=r"a\.npy"):
        read.read(3)


def test_one_image_of_an_archive_alone(images: Path, tmp_path: Path) -> None:
    made = index(tmp_path / "c", images / "c.zip" / "in" / "4.png")
    assert made.names == ["4.png"]
    np.testing.assert_array_equal(Pictures(made).read(0), STACK[4])


def test_collections_among_images_are_left_out(images: Path, tmp_path: Path) -> None:
    index(images / "own.collection", images / "f.png")
    made = index(tmp_path / "c", images)
    assert LeftOut(".collection", 1, "own.collection") in made.left_out
    assert not any("own.collection" in name for name in made.names)


def test_compressed_tars_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tar.gz").write_bytes(b"x")
    (tmp_path / "in" / "b.png").write_bytes(PNGS["0.png"])
    made = index(tmp_path / "c", tmp_path / "in")
    (failed,) = [row for row in made.table.to_pylist() if row["row"] is None]
    assert "uncompress it to .tar" in failed["error"]


@NEEDS_SIMPLEITK
def test_the_data_file_of_a_header_belongs_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.mhd").write_bytes(metaimage(STACK, data_file="a.raw"))
    (folder / "a.raw").write_bytes(STACK.tobytes())
    first = index(tmp_path / "c", folder)
    assert first.left_out == []
    np.testing.assert_array_equal(Pictures(first).read(5), STACK[5])
    (folder / "a.raw").write_bytes(STACK[::-1].tobytes())
    second = index(tmp_path / "c", folder)
    np.testing.assert_array_equal(Pictures(second).read(5), STACK[3])


def test_nothing_but_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x")
    with pytest.raises(NoImages, match=r"\.npz \.zip \.tar \.parquet"):
        index(tmp_path / "c", tmp_path / "a.txt".replace("a.txt", "."))


def test_the_table_of_images_has_frames_of_arrays(images: Path, tmp_path: Path) -> None:
    made = index(tmp_path / "c", images)
    rows = pq.read_table(made.folder / "images.parquet").to_pylist()
    array = [row for row in rows if row["path"] == "a.npy"]
    assert [(row["frame"], row["mode"]) for row in array] == [(number, "array NHW float32 0..1") for number in range(9)]
    assert len({row["sha256"] for row in array}) == 9
