"""Names in tables mean the images that a person would say they mean, and no other."""

import pytest

from query.inputs.names import matched
from query.inputs.tables import TableError, TableWarning

NAMES = [
    "real/a.png",
    "real/b.png",
    "more/b.png",
    "more/c.tif#1",
    "more/c.tif#2",
    "b.png",
    "1.2.840.10",
    "v/d.nii.gz#0",
    r"x\xff.dcm",
]


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("real/a.png", [0]),
        ("a.png", [0]),
        ("a", [0]),
        ("real/a", [0]),
        (r"real\a.png", [0]),
        ("/scans/2026/real/a.png", [0]),
        (r"C:\scans\more\b", [2]),
        ("b.png", [5]),
        ("more/b.png", [2]),
        ("c.tif#2", [4]),
        ("c.tif", [3, 4]),
        ("c", [3, 4]),
        ("more/c#1", [3]),
        ("1.2.840.10", [6]),
        ("d.nii.gz", [7]),
        ("d", [7]),
        ("x\udcff.dcm", [8]),
        (" a.png", [0]),
    ],
)
def test_folder_and_suffix_may_be_left_out_or_added(name: str, rows: list[int]) -> None:
    assert matched([NAMES], {name: 7}, "label") == [dict.fromkeys(rows, 7)]


@pytest.mark.parametrize(
    "name", ["A.PNG", "a.jpg", "other/a.png", "1.2.840", "1.2.840.10.5", "c.tif#3", "png", "l/a.png", "ral/a", ""]
)
def test_another_name_means_no_image(name: str) -> None:
    with pytest.raises(TableError, match=r"the labels given: none of its 1 name is among the images.*such as 'real/a\.png'"):
        matched([NAMES], {name: 7}, "label")


def test_names_that_no_image_has_are_told() -> None:
    table = {"a": 1, **{f"z{number}": 0 for number in range(4213)}}
    with pytest.warns(
        TableWarning, match=r"ignored 4,213 names of 4,214 that no image has, such as 'z0', while images .* 'real/a\.png'"
    ):
        assert matched([NAMES], table, "label") == [{0: 1}]


def test_a_name_that_several_images_have_is_refused() -> None:
    with pytest.raises(
        TableError, match=r"group of 'e': 2 images have that name, such as 'p/e\.png' and 'q/e\.png'; write their folders"
    ):
        matched([["p/e.png", "q/e.png"]], {"e": "x"}, "group")
    with pytest.raises(TableError, match="2 images have that name"):
        matched([["e.png", "e.jpg"]], {"scans/e": "x"}, "group")


def test_the_best_meaning_counts_and_equal_ones_must_agree() -> None:
    names = ["a.png", "p/b.png"]
    with pytest.warns(TableWarning, match=r"ignored 1 name of 3 .*'old/a\.png'"):
        assert matched([names], {"old/a.png": 0, "a.png": 1, "b": 0}, "label") == [{0: 1, 1: 0}]
    assert matched([names], {"b.png": 1, "b": 1, "a": 0}, "label") == [{0: 0, 1: 1}]
    with pytest.raises(TableError, match=r"'b\.png' and 'b' mean one image, 'p/b\.png', and differ in label"):
        matched([names], {"b.png": 1, "b": 0}, "label")
    with pytest.raises(TableError, match=r"'x/a\.png' and 'y/a\.png' mean one image"):
        matched([names], {"x/a.png": 1, "y/a.png": 0}, "label")
    assert matched([["c.tif#0", "c.tif#1"]], {"c.tif": 1, "c.tif#1": 0}, "label") == [{0: 1, 1: 0}]


def test_a_name_may_mean_an_image_of_any_set() -> None:
    assert matched([["a.png"], ["a.png", "b.png"], []], {"a": 1, "b": 2}, "label") == [{0: 1}, {0: 1, 1: 2}, {}]
    assert matched([["a.png"]], {}, "label") == [{}]
