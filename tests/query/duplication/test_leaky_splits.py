"""Leaks between splits: equal and near-duplicate images, patients by name and by likeness, and what to drop."""

from pathlib import Path

import pytest

from indexer.build.build import build
from indexer.collection import Collection
from query import LeakySplits, SplitsError, leaky_splits
from query.duplication.leaky_splits import Reason
from query.duplication.pairs import Kind
from query.inputs.tables import TableError
from tests.helpers.toy import TOY

# Slice 000 and 020, 021 are of one patient by name; 002 is of "a", its copy of "b", whose other image is 022.
GROUPS = {"train/000.png": "p", "020.png": "p", "021.png": "p", "002.png": "a", "warp.png": "b", "022.png": "b"}


@pytest.fixture(scope="module")
def found(split_collections: dict[str, Collection]) -> LeakySplits:
    return leaky_splits(split_collections)


def ends(found: LeakySplits) -> set[tuple[str, str, Kind]]:
    return {(found.pool.where(pair.first), found.pool.where(pair.second), pair.kind) for pair in found.pairs}


def dropped(found: LeakySplits) -> dict[str, Reason]:
    return {found.pool.where(drop.row): drop.reason for drop in found.drop}


def test_pairs_of_different_splits_are_found_and_no_others(found: LeakySplits) -> None:
    assert ends(found) == {("train/001.png", "test/equal.png", Kind.FILE), ("train/002.png", "test/warp.png", Kind.NEAR)}
    assert dropped(found) == {"test/equal.png": Reason.FILE, "test/warp.png": Reason.NEAR}
    assert list(found.patients) == []


def test_patients_by_name_are_certain_and_by_likeness_probable(split_collections: dict[str, Collection]) -> None:
    found = leaky_splits(split_collections, groups={name.removeprefix("train/"): group for name, group in GROUPS.items()})
    certain, probable = found.patients
    assert (certain.certain, certain.first, certain.first_images, certain.second_images, certain.pairs) == (True, "p", 1, 2, 0)
    assert (probable.certain, probable.first, probable.second, probable.pairs) == (False, "a", "b", 1)
    assert dropped(found) == {
        "test/equal.png": Reason.FILE,
        "test/warp.png": Reason.NEAR,
        "test/020.png": Reason.PATIENT,
        "test/021.png": Reason.PATIENT,
        "test/022.png": Reason.PROBABLE,
    }


def test_a_table_tells_equal_names_apart_by_folder(split_collections: dict[str, Collection]) -> None:
    train = split_collections["train"]
    groups = {f"{split}/{name}": f"{split} {name}" for split in ("one", "two") for name in train.names}
    found = leaky_splits({"one": train, "two": train}, groups=groups | {"two/003.png": "one 003.png"})
    assert [patient.first for patient in found.patients if patient.certain] == ["one 003.png"]
    assert (len(found.pairs), len(found.drop)) == (10, 10)


def test_images_can_be_dropped_from_training(split_collections: dict[str, Collection]) -> None:
    found = leaky_splits(split_collections, drop_from="train")
    assert dropped(found) == {"train/001.png": Reason.FILE, "train/002.png": Reason.NEAR}
    assert {first for first, _, _ in ends(found)} == {"test/equal.png", "test/warp.png"}


def test_without_what_is_dropped_nothing_leaks(found: LeakySplits, splits: Path, tmp_path: Path) -> None:
    kept = tmp_path / "test"
    kept.mkdir()
    for path in (splits / "test").iterdir():
        if f"test/{path.name}" not in dropped(found):
            (kept / path.name).write_bytes(path.read_bytes())
    train = build(tmp_path / "a", splits / "train", settings=TOY)
    again = leaky_splits({"train": train, "test": build(tmp_path / "b", kept, fitted_on=train)})
    assert (len(again.pairs), len(again.drop)) == (0, 0)


@pytest.fixture(scope="module")
def together(splits: Path, tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Both splits in one collection."""
    return build(tmp_path_factory.mktemp("together") / "c", splits / "train", splits / "test", settings=TOY)


def test_folders_of_one_collection_are_splits(found: LeakySplits, together: Collection) -> None:
    again = leaky_splits(together, splits="folders")
    assert ends(again) == ends(found)
    assert list(again.splits) == ["train", "test"]  # training first, whatever the alphabet


def test_a_table_names_splits_and_leaves_out(together: Collection, tmp_path: Path) -> None:
    rows = [f"{name},{'A' if name.startswith('train') else 'B'}" for name in together.names if name != "test/warp.png"]
    (tmp_path / "splits.csv").write_text("\n".join(["image,split", *rows]), encoding="utf-8")
    found = leaky_splits(together, splits=tmp_path / "splits.csv")
    assert list(found.splits) == ["A", "B"]
    assert {second for _, second, _ in ends(found)} == {"B/test/equal.png"}


def test_equal_images_of_three_splits_are_paired_between_each_two(together: Collection) -> None:
    names = dict.fromkeys(together.names, "x")
    found = leaky_splits(together, splits=names | {"train/001.png": "y", "test/equal.png": "z"})
    assert [pair.kind for pair in found.pairs][:1] == [Kind.FILE]


def test_mistakes_are_named(split_collections: dict[str, Collection], together: Collection) -> None:
    with pytest.raises(SplitsError, match="two splits or more are needed, found train"):
        leaky_splits({"train": split_collections["train"]})
    with pytest.raises(SplitsError, match="no split 'val' to drop from; there are train, test"):
        leaky_splits(split_collections, drop_from="val")
    with pytest.raises(TableError, match="needs splits"):
        leaky_splits(together)


def test_tables_and_notebooks(found: LeakySplits) -> None:
    table = found.to_pandas()
    assert table["image"].tolist() == ["equal.png", "warp.png"]
    assert table["kind"].tolist() == ["file", "near"]
    assert found._repr_html_().count("<img") == 4
    assert found.as_dict()["images"] == {"train": 10, "test": 7}
