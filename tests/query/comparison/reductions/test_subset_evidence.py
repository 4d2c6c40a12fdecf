"""Evidence for subsets, held against a plain loop over patients, and against what sizes must not decide."""

import numpy as np
import pytest

from query.comparison.all_pairs import Wanted, all_pairs_of
from query.comparison.combined import COMBINED
from query.comparison.reductions.driver import reduce
from query.comparison.reductions.sides import real_side, shards
from query.comparison.reductions.subset_evidence import SHARPNESS, USUAL, Members, SubsetEvidence, evidence_of, log_means
from tests.helpers.sides import at_random

SUBSET = np.array([0, 0, 0, 1, 1, 2, 2, -1])
PATIENT = np.array([0, 0, 1, 2, 3, 4, 4, 5])
MEMBERS = Members(SUBSET, PATIENT, 3)


def plain(scores: np.ndarray, sharpness: float, without: int | None = None) -> np.ndarray:
    """Mean over patients of the mean over images, image by image."""
    found = np.full((scores.shape[1], 3), -np.inf)
    for column in range(scores.shape[1]):
        for subset in range(3):
            means, weights = [], []
            for patient in sorted(set(PATIENT[subset == SUBSET]) - {without}):
                rows = (subset == SUBSET) & (patient == PATIENT)
                means.append(np.exp(sharpness * scores[rows, column]).mean())
                weights.append(1.0)
            if means:
                found[column, subset] = np.log(np.average(means, weights=weights))
    return found


def test_log_means_are_those_of_a_loop_over_patients() -> None:
    scores = np.random.default_rng(0).normal(size=(8, 5)) * 4
    for sharpness in (0.0, 0.5, 1.0):
        assert log_means(scores, MEMBERS, sharpness) == pytest.approx(plain(scores, sharpness))
    found = evidence_of(scores, MEMBERS)
    assert found.logs[:, :, USUAL] == pytest.approx(plain(scores, SHARPNESS[USUAL]), rel=1e-5)
    assert (found.best == np.where(SUBSET[:, None] >= 0, scores, -np.inf).argmax(axis=0)).all()
    for column, best in enumerate(found.best):
        rest = plain(scores, 1.0, PATIENT[best])[column]
        known = np.isfinite(rest)
        assert found.without[column, known] == pytest.approx(rest[known], rel=1e-5)
        assert (found.without[column, ~known] < -100).all()  # nothing is left of the subset


def test_alike_scores_say_nothing_whatever_the_sizes_of_subsets_and_patients() -> None:
    assert log_means(np.full((8, 2), 3.0), MEMBERS, 1.0) == pytest.approx(np.full((2, 3), 3.0))


def test_very_large_scores_do_not_overflow() -> None:
    scores = np.full((8, 1), -50.0)
    scores[3] = 90
    assert log_means(scores, MEMBERS, 1.0)[0] == pytest.approx([-50, 90 - np.log(2), -50])


def test_tiles_and_parts_of_the_generated_side_give_what_all_pairs_give() -> None:
    views = at_random(np.random.default_rng(1), reals=8)
    pairs = all_pairs_of(views, Wanted(1, distances=True))
    matched = {3: (np.array([0, 5]), np.array([2.0, 1.0]))}
    scores = -pairs.distances[COMBINED].astype(np.float64)
    scores[[0, 5], 3] += [2, 1]
    whole = evidence_of(scores, MEMBERS)
    parts = [SubsetEvidence(MEMBERS, None, matched) for _ in range(2)]
    for number, shard in enumerate(shards(views, 17)):
        reduce(real_side(views), [shard], [parts[number % 2]], pairs.scales)
    parts[0].merge(parts[1])
    found = parts[0].result()
    assert found.logs == pytest.approx(whole.logs, abs=1e-5)
    assert (found.best == whole.best).all()
