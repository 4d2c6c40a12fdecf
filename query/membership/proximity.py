"""Proximity scores of real images to generated ones, which methods combine.

A view's distances stand here as logarithms, so that ratios become differences; a distance of 0 counts as `EPSILON`. All comes
from reductions (`query.comparison.reductions`), each view compared once: see `measure`.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from query.comparison.reductions.attribution import Attribution
from query.comparison.reductions.averaged import Averaged
from query.comparison.reductions.contest import Contest
from query.comparison.reductions.drawn import Drawn
from query.comparison.reductions.driver import Reduction, reduce
from query.comparison.reductions.explained import Explained
from query.comparison.reductions.logarithms import logs
from query.comparison.reductions.neighbours import NearestGenerated
from query.comparison.reductions.occurrences import Occurrences
from query.comparison.reductions.rivals import Rivals
from query.comparison.reductions.sides import GeneratedVectors, RealVectors, Shard
from query.comparison.reductions.weights import Weights
from query.comparison.reductions.whitened import Factors, Whitened, factors_of, whitened_real
from query.membership.case import Case, Draws, MembershipError, Method, Model, Rows, Values, applied_to

NEAR = 5  # neighbours of `Nearness.NEAR`
WIDE = 50  # rank that `Nearness.D1_D50` compares with
CHOOSES = "pixels"  # view by which `Nearness.AVERAGED` chooses generated images, where it is indexed
NAMED = 10  # groups of real images that each generated one names, unless asked otherwise
_TERMS = 1e-12  # weights of ranks below this are left out


class Nearness(StrEnum):
    """How near a real image lies to the generated ones in one view; of all of them larger is nearer."""

    D1 = "d1"  # - log distance to the nearest
    NEAR = "near"  # - mean log distance to the 5 nearest
    D1_D50 = "d1_d50"  # log of the distance to the fiftieth over that to the nearest
    CONTEST = "contest"  # how much nearer its 3 nearest are to it than to any real image of another group, see `Contest`
    RESIDUAL = "residual"  # - log of what remains when the image is explained by its 20 nearest, see `Explained`
    ATTRIBUTION = "attribution"  # how much of the generated images it explains beside those of other groups, see `Attribution`
    PEAKS = "attribution peaks"  # the same, where the largest parts count most
    WHITE_ATTRIBUTION = "whitened attribution"  # `ATTRIBUTION` where all axes count alike, see `Whitened`
    WHITE_PEAKS = "whitened attribution peaks"  # `PEAKS` there
    AVERAGED = "averaged attribution"  # the same of the average of those it takes the largest part in, see `Averaged`


class Kind(StrEnum):
    """What reductions measure."""

    NEAREST = "nearest"
    CONTEST = "contest"
    OCCURRENCES = "occurrences"
    RESIDUAL = "residual"
    ATTRIBUTION = "attribution"
    WHITE_ATTRIBUTION = "whitened attribution"
    AVERAGED = "averaged attribution"


@dataclass(frozen=True)
class Measure:
    """Something that is measured of every real image in one view; `size` counts neighbours where the kind has a choice."""

    view: str
    kind: Kind
    size: int = 0


class Measures:
    """The reductions that give some measures, to be fed with all pairs.

    Args:
        reals: view -> all real images.
        rivals: of all real images.
        wanted: what to measure; of the nearest in one view as many as the largest of them looks at.
        factors: view -> by what its axes are whitened, where that is wanted.
        draws: rows of generated images, and measures of these alone.
    """

    def __init__(
        self,
        reals: Mapping[str, RealVectors],
        rivals: Rivals,
        wanted: Iterable[Measure],
        factors: Mapping[str, Factors] = MappingProxyType({}),
        draws: Mapping[Draws, Sequence[tuple[Rows, "Measures"]]] = MappingProxyType({}),
    ) -> None:
        weights = _Weights(reals, rivals)
        reductions = ((each, _reduction(each, reals[each.view], weights, factors)) for each in _each_once(wanted))
        self._by_measure = dict(reductions)
        self._draws = draws

    @property
    def reductions(self) -> list[Reduction[Any]]:
        """All of them."""
        drawn = [Drawn(own.reductions, rows) for draws in self._draws.values() for rows, own in draws]
        return [*self._by_measure.values(), *drawn]

    def results(self) -> dict[Hashable, Any]:
        """What each gives, for `Case.memory`: of the nearest their distances. Reductions are let go of: ask once."""
        measured: dict[Hashable, Any] = {}
        for measure in list(self._by_measure):
            reduction = self._by_measure.pop(measure)
            measured[measure] = reduction.distances() if isinstance(reduction, NearestGenerated) else reduction.result()
        return measured | {draws: [(rows, own.results()) for rows, own in each] for draws, each in self._draws.items()}


def _rivals(case: Case) -> Rivals:
    """The same whatever is measured: told apart by one view of the case."""
    return Rivals.of(case.groups, case.real.vectors[min(case.real.vectors)])


def _each_once(wanted: Iterable[Measure]) -> list[Measure]:
    """Of several numbers of nearest in one view the largest; it holds the others."""
    sizes: dict[tuple[str, Kind, int], int] = {}
    for each in wanted:
        key = (each.view, each.kind, 0 if each.kind is Kind.NEAREST else each.size)
        sizes[key] = max(each.size, sizes.get(key, 0))
    return [Measure(view, kind, size) for (view, kind, _), size in sizes.items()]


class _Weights(dict[str, Weights]):
    """View -> weights of its real images, made when they are first asked for: several reductions share them."""

    def __init__(self, reals: Mapping[str, RealVectors], rivals: Rivals) -> None:
        super().__init__()
        self.reals, self.rivals = reals, rivals

    def __missing__(self, view: str) -> Weights:
        self[view] = Weights(view, self.reals[view], self.rivals)
        return self[view]


def _reduction(measure: Measure, real: RealVectors, weights: _Weights, factors: Mapping[str, Factors]) -> Reduction[Any]:
    view, metric, count = measure.view, real.spec.metric, len(real.blank)
    if measure.kind is Kind.NEAREST:
        return NearestGenerated(view, metric, count, measure.size)
    if measure.kind is Kind.CONTEST:
        return Contest(view, metric, weights.rivals)
    if measure.kind is Kind.OCCURRENCES:
        return Occurrences(view, weights.rivals.group, measure.size)
    if measure.kind is Kind.WHITE_ATTRIBUTION:
        white = whitened_real(real, factors[view])
        return Whitened(view, white, factors[view], Attribution(Weights(view, white, weights.rivals)))
    if measure.kind is Kind.AVERAGED:
        return Averaged(weights[CHOOSES if CHOOSES in weights.reals else view], weights[view])
    return Explained(view, real) if measure.kind is Kind.RESIDUAL else Attribution(weights[view])


def _looked_at(case: Case, wanted: Iterable[Measure]) -> list[str]:
    """Views that these measures look at."""
    wanted = list(wanted)
    chooses = [CHOOSES] if CHOOSES in case.generated.specs and any(each.kind is Kind.AVERAGED for each in wanted) else []
    return list(dict.fromkeys([*(each.view for each in wanted), *chooses]))


def _factors(case: Case, wanted: Iterable[Measure]) -> dict[str, Factors]:
    """Of the views of which whitened vectors are wanted."""
    views = dict.fromkeys(each.view for each in wanted if each.kind is Kind.WHITE_ATTRIBUTION)
    return {view: case.once(f"factors of {view}", partial(_factors_of, case, view)) for view in views}


def _factors_of(case: Case, view: str) -> Factors:
    return factors_of(case.generated.vectors[view], case.generated.blank[view], case.generated.specs[view].metric)


@runtime_checkable
class Measuring(Protocol):
    """A method that knows beforehand what it will measure."""

    def measures(self, case: Case) -> list[Measure]:
        """What `answer` needs of all pairs; asked for or not, the answer is the same."""


def planned(
    case: Case, methods: Iterable[Method], models: Mapping[str, Model] = MappingProxyType({}), draws: int = 0
) -> Measures:
    """What methods will measure, to be fed with all pairs; then `case.memory.update(measures.results())`, and nothing is left.

    Args:
        case: of its labels only the number of images known not to be used is looked at.
        methods: those that will predict.
        models: method -> a model that it will apply.
        draws: of the generated images, for a model that was fitted on fewer, see `query.membership.cross_fit.applied`.

    Raises:
        MembershipError: a model does not fit the number of generated images.
    """
    by_size: dict[int, list[Method]] = {len(case.generated): []}
    for method in methods:
        model = models.get(method.name, Model(method.name))
        by_size.setdefault(applied_to(method.name, model, len(case.generated), draws), []).append(method)
    wanted = [each for method in by_size.pop(len(case.generated)) for each in _measures(method, case)]
    wanted += [each for view in _looked_at(case, wanted) for each in _quick(case, view)]
    reals = {view: real_vectors(case, view) for view in _looked_at(case, wanted)}
    of_draws = {Draws(size, draws): of_size for size, of_size in by_size.items()}
    drawn = {each: _of_draws(case, each, of_draws[each]) for each in of_draws}
    return Measures(reals, _rivals(case), wanted, _factors(case, wanted), drawn)


def _measures(method: Method, case: Case) -> list[Measure]:
    return method.measures(case) if isinstance(method, Measuring) else []


def _of_draws(case: Case, draws: Draws, methods: Sequence[Method]) -> list[tuple[Rows, Measures]]:
    return [(rows, planned(case.drawn(rows), methods)) for rows in draws.rows(len(case.generated), case.seed)]


def measure(case: Case, wanted: Iterable[Measure]) -> None:
    """Measure what is wanted and not known yet, in one pass over the views concerned.

    What costs little is measured along with it, so that the next method finds it: neighbours, contest and occurrences.
    """
    missing = [each for each in wanted if _known(case, each) is None]
    if not missing:
        return
    views = _looked_at(case, missing)
    along = [each for view in views for each in _quick(case, view) if _known(case, each) is None]
    reals = {view: real_vectors(case, view) for view in views}
    measures = Measures(reals, _rivals(case), [*missing, *along], _factors(case, missing))
    made = {view: GeneratedVectors(case.generated.vectors[view], case.generated.blank[view]) for view in views}
    reduce(reals, [Shard(0, made)], measures.reductions)
    case.memory.update(measures.results())


def _known(case: Case, wanted: Measure) -> Measure | None:
    """What was measured and holds this: itself, or of the nearest as many or more."""
    if wanted.kind is not Kind.NEAREST:
        return wanted if wanted in case.memory else None
    nearest = [each for each in case.memory if isinstance(each, Measure) and (each.view, each.kind) == (wanted.view, wanted.kind)]
    enough = [each for each in nearest if each.size >= min(wanted.size, len(case.generated))]
    return min(enough, key=lambda each: each.size, default=None)


def _quick(case: Case, view: str) -> list[Measure]:
    quick = [Measure(view, Kind.NEAREST, WIDE), Measure(view, Kind.CONTEST)]
    return quick + ([Measure(view, Kind.OCCURRENCES, NAMED)] if len(np.unique(case.groups)) > NAMED else [])


def real_vectors(case: Case, view: str) -> RealVectors:
    """One view of the real images of a case."""
    flipped = None if case.flipped is None else case.flipped.vectors[view]
    return RealVectors(case.generated.specs[view], case.real.vectors[view], flipped, case.real.blank[view])


_MEASURED = {
    Nearness.CONTEST: Kind.CONTEST,
    Nearness.RESIDUAL: Kind.RESIDUAL,
    Nearness.ATTRIBUTION: Kind.ATTRIBUTION,
    Nearness.PEAKS: Kind.ATTRIBUTION,
    Nearness.WHITE_ATTRIBUTION: Kind.WHITE_ATTRIBUTION,
    Nearness.WHITE_PEAKS: Kind.WHITE_ATTRIBUTION,
    Nearness.AVERAGED: Kind.AVERAGED,
}
_POWER = {Nearness.ATTRIBUTION: 0, Nearness.PEAKS: 1, Nearness.WHITE_ATTRIBUTION: 0, Nearness.WHITE_PEAKS: 1}  # row of the result


def measure_of(view: str, which: Nearness) -> Measure:
    """What a score is made from."""
    return Measure(view, _MEASURED[which]) if which in _MEASURED else Measure(view, Kind.NEAREST, WIDE)


def nearness(case: Case, view: str, which: Nearness) -> Values:
    """(nr,) float64, NaN where the view saw nothing in the image. Kept with the case: it does not depend on labels.

    Where there are fewer generated images than a score looks at, it looks at all.

    Raises:
        MembershipError: there are fewer than two.
    """
    if len(case.generated) < 2:
        raise MembershipError(f"there must be at least two generated images to measure nearness, got {len(case.generated)}")
    if which in _MEASURED:
        value = measured(case, measure_of(view, which))
        value = value[_POWER[which]] if which in _POWER else value
    else:
        near = log_nearest(case, view, {Nearness.D1: 1, Nearness.NEAR: NEAR, Nearness.D1_D50: WIDE}[which])
        value = near[:, -1] - near[:, 0] if which is Nearness.D1_D50 else -near.mean(axis=1)
    return np.where(case.real.blank[view], np.nan, value)


def measured(case: Case, wanted: Measure) -> Any:
    """The result of a measure; of the nearest perhaps more than were asked for."""
    measure(case, [wanted])
    return case.memory[_known(case, wanted)]


def log_nearest(case: Case, view: str, k: int) -> Values:
    """(nr, k) logarithms of the distances to the k nearest generated images, nearest first; to all where there are no k."""
    return logs(nearest(case, view, k), case.generated.specs[view].metric)


def nearest(case: Case, view: str, k: int) -> NDArray[Any]:
    """(nr, k) distances to the k nearest generated images, nearest first; to all where there are no k."""
    near: NDArray[Any] = measured(case, Measure(view, Kind.NEAREST, max(k, WIDE)))
    return near[:, : min(k, len(case.generated))]


def nearest_of_draw(case: Case, view: str, size: int, k: int = 1) -> Values:
    """(nr,) mean distance to the k nearest of a draw of `size` generated images, see `matched_nearest`."""
    weights = _rank_weights(len(case.generated), size, k)
    ranks = _ranks_that_count(weights)
    return np.asarray(nearest(case, view, ranks).astype(np.float64) @ weights[:ranks])


def measure_of_draw(case: Case, view: str, size: int, k: int = 1) -> Measure:
    """What `nearest_of_draw` is made from."""
    ranks = _ranks_that_count(_rank_weights(len(case.generated), size, k))
    return Measure(view, Kind.NEAREST, max(ranks, WIDE))


def _ranks_that_count(weights: Values) -> int:
    return int(np.flatnonzero(weights)[-1]) + 1


def matched_nearest(ordered: Values, size: int, k: int = 1) -> Values:
    """Mean of the k nearest that a draw of `size` candidates without replacement leads to expect.

    A nearest of 10,000 is nearer than one of 500 by number alone. This is the limit of drawing 500 of the 10,000 again and again,
    computed: the j-th nearest of a draw is the i-th nearest of all with the (negative) hypergeometric probability
    C(i - 1, j - 1) C(n - i, m - j) / C(n, m).

    Args:
        ordered: (r, n) candidates' values, nearest first.
        size: m, at least k and at most n.
        k: how many nearest the mean takes.

    Returns:
        (r,) float64.

    Raises:
        ValueError: size out of range.
    """
    n = ordered.shape[1]
    if not k <= size <= n:
        raise ValueError(f"a draw must hold {k} to {n} candidates, got {size}")
    return np.asarray(ordered @ _rank_weights(n, size, k))


def _rank_weights(n: int, m: int, k: int) -> Values:
    """(n,) how much each rank counts, of sum 1."""
    i = np.arange(1, n + 1)[:, None]
    j = np.arange(1, k + 1)[None]
    possible = (i >= j) & (n - i >= m - j)
    with np.errstate(invalid="ignore"):
        chance = np.exp(_log_choose(i - 1, j - 1) + _log_choose(n - i, m - j) - _log_choose(np.array(n), np.array(m)))
    weights = np.where(possible, chance, 0).mean(axis=1)
    weights[weights < _TERMS] = 0
    return np.asarray(weights / weights.sum())


def _log_choose(n: NDArray[np.int64], k: NDArray[np.int64]) -> Values:
    inside = (k >= 0) & (k <= n)
    n, k = np.where(inside, n, 0), np.where(inside, k, 0)
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
