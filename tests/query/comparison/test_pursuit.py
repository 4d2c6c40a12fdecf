"""Matching pursuit by tile: it explains what least squares explains, and finds every part of an image made of several."""

from functools import partial

import numpy as np
import pytest

from embeddings.phantoms.slices import phantom
from embeddings.views.keypoints import SIDE
from embeddings.views.pixels import resized
from query.comparison.pursuit import Pursuit
from query.comparison.ranking import ranked_distances
from query.comparison.real_tiles import RealTiles
from query.comparison.tiles import PLACES, Tiles, Vectors

REALS = 70  # whitening takes 64


@pytest.fixture(scope="module")
def reals() -> list[np.ndarray]:
    return [resized(phantom(seed, 96), SIDE) for seed in range(REALS)]


@pytest.fixture(scope="module")
def tiles(reals: list[np.ndarray]) -> RealTiles:
    fitted = Tiles.fitted(reals)
    return RealTiles(fitted, fitted.of(reals), np.ones(REALS, bool))


def remaining(image: Vectors, others: Vectors) -> np.ndarray:
    """(places,) squared length of what least squares leaves of each tile."""
    left = [each - other.T @ np.linalg.lstsq(other.T, each, rcond=None)[0] for each, other in zip(image, others, strict=True)]
    return np.asarray((np.array(left) ** 2).sum(axis=1))


def test_a_share_is_what_least_squares_explains_more() -> None:
    rng = np.random.default_rng(0)
    others = rng.standard_normal((3, 4, 30)).astype(np.float32)
    others /= np.linalg.norm(others, axis=2, keepdims=True)
    image = np.einsum("n,tnd->td", [0.6, 0.5, 0.4, 0.0], others).astype(np.float32)
    image /= np.linalg.norm(image, axis=1, keepdims=True)
    pursuit = Pursuit(image, others)
    for number in range(3):
        before = remaining(image, others[:, :number]) if number else np.ones(3)
        assert pursuit.shares[number] == pytest.approx((before - remaining(image, others[:, : number + 1])).mean(), abs=1e-5)
        pursuit.take_other(number)
    assert pursuit.shares == pytest.approx(np.zeros(4), abs=1e-5)


def test_what_points_the_other_way_explains_nothing() -> None:
    image = np.eye(1, 5, dtype=np.float32)
    pursuit = Pursuit(image, -image[:, None])
    assert pursuit.shares.tolist() == [0]
    pursuit.take_other(0)
    assert Pursuit(image, image[:, None]).shares.tolist() == [1]


def test_all_sources_of_an_image_in_parts_are_proposed_and_ranked_before_near_images(
    reals: list[np.ndarray], tiles: RealTiles
) -> None:
    made = reals[3].copy()
    made[:, SIDE // 2 :] = reals[7][:, SIDE // 2 :]
    made[SIDE // 2 :, :24] = reals[11][SIDE // 2 :, :24]
    image = tiles.tiles.of([made])[:, 0]
    assert set(tiles.further(image, None, 3, None)) == {3, 7, 11}
    assert set(tiles.further(image, tiles.vectors[:, 3], 2, None)) == {7, 11}
    near = reals[3] // 2 + reals[20] // 2  # of the first one's patient, say
    rows = [3, 7, 11, 30]
    sides = np.concatenate([tiles.tiles.of([near]), tiles.vectors[:, rows]], axis=1)
    combined = np.array([-4, -5, -1, 0, 0], np.float32)
    distances = ranked_distances(combined, np.zeros(5), Pursuit(image, sides))
    assert set(np.argsort(distances)[:3].tolist()) == {1, 2, 3}


def test_excluded_and_unreadable_images_are_not_proposed(reals: list[np.ndarray], tiles: RealTiles) -> None:
    known = np.arange(REALS) != 7
    some = RealTiles(tiles.tiles, tiles.vectors, known)
    propose = partial(some.further, tiles.tiles.of([reals[3]])[:, 0], None, REALS)
    assert sorted(propose(None)) == np.flatnonzero(known).tolist()
    assert sorted(propose(np.arange(REALS) == 3)) == np.flatnonzero(known & (np.arange(REALS) != 3)).tolist()


def test_vectors_do_not_depend_on_the_other_images(reals: list[np.ndarray], tiles: RealTiles) -> None:
    assert tiles.vectors.shape[:2] == (len(PLACES), REALS)
    assert np.array_equal(tiles.tiles.of([reals[5]])[:, 0], tiles.vectors[:, 5])
    np.testing.assert_allclose(np.linalg.norm(tiles.vectors, axis=2), 1, atol=1e-5)


def test_few_images_are_compared_by_grey_levels(reals: list[np.ndarray]) -> None:
    vectors = Tiles.fitted(reals[:3]).of(reals[:3])
    tile = reals[1][PLACES[0]].astype(float)
    assert np.corrcoef(vectors[0, 1], tile.ravel())[0, 1] == pytest.approx(1)
