"""Exact and near-exact copies: each kind is found, what is merely alike is not, and blank images never are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embeddings.images.decoding import flip
from embeddings.phantoms.slices import copy_of, phantom
from embeddings.types import GreyImage
from indexer.build.build import Settings, build
from query.comparison.comparison import Comparison, compare
from query.comparison.copies import NEAR, CopyKind, correlation, find_copies
from query.inputs.sides import Sides, sides_of
from tests.helpers.making import flipped_settings, write_image

SIZE, REALS = 96, 6
SETTINGS = Settings(views={"phash": {}, "pixels": {}}, sample_size=40)
BLANK = np.full((SIZE, SIZE), 90, np.uint8)
GROUPS = np.arange(REALS + 1)


@pytest.fixture(scope="module", params=["pictures read", "pictures kept"])
def sides(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Sides:
    """Six real slices and a blank image; copies of them of every kind, a warped copy, a blank one, and two others."""
    folder = tmp_path_factory.mktemp("copies")
    reals = [phantom(seed, SIZE) for seed in range(REALS)]
    (folder / "real").mkdir()
    (folder / "generated").mkdir()
    for number, image in enumerate([*reals, BLANK]):
        write_image(folder / "real" / f"{number}.png", image)
    made = folder / "generated"
    (made / "0_file.png").write_bytes((folder / "real" / "0.png").read_bytes())
    Image.fromarray(reals[1]).save(made / "1_pixels.tif")
    Image.fromarray(reals[2]).save(made / "2_near.jpg", quality=80)
    write_image(made / "3_flipped.png", flip(reals[3]))
    write_image(made / "4_warped.png", copy_of(reals[4], 2, np.random.default_rng(0)))
    (made / "5_blank.png").write_bytes((folder / "real" / f"{REALS}.png").read_bytes())
    write_image(made / "6_other.png", phantom(50, SIZE))
    write_image(made / "7_twice.png", reals[0])
    settings = SETTINGS
    if request.param == "pictures kept":
        settings = replace(SETTINGS, views={**SETTINGS.views, "sift": {"words": 4}})
    generated = build(folder / "g", made, settings=settings)
    real = build(folder / "r", folder / "real", fitted_on=generated)
    return sides_of(
        real, generated, build(folder / "m", folder / "real", fitted_on=generated, settings=flipped_settings(generated))
    )


@pytest.fixture(scope="module")
def comparison(sides: Sides) -> Comparison:
    return compare(sides, k=REALS)


def test_every_kind_of_copy_is_found_and_nothing_else(comparison: Comparison) -> None:
    found = find_copies(comparison, GROUPS)
    pairs = list(zip(found.generated.tolist(), found.real.tolist(), found.kinds, strict=True))
    assert pairs == [
        (0, 0, CopyKind.FILE),
        (1, 1, CopyKind.PIXELS),
        (2, 2, CopyKind.NEAR),
        (3, 3, CopyKind.NEAR),
        (7, 0, CopyKind.FILE),
    ]
    assert found.mirrored.tolist() == [False, False, False, True, False]
    sides = comparison.sides
    own = np.corrcoef(sides.real.read(2).ravel(), sides.generated.read(2).ravel())[0, 1]
    assert NEAR <= found.threshold <= found.similarity[2] <= own + 1e-9
    assert found.similarity[[0, 1, 4]].tolist() == [1, 1, 1]
    assert found.similarity[3] == pytest.approx(1)
    assert found.failed == []


def test_only_files_that_may_hold_copies_are_read(comparison: Comparison) -> None:
    read: list[int] = []

    def reading(row: int) -> GreyImage:
        read.append(row)
        return comparison.sides.generated.read(row)

    watched = replace(comparison.sides, generated=replace(comparison.sides.generated, read=reading))
    find_copies(replace(comparison, sides=watched), GROUPS)
    kept = watched.generated.stored.records is not None
    assert {0, 1, 2, 3, 7} <= set(read) <= ({0, 1, 2, 3, 4, 7} if kept else set(range(8)))
    assert len(read) == len(set(read)) or not kept


def test_without_flipped_images_a_flipped_copy_is_not_looked_for(comparison: Comparison) -> None:
    plain = compare(sides_of(comparison.sides.real.stored, comparison.sides.generated.stored), k=REALS)
    assert 3 not in find_copies(plain, GROUPS).generated


def test_real_images_that_are_alike_raise_what_a_copy_must_reach(tmp_path: Path) -> None:
    reals = [phantom(seed, SIZE) for seed in range(5)]
    rng = np.random.default_rng(0)
    alike = np.clip(reals[0] + rng.normal(0, 2, reals[0].shape), 0, 255).astype(np.uint8)
    copied = np.clip(reals[0] + rng.normal(0, 2, reals[0].shape), 0, 255).astype(np.uint8)
    for name, images in (("real", [*reals, alike]), ("generated", [copied, *(phantom(seed, SIZE) for seed in range(60, 64))])):
        (tmp_path / name).mkdir()
        for number, image in enumerate(images):
            write_image(tmp_path / name / f"{number}.png", image)
    generated = build(tmp_path / "g", tmp_path / "generated", settings=SETTINGS)
    found = compare(sides_of(build(tmp_path / "r", tmp_path / "real", fitted_on=generated), generated), k=6)
    apart = find_copies(found, np.arange(6))
    assert apart.largest == pytest.approx(correlation(reals[0], alike), abs=0.01)
    assert apart.threshold == pytest.approx(1 - (1 - apart.largest) / 2)
    assert not len(apart.generated)  # as alike as two patients are
    together = find_copies(found, np.array([0, 1, 2, 3, 4, 0]))  # two slices of one patient
    assert together.threshold == NEAR
    assert set(zip(together.generated.tolist(), together.real.tolist(), strict=True)) == {(0, 0), (0, 5)}


def test_turned_copies_are_found_where_they_are_looked_for(tmp_path: Path) -> None:
    reals = [phantom(seed, SIZE) for seed in range(4)]
    for name, images in (("real", reals), ("generated", [np.ascontiguousarray(np.rot90(reals[2])), phantom(9, SIZE)])):
        (tmp_path / name).mkdir()
        for number, image in enumerate(images):
            write_image(tmp_path / name / f"{number}.png", image)
    generated = build(tmp_path / "g", tmp_path / "generated", settings=SETTINGS)
    found = compare(sides_of(build(tmp_path / "r", tmp_path / "real", fitted_on=generated), generated), k=4)
    assert not len(find_copies(found, np.arange(4)).real)
    turned = find_copies(found, np.arange(4), rotations=True)
    assert (turned.real.tolist(), turned.generated.tolist(), turned.quarter_turns.tolist()) == ([2], [0], [1])


def test_images_of_other_sizes_are_compared_at_the_smaller_one() -> None:
    image = phantom(1, 128)
    half = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BOX))
    assert correlation(image, half) == pytest.approx(1)
    assert correlation(half, image) == pytest.approx(1)
    assert correlation(BLANK, image) == 0
    assert correlation(half, 255 - half) == pytest.approx(-1)
