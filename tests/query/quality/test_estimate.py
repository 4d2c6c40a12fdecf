"""Estimates of fidelity: sets of one kind reach what real images reach; what is wrong with others shows in the right figure."""

import numpy as np
import pytest
from numpy.typing import NDArray

from query.leakage.draws import RealGroups
from query.quality import estimate
from query.quality.estimate import CHANGE, GAP, GENERATED, KEPT, REAL, Estimates, FidelitySettings, Pools, estimated
from query.quality.figures import FidelityError, Figure, on_grid

DIM, NONE = 4, np.zeros(0, np.int64)
Matrix = NDArray[np.float64]


@pytest.fixture(autouse=True)
def few_half_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "HALVES", 16)
    monkeypatch.setattr(estimate, "DRAWN", 200)


def patients(rng: np.random.Generator, count: int, images: int = 2, dim: int = DIM) -> tuple[Matrix, NDArray[np.int64]]:
    """Images of patients from one distribution, and whose they are."""
    groups = np.repeat(np.arange(count), images)
    return rng.normal(0, 1, (count, dim))[groups] + rng.normal(0, 0.5, (count * images, dim)), groups


def measured(real: Matrix, groups: RealGroups, generated: Matrix, kept: NDArray[np.bool_] | None = None) -> Estimates:
    sets = {GENERATED: np.arange(len(generated))} | ({} if kept is None else {KEPT: np.flatnonzero(kept)})
    one, two = on_grid(real, generated)
    return estimated(Pools(one, groups, two, sets), FidelitySettings(k=3), lambda *_: None)[0]


def test_generated_images_of_the_same_kind_reach_what_real_ones_reach() -> None:
    rng = np.random.default_rng(0)
    real, groups = patients(rng, 30)
    found = measured(real, RealGroups(groups, NONE), patients(rng, 30)[0])
    for figure in Figure:
        best, generated = found[REAL][figure], found[GENERATED][figure]
        assert best.low <= generated.value <= best.high, figure
        assert generated.low <= best.value <= generated.high, figure


def test_a_collapsed_generator_loses_recall_and_a_noisy_one_precision() -> None:
    rng = np.random.default_rng(1)
    real, groups = patients(rng, 30)
    collapsed = rng.normal(0, 0.2, (60, DIM))
    noisy = patients(rng, 30)[0] + rng.normal(0, 2, (60, DIM))
    lost, wide = (measured(real, RealGroups(groups, NONE), each)[GENERATED] for each in (collapsed, noisy))
    assert lost[Figure.RECALL].high < 0.2
    assert lost[Figure.PRECISION].value > 0.9
    assert wide[Figure.PRECISION].high < 0.5
    assert wide[Figure.RECALL].value > 0.9


def test_copies_look_best_against_training_images_and_no_better_against_others() -> None:
    rng = np.random.default_rng(2)
    training, groups = patients(rng, 40, dim=40)
    hold_out, others = patients(rng, 40, dim=40)
    copies = training + rng.normal(0, 0.01, training.shape)
    alone = measured(training, RealGroups(groups, NONE), copies)
    beside = measured(np.concatenate([training, hold_out]), RealGroups(groups, others + 40), copies)
    assert alone[GAP][Figure.FRECHET].high < 0
    for figure in Figure:  # a copy of a training image is as good there as the training image, no better
        assert beside[GENERATED][figure].value == pytest.approx(beside[REAL][figure].value, abs=0.05), figure


def test_a_filter_that_takes_a_whole_kind_away_loses_recall_and_one_that_takes_any_loses_nothing() -> None:
    rng = np.random.default_rng(3)
    real, groups = patients(rng, 30)
    generated = patients(rng, 90, 1)[0]
    any_image, one_kind = rng.random(90) < 0.7, np.abs(generated[:, :2]).max(axis=1) < 0.7
    harmless, harmful = (measured(real, RealGroups(groups, NONE), generated, kept)[CHANGE] for kept in (any_image, one_kind))
    assert all(harmless[figure].low <= 0 <= harmless[figure].high for figure in Figure)
    assert harmful[Figure.RECALL].high < 0
    assert harmful[Figure.FRECHET].value > 0


def test_the_change_is_kept_less_generated_and_two_runs_agree() -> None:
    rng = np.random.default_rng(4)
    real, groups = patients(rng, 12)
    generated = patients(rng, 40, 1)[0]
    first, second = (measured(real, RealGroups(groups, NONE), generated, np.arange(40) < 30) for _ in range(2))
    assert first == second
    for figure in Figure:
        assert first[CHANGE][figure].value == pytest.approx(first[KEPT][figure].value - first[GENERATED][figure].value)


def test_few_patients_give_no_interval_and_one_gives_nothing() -> None:
    rng = np.random.default_rng(5)
    real, groups = patients(rng, 3, 10)
    found = measured(real, RealGroups(groups, NONE), patients(rng, 30, 1)[0])
    assert not any(each.has_interval for of in found.values() for each in of.values())
    with pytest.raises(FidelityError, match="all real images are of one patient"):
        measured(real, RealGroups(np.zeros(30, np.int64), NONE), real)
