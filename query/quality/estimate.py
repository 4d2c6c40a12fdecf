"""Estimates of fidelity: means over draws of equally many images of either side, with intervals from half-samples."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from indexer.build.build import Progress
from query.evaluation.resampling import Estimate
from query.leakage.draws import RealGroups, Rows, alike, half
from query.quality.features import VIEW
from query.quality.figures import Features, FidelityError, Figure, K, Own, compared, frechet

REAL, GENERATED, KEPT = "real", "generated", "kept"
GAP, CHANGE = "generated - real", "kept - generated"
HALVES = 50  # half-samples for an interval
DRAWN = 600  # images of a side that the draws from each half-sample hold together, about; at least 2 draws, at most 8
DRAWS = 5  # times as many for a value
MOST = 5_000  # images of a side that are compared at a time
LEVEL = 0.95
_FEWEST = 4  # patients of a side, for an interval
_SHARES = {Figure.PRECISION, Figure.RECALL, Figure.COVERAGE}

Sample = Mapping[str, Rows]  # name of a set -> rows of its images
Values = dict[str, dict[Figure, float]]
_DIFFERENCES = {GAP: (GENERATED, REAL), CHANGE: (KEPT, GENERATED)}  # within each draw, so that both have one reference
Estimates = Mapping[str, Mapping[Figure, Estimate]]


@dataclass(frozen=True)
class FidelitySettings:
    """How fidelity is measured.

    Attributes:
        k: neighbours of precision, recall, density and coverage.
        view: whose features are compared, before they are whitened: ``resnet``, with whichever weights, or ``pixels``.
        seed: of the draws.
    """

    k: int = K
    view: str = VIEW
    seed: int = 0


@dataclass(frozen=True)
class Pools:
    """Features that draws are taken from.

    Attributes:
        real: of real images; those of the reference, which generated images are held against, stand behind the others.
        groups: patients; without hold-out images all real images are one side, of which each draw holds back one half.
        generated: of generated images.
        sets: name -> rows of the generated images of a set, the first one with all of them.
    """

    real: Features
    groups: RealGroups
    generated: Features
    sets: Sample

    @property
    def held_out(self) -> bool:
        """Whether the reference is a set of its own."""
        return len(self.groups.hold_out) > 0


def estimated(pools: Pools, settings: FidelitySettings, progress: Progress) -> tuple[Estimates, int]:
    """The figures of all sets, and how many images of either side are compared at a time.

    Intervals are those of `query.leakage.leakage.estimate`: the value +- t standard errors from random halves of all sets.

    Raises:
        FidelityError: a side has not more than k images, or all real images are of one patient.
    """
    k, rng = settings.k, np.random.default_rng(settings.seed)
    real, everything = np.arange(len(pools.real)), np.arange(len(pools.generated))
    size = len(_draw(pools, real, everything, np.random.default_rng(settings.seed))[0])
    draws = min(max(DRAWN // max(size, 1), 2), 8)
    values = _mean_of([_figures(pools, _draw(pools, real, everything, rng), k) for _ in range(DRAWS * draws)])
    halves = []
    for done in range(HALVES):
        halves.append(_half_sample(pools, k, draws, rng))
        progress("intervals of fidelity", done + 1, HALVES)
    count = _fewest_patients(pools)
    figures = {
        name: {figure: _estimate((name, figure), value, _each(halves, name, figure), count) for figure, value in of.items()}
        for name, of in values.items()
    }
    return figures, size


def _each(halves: list[Values], name: str, figure: Figure) -> list[float]:
    return [half_sample[name][figure] for half_sample in halves]


def _half_sample(pools: Pools, k: int, draws: int, rng: np.random.Generator) -> Values:
    """Half of the patients of either side and half of the generated images; NaN where that is too few."""
    sides = [half(side, rng) for side in (pools.groups.training, pools.groups.hold_out)]
    real = np.flatnonzero(np.concatenate(sides))
    shown = np.sort(rng.permutation(len(pools.generated))[: (len(pools.generated) + 1) // 2])
    try:
        return _mean_of([_figures(pools, _draw(pools, real, shown, rng), k) for _ in range(draws)])
    except FidelityError:
        names = [REAL, *pools.sets, *(name for name, (one, _) in _DIFFERENCES.items() if one in pools.sets)]
        return {name: dict.fromkeys(Figure, np.nan) for name in names}


def _draw(pools: Pools, real: Rows, generated: Rows, rng: np.random.Generator) -> tuple[Rows, Rows, Sample]:
    """Rows of the reference, of other real images, and of each set of generated ones: equally many of each.

    Sets of generated images are drawn in one order, so that two of them share what they have in common.
    """
    split, numbers = len(pools.groups.training), pools.groups.both
    first = real >= split if pools.held_out else half(numbers[real], rng)
    reference, others = real[first], real[~first]
    if not len(reference) or not len(others):
        raise FidelityError("all real images are of one patient; it takes two to say what real images reach")
    one, two = alike(numbers[reference], numbers[others], rng)
    order = rng.permutation(generated)
    sets = {name: order[np.isin(order, rows)] for name, rows in pools.sets.items()}
    size = min(len(one), MOST, *map(len, sets.values()))
    reference, others = (rng.permutation(each)[:size] for each in (reference[one], others[two]))
    return reference, others, {name: rows[:size] for name, rows in sets.items()}


def _figures(pools: Pools, drawn: tuple[Rows, Rows, Sample], k: int) -> Values:
    """The figures of each set against the reference, and their differences."""
    reference = Own.of(pools.real.take(drawn[0]), k)
    sets = {REAL: pools.real.take(drawn[1])} | {name: pools.generated.take(rows) for name, rows in drawn[2].items()}
    values = {
        name: compared(reference, Own.of(each, k)) | {Figure.FRECHET: frechet(reference.features.values, each.values)}
        for name, each in sets.items()
    }
    return values | {name: _less(values[one], values[two]) for name, (one, two) in _DIFFERENCES.items() if one in values}


def _less(one: Mapping[Figure, float], two: Mapping[Figure, float]) -> dict[Figure, float]:
    return {figure: one[figure] - two[figure] for figure in Figure}


def _mean_of(draws: list[Values]) -> Values:
    return {name: {figure: float(np.mean([draw[name][figure] for draw in draws])) for figure in Figure} for name in draws[0]}


def _fewest_patients(pools: Pools) -> int:
    """Patients of the side that has fewest; of real images that are halved, of all."""
    sides = (pools.groups.training, pools.groups.hold_out) if pools.held_out else (pools.groups.training,)
    return min(len(np.unique(side)) for side in sides)


def _estimate(of: tuple[str, Figure], value: float, halves: list[float], patients: int) -> Estimate:
    """The value +- t standard errors, which are the spread of half-samples (delete-half jackknife, Shao and Wu 1989)."""
    from scipy.stats import t

    name, figure = of
    known = np.array(halves)[np.isfinite(halves)]
    undefined = HALVES - len(known)
    if patients < _FEWEST or undefined > HALVES / 2:
        return Estimate(value, np.nan, np.nan, patients, undefined)
    wide = float(t.ppf((1 + LEVEL) / 2, patients - 1) * known.std(ddof=1))
    low, high = value - wide, value + wide
    if name not in _DIFFERENCES and figure is not Figure.KERNEL:
        low = max(low, 0.0)
        high = min(high, 1.0) if figure in _SHARES else high
    return Estimate(value, low, high, patients, undefined)
