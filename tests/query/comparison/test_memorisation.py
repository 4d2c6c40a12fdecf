"""Memorisation: few false calls where nothing is copied, and bounds that hold."""

from collections.abc import Mapping

import numpy as np
import pytest
from scipy.stats import binomtest

from query.comparison.geometry import Match
from query.comparison.match_reference import Reference
from query.comparison.matching import Matches
from query.comparison.memorisation import MatchTests, counted_share, fewest_called, matched_share, q_values

SHOWN: Mapping[int, Match] = {}


def drawn(rng: np.random.Generator, groups: int, of: int, copied: float, looked: int | None = None) -> tuple[Matches, np.ndarray]:
    """Matches of generated images, some of them copies; controls of patients with 1 or 12 images."""
    sizes = np.where(rng.random(groups) < 0.2, 12, 1)
    member = np.repeat(np.arange(groups), sizes)
    order = np.argsort(np.concatenate([np.arange(size) for size in sizes]), kind="stable")
    controls = rng.normal(0, 1, groups)[member] + rng.normal(0, 0.3, len(member))
    copies = rng.random(of) < copied
    values = rng.normal(0, 1, of) + rng.normal(0, 0.3, of) + 8 * copies
    rows = np.arange(of)[: looked or of]
    reference = Reference(controls[order], member[order], known=True)
    nothing = np.zeros(len(rows), np.float32)
    return Matches(rows * 0, rows, values[rows], nothing, SHOWN, len(rows), of, reference, []), copies


def test_the_best_pair_of_an_image_counts() -> None:
    reference = Reference(np.array([1.0, 2.0]), np.arange(2), known=True)
    pairs = np.array([0, 1, 2, 3]), np.array([5, 5, 7, 7]), np.array([1.5, 3.0, np.nan, 0.5])
    found = MatchTests.of_matches(Matches(*pairs, np.zeros(4, np.float32), SHOWN, 2, 10, reference, []))
    assert (found.generated.tolist(), found.real.tolist(), found.values.tolist()) == ([5, 7], [1, 3], [3.0, 0.5])
    assert found.p.tolist() == pytest.approx([1 / 3, 1])
    assert found.q.tolist() == [1, 1]  # of ten images


def test_images_that_were_not_matched_count_as_tests() -> None:
    p = np.array([0.001, 0.004, 0.5])
    assert q_values(p, 3).tolist() == pytest.approx([0.003, 0.006, 0.5])
    assert q_values(p, 30).tolist() == pytest.approx([0.03, 0.06, 1])
    assert np.isnan(q_values(np.full(3, np.nan), 3)).all()


@pytest.mark.parametrize("copied", [0.0, 0.3])
def test_false_discoveries_and_bounds_hold(copied: float) -> None:
    rng = np.random.default_rng(1)
    false, missed = [], []
    for _ in range(300):
        matches, copies = drawn(rng, 80, 150, copied)
        tests = MatchTests.of_matches(matches)
        called = tests.q <= 0.1
        false.append(np.sum(called & ~copies) / max(1, called.sum()))
        share = matched_share(tests, matches.reference)
        assert share is not None
        missed.append(share.low > copied)
    assert np.mean(false) <= 0.1 + 2 * np.std(false) / np.sqrt(300)
    assert binomtest(sum(missed), 300, 0.05, "greater").pvalue > 0.01


def test_a_bound_is_not_far_from_what_is_there_and_needs_all_images() -> None:
    rng = np.random.default_rng(2)
    matches, copies = drawn(rng, 120, 300, 0.5)
    share = matched_share(MatchTests.of_matches(matches), matches.reference)
    assert share is not None
    assert 0.35 < share.low < share.value
    assert share.value == pytest.approx(copies.mean(), abs=0.03)
    half, _ = drawn(np.random.default_rng(2), 120, 300, 0.5, looked=150)
    less = matched_share(MatchTests.of_matches(half), half.reference)
    assert less is not None
    assert less.value == pytest.approx(share.value / 2, abs=0.05)


def test_unknown_patients_give_no_share() -> None:
    matches, _ = drawn(np.random.default_rng(3), 50, 50, 0.5)
    unknown = Reference(matches.reference.values, matches.reference.groups, known=False)
    assert matched_share(MatchTests.of_matches(matches), unknown) is None


def test_counted_shares_have_the_interval_of_clopper_and_pearson() -> None:
    for images in (0, 7, 40):
        share = counted_share(images, 40)
        exact = binomtest(images, 40).proportion_ci(0.95, "exact")
        assert (share.low, share.high) == pytest.approx((exact.low, exact.high))


def test_so_many_must_stand_out() -> None:
    assert fewest_called(60, 120) == 20
    assert q_values(np.full(20, 1 / 61), 120).max() <= 0.1
    assert q_values(np.full(19, 1 / 61), 120).min() > 0.1
