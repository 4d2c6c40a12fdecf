"""The filter's decision on the generated images of a comparison, where real images of both kinds are known."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from query.comparison.combined import COMBINED, weights_of
from query.comparison.comparison import Comparison
from query.leakage.attacks import Attacks, attacks
from query.leakage.draws import Part, RealGroups, whole
from query.leakage.filter import Release, folds, scores_of, threshold_for
from query.leakage.leakage import Figure, Leakage, LeakageError, View, combined_of, leakage
from query.leakage.risk import RISK

FIGURES = (Figure.NEARER, Figure.MEMORISED, Figure.MEMORISED_HOLD_OUT, Figure.MEMORISED_EXCESS)

P_VALUE, SHARE_LOW = "p_value", "share_low"  # names of what the test of patients says, beside those of figures
Ends = tuple[float, float, float]  # value, low, high


@dataclass(frozen=True)
class ReleaseDecisions:
    """Which generated images to keep, and what leakage remains.

    Attributes:
        score: (ng,) float64, of the nearest used image; NaN for an image that is blank in every view.
        threshold: withheld above it.
        risk: share of images lost of a generator that copies nothing; None where nothing calibrates the threshold.
        nearest: (ng,) int64 rows of the nearest used images among the real ones.
        distance: (ng,) combined distance to them.
        leakage: (``before`` or ``after`` the filter, view) -> figure, or what the test says -> value and ends of its interval.
        attacks: in the words of regulators, on all generated images; None where real images of both kinds are not known.
    """

    score: NDArray[np.float64]
    threshold: float
    risk: float | None
    nearest: NDArray[np.int64]
    distance: NDArray[np.float64]
    leakage: Mapping[tuple[str, str], Mapping[str, Ends]]
    attacks: Attacks | None = None

    @classmethod
    def of_release(cls, release: Release, training: Sequence[str]) -> "ReleaseDecisions":
        """Those of `query.leakage.filter` with the training images of these names as the real ones."""
        row_of = {name: row for row, name in enumerate(training)}
        nearest = np.array([row_of[name] for name in release.nearest], np.int64)
        figures = {
            (when, view): _ends(leak, view, leak.views[view])
            for when, leak in (("before", release.before), ("after", release.after))
            if leak
            for view in leak.views
        }
        risk = release.risk if release.calibrated else None
        return cls(release.score, release.threshold, risk, nearest, release.distance, figures, release.attacks)


def decide_release(comparison: Comparison, labels: Mapping[int, bool], groups: Mapping[int, str]) -> ReleaseDecisions | None:
    """Let the filter sort the generated images, and measure what remains; None where it cannot.

    See `query.leakage.filter.sort_out`, of which this is the part for labelled images of one collection.

    Args:
        comparison: of at most `query.comparison.comparison.MAX_PAIRS` pairs; of more the filter decides nothing.
        labels: row of a real image -> whether it was used.
        groups: row of a real image -> its patient or series; an image without one is a group by itself.
    """
    if not comparison.complete or len(set(labels.values())) < 2:
        return None
    try:
        return _decide(comparison, labels, groups)
    except LeakageError:
        return None


def _decide(comparison: Comparison, labels: Mapping[int, bool], groups: Mapping[int, str]) -> ReleaseDecisions:
    real, generated = comparison.sides.real, comparison.sides.generated
    used, unused = (np.array([row for row, label in sorted(labels.items()) if label is kind]) for kind in (True, False))
    named = [f"group: {groups[row]}" if row in groups else f"alone: {len(generated) + row}" for row in range(len(real))]
    real_groups = groups_of([named[row] for row in used], [named[row] for row in unused])
    plain = {view: np.ascontiguousarray(each.plain.T) for view, each in comparison.views.items() if each.plain is not None}
    shown, seen = (~np.logical_and.reduce([side.blank[view] for view in weights_of(side.views)]) for side in (generated, real))
    rows = np.concatenate([used, unused])
    blank = {view: flags[rows] for view, flags in real.blank.items()}
    combined = combined_of({name: each[:, rows] for name, each in plain.items()}, generated.blank, blank, real_groups.both)
    view = View(combined[:, : len(used)], combined[:, len(used) :], shown, seen[used], seen[unused])
    scores = scores_of(view, real_groups)
    limit = threshold_for(scores.hold_out, real_groups.hold_out, real_groups.training, RISK, np.random.default_rng(0))
    parts = {"before": whole(len(generated), real_groups), "after": folds(scores, real_groups, RISK)}
    with ThreadPoolExecutor(len(parts)) as pool:
        figures = dict(zip(parts, pool.map(lambda part: _figures(view, part, real_groups), parts.values()), strict=True))
    best = np.full(len(generated), np.nan)
    best[scores.rows] = scores.training.max(axis=1)
    nearest = view.training.argmin(axis=1)
    distance = view.training[np.arange(len(generated)), nearest].astype(np.float64)
    leak = {(when, COMBINED): each for when, each in figures.items()}
    attacked = attacks(view, real_groups)
    return ReleaseDecisions(best, limit, RISK, used[nearest].astype(np.int64), distance, leak, attacked)


def _figures(view: View, parts: Sequence[Part], groups: RealGroups) -> dict[str, Ends]:
    return _ends(leakage({COMBINED: view}, parts, groups), COMBINED, FIGURES)


def _ends(found: Leakage, view: str, names: Iterable[Figure]) -> dict[str, Ends]:
    """Figures of a view; and of the combined one what the test says."""
    figures = {str(name): found.views[view][name].ends for name in names}
    if view != COMBINED:
        return figures
    return figures | {P_VALUE: (found.test.p_value, np.nan, np.nan), SHARE_LOW: (found.test.share_low, np.nan, np.nan)}


def groups_of(used: Sequence[str], unused: Sequence[str]) -> RealGroups:
    """Groups by number.

    Raises:
        LeakageError: a group is on both sides.
    """
    shared = set(used) & set(unused)
    if shared:
        raise LeakageError(f"{len(shared):,} groups hold used images and others not used, so the kinds cannot be compared")
    number = {name: i for i, name in enumerate(dict.fromkeys([*used, *unused]))}  # names may be hashes: their order is chance
    return RealGroups(np.array([number[name] for name in used]), np.array([number[name] for name in unused]))
