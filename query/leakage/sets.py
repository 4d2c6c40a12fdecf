"""Several generated sets against the same training and hold-out images: which of them leaks less, and by how much.

Each figure of `query.leakage.leakage`, and the attacks, are computed for every set at equal numbers of generated images, from the
same draws of real images. A difference is that of a set less that of the first one. NumPy, and SciPy for quantiles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from query.comparison.combined import COMBINED
from query.evaluation.resampling import Estimate, auroc
from query.inputs.groups import Given
from query.leakage import leakage as single
from query.leakage.attacks import AttackKind, Attacks, success_rates, wilson
from query.leakage.draws import Part, RealGroups, Rows, alike, half
from query.leakage.evidence import evidence
from query.leakage.leakage import (
    ALPHA,
    LEVEL,
    Figure,
    Leakage,
    LeakageError,
    LeakageSets,
    View,
    grouped,
    interval_of_halves,
    seen,
    views_of_sets,
)
from query.leakage.primary import PRIMARIES
from query.leakage.set_figures import COPIES, LEAKS_MORE, NAMES, NEAREST, NOTHING_LEAKS, RISKS, UNITS, Unit
from query.leakage.sets_text import notebook_html, set_sentences
from query.membership.set_test import SetTest
from query.text import plain

if TYPE_CHECKING:
    import pandas as pd

DRAWS = 10  # of generated and real images, for a value; more where they cover less, see `_Sets.covering`
DEALS = 60  # of the images of two sets, for what an interval owes to generated images
SPLITS, HALVES = 10, 5  # of the sets, and halves of the patients for each, for what it owes to patients
DEAL_DRAWS, HALF_DRAWS = 2, 4  # for each deal, twice; for each half of a set
Values = NDArray[np.float64]


@dataclass(frozen=True)
class SetFigure:
    """A figure of one set.

    Attributes:
        of: name of the set.
        view: by whose distances.
        figure: its name, one of `NAMES`, or `COPIES`.
        value: with an interval of 95%.
        difference: of this set less the first one, with an interval that holds for all sets together; None of the first.
    """

    of: str
    view: str
    figure: str
    value: Estimate
    difference: Estimate | None = None

    @property
    def less(self) -> bool | None:
        """Whether the set leaks less than the first by this figure; None where the interval holds 0, or more is not worse."""
        found, sign = self.difference, LEAKS_MORE.get(self.figure)
        if found is None or sign is None or not found.has_interval or found.low <= 0 <= found.high:
            return None
        return found.value * sign < 0


@dataclass(frozen=True)
class SetSize:
    """A generated set.

    Attributes:
        name: as given.
        images: that could be read.
        test: of the training patients, by as many images as all sets have; see `query.leakage.evidence`.
    """

    name: str
    images: int
    test: SetTest


@dataclass(frozen=True, repr=False)
class LeakageOfSets:
    """What generated sets leak, side by side.

    Attributes:
        sets: in the order given; others are held against the first, if there are others.
        figures: of all sets and views, in the order of `NAMES`.
        generated: images of each set that are compared at a time.
        draws: of so many images from each larger set, over which values are means.
        training, hold_out: real images.
        compared: training and as many hold-out images that each figure compares at a time.
        primary: figure of the combined view that was named beforehand.
        level: of each interval of a difference, so that those of one figure hold together with 95%.
    """

    sets: tuple[SetSize, ...]
    figures: tuple[SetFigure, ...]
    generated: int
    draws: int
    training: int
    hold_out: int
    compared: int
    primary: str
    level: float

    @classmethod
    def of_one(cls, name: str, found: Leakage, attacked: Attacks) -> "LeakageOfSets":
        """What one set leaks, with the same numbers; it is held against nothing.

        Args:
            name: of the set.
            found: its figures and its test.
            attacked: the attacks on it.
        """
        of_views = [(view, figure, value) for view, known in found.views.items() for figure, value in known.items()]
        figures = [SetFigure(name, view, str(figure), value) for view, figure, value in of_views]
        risks = {RISKS[kind]: attack.risk for kind, attack in attacked.made.items()}
        figures += [SetFigure(name, COMBINED, risk, Estimate(each.value, each.low, each.high)) for risk, each in risks.items()]
        size = SetSize(name, found.generated, found.test)
        sizes = found.generated, 1, found.training, found.hold_out, found.compared
        return cls((size,), tuple(figures), *sizes, PRIMARIES[0], LEVEL)

    def with_copies(self, name: str, copies: int) -> "LeakageOfSets":
        """The same, with the share of all images of a set that are exact or near-exact copies of training images.

        Shares have Wilson's interval (1927); a difference has Newcombe's, the tenth of his methods (Statistics in Medicine
        1998, 17:873-890). Generated images are the trials, since copies are evidence by themselves, and need no hold-out image.

        Args:
            name: of the set; the first set comes first.
            copies: images of it that are copies, see `query.comparison.copies`.
        """
        images, first = next(each.images for each in self.sets if each.name == name), self.of(self.sets[0].name).get(COPIES)
        value, apart = _share(copies, images, LEVEL), None
        if first is not None:
            count = next(each.images for each in self.sets)
            mine, theirs = _share(copies, images, self.level), _share(round(first.value.value * count), count, self.level)
            gap = mine.value - theirs.value
            low = gap - float(np.hypot(mine.value - mine.low, theirs.high - theirs.value))
            high = gap + float(np.hypot(mine.high - mine.value, theirs.value - theirs.low))
            apart = Estimate(gap, low, high)
        return replace(self, figures=(*self.figures, SetFigure(name, COMBINED, COPIES, value, apart)))

    def of(self, name: str, view: str = COMBINED) -> dict[str, SetFigure]:
        """Figures of one set by one view."""
        return {each.figure: each for each in self.figures if each.of == name and each.view == view}

    @property
    def views(self) -> tuple[str, ...]:
        """Views, the combined one last."""
        return tuple(dict.fromkeys(each.view for each in self.figures))

    @cached_property
    def answers(self) -> tuple[SetFigure, ...]:
        """The primary figure of every set but the first."""
        return tuple(self.of(each.name)[self.primary] for each in self.sets[1:])

    @property
    def ranking(self) -> tuple[SetFigure, ...]:
        """The primary figure of every set, the least leakage first; undefined ones last."""
        found = [self.of(each.name)[self.primary] for each in self.sets]
        sign = LEAKS_MORE[self.primary]
        return tuple(sorted(found, key=lambda each: (not each.value.known, sign * each.value.value if each.value.known else 0)))

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values; null where something is not defined."""
        sizes = {"generated_compared": self.generated, "draws": self.draws, "training": self.training, "hold_out": self.hold_out}
        sets = [{"set": each.name, "images": each.images, **_test(each.test)} for each in self.sets]
        return {
            "answer": set_sentences(self),
            "primary": {"view": COMBINED, "figure": self.primary},
            "level_of_differences": self.level,
            **sizes,
            "real_compared": self.compared,
            "sets": sets,
            "figures": [dict(zip(COLUMNS, row, strict=True)) for row in self.rows()],
        }

    def rows(self) -> list[tuple[Any, ...]]:
        """Figures as rows of `COLUMNS`, None for what is not defined."""
        return [plain(_row(each)) for each in self.figures]

    def to_pandas(self) -> "pd.DataFrame":
        """A row for each set, view and figure, see `COLUMNS`."""
        import pandas as pd

        return pd.DataFrame(self.rows(), columns=list(COLUMNS))

    def __repr__(self) -> str:
        return f"LeakageOfSets({', '.join(each.name for each in self.sets)}; primary figure {self.primary})"

    def _repr_html_(self) -> str:
        """The answer, and the figures that say more or less leakage."""
        return notebook_html(self)


