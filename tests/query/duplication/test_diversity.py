"""Vendi score against its definition, distances against brute force, and intervals against sets of known diversity."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import eigvalsh

from embeddings.types import EmbeddingSpec, Metric
from query.duplication.diversity import Diversity, Figure, Vectors, diversity, subsample_size, unit_vectors, vendi
from tests.helpers.sides import codes, units

SPEC = EmbeddingSpec("v", 16, Metric.COSINE)
Set = tuple[dict[str, Vectors], NDArray[np.str_]]


def set_of(vectors: NDArray[Any], patients: NDArray[np.str_] | None = None) -> Set:
    """A view of images, and their patients."""
    count = len(vectors)
    return {"v": Vectors(SPEC, vectors, np.ones(count, bool))}, np.full(count, "") if patients is None else patients


def measured(of: Set, member: NDArray[np.int64], images: int, seed: int = 0) -> list[Diversity]:
    views, patients = of
    return diversity(views, patients, member, images, seed)


def figure(found: list[Diversity], which: Figure) -> Diversity:
    return next(each for each in found if each.figure is which)


@pytest.mark.parametrize("count", [5, 40])  # fewer and more than dimensions
def test_vendi_is_the_exponential_of_the_entropy_of_eigenvalues(count: int) -> None:
    vectors = units(np.random.default_rng(count), count)
    values = np.clip(eigvalsh(vectors.astype(np.float64) @ vectors.T / count), 1e-300, None)
    assert vendi(vectors) == pytest.approx(np.exp(-(values * np.log(values)).sum()), rel=1e-6)


def test_vendi_counts_different_images() -> None:
    different = np.eye(7, dtype=np.float32)
    assert vendi(different) == pytest.approx(7)
    assert vendi(different[[0] * 9]) == pytest.approx(1)
    assert vendi(np.repeat(different[:3], 5, axis=0)) == pytest.approx(3)
    half = np.array([[1, 0], [1, 0], [0, 1]], np.float32)  # shares 2/3 and 1/3
    assert vendi(half) == pytest.approx(np.exp(-(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))))


def test_bits_of_hashes_count_alike() -> None:
    hashes = codes(np.random.default_rng(0), 6)
    vectors = unit_vectors(EmbeddingSpec("h", 256, Metric.HAMMING), hashes)
    bits = np.unpackbits(hashes, axis=1)
    differing = (bits[:, None] != bits[None]).sum(axis=2)
    assert vectors @ vectors.T == pytest.approx(1 - 2 * differing / 256, abs=1e-5)


def test_nearest_and_share_of_the_whole_set() -> None:
    vectors = units(np.random.default_rng(1), 50)
    member = np.full(50, -1)
    member[[3, 4, 5, 20, 21]] = [0, 0, 0, 1, 1]
    found = measured(set_of(vectors), member, 25)
    distances = 1 - vectors @ vectors.T
    np.fill_diagonal(distances, np.inf)
    assert figure(found, Figure.NEAREST).whole == pytest.approx(distances.min(axis=1).mean(), abs=1e-6)
    assert figure(found, Figure.DUPLICATES).whole == 5 / 50
    share = figure(found, Figure.DUPLICATES).estimate
    assert 0 <= share.low < share.value < 0.1 < share.high  # half of the images hold fewer pairs than all


def test_without_duplicates_the_interval_still_has_a_width() -> None:
    share = figure(measured(set_of(units(np.random.default_rng(2), 40)), np.full(40, -1), 20), Figure.DUPLICATES).estimate
    assert (share.value, share.low) == (0, 0)
    assert share.high == pytest.approx(1 - 0.025 ** (1 / 40))


def test_patients_stay_together() -> None:
    """Six pairs of equal images: apart, most would lose their twin; together, each keeps it."""
    vectors = np.repeat(units(np.random.default_rng(3), 6), 2, axis=0)
    patients = np.repeat([f"p{number}" for number in range(6)], 2)
    member = np.repeat(np.arange(6), 2)
    together = figure(measured(set_of(vectors, patients), member, 6), Figure.DUPLICATES).estimate
    apart = figure(measured(set_of(vectors), member, 6), Figure.DUPLICATES).estimate
    assert together.value == 1
    assert apart.value < 0.8


def test_too_few_patients_give_no_interval() -> None:
    patients = np.repeat(["a", "b", "c"], 4)
    found = measured(set_of(units(np.random.default_rng(4), 12), patients), np.full(12, -1), 6)
    assert not any(each.estimate.has_interval for each in found)


def test_the_same_seed_gives_the_same_figures() -> None:
    pool = set_of(units(np.random.default_rng(5), 30))
    assert measured(pool, np.full(30, -1), 15, seed=3) == measured(pool, np.full(30, -1), 15, seed=3)
    assert measured(pool, np.full(30, -1), 15, seed=3) != measured(pool, np.full(30, -1), 15, seed=4)


def test_subsamples_are_half_of_the_smallest_set() -> None:
    assert (subsample_size(100), subsample_size(100, 31), subsample_size(1)) == (50, 15, 1)


def drawn(rng: np.random.Generator, count: int, modes: NDArray[np.float64]) -> NDArray[np.float32]:
    """Images around modes."""
    values = modes[rng.integers(len(modes), size=count)] + 0.6 * rng.normal(size=(count, modes.shape[1]))
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


@pytest.mark.slow
def test_intervals_hold_what_sets_of_that_size_have() -> None:
    """Of 60 sets of 80 images from a known distribution; the truth is the mean of 400 sets of 40."""
    rng = np.random.default_rng(0)
    modes = rng.normal(size=(8, 16))
    truth = np.mean([vendi(drawn(rng, 40, modes)) for _ in range(400)])
    figures = [figure(measured(set_of(drawn(rng, 80, modes)), np.full(80, -1), 40), Figure.VENDI) for _ in range(60)]
    held = np.mean([each.estimate.low <= truth <= each.estimate.high for each in figures])
    assert held >= 0.88  # 95% asked for, two standard errors below
    assert np.mean([each.estimate.value for each in figures]) == pytest.approx(truth, rel=0.02)
    assert np.mean([each.whole for each in figures]) > 1.03 * truth  # the score of all 80 is another quantity
