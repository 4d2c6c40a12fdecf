"""Finding images in folders, lists and links."""

import io
import os
from pathlib import Path

import numpy as np
import pytest

from embeddings.images.decode import decode
from embeddings.images.decoding import SUFFIXES, Decoding
from embeddings.images.errors import NoImages, NotAnImage, printable
from embeddings.images.find import find
from tests.helpers.pictures import GREY, encoded


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_find_in_a_folder(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b.PNG",
        "a.jpeg",
        "d/e/c.nii.gz",
        "é.Tif",
        "Z.webp",
        "notes.txt",
        "x.gz",
        ".hidden.png",
        "__MACOSX/a.png",
        "d/.git/a.png",
    )
    source = find(tmp_path)
    assert source.root == tmp_path
    assert source.broken == ()
    assert source.files == ("Z.webp", "a.jpeg", "b.PNG", "d/e/c.nii.gz", "é.Tif")
    assert source.ignored == 5  # two files, the hidden one, and two hidden folders


def test_every_suffix_is_taken(tmp_path: Path) -> None:
    touch(tmp_path, *(f"a{suffix}" for suffix in SUFFIXES))
    assert len(find(tmp_path).files) == len(SUFFIXES)


def test_find_dicom_without_suffix(tmp_path: Path) -> None:
    for name in ("IM0001", "1.2.840.113619", "DICOMDIR", "a.bak"):
        (tmp_path / name).write_bytes(bytes(128) + b"DICM")
    touch(tmp_path, "README", "1.2.3")
    source = find(tmp_path)
    assert source.files == ("1.2.840.113619", "IM0001")
    assert source.ignored == 4


def test_named_files_are_taken_whatever_their_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.dat", "a/y.png", "b/z.png", "a/.h.png")
    source = find(tmp_path / "a/x.dat")
    assert source.root == tmp_path / "a"
    assert source.files == ("x.dat",)
    source = find(str(tmp_path / "b"), tmp_path / "a", tmp_path / "a/x.dat", tmp_path / "a/y.png")
    assert source.root == tmp_path
    assert source.files == ("a/x.dat", "a/y.png", "b/z.png")
    assert source.ignored == 1


def test_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "l/a.dat", "l/s/b.png", "l/s/c.png", "w/d.png")
    (tmp_path / "l/list.txt").write_bytes(b"\xef\xbb\xbfa.dat\r\n\ns/b.png\ns\ngone.png\ns/b.png\nbad\0name\n")
    source = find(f"@{tmp_path}/l/list.txt")
    assert source.root == tmp_path / "l"
    assert source.files == ("a.dat", "s/b.png", "s/c.png")
    assert [name for name, _ in source.broken] == ["bad\0name", "gone.png"]
    assert source.broken[1][1] == "No such file or directory"
    monkeypatch.chdir(tmp_path / "w")
    source = find("-", stdin=io.StringIO("d.png\n../l/a.dat"))
    assert source.root == tmp_path
    assert source.files == ("l/a.dat", "w/d.png")
    with pytest.raises(NoImages, match=r"none\.txt: the list of images cannot be read: No such file"):
        find(f"@{tmp_path}/none.txt")


def test_links(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.png", "other/b.png", "other/c.txt")
    (tmp_path / "in/link").symlink_to(tmp_path / "other")
    (tmp_path / "in/up").symlink_to(tmp_path / "in")
    (tmp_path / "in/dead.png").symlink_to("nowhere")
    (tmp_path / "in/self.png").symlink_to("self.png")
    (tmp_path / "in/dead.txt").symlink_to("nowhere")
    source = find(tmp_path / "in")
    assert source.files == ("a.png", "link/b.png")
    assert source.ignored == 2
    assert dict(source.broken) == {
        "dead.png": "No such file or directory",
        "self.png": "Too many levels of symbolic links",
        "up": "link loop: leads back to a folder that it lies in",
    }


def test_nothing_found(tmp_path: Path) -> None:
    touch(tmp_path, "a.txt")
    with pytest.raises(NoImages, match=r"no image found among 1 other files; looked for \.png .* \.nii\.gz") as caught:
        find(tmp_path)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(NoImages, match=r"gone: no such file or folder"):
        find(tmp_path / "gone")
    with pytest.raises(NoImages, match="no folder or file was given"):
        find()


@pytest.fixture
def odd_name(tmp_path: Path) -> str:
    try:
        (tmp_path / os.fsdecode(b"\xffa.png")).write_bytes(encoded(GREY, "PNG"))
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    return os.fsdecode(b"\xffa.png")


def test_names_that_are_not_utf8(tmp_path: Path, odd_name: str) -> None:
    source = find(tmp_path)
    assert source.files == (odd_name,)
    np.testing.assert_array_equal(next(decode(source.root / odd_name, Decoding())).pixels, GREY)
    assert printable(odd_name) == r"\xffa.png"
    (tmp_path / "list.txt").write_bytes(b"\xffa.png\n\xffgone.png\n")
    source = find(f"@{tmp_path}/list.txt")
    assert source.files == (odd_name,)
    assert source.broken == ((r"\xffgone.png", "No such file or directory"),)
    (tmp_path / odd_name).write_bytes(b"not an image, not at all")
    with pytest.raises(NotAnImage) as caught:
        next(decode(tmp_path / odd_name, Decoding()))
    str(caught.value).encode()


def test_further_images_change_no_names(tmp_path: Path) -> None:
    for path in ("real/p1/a.png", "real/b.png", "other/unused/p1/a.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    alone = find(tmp_path / "real")
    both = find(tmp_path / "real", further=[tmp_path / "other" / "unused"])
    assert both.root == tmp_path
    assert {both.name(path): both.root / path for path in both.files} == {
        **{alone.name(path): alone.root / path for path in alone.files},
        "other/unused/p1/a.png": tmp_path / "other" / "unused" / "p1" / "a.png",
    }
    assert find(tmp_path / "real", further=[tmp_path / "real" / "p1"]).files == alone.files


def test_names_that_would_be_those_of_others_stay_whole(tmp_path: Path) -> None:
    for path in ("real/unused/a.png", "unused/a.png"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    both = find(tmp_path / "real", further=[tmp_path / "unused"])
    assert list(map(both.name, both.files)) == ["real/unused/a.png", "unused/a.png"]
