"""Groups of real images do not depend on names or order of files."""

from pathlib import Path

import numpy as np
import pytest

from embeddings.types import GreyImage
from indexer.build.build import Settings, build
from indexer.collection import Collection
from indexer.manifest import CollectionError
from query.inputs.groups import DUPLICATES, GroupsError, by_content, group, groups_from_table, read_groups
from query.inputs.images import images_of
from query.inputs.pictures import Pictures
from tests.helpers.making import slice_of, write_frames, write_image

PHASH = Settings(views={"phash": {}})


def brighter(image: GreyImage) -> GreyImage:
    return (image // 2 + 60).astype(np.uint8)


PICTURES = {
    "a": slice_of(0), "b": slice_of(1), "c": brighter(slice_of(0)), "d": slice_of(2), "e": slice_of(1), "f": slice_of(3),
}  # fmt: skip


def collection(folder: Path, names: dict[str, str]) -> Collection:
    """Picture -> name of its file."""
    (folder / "real").mkdir(parents=True)
    for picture, name in names.items():
        write_image(folder / "real" / f"{name}.png", PICTURES[picture])
    build(folder / "c", str(folder / "real"), settings=PHASH)
    return Collection(folder / "c")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return collection(tmp_path_factory.mktemp("plain"), {picture: picture for picture in PICTURES})


@pytest.fixture(scope="module")
def renamed(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """The same files in the opposite order."""
    return collection(tmp_path_factory.mktemp("renamed"), dict(zip(PICTURES, "654321", strict=True)))


def test_alike_images_are_a_group(plain: Collection) -> None:
    groups = group(None, images_of(plain))
    named = {plain.names[row]: name for row, name in groups.named.items()}
    of = dict(zip("abcdef", groups.of_row.tolist(), strict=True))
    assert of["a"] == of["c"]
    assert of["b"] == of["e"]
    assert len(set(of.values())) == 4
    assert not groups.known
    assert set(named) == {"a.png", "b.png", "c.png", "e.png"}  # who is alone needs no group in the database
    assert named["a.png"] == named["c.png"] != named["b.png"] == named["e.png"]
    assert all(name.startswith(DUPLICATES) for name in named.values())


@pytest.mark.parametrize("given", [False, True])
def test_names_and_order_do_not_matter(plain: Collection, renamed: Collection, given: bool) -> None:
    """The group of a picture is called the same, so everything that is drawn by groups is the same too."""
    tables = [{"a.png": "p", "b.png": "p", "d.png": "q"}, {"6.png": "z", "5.png": "z", "3.png": "y"}]
    found = []
    for each, table in zip((plain, renamed), tables, strict=True):
        groups = group(groups_from_table(table) if given else None, images_of(each))
        found.append(groups.of_row)
    assert np.array_equal(found[0], found[1][::-1])


def test_given_groups_stand_and_others_are_alone(plain: Collection, tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("image,group\na.png,p1\nd.png,p1\nb.png,alone: f.png\n")  # a group may be called anything
    groups = group(read_groups(str(table)), images_of(plain))
    assert groups.named == {0: "p1", 3: "p1", 1: "alone: f.png", 4: "alone: f.png"}
    of = dict(zip("abcdef", groups.of_row.tolist(), strict=True))
    assert of["a"] == of["d"]
    assert of["a"] != of["c"]  # near duplicates, but somebody knows better
    assert of["b"] == of["e"]  # the same file
    assert of["b"] != of["f"]
    assert groups.known


def test_without_suffix_as_in_the_task(plain: Collection) -> None:
    groups = group(groups_from_table({"a": "p", "f": "p"}), images_of(plain))
    assert groups.of_row[0] == groups.of_row[5]


def test_a_group_of_an_image_that_is_not_there_is_refused(plain: Collection) -> None:
    with pytest.raises(GroupsError, match=r"^the groups given: none of its 1 name is among the images: it has 'z\.png'"):
        group(groups_from_table({"z.png": "p"}), images_of(plain))


def test_equal_contents_join_what_they_stand_in(plain: Collection) -> None:
    """b and e are the same file: two groups that each hold one of them are one patient."""
    found = by_content(np.array(list("xyxyzz")), plain.digests)
    assert found[1] == found[4] == found[5] == found[3]


def test_each_frame_of_a_file_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    write_frames(tmp_path / "real" / "pages.tif", [slice_of(4), slice_of(5), slice_of(6)])
    build(tmp_path / "c", str(tmp_path / "real"), settings=PHASH)
    pictures = Pictures(Collection(tmp_path / "c"))
    for row in (2, 0, 1):
        assert np.array_equal(pictures.read(row), slice_of(4 + row))


def test_an_image_that_went_is_one_line(tmp_path: Path) -> None:
    made = collection(tmp_path, {"a": "a", "b": "b"})
    (tmp_path / "real" / "a.png").unlink()
    with pytest.raises(CollectionError, match=r"^a real image changed meanwhile .*a\.png.*; run it again$"):
        group(None, images_of(made))
