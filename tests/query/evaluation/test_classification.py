"""Measures against scikit-learn, baselines against enumeration, permutation tests against what they promise."""

from itertools import combinations

import numpy as np
import pytest
from sklearn import metrics as theirs

from query.evaluation.classification import (
    AUROC,
    Counts,
    Measure,
    all_used,
    by_chance,
    counts,
    measure_intervals,
    measures,
    paired_differences,
    permutation_p_values,
)
from query.evaluation.resampling import auroc, permuted_labels

RNG = np.random.default_rng(11)
SKLEARN = {
    Measure.ACCURACY: theirs.accuracy_score,
    Measure.PRECISION: theirs.precision_score,
    Measure.RECALL: theirs.recall_score,
    Measure.SPECIFICITY: lambda used, note: theirs.recall_score(~used, ~note),
    Measure.F1: theirs.f1_score,
    Measure.BALANCED_ACCURACY: theirs.balanced_accuracy_score,
    Measure.KAPPA: theirs.cohen_kappa_score,
    Measure.MCC: theirs.matthews_corrcoef,
}


def test_measures_are_those_of_scikit_learn() -> None:
    for _ in range(30):
        used, note = RNG.random((2, 30)) < RNG.uniform(0.3, 0.7)
        used[:2] = note[:2] = True, False
        found = measures(counts(note, used))
        assert {name: float(value) for name, value in found.items()} == pytest.approx(
            {name: measure(used, note) for name, measure in SKLEARN.items()}, abs=1e-12
        )


def test_a_measure_that_divides_by_nothing_is_undefined() -> None:
    nobody = measures(counts([False] * 4, [True, True, False, False]))
    assert {name for name, value in nobody.items() if np.isnan(value)} == {Measure.PRECISION, Measure.MCC}
    no_labels = measures(counts([True, False], [True, True]))
    assert {name for name, value in no_labels.items() if np.isnan(value)} == {
        Measure.SPECIFICITY, Measure.BALANCED_ACCURACY, Measure.MCC,
    }  # fmt: skip
    assert all(np.isnan(value) for value in measures(counts([], [])).values())


def test_chance_is_the_mean_over_all_ways_to_call_as_many_used() -> None:
    used = np.arange(8) < 3
    ways = [measures(counts(np.isin(np.arange(8), chosen), used)) for chosen in combinations(range(8), 5)]
    expected = {name: float(np.mean([way[name] for way in ways])) for name in Measure}
    found = measures(by_chance(counts(np.arange(8) % 8 < 5, used)))
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, abs=1e-12)


def test_calling_every_image_used_scores_two_thirds_of_the_task() -> None:
    found = measures(all_used(Counts(43, 36, 64, 57)))
    assert found[Measure.F1] == pytest.approx(2 / 3)
    assert [float(found[name]) for name in (Measure.ACCURACY, Measure.RECALL, Measure.SPECIFICITY)] == [0.5, 1, 0]


def test_intervals_hold_their_values_and_grow_with_groups() -> None:
    used = np.arange(200) % 2 == 0
    note = used ^ (RNG.random(200) < 0.3)
    single = measure_intervals(note, used, np.arange(200))
    values = measures(counts(note, used))
    for name in Measure:
        assert single[name].value == pytest.approx(float(values[name]), abs=1e-12)
        assert single[name].low < single[name].value < single[name].high
    copies = np.repeat(np.arange(200), 4)  # each image four times tells no more than once
    grouped = measure_intervals(note[copies], used[copies], copies)
    for name in Measure:
        assert (grouped[name].low, grouped[name].high) == pytest.approx((single[name].low, single[name].high), abs=0.02)


