"""Duplicates of every kind are found with their originals, and nothing else is."""

import numpy as np
import pytest

from indexer.collection import Collection
from query import Duplicates, duplicates
from query.duplication.diversity import Figure
from query.duplication.pairs import Kind


@pytest.fixture(scope="module")
def found(repeated_collection: Collection) -> Duplicates:
    return duplicates(repeated_collection)


def members(found: Duplicates) -> set[frozenset[str]]:
    return {frozenset(found.pool.names[row] for row in group.rows) for group in found.groups}


PLANTED = {
    frozenset({"000.png", "file.png"}),
    frozenset({"001.png", "pixels.tif"}),
    frozenset({"002.png", "tone.png"}),
    frozenset({"003.png", "warp1.png", "warp2.png", "warp3.png"}),
}


def test_every_planted_copy_is_found_and_nothing_else(found: Duplicates) -> None:
    assert members(found) == PLANTED
    assert found.repeated == 6
    assert [len(group) for group in found.groups] == [4, 2, 2, 2]
    assert found.blank == 2
    assert list(found.failed) == []


def test_kinds_are_told_apart(found: Duplicates) -> None:
    kinds = {found.pool.names[pair.second]: pair.kind for pair in found.pairs}
    assert (kinds["file.png"], kinds["pixels.tif"], kinds["tone.png"]) == (Kind.FILE, Kind.PIXELS, Kind.NEAR)
    equal = next(pair for pair in found.pairs if pair.kind is Kind.PIXELS)
    assert (equal.inliers, equal.correlation, set(equal.distances.values())) == (None, 1, {0})
    near = [pair for pair in found.pairs if pair.kind is Kind.NEAR]
    assert all(pair.inliers is not None and pair.inliers >= found.chance.threshold for pair in near)
    assert all(pair.correlation > 0.8 and max(pair.distances.values()) > 0 for pair in near)


def test_flipped_copies_are_found_on_request(repeated_collection: Collection, repeated_flipped: Collection) -> None:
    found = duplicates(repeated_collection, mirrored=repeated_flipped)
    assert members(found) == PLANTED | {frozenset({"010.png", "flipped.png"})}
    (pair,) = [pair for pair in found.pairs if found.pool.names[pair.second] == "flipped.png"]
    assert pair.mirrored


def test_pairs_within_and_between_patients(repeated_collection: Collection) -> None:
    groups = {name: name for name in repeated_collection.names} | {"file.png": "000.png", "tone.png": "002.png"}
    found = duplicates(repeated_collection, groups=groups)
    assert found.chance.by_patient
    told = {found.pool.names[pair.second]: pair.same_patient for pair in found.pairs if found.pool.names[pair.first][0] == "0"}
    assert (told["file.png"], told["tone.png"], told["pixels.tif"]) == (True, True, False)
    between = {found.pool.names[row] for pair in found.between_patients for row in (pair.first, pair.second)}
    assert between == {"001.png", "pixels.tif", "003.png", "warp1.png", "warp2.png", "warp3.png"}


def test_a_real_set_gives_threshold_and_baseline(found: Duplicates, repeated_collection: Collection) -> None:
    against = duplicates(repeated_collection, against=repeated_collection)
    assert members(against) == members(found)
    assert all(each.baseline == each.estimate for each in against.diversity)
    assert all(each.baseline is None for each in found.diversity)


def test_figures_cover_every_view(found: Duplicates) -> None:
    keys = {(each.figure, each.view) for each in found.diversity}
    of_views = {(figure, view) for figure in (Figure.VENDI, Figure.NEAREST) for view in ("phash", "toy")}
    assert keys == of_views | {(Figure.DUPLICATES, "")}
    share = next(each for each in found.diversity if each.figure is Figure.DUPLICATES)
    assert share.whole == pytest.approx(10 / 23)


def test_tables_and_notebooks(found: Duplicates) -> None:
    table = found.to_pandas()
    assert len(table) == 10
    assert table.groupby("group")["keep"].sum().tolist() == [1, 1, 1, 1]
    assert set(table.loc[table["keep"] == 0, "like"]) <= {found.pool.names[group.centre] for group in found.groups}
    page = found._repr_html_()
    assert page.count("<img") == 10
    assert "4 groups of duplicates" in page


def test_the_same_twice(repeated_collection: Collection, found: Duplicates) -> None:
    assert duplicates(repeated_collection).as_dict() == found.as_dict()
    assert np.isfinite(found.diversity[0].estimate.low)
