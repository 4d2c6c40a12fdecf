"""Quality of an audit: what the commands find of the same images, diversity by unwhitened features, a bounded cost."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from embeddings.phantoms.slices import copy_of
from indexer.build.build import build
from indexer.collection import Collection
from query import FidelitySettings, duplicates, fidelity
from query.database.record_quality import rows_of_fidelity
from query.duplication.diversity import Diversity, Figure
from query.inputs.groups import Groups, given_groups
from query.inputs.sides import Sides, sides_of
from query.quality import estimate, quality
from query.quality.estimate import GENERATED, REAL
from query.quality.features import drawn_rows
from query.quality.fidelity import Fidelity, Unmeasured
from query.quality.quality import Quality, measure_quality
from tests.helpers.making import slice_of, write_image, write_images
from tests.helpers.toy import TOY

REALS = 12


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """The view without a network, and few half-samples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quality, "VIEW", "toy")
        patch.setattr(estimate, "HALVES", 8)
        patch.setattr(estimate, "DRAWN", 20)
        yield


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> tuple[Collection, Collection]:
    """Real slices; generated ones, four of them twice."""
    folder = tmp_path_factory.mktemp("quality")
    write_images(folder / "real", range(REALS))
    write_images(folder / "generated", range(100, 112))
    for number in range(4):
        twin = copy_of(slice_of(100 + number), 1, np.random.default_rng(number))
        write_image(folder / "generated" / f"twin{number}.png", twin)
    generated = build(folder / "g.collection", folder / "generated", settings=TOY)
    return build(folder / "r.collection", folder / "real", fitted_on=generated), generated


@pytest.fixture(scope="module")
def sides(collections: tuple[Collection, Collection]) -> Sides:
    return sides_of(*collections)


@pytest.fixture(scope="module")
def groups(sides: Sides) -> Groups:
    return given_groups(None, sides.real)


def measured(sides: Sides, groups: Groups, images: int = 100, seed: int = 0, labels: Mapping[int, bool] | None = None) -> Quality:
    return measure_quality(sides, groups, labels or {}, images, seed=seed, progress=lambda *_: None)


@pytest.fixture(scope="module")
def found(sides: Sides, groups: Groups) -> Quality:
    return measured(sides, groups)


def figure(found: Quality, which: Figure) -> Diversity:
    return next(each for each in found.duplicates.diversity if each.figure is which)


def test_fidelity_is_that_of_the_command(found: Quality, collections: tuple[Collection, Collection]) -> None:
    alone = fidelity(*collections, settings=FidelitySettings(view="toy"))
    assert isinstance(found.fidelity, Fidelity)
    assert (found.fidelity.figures, found.fidelity.images) == (alone.figures, alone.images)
    assert {GENERATED, REAL} <= found.fidelity.figures.keys()