def test_intervals_survive_decisions_without_error() -> None:
    used = np.arange(60) < 20
    found = measure_intervals(used, used, np.arange(60))
    for name in Measure:
        assert 0 < found[name].low < 1 == found[name].value == found[name].high
    few = measure_intervals(used, used, np.arange(60) // 5)
    assert few[Measure.F1].low < found[Measure.F1].low


def test_a_planted_effect_has_the_smallest_p_and_nothing_beyond_its_draws() -> None:
    used = np.arange(40) < 20
    found = permutation_p_values(used + RNG.normal(0, 0.1, 40), used, used, np.arange(40), draws=199)
    assert found == dict.fromkeys([AUROC, "accuracy", "balanced_accuracy", "f1"], 1 / 200)
    assert AUROC not in permutation_p_values(None, used, used, np.arange(40), draws=99)


@pytest.mark.parametrize("mixed", [False, True])
def test_permuted_labels_are_significant_no_more_often_than_they_may_be(mixed: bool) -> None:
    """Images of a group are alike, so a test that permuted single images would find 5% far too often."""
    p_values = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(30), 6)
        base = (rng.permutation(30) < 15)[groups]
        used = np.where(groups % 3 == 0, rng.permutation(180) % 2 == 0, base) if mixed else base
        scores = rng.normal(size=30)[groups] + 0.1 * rng.normal(size=180)
        p_values.append(permutation_p_values(scores, scores > 0, used, groups, draws=99, seed=seed))
    for name in p_values[0]:
        share = np.mean([each[name] <= 0.05 for each in p_values])
        assert share <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 300), name


def test_single_images_would_be_significant_too_often() -> None:
    """The harness above has the power to find a wrong test."""
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(30), 6)
        used, scores = (rng.permutation(30) < 15)[groups], rng.normal(size=30)[groups]
        found.append(permutation_p_values(scores, scores > 0, used, np.arange(180), draws=99, seed=seed)[AUROC])
    assert np.mean(np.array(found) <= 0.05) > 0.12


def test_permuted_labels_keep_whole_groups() -> None:
    groups = np.repeat(np.arange(9), [1, 1, 1, 2, 2, 2, 3, 3, 3])
    used = np.isin(groups, [0, 3, 4, 8])
    drawn = permuted_labels(used, groups, 200)
    assert {tuple(len(set(labels[groups == g])) for g in range(9)) for labels in drawn} == {(1,) * 9}
    assert {sum(labels[groups == g][0] for g in range(9)) for labels in drawn} == {4}
    used[groups == 8] = True, False, True  # now one group holds both kinds
    drawn = permuted_labels(used, groups, 200)
    for size in (1, 2, 3):
        of = [g for g in range(9) if (groups == g).sum() == size]
        patterns = {tuple(sorted(tuple(labels[groups == g]) for g in of)) for labels in drawn}
        assert patterns == {tuple(sorted(tuple(used[groups == g]) for g in of))}


def test_labels_that_can_hardly_be_arranged_otherwise_have_no_p() -> None:
    used = np.array([True, False, True, False])
    assert all(np.isnan(p) for p in permutation_p_values([3.0, 1, 2, 0], used, used, [0, 1, 2, 3]).values())


def test_differences_are_paired() -> None:
    """Two methods that stumble over the same images differ much less than their own intervals suggest."""
    used = np.arange(120) % 2 == 0
    noise = RNG.normal(size=120)
    good, bad = used + noise, used * 0.6 + noise
    decided = [good > 0.5, bad > 0.5]
    found = paired_differences([good, bad], decided, used, np.arange(120), draws=400)
    assert found[AUROC].value == pytest.approx(auroc(good, used) - auroc(bad, used))
    assert found["f1"].value == pytest.approx(theirs.f1_score(used, decided[0]) - theirs.f1_score(used, decided[1]))
    assert found[AUROC].low > 0
    turned = paired_differences([bad, good], decided[::-1], used, np.arange(120), draws=400)
    assert (turned[AUROC].low, turned[AUROC].high) == pytest.approx((-found[AUROC].high, -found[AUROC].low))
    assert AUROC not in paired_differences([good, None], decided, used, np.arange(120), draws=20)


def test_two_methods_without_error_have_no_interval_of_no_width() -> None:
    used = np.arange(20) < 10
    found = paired_differences([used * 1.0, used * 2.0], [used, used], used, np.arange(20), draws=50)
    for difference in found.values():
        assert difference.value == 0
        assert np.isnan([difference.low, difference.high]).all()