COLUMNS = (
    "set", "view", "figure", "unit", "expected", "value", "low", "high", "difference", "difference_low", "difference_high",
)  # fmt: skip


def _row(each: SetFigure) -> tuple[Any, ...]:
    apart = each.difference.ends if each.difference else (None, None, None)
    return (
        each.of, each.view, each.figure, str(UNITS[each.figure]), NOTHING_LEAKS.get(each.figure), *each.value.ends, *apart
    )  # fmt: skip


def _test(test: SetTest) -> dict[str, Any]:
    return {"p_value": plain(test.p_value), "share_low": plain(test.share_low)}


# From collections


def groups_of_sets(sets: Mapping[str, LeakageSets], grouping: Given | None) -> RealGroups:
    """Patients of the real images, see `query.leakage.leakage.grouped`; every set is checked against the hold-out images.

    Raises:
        LeakageError: there are fewer than two sets, or they have different real images.
        ContaminationError, GroupsError: see there.
    """
    if len(sets) < 2:
        raise LeakageError(f"at least two generated sets are needed to be held against each other, got {len(sets)}")
    first = next(iter(sets.values()))
    if any(each.training is not first.training or each.hold_out is not first.hold_out for each in sets.values()):
        raise LeakageError("all sets must be held against the same training and hold-out images")
    return next(iter([grouped(each, grouping) for each in sets.values()]))


