"""Image files in zip and tar archives and in Parquet tables: read in place, with names that lead nowhere else."""

import io
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from embeddings.images.containers.members import Member
from embeddings.images.containers.names import leads_out, split
from embeddings.images.decode import decode, members
from embeddings.images.decoding import Decoding
from embeddings.images.errors import Altered, BadPixels, ImageError, NotAnImage, TooManyPixels, Truncated, Unreadable
from tests.helpers.formats import npy, parquet, png, tarred, tiff, zipped
from tests.helpers.pictures import GREY

PICTURES = [np.roll(GREY, 7 * shift, 0) for shift in range(5)]
FILES = {f"deep/{number}.png": png(picture) for number, picture in enumerate(PICTURES)}
MAKERS = {
    "a.zip": zipped(FILES),
    "stored.zip": zipped(FILES, zipfile.ZIP_STORED),
    "a.tar": tarred(FILES),
    "a.parquet": parquet({"image": [{"bytes": content, "path": name} for name, content in FILES.items()]}, 2),
}  # fmt: skip


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def inside(path: Path) -> dict[str, Member]:
    return {member.name: member for member in members(path, Decoding())}


@pytest.mark.parametrize("name", MAKERS)
def test_members_are_read_in_any_order(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name, MAKERS[name])
    found = inside(path)
    assert list(found) == list(FILES)
    for number in (3, 0, 4, 1, 2):
        member = found[f"deep/{number}.png"]
        assert member.size == len(FILES[member.name])
        (frame,) = decode(path / member.name, Decoding(), member.sha256)
        np.testing.assert_array_equal(frame.pixels, PICTURES[number])
    with pytest.raises(Unreadable, match="no such"):
        list(decode(path / "deep/9.png", Decoding()))
    with pytest.raises(Altered):
        list(decode(path / "deep/1.png", Decoding(), found["deep/2.png"].sha256))
    with pytest.raises(NotAnImage, match="name one of them"):
        list(decode(path, Decoding()))


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_every_kind_of_member_has_its_fate(tmp_path: Path, name: str) -> None:
    pages = tiff(np.stack(PICTURES), photometric="minisblack")
    contents = {
        **FILES, "read.txt": b"hello", ".hidden.png": b"x", "__MACOSX/a.png": b"x", "inner.zip": zipped(FILES), "x.tar.gz": b"x",
        "pages.tif": pages, "stack.npy": npy(np.stack(PICTURES)), "../up.png": FILES["deep/0.png"], "broken.png": b"no picture",
        "dicom": bytes(128) + b"DICM", "1.2.840": bytes(128) + b"DICM", "1.2.841": bytes(200),
    }  # fmt: skip
    path = written(tmp_path, name, tarred(contents) if name == "a.tar" else zipped(contents))
    found = inside(path)
    assert {member.name for member in found.values() if member.ignored} == {
        "read.txt", ".hidden.png", "__MACOSX/a.png", "1.2.841",
    }  # fmt: skip
    assert {member.name: member.error for member in found.values() if member.error} == {
        "inner.zip": "an archive inside an archive is not read: unpack the outer one",
        "x.tar.gz": "an archive inside an archive is not read: unpack the outer one",
        "(member) ..|up.png": "its name leads out of the archive",
    }
    assert {"dicom", "1.2.840", "broken.png"} <= {member.name for member in found.values() if member.sha256}
    for several in ("pages.tif", "stack.npy"):
        np.testing.assert_array_equal([frame.pixels for frame in decode(path / several, Decoding())], PICTURES)
    with pytest.raises(NotAnImage):
        list(decode(path / "broken.png", Decoding()))


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", "a/../b", "a/..", "./a", "a\0b", "a" * 5000])
def test_names_that_lead_out(name: str) -> None:
    assert leads_out(name)


def test_names_that_do_not() -> None:
    assert not any(leads_out(name) for name in ("a", "a/b.png", "...", "a..b/c", " ", "ü/é.png"))


def test_a_folder_with_the_name_of_an_archive_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.zip").mkdir()
    path = written(tmp_path / "a.zip", "b.png", FILES["deep/0.png"])
    assert split(str(path)) is None
    (frame,) = decode(path, Decoding())
    np.testing.assert_array_equal(frame.pixels, PICTURES[0])


