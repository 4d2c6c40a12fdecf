"""Subsets by folder, table, pattern: what is taken, and what is refused in one line."""

from pathlib import Path

import pytest

from query.inputs.subsets import SubsetsError, origins_by_row, read_subsets, subsets_by_row
from query.inputs.tables import AS_FOUND, TableWarning

REAL = ["t1/p1/a.png", "t1/b.png", "t2/c.png", "loose.png"]
MADE = ["train/generated/t1/x.png", "train/generated/t2/y.png", "test/generated_unknown/z.png", "t1/t2/both.png"]


def test_the_first_folder_is_the_subset_and_a_loose_image_has_none() -> None:
    assert subsets_by_row(read_subsets("folder"), REAL) == {0: "t1", 1: "t1", 2: "t2"}


def test_a_table_may_have_other_words_and_names_without_suffix(tmp_path: Path) -> None:
    table = tmp_path / "subsets.csv"
    table.write_text("filename;hospital\nt1/p1/a;north\nc.png;south\n")
    with pytest.warns(TableWarning, match="subset from column 'hospital'"):
        assert subsets_by_row(read_subsets(table), REAL) == {0: "north", 2: "south"}


def test_a_pattern_takes_its_bracket_and_leaves_out_what_it_does_not_find() -> None:
    assert subsets_by_row(read_subsets(r"^t(\d)/"), REAL) == {0: "1", 1: "1", 2: "2"}


def test_labels_by_folder_are_folders_called_like_one_subset() -> None:
    assert origins_by_row("folder", MADE, ["t1", "t2"], AS_FOUND) == {0: "t1", 1: "t2"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("nosuch.csv", "nosuch.csv: No such file"),
        ("(", "not a regular expression"),
        ("hospital", "matches no name, for example not 't1/p1/a.png'"),
        ("^(t1)/", "two subsets at least are needed: all real images are of one, 't1'"),
    ],
)
def test_what_gives_no_two_subsets_is_refused(given: str, says: str) -> None:
    with pytest.raises(SubsetsError, match=says.replace("(", r"\(")):
        subsets_by_row(read_subsets(given), REAL)


def test_labels_that_are_no_subset_or_name_nothing_are_refused() -> None:
    with pytest.raises(SubsetsError, match="comes from 'generated'; subsets of real images are t1, t2"):
        origins_by_row("^train/([a-z]+)", MADE, ["t1", "t2"], AS_FOUND)
    with pytest.raises(SubsetsError, match="labels name no generated image"):
        origins_by_row("folder", ["x.png"], ["t1", "t2"], AS_FOUND)