def leakage_of_sets(
    sets: Mapping[str, LeakageSets], groups: RealGroups, *, primary: str = PRIMARIES[0], seed: int = 0
) -> LeakageOfSets:
    """Every figure of several generated sets, and the differences from the first.

    Args:
        sets: name -> the set with the training and hold-out images, the same ones for all; embedded by views that were fitted on
            images of all sets alike, or on none of them.
        groups: patients of these real images, see `query.leakage.leakage.grouped`.
        primary: the figure of the combined view that the answer is about, one of `PRIMARIES`.
        seed: of all draws.

    Raises:
        LeakageError: there is no such figure, or every image of a set is blank.
    """
    sizes = [len(each.generated) for each in sets.values()]
    ends = np.cumsum(sizes)
    rows = {name: np.arange(end - size, end) for name, size, end in zip(sets, sizes, ends, strict=True)}
    rng = np.random.default_rng(seed)
    equal = np.concatenate([np.sort(rng.permutation(own)[: min(sizes)]) for own in rows.values()])
    views = views_of_sets(list(sets.values()), groups, seed, scaled_by=equal)
    return figures_of_sets(views, rows, groups, primary=primary, seed=seed)


def figures_of_sets(
    views: Mapping[str, View], rows: Mapping[str, Rows], groups: RealGroups, *, primary: str = PRIMARIES[0], seed: int = 0
) -> LeakageOfSets:
    """The same from distances.

    Args:
        views: of the images of all sets together, see `query.leakage.leakage.views_of_sets`.
        rows: name of a set -> its rows in the views.
        groups, primary, seed: see `leakage_of_sets`.

    Raises:
        LeakageError: there is no such figure, or every image of a set is blank.
    """
    if primary not in PRIMARIES:
        raise LeakageError(f"{primary!r} cannot be primary; {' or '.join(PRIMARIES)} can")
    empty = next((name for name, own in rows.items() if not views[COMBINED].seen_generated[own].any()), None)
    if empty is not None:
        raise LeakageError(f"every image of {empty} is blank to every view, so there is nothing to compare")
    level = 1 - (1 - LEVEL) / (len(rows) - 1)
    found = [_Sets(view, name == COMBINED, rows, groups).figures(name, seed, level) for name, view in views.items()]
    whole = _Sets(views[COMBINED], True, rows, groups)
    tests = whole.tests(seed)
    sizes = tuple(SetSize(name, len(own), tests[name]) for name, own in rows.items())
    training, hold_out = len(groups.training), len(groups.hold_out)
    draws = DRAWS * whole.covering
    everything = tuple(figure for of_view in found for figure in of_view)
    return LeakageOfSets(sizes, everything, whole.size, draws, training, hold_out, whole.drawn, primary, level)


def _of_images(deals: Values, draws: int) -> Values:
    """The variance of a difference that is owed to generated images, at these patients, and to the draws of a value.

    Deals are about 0 by symmetry. Two computations of one deal share its images and not its draws: their covariance is the
    variance without the noise of draws, which a value of `draws` draws has less of than a deal.

    Args:
        deals: (deals, 2, figures), see `_Sets._deals`.
        draws: that a value is the mean of.

    Returns:
        (figures,); NaN where fewer than half of the deals define a figure.
    """
    known = np.isfinite(deals).all(axis=1).mean(axis=0) >= 0.5
    noise = min(2 * DEAL_DRAWS / draws, 1)
    whole, shared = _known_mean(deals.mean(axis=1) ** 2), _known_mean(deals.prod(axis=1))
    return np.where(known, (1 - noise) * np.maximum(shared, 0) + noise * whole, np.nan)


def _of_patients(halves: Values) -> Values:
    """The variance of a figure that is owed to the patients: what halves of a set have in common over halves of the patients.

    Halves without replacement vary as much as the mean over all does (delete-half jackknife). A z-score grows with the root of
    the size.

    Args:
        halves: (splits, halves, 2, figures).

    Returns:
        (figures,), 0 where the covariance is below it.
    """
    moved = halves - _known_mean(halves, 1, keepdims=True)
    found = _known_mean(moved.prod(axis=2), (0, 1)) * HALVES / (HALVES - 1)
    return np.maximum(found, 0) * np.where(np.array(NAMES) == Figure.C_T, 2, 1)