def test_images_not_used_are_the_reference(
    sides: Sides, groups: Groups, collections: tuple[Collection, Collection], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the command with these images as hold-out ones has it."""
    monkeypatch.setattr(quality, "ENOUGH", 6)
    labels = {row: row >= REALS // 2 for row in range(REALS)}
    found = measured(sides, groups, labels=labels)
    for used in (True, False):
        write_images(tmp_path / str(used), [seed for seed in range(REALS) if labels[seed] is used])
    halves = [build(tmp_path / f"{used}.c", tmp_path / str(used), fitted_on=collections[1]) for used in (True, False)]
    alone = fidelity(halves[0], collections[1], halves[1], settings=FidelitySettings(view="toy"))
    assert isinstance(found.fidelity, Fidelity)
    assert found.fidelity.held_out
    assert found.fidelity.figures == alone.figures
    monkeypatch.setattr(quality, "ENOUGH", 7)
    few = measured(sides, groups, labels=labels).fidelity
    assert isinstance(few, Fidelity)
    assert not few.held_out


def test_duplicates_are_those_of_the_command(found: Quality, collections: tuple[Collection, Collection]) -> None:
    alone = duplicates(collections[1], against=collections[0])
    assert [group.rows for group in found.duplicates.groups] == [group.rows for group in alone.groups]
    assert found.duplicates.repeated == 4
    assert found.duplicates.chance.note == alone.chance.note
    assert figure(found, Figure.DUPLICATES) == next(each for each in alone.diversity if each.figure is Figure.DUPLICATES)


def test_diversity_is_that_of_features_that_nothing_was_fitted_on(found: Quality, sides: Sides) -> None:
    """By the definition: exp of the entropy of the eigenvalues of cosines, of block means of the files' pixels."""
    units = []
    for side in (sides.real, sides.generated):
        pictures = [side.read(row).astype(np.float64) for row in range(len(side))]
        means = np.stack([picture.reshape(8, 8, 8, 8).mean(axis=(1, 3)).ravel() for picture in pictures])
        means -= means.mean(axis=1, keepdims=True)
        units.append(means / np.linalg.norm(means, axis=1, keepdims=True))
    apart = units[1] - units[0].mean(axis=0)
    long = apart / np.linalg.norm(apart, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(long @ long.T / len(long))
    values = values[values > 1e-12]
    assert figure(found, Figure.VENDI).whole == pytest.approx(np.exp(-(values * np.log(values)).sum()), rel=1e-4)
    distances = 1 - long @ long.T
    np.fill_diagonal(distances, np.inf)
    assert figure(found, Figure.NEAREST).whole == pytest.approx(distances.min(axis=1).mean(), abs=1e-5)
    assert all(each.images == REALS // 2 and each.baseline is not None for each in found.duplicates.diversity)


def test_a_draw_bounds_the_cost_and_two_runs_agree(sides: Sides, groups: Groups) -> None:
    first, second = measured(sides, groups, 8, 3), measured(sides, groups, 8, 3)
    assert (first.generated, first.real) == (8, 8)
    assert len(first.duplicates.pool.rows) == 8
    assert first.duplicates.as_dict() == second.duplicates.as_dict()
    assert first.fidelity == second.fidelity
    others = np.sort(drawn_rows(sides.generated.digests, 4, 8))
    assert len(others) == 8
    assert others.tolist() != first.duplicates.pool.rows.tolist()


def test_without_the_view_hashes_tell_diversity_and_fidelity_says_why(
    sides: Sides, groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "VIEW", "resnet")
    found = measured(sides, groups)
    assert isinstance(found.fidelity, Unmeasured)
    assert "it was indexed without view resnet" in found.fidelity.reason
    assert figure(found, Figure.VENDI).view == "phash"
    ((_, rows),) = rows_of_fidelity(found)
    assert isinstance(rows, dict)
    assert rows["reason"] == [found.fidelity.reason] * 6


def test_one_patient_has_diversity_and_no_fidelity(sides: Sides) -> None:
    found = measured(sides, Groups(np.full(REALS, "one"), known=True))
    assert isinstance(found.fidelity, Unmeasured)
    assert "all real images are of one patient" in found.fidelity.reason
    assert figure(found, Figure.VENDI).view == "toy"
    assert found.settings() == {"generated": 16, "real": REALS, "view": "toy", "groups_known": True}


def test_a_collection_of_shards_is_measured_alike(
    sides: Sides, groups: Groups, collections: tuple[Collection, Collection], tmp_path: Path
) -> None:
    from indexer.sharded.build import Sharding, index_shards
    from indexer.sharded.joined import Joined

    real, generated = collections
    shards = index_shards(generated.manifest.source, tmp_path / "shards", sharding=Sharding(7), settings=TOY)
    joined = Joined(shards)
    one = measured(sides_of(real, joined), groups, 10)
    other = measured(sides, groups, 10)
    assert one.duplicates.as_dict() == other.duplicates.as_dict()
    assert one.fidelity == other.fidelity
