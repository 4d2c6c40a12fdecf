"""Bootstrap, permutation tests and intervals by group: images of one patient stay together."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from math import isfinite, nan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from query.evaluation.effective import effective_number
from query.text import plain

DRAWS = 2000
LEVEL = 0.95

Rows = NDArray[np.int64]
Statistic = Callable[[Rows], float]  # rows of a sample, repeats included -> its value, NaN where it is undefined


@dataclass(frozen=True)
class Estimate:
    """A value that never travels without its interval: where it would lie in other samples of groups.

    Attributes:
        value: of the whole sample; NaN where it is undefined.
        low, high: ends of the interval; NaN where there are fewer than two groups or no resample defines the value.
        n: groups in the sample, None where that is not known: with few of them an interval is too narrow.
        undefined: resamples that were left out, because the value is undefined in them.
    """

    value: float
    low: float
    high: float
    n: int | None = None
    undefined: int = 0

    @classmethod
    def of(cls, value: float | None, low: float | None, high: float | None) -> "Estimate":
        """From a row of a table, where None stands for what is not defined."""
        value, low, high = (nan if each is None else each for each in (value, low, high))
        return cls(value, low, high)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values, None for what is not defined."""
        ends = dict(zip(("value", "low", "high"), plain(self.ends), strict=True))
        return ends if self.n is None else {**ends, "n": self.n, "undefined": self.undefined}

    @property
    def ends(self) -> tuple[float, float, float]:
        """Value, low, high."""
        return self.value, self.low, self.high

    @property
    def known(self) -> bool:
        """Whether the value is defined."""
        return isfinite(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether the ends are defined."""
        return isfinite(self.low)


@dataclass(frozen=True)
class Measured(Estimate):
    """An estimate beside what it is held against; each is None where nobody asked for it, NaN where it is not defined.

    Attributes:
        by_chance, all_used: of as many images predicted used at random; of all predicted used.
        p_value: share of permuted labels that do at least as well.
        of_share: of whoever says of every image the share of those used.
        asked, false: false positive rate that was asked for; that of the images at hand.
        images: that a share is one of.
        reason: why there is no value.
    """

    by_chance: float | None = None
    all_used: float | None = None
    p_value: float | None = None
    of_share: float | None = None
    asked: float | None = None
    false: float | None = None
    images: int | None = None
    reason: str | None = None

    @classmethod
    def beside(cls, estimate: Estimate, **figures: Any) -> "Measured":
        """The estimate with these figures."""
        return cls(*estimate.ends, estimate.n, estimate.undefined, **figures)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values, without what nobody asked for."""
        others = {item.name: getattr(self, item.name) for item in fields(self)[len(fields(Estimate)) :]}
        return super().as_dict() | {name: plain(value) for name, value in others.items() if value is not None}


def auroc(scores: ArrayLike, used: ArrayLike) -> float:
    """Probability that a used image has a higher score than one not used, ties counted half (Mann and Whitney, 1947).

    Args:
        scores: (n,) finite; larger speaks for "used" (of a distance, give the negative).
        used: (n,) bool.

    Returns:
        0..1, 0.5 for scores that tell nothing; NaN where all images are used or none is.

    Raises:
        ValueError: lengths differ, or a score is not finite.
    """
    values, members = np.asarray(scores, np.float64), np.asarray(used, bool)
    if values.ndim != 1 or values.shape != members.shape:
        raise ValueError(f"scores and used must be (n,) alike, got {values.shape} and {members.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"scores must be finite, {int((~np.isfinite(values)).sum())} are not")
    positives = int(members.sum())
    negatives = len(members) - positives
    if not positives or not negatives:
        return float("nan")
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]  # from 1, equal scores share their mean rank
    return float((ranks[members].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def grouped_interval(
    statistic: Statistic, groups: ArrayLike, *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Estimate:
    """Bootstrap by whole groups (Efron and Tibshirani, 1993, chapters 13 and 8), percentiles expanded (Hesterberg, 2015).

    Each resample draws as many groups as there are, with replacement, and takes all images of each. Resamples in which the
    statistic is undefined are left out and counted. A value at its limit (an AUROC of 1) resamples to itself: such an interval
    has no width and says no more than the number of groups does.

    Args:
        statistic: of the rows of a sample.
        groups: (n,) group of each row, of any type that can be sorted.
        draws: number of resamples.
        seed: of the draws; the same seed gives the same interval.
        level: share of resamples inside the interval.

    Raises:
        ValueError: draws is not positive, or level is not between 0 and 1.
    """
    rows = _rows_by_group(groups)
    _check(draws, level)
    value = float(statistic(np.arange(sum(map(len, rows)))))
    if len(rows) < 2:
        return Estimate(value, np.nan, np.nan, len(rows))
    samples = resamples(len(rows), draws, seed)
    resampled = np.array([statistic(np.concatenate([rows[group] for group in sample])) for sample in samples])
    return interval_of(value, resampled, len(rows), level)


def grouped_proportion(hits: ArrayLike, groups: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """The share of hits, with Clopper and Pearson's (1934) interval for the effective number of images.

    That number and its factor ``(z / t)^2`` for what estimating it adds are Korn and Graubard's (1998); with one image of every
    group it is the number of images, and the interval holds the share at least as often as it says. Where all rows are hits, or
    none is, groups are the trials, as if the images of a group were one.

    Args:
        hits: (n,) bool.
        groups: (n,), as `level` see `grouped_interval`.

    Raises:
        ValueError: lengths differ, or level is not between 0 and 1.
    """
    from scipy.special import betaincinv, ndtri, stdtrit

    hit, of = np.asarray(hits, bool), np.asarray(groups)
    if hit.ndim != 1 or hit.shape != of.shape:
        raise ValueError(f"hits and groups must be (n,) alike, got {hit.shape} and {of.shape}")
    _check(1, level)
    _, member = np.unique(of, return_inverse=True)
    number, value = int(member.max(initial=-1)) + 1, float(hit.mean()) if len(hit) else float("nan")
    if number < 2:
        return Estimate(value, np.nan, np.nan, number)
    images, freedom = (float(number), np.inf) if value in (0, 1) else effective_number(hit - value, member)
    if np.isfinite(freedom):
        images *= float((ndtri((1 + level) / 2) / stdtrit(freedom, (1 + level) / 2)) ** 2)
    found, tail = value * images, (1 - level) / 2
    low = float(betaincinv(found, images - found + 1, tail)) if value else 0.0
    high = float(betaincinv(found + 1, images - found, 1 - tail)) if value < 1 else 1.0
    return Estimate(value, low, high, number)


def resamples(groups: int, draws: int, seed: int) -> Iterator[Rows]:
    """Of each resample the numbers of its groups, as many as there are, repeats included; the same for the same arguments."""
    rng = np.random.default_rng(seed)
    return (rng.integers(groups, size=groups) for _ in range(draws))


def permuted_labels(used: ArrayLike, groups: ArrayLike, draws: int, seed: int = 0) -> NDArray[np.bool_]:
    """(draws, n) bool labels as they might have been, had the scores nothing to do with them (Good, 2005, chapter 3).

    Where every group is used as a whole or not at all, groups exchange their labels: whose patients were used is what might have
    been otherwise. That stands on a group's size not having decided whether it was used. As soon as one group holds both kinds,
    groups of equal size exchange their labels as they stand, image by image, and nothing else moves.

    Args:
        used: (n,) bool.
        groups: (n,) group of each row, of any type that can be sorted.
        seed: of the draws.

    Raises:
        ValueError: lengths differ, or draws is not positive.
    """
    members, rows = np.asarray(used, bool), _rows_by_group(groups)
    if members.ndim != 1 or sum(map(len, rows)) != len(members):
        raise ValueError("used and groups must be (n,) alike")
    _check(draws, LEVEL)
    rng = np.random.default_rng(seed)
    permuted = np.tile(members, (draws, 1))
    pure = all(len(set(members[of].tolist())) == 1 for of in rows)
    if pure and rows:
        labels = np.array([members[of[0]] for of in rows])
        shuffled = rng.permuted(np.tile(labels, (draws, 1)), axis=1)
        for number, of in enumerate(rows):
            permuted[:, of] = shuffled[:, [number]]
        return permuted
    for size in {len(of) for of in rows}:
        alike = np.array([of for of in rows if len(of) == size])  # (groups, size)
        order = rng.permuted(np.tile(np.arange(len(alike)), (draws, 1)), axis=1)
        permuted[:, alike.ravel()] = members[alike][order].reshape(draws, -1)
    return permuted


def interval_of(value: float, resampled: NDArray[np.float64], groups: int, level: float = LEVEL) -> Estimate:
    """The interval of a value from what it was in resamples; those in which it is NaN are left out and counted.

    Its ends are percentiles farther out than the level says, as t and the bias of a variance ask for (Hesterberg, 2015, American
    Statistician 69:371-386): resamples of few groups differ less than samples do.
    """
    from scipy.special import ndtr, stdtrit

    known = resampled[np.isfinite(resampled)]
    undefined = len(resampled) - len(known)
    if not len(known) or groups < 2:
        return Estimate(value, np.nan, np.nan, groups, undefined)
    tail = float(ndtr(-np.sqrt(groups / (groups - 1)) * stdtrit(groups - 1, (1 + level) / 2)))
    low, high = np.quantile(known, [tail, 1 - tail])
    return Estimate(value, float(low), float(high), groups, undefined)


def _rows_by_group(groups: ArrayLike) -> list[Rows]:
    """Rows of each group, groups in the order of their first rows: what they are called changes no interval."""
    _, first, member, sizes = np.unique(np.asarray(groups), return_index=True, return_inverse=True, return_counts=True)
    if not len(sizes):
        return []
    order = np.argsort(first)
    return np.split(np.argsort(np.argsort(order)[member], kind="stable"), np.cumsum(sizes[order])[:-1])


def _check(draws: int, level: float) -> None:
    if draws <= 0:
        raise ValueError(f"draws must be positive, got {draws}")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