@dataclass(frozen=True)
class _Sets:
    """The sets by one view.

    Attributes:
        view: of the images of all sets.
        attacked: whether attacks are made too.
        rows: name -> rows of the set.
        groups: of the real images.
    """

    view: View
    attacked: bool
    rows: Mapping[str, Rows]
    groups: RealGroups

    @cached_property
    def parts(self) -> list[Part]:
        """Of each set, all that is not blank."""
        real = np.arange(len(self.groups.training)), np.arange(len(self.groups.hold_out))
        return [seen(self.view, Part(rows, *real)) for rows in self.rows.values()]

    @property
    def size(self) -> int:
        """Generated images of each set in a draw."""
        return min(len(part.generated) for part in self.parts)

    @cached_property
    def drawn(self) -> int:
        """Real images of either side in a draw."""
        training, hold_out = self.groups.training[self.parts[0].training], self.groups.hold_out[self.parts[0].hold_out]
        return len(alike(training, hold_out, np.random.default_rng(0))[0]) if min(len(training), len(hold_out)) else 0

    @property
    def covering(self) -> int:
        """Draws that together are as many images as the largest set, and the larger side of the real ones, have; at most 10."""
        part = self.parts[0]
        real = max(len(part.training), len(part.hold_out)) / max(self.drawn, 1)
        made = max(len(part.generated) for part in self.parts) / max(self.size, 1)
        return int(min(single.DRAWS, np.ceil(max(real, made, 1))))

    def figures(self, name: str, seed: int, level: float) -> list[SetFigure]:
        """All figures of all sets, with intervals."""
        rng = np.random.default_rng(seed)
        draws = DRAWS * self.covering
        values = self._means(self.parts, self.size, draws, rng)
        halves = self._halves(rng)
        errors = [None, *(self._error(number, halves, draws, rng) for number in range(1, len(self.rows)))]
        patients = min(
            len(np.unique(self.groups.training[self.parts[0].training])),
            len(np.unique(self.groups.hold_out[self.parts[0].hold_out])),
        )
        found = []
        for place, figure in enumerate(NAMES):
            if figure in RISKS.values() and not self.attacked:
                continue
            for number, (of, error) in enumerate(zip(self.rows, errors, strict=True)):
                own, value = halves[..., number, place].ravel(), float(values[number, place])
                apart = value - float(values[0, place])
                difference = None if error is None else _difference(figure, apart, float(error[place]), patients, level)
                found.append(SetFigure(of, name, figure, interval_of_halves(figure, value, own, patients), difference))
        return found

    def tests(self, seed: int) -> dict[str, SetTest]:
        """The test of training patients, by one draw of each set."""
        rng = np.random.default_rng(seed)
        tested = {}
        for name, part in zip(self.rows, self.parts, strict=True):
            some = replace(part, generated=_some(part.generated, self.size, rng))
            tested[name] = evidence(self.view.training, self.view.hold_out, [some], self.groups, seed)
        return tested

    def _halves(self, rng: np.random.Generator) -> Values:
        """(splits, halves, 2, sets, figures) of both halves of each set, by halves of the patients, the same for all sets."""
        found = np.full((SPLITS, HALVES, 2, len(self.rows), len(NAMES)), np.nan)
        training, hold_out = self.parts[0].training, self.parts[0].hold_out
        for split in range(SPLITS):
            dealt = [np.array_split(rng.permutation(part.generated), 2) for part in self.parts]
            for place in range(HALVES):
                ours = training[half(self.groups.training[training], rng)]
                theirs = hold_out[half(self.groups.hold_out[hold_out], rng)]
                for side in range(2):
                    parts = [Part(np.sort(of_set[side]), ours, theirs) for of_set in dealt]
                    found[split, place, side] = self._means(parts, self.size // 2, HALF_DRAWS, rng)
        return found

    def _deals(self, number: int, rng: np.random.Generator) -> Values:
        """(deals, 2, figures) differences, computed twice, where the images of a set and of the first are dealt out at random."""
        found = np.full((DEALS, 2, len(NAMES)), np.nan)
        both = self.parts[0], self.parts[number]
        for deal in range(DEALS):
            pool = rng.permutation(np.concatenate([_some(part.generated, self.size, rng) for part in both]))
            parts = [replace(both[0], generated=np.sort(own)) for own in np.split(pool, 2)]
            for turn in range(2):
                first, second = self._means(parts, self.size, DEAL_DRAWS, rng)
                found[deal, turn] = second - first
        return found

    def _error(self, number: int, halves: Values, draws: int, rng: np.random.Generator) -> Values:
        """(figures,) standard errors of the difference of this set from the first."""
        two = halves[..., [0, number], :]
        spread = _known_mean((two[:, :, 0] - two[:, :, 1]) ** 2, (0, 1))  # (2, figures) owed to the images of each set
        total = spread.sum(axis=0)
        share = np.where(total > 0, spread / np.where(total > 0, total, 1), 0.5)
        sizes = np.array([[self.size / len(self.parts[place].generated)] for place in (0, number)])
        of_images = _of_images(self._deals(number, rng), draws) * (share * sizes).sum(axis=0)
        return np.asarray(np.sqrt(of_images + _of_patients(two[..., 1, :] - two[..., 0, :])), np.float64)

    def _means(self, parts: Sequence[Part], size: int, draws: int, rng: np.random.Generator) -> Values:
        """(sets, figures) means over draws of equally many images of each set; the same real images are drawn for all of them."""
        found = np.full((draws, len(parts), len(NAMES)), np.nan)
        rates: dict[tuple[int, AttackKind], list[tuple[float, float]]] = {}
        for draw in range(draws):
            common = int(rng.integers(2**63))
            for number, part in enumerate(parts):
                drawn = replace(part, generated=_some(part.generated, size, rng))
                own = np.random.default_rng(common)
                figures = single.figures(self.view, drawn, self.groups, own, ALPHA)
                values = {str(figure): value for figure, value in figures.items()}
                values[Figure.C_T] = single.c_t_of(self.view, drawn)
                values[NEAREST] = nearest_auroc(self.view, drawn, self.groups, own)
                found[draw, number] = [values.get(figure, np.nan) for figure in NAMES]
                if self.attacked:
                    for kind, success in success_rates(*self._only(drawn), own).items():
                        rates.setdefault((number, kind), []).append(success)
        means = _known_mean(found)
        for (number, kind), successes in rates.items():
            main, control = np.mean(successes, axis=0)
            means[number, NAMES.index(RISKS[kind])] = (main - control) / (1 - control) if control < 1 else np.nan
        return means

    def _only(self, part: Part) -> tuple[View, RealGroups]:
        """The view and the groups of these images alone."""
        g, t, h = part.generated, part.training, part.hold_out
        made, training, hold_out = (np.ones(len(rows), bool) for rows in (g, t, h))
        distances = self.view.training[np.ix_(g, t)], self.view.hold_out[np.ix_(g, h)]
        return View(*distances, made, training, hold_out), RealGroups(self.groups.training[t], self.groups.hold_out[h])


def nearest_auroc(view: View, part: Part, groups: RealGroups, rng: np.random.Generator) -> float:
    """How well the distance to the nearest generated image tells training from hold-out images, 0.5 where it does not; an AUROC.

    It is the full black-box attack of Chen et al., "GAN-Leaks", CCS 2020, on equally many images by patient of both sides. The
    nearest of more images is nearer: sets of different sizes cannot be compared by it.
    """
    g, t, h = part.generated, part.training, part.hold_out
    if not len(g) or not min(len(t), len(h)):
        return np.nan
    one, two = alike(groups.training[t], groups.hold_out[h], rng)
    training, hold_out = view.training[np.ix_(g, t[one])].min(axis=0), view.hold_out[np.ix_(g, h[two])].min(axis=0)
    return auroc(-np.concatenate([training, hold_out]), np.repeat([True, False], [len(one), len(two)]))


def _some(rows: Rows, size: int, rng: np.random.Generator) -> Rows:
    """So many of the rows, drawn without replacement; all of them where there are no more."""
    return rows if len(rows) <= size else np.sort(rng.permutation(rows)[:size])


def _known_mean(values: Values, axes: int | tuple[int, ...] = 0, keepdims: bool = False) -> Values:
    """The mean of what is defined; NaN where nothing is."""
    known = np.isfinite(values)
    counts = known.sum(axis=axes, keepdims=keepdims)
    total = np.where(known, values, 0).sum(axis=axes, keepdims=keepdims)
    return np.asarray(np.where(counts > 0, total / np.maximum(counts, 1), np.nan))


def _share(count: int, of: int, level: float) -> Estimate:
    """A share with Wilson's interval."""
    middle, wide = wilson(count, of, level)
    return Estimate(count / of, max(middle - wide, 0.0), min(middle + wide, 1.0))


def _difference(figure: str, value: float, error: float, patients: int, level: float) -> Estimate:
    """A difference of two sets with t standard errors, see `docs/MEMBERSHIP.md`.

    Two shares that are equal in every deal and half get the width that Clopper and Pearson give to none of so many patients.
    """
    from scipy.stats import t

    if patients < 4 or not np.isfinite(error) or np.isnan(value):
        return Estimate(value, np.nan, np.nan, patients)
    wide = float(t.ppf((1 + level) / 2, patients - 1)) * error
    if error == 0 and UNITS[figure] is Unit.SHARE:
        wide = 1 - ((1 - level) / 2) ** (1 / patients)
    return Estimate(value, value - wide, value + wide, patients)