def test_links_and_special_files_are_not_followed(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for kind, name in ((tarfile.SYMTYPE, "link.png"), (tarfile.LNKTYPE, "hard.png"), (tarfile.FIFOTYPE, "fifo.png")):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    found = inside(written(tmp_path, "a.tar", buffer.getvalue()))
    assert [member.error for member in found.values()] == [
        *["a link inside an archive is not followed"] * 2, "a special file inside an archive is not read",
    ]  # fmt: skip
    linked = zipfile.ZipInfo("link.png")
    linked.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr(linked, "/etc/passwd")
    assert inside(written(tmp_path, "a.zip", buffer.getvalue()))["link.png"].error == "a link inside an archive is not followed"


def test_other_compressions_and_encryption_are_named(tmp_path: Path) -> None:
    found = inside(written(tmp_path, "a.zip", zipped(FILES, zipfile.ZIP_LZMA)))
    assert {member.error for member in found.values()} == {"its compression (method 14) is not read: unpack it"}
    data = bytearray(zipped({"a.png": FILES["deep/0.png"]}))
    data[data.index(b"PK\1\2") + 8] |= 1
    found = inside(written(tmp_path, "b.zip", bytes(data)))
    assert "encrypted" in found["a.png"].error


def test_bombs_are_refused(tmp_path: Path) -> None:
    decoding = Decoding(max_pixels=4_000_000)
    large = zipped({f"{number}.png": bytes(60_000_000) for number in range(4)})
    with pytest.raises(TooManyPixels, match="unpacks to"):
        list(members(written(tmp_path, "a.zip", large), decoding))
    data = bytearray(zipped({"a.png": FILES["deep/0.png"], "b.png": FILES["deep/1.png"]}))
    second = data.rindex(b"PK\1\2")
    data[second + 42 : second + 46] = struct.pack("<I", 0)  # where the second member begins: at the first
    with pytest.raises((TooManyPixels, Truncated), match=r"overlap|damaged"):
        list(members(written(tmp_path, "b.zip", bytes(data)), decoding))
    one = written(tmp_path, "c.zip", zipped({"a.png": os.urandom(1_000_000) + bytes(70_000_000)}))
    (member,) = members(one, decoding)
    assert "at most 64 MB" in member.error


@pytest.mark.parametrize("name", MAKERS)
def test_cut_or_damaged_archives(tmp_path: Path, name: str) -> None:
    data = MAKERS[name]
    whole = {member.name: member.sha256 for member in members(written(tmp_path, name, data), Decoding())}
    end = len(data.rstrip(b"\0")) if name == "a.tar" else len(data)  # a tar ends with zeros, more than are needed
    for cut in range(1, end, end // 40):
        found: list[Member] = []
        with pytest.raises(ImageError):
            found.extend(members(written(tmp_path, f"{cut}{name}", data[:cut]), Decoding()))
        assert all(whole[member.name] == member.sha256 for member in found if not member.error)


def test_what_lies_before_the_cut_of_a_tar_is_read(tmp_path: Path) -> None:
    """Also where it is cut between two members, which tarfile takes for the end."""
    data = MAKERS["a.tar"]
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        starts = [entry.offset for entry in archive]
    for cut in (starts[2], starts[2] + 100, starts[2] + 600):
        found: list[str] = []
        with pytest.raises(Truncated, match="damaged"):
            found.extend(member.name for member in members(written(tmp_path, f"{cut}.tar", data[:cut]), Decoding()))
        assert found[:2] == ["deep/0.png", "deep/1.png"]


def test_a_damaged_member_does_not_harm_the_others(tmp_path: Path) -> None:
    data = bytearray(MAKERS["a.zip"])
    data[60] ^= 0xFF
    found = inside(written(tmp_path, "a.zip", bytes(data)))
    assert "damaged" in found["deep/0.png"].error
    assert found["deep/1.png"].sha256


# Tables


def test_rows_without_unique_paths_are_named_by_number(tmp_path: Path) -> None:
    contents = list(FILES.values())
    cells = [{"bytes": content, "path": "same.png"} for content in contents]
    path = written(tmp_path, "a.parquet", parquet({"image": cells, "other": contents, "text": ["x"] * 5}, 2))
    names = [f"image/{row}.png" for row in range(5)] + [f"other/{row}" for row in range(5)]
    assert list(inside(path)) == names
    for name in names:
        (frame,) = decode(path / name, Decoding())
        np.testing.assert_array_equal(frame.pixels, PICTURES[int(name.split("/")[1][0])])


def test_rows_without_bytes_have_their_reason(tmp_path: Path) -> None:
    cells = [{"bytes": FILES["deep/0.png"], "path": None}, {"bytes": None, "path": "elsewhere.png"}, None]
    found = inside(written(tmp_path, "a.parquet", parquet({"image": cells})))
    assert [bool(member.sha256) for member in found.values()] == [True, False, False]
    assert "holds no bytes" in list(found.values())[1].error


def test_paths_in_tables_lead_nowhere(tmp_path: Path) -> None:
    cells = [{"bytes": FILES["deep/0.png"], "path": "/etc/passwd"}]
    assert list(inside(written(tmp_path, "a.parquet", parquet({"image": cells})))) == ["0"]


def test_a_table_without_images_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotAnImage, match="no column of images"):
        list(members(written(tmp_path, "a.parquet", parquet({"label": [1, 2]})), Decoding()))


def test_what_is_not_read_is_not_looked_at(tmp_path: Path) -> None:
    path = written(tmp_path, "a.zip", zipped({"read.txt": b"x"}))
    with pytest.raises(Unreadable):
        list(decode(path / "nothing.png", Decoding()))
    with pytest.raises((BadPixels, NotAnImage)):
        list(decode(path / "read.txt", Decoding()))
