"""Leakage metrics: are generated images nearer to training images than to a hold-out set.

The patient is the unit. Whether there is evidence is decided by a test of patients (`query.leakage.evidence`). The figures
describe: each compares equally many patients of both sides with equally many images (`query.leakage.draws.alike`), a mean over
draws; intervals come from half-samples of patients, see `estimate`. NumPy, and scikit-learn for cells.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import SynthtraceError
from embeddings.types import Metric
from indexer.collection import Collection
from indexer.manifest import CollectionError
from indexer.search import brute_force
from query.comparison.bulk import Moments, Scale, bulk_moments_by_patient
from query.comparison.combined import COMBINED, Evidence, combined, standardised, weights_of
from query.evaluation.resampling import Estimate
from query.inputs.contamination import Role, Side, contamination
from query.inputs.groups import Given, Grouped, by_content
from query.inputs.sides import refuse_empty
from query.leakage.draws import Part, RealGroups, Rows, alike, half
from query.leakage.evidence import ALPHA as LEVEL_OF_TEST
from query.leakage.evidence import evidence
from query.membership.set_test import SetTest
from query.text import plain

DRAWS = 10  # of equally many images, for a value; as many times more as the larger side is larger, up to ten
HALVES = 100  # half-samples for an interval
HALF_DRAWS = 4  # of each, at most
LEVEL = 0.95
ALPHA = 0.05  # share of generated images that `memorised` may find in hold-out images
NEAR = 10  # neighbours that the nearest must stand out from to count as memorised
CELLS = 5  # of the partition for `c_t`, at most
_GROUP = "group: "  # what the label of a grouped image begins with
_PAIRS = 4_000_000  # pairs standardised at a time
FILLED = 20  # images a cell must hold of each set for the normal approximation; ours

Matrix = NDArray[np.float32]
Vector = NDArray[np.float64]
Blank = Mapping[str, NDArray[np.bool_]]


class LeakageError(SynthtraceError):
    """Training and hold-out images cannot be compared as given; the message is one line."""


class Figure(StrEnum):
    """The figures of one view; those that end in hold_out are what the same count gives where nothing can leak."""

    NEARER = "nearer_to_training"
    DCR = "dcr_training"
    DCR_HOLD_OUT = "dcr_hold_out"
    DCR_RATIO = "dcr_ratio"
    DCR_5 = "dcr_5_training"
    DCR_5_HOLD_OUT = "dcr_5_hold_out"
    DCR_5_RATIO = "dcr_5_ratio"
    NNDR = "nndr_training"
    NNDR_HOLD_OUT = "nndr_hold_out"
    C_T = "c_t"
    AUTHENTICITY = "authenticity_training"
    AUTHENTICITY_HOLD_OUT = "authenticity_hold_out"
    MEMORISED = "memorised_training"
    MEMORISED_HOLD_OUT = "memorised_hold_out"
    MEMORISED_EXCESS = "memorised_excess"


EXPECTED: Mapping[Figure, float] = {  # without leakage
    Figure.NEARER: 0.5,
    Figure.DCR_RATIO: 1.0,
    Figure.DCR_5_RATIO: 1.0,
    Figure.MEMORISED_EXCESS: 0.0,
}
PRIMARY = (Figure.NEARER, Figure.MEMORISED_EXCESS)  # shown where there is room for few
_SHARES = {Figure.NEARER, Figure.AUTHENTICITY, Figure.AUTHENTICITY_HOLD_OUT, Figure.MEMORISED, Figure.MEMORISED_HOLD_OUT}


@dataclass(frozen=True)
class Within:
    """What figures need beyond the distances of generated images; the combined view does not have it.

    Attributes:
        training: (nt, nt) distances of training images to each other.
        hold_out: (nh, nh), the same of hold-out images.
        crossed: (nh, nt) distances of hold-out images to training images.
        generated_cell, training_cell, hold_out_cell: the cell of each image, see `c_t`.
    """

    training: Matrix
    hold_out: Matrix
    crossed: Matrix
    generated_cell: Rows
    training_cell: Rows
    hold_out_cell: Rows


@dataclass(frozen=True)
class View:
    """One view of the three sets.

    Attributes:
        training: (ng, nt) distances of generated to training images.
        hold_out: (ng, nh), the same to hold-out images.
        seen_generated, seen_training, seen_hold_out: rows that are not blank in this view; others do not count.
        within: None for the combined view, whose distances may be negative: then ratios have no sense either.
    """

    training: Matrix
    hold_out: Matrix
    seen_generated: NDArray[np.bool_]
    seen_training: NDArray[np.bool_]
    seen_hold_out: NDArray[np.bool_]
    within: Within | None = None


# The figures: pure functions of distances


def nearer(to_training: Vector, to_hold_out: Vector) -> float:
    """Share of generated images nearer to their nearest training than to their nearest hold-out image, ties half; 0.5 expected.

    The test of distance to closest record with a hold-out set (Platzer and Reutterer, Frontiers in Big Data 2021).

    Args:
        to_training, to_hold_out: (ng,) distance of each generated image to the nearest image of equally many.
    """
    return float(np.mean((to_training < to_hold_out) + 0.5 * (to_training == to_hold_out))) if len(to_training) else np.nan


def closest(distances: Matrix) -> Vector:
    """Distance to closest record, DCR: (ng, n) -> (ng,) (Park et al., VLDB 2018)."""
    nearest: Vector = distances.min(axis=1).astype(np.float64)
    return nearest


def nndr(distances: Matrix) -> Vector:
    """Nearest-neighbour distance ratio d1 / d2 of each row, 1 where both are 0: (ng, n) -> (ng,) (Lowe, IJCV 2004).

    Of distances 1 - cosine, which are half a squared distance, it is the square of his ratio.
    """
    first, second = np.partition(distances, 1, axis=1)[:, :2].T.astype(np.float64)
    return np.asarray(np.where(second > 0, first / np.where(second > 0, second, 1), 1))


def z_u(generated: Vector, hold_out: Vector) -> float:
    """Mann and Whitney's U of two samples of distances to training images, as a z-score; far below 0: generated ones are nearer.

    Meehan, Chaudhuri and Dasgupta, "A non-parametric test to detect data-copying in generative models", AISTATS 2020:
    U counts the pairs in which the generated image is farther, ties half. Their code (casey-meehan/data-copying,
    data_copying_tests.py) takes half a pair off the mean, which the paper does not.
    """
    m, n = len(generated), len(hold_out)
    ordered = np.sort(hold_out)
    farther = (np.searchsorted(ordered, generated, "left") + np.searchsorted(ordered, generated, "right")).sum() / 2
    return float((farther - m * n / 2) / np.sqrt(m * n * (m + n + 1) / 12))


def c_t(
    generated: Matrix, hold_out: Matrix, generated_cell: Rows, hold_out_cell: Rows, training_cell: Rows, filled: int = FILLED
) -> float:
    """C_T of Meehan et al. 2020: z-scores by cell, averaged with the shares of hold-out images as weights.

    In each cell distances are to the training images of that cell, as in the authors' code. Far below 0 is copying. About 0 is
    expected of new images of the same kind; far above 0, generated images are farther from training images than real ones are.

    Args:
        generated: (ng, nt) distances to training images.
        hold_out: (nh, nt), the same.
        generated_cell, hold_out_cell, training_cell: the cell of each image.
        filled: generated images that a cell must have (the authors' tau, as a number), and hold-out images. The authors refuse a
            partition with an empty cell; here it is left out with the others.

    Returns:
        NaN where no cell has enough.
    """
    scores, weights = [], []
    for cell in np.unique(training_cell):
        g, h, t = generated_cell == cell, hold_out_cell == cell, training_cell == cell
        if min(g.sum(), h.sum()) >= filled:
            scores.append(z_u(closest(generated[g][:, t]), closest(hold_out[h][:, t])))
            weights.append(int(h.sum()))
    return float(np.average(scores, weights=weights)) if scores else np.nan


def authenticity(generated: Matrix, within: Matrix) -> float:
    """Share of authentic generated images (Alaa et al., "How faithful is your synthetic data?", ICML 2022).

    Let i be the training image nearest to a generated one. That is authentic if it is farther from i than i is from the nearest
    other training image. The authors' repository (ahmedmalaa/evaluating-generative-models, metrics/evaluation.py) and synthcity
    look from each training image to its nearest generated one and then take that one's number for the row of a training image,
    which is another quantity; this is the paper's.

    Args:
        generated: (ng, nt) distances to training images.
        within: (nt, nt) distances of training images to each other; the diagonal does not count.
    """
    others = within.astype(np.float64)
    np.fill_diagonal(others, np.inf)
    nearest = generated.argmin(axis=1)
    return (
        float(np.mean(generated[np.arange(len(generated)), nearest] > others.min(axis=1)[nearest])) if len(generated) else np.nan
    )


def standing(distances: Matrix, ratios: bool = True) -> Vector:
    """How far the nearest stands out from the `NEAR` nearest, itself among them: d1 / their mean, or d1 - their mean; (ng,).

    Small is near. The rule of Carlini et al., "Extracting training data from diffusion models", USENIX Security 2023,
    who take 50; Yoon et al. (ICML workshop on structured probabilistic inference, 2023) take 2. All at 0 gives 1: nothing stands
    out.
    """
    near = min(NEAR, distances.shape[1])
    mean = np.partition(distances, near - 1, axis=1)[:, :near].mean(axis=1, dtype=np.float64)
    first = closest(distances)
    if not ratios:
        return np.asarray(first - mean)
    return np.asarray(np.where(mean > 0, first / np.where(mean > 0, mean, 1), 1))


def memorised(training: Sequence[Vector], hold_out: Sequence[Vector], alpha: float = ALPHA) -> tuple[float, float]:
    """Share of generated images that stand out as copies of a training image, and the same of hold-out images: expected alike.

    Both sets of real images are in two halves of equal sizes, no group in two. The threshold for comparisons with first halves is
    found with the second half of the hold-out images, that for second halves with the first: at most alpha / 2 of the generated
    images stand out more from it. So the second share is measured on images that did not choose its thresholds, and about alpha.

    Args:
        training, hold_out: two (ng,) vectors each, `standing` against the first and the second half.
        alpha: the share wanted.
    """
    thresholds = [float(np.quantile(half, alpha / 2, method="lower")) for half in hold_out[::-1]]
    shares = [
        np.any([half < t for half, t in zip(side, thresholds, strict=True)], axis=0).mean() for side in (training, hold_out)
    ]
    return float(shares[0]), float(shares[1])


# All figures of a view


def figures(view: View, part: Part, groups: RealGroups, rng: np.random.Generator, alpha: float = ALPHA) -> dict[Figure, float]:
    """Every figure of a draw of these rows but C_T, which needs no equal sides; NaN where one is undefined."""
    g, t, h = part.generated, part.training, part.hold_out
    if not len(g) or not min(len(t), len(h)):
        return {}
    one, two = alike(groups.training[t], groups.hold_out[h], rng)
    t, h = t[one], h[two]
    if len(t) < 2:
        return {}
    training, hold_out = view.training[np.ix_(g, t)], view.hold_out[np.ix_(g, h)]
    found = {Figure.NEARER: nearer(closest(training), closest(hold_out))}
    found |= _closest_figures(closest(training), closest(hold_out), view.within is not None)
    found |= _memorised_figures(view, Part(g, t, h), groups, rng, alpha)
    if view.within:
        found |= _figures_within(view.within, Part(g, t, h), training, hold_out)
    return found


def _closest_figures(training: Vector, hold_out: Vector, ratios: bool) -> dict[Figure, float]:
    found: dict[Figure, float] = {}
    names = ((Figure.DCR, Figure.DCR_HOLD_OUT, Figure.DCR_RATIO), (Figure.DCR_5, Figure.DCR_5_HOLD_OUT, Figure.DCR_5_RATIO))
    for share, (ours, theirs, ratio) in zip((0.5, 0.05), names, strict=True):
        a, b = float(np.quantile(training, share)), float(np.quantile(hold_out, share))
        found |= {ours: a, theirs: b, ratio: a / b if ratios and b > 0 else np.nan}
    return found


def _memorised_figures(view: View, part: Part, groups: RealGroups, rng: np.random.Generator, alpha: float) -> dict[Figure, float]:
    """Halves of both sides by patient, drawn alike half by half."""
    sides = groups.training[part.training], groups.hold_out[part.hold_out]
    first = [half(side, rng) for side in sides]
    stood: list[list[Vector]] = [[], []]
    for of_half in (first, [~side for side in first]):
        places = [np.flatnonzero(side) for side in of_half]
        drawn = alike(sides[0][places[0]], sides[1][places[1]], rng)
        if len(drawn[0]) < 2:
            return {}
        for found, distances, rows, place, own in zip(
            stood, (view.training, view.hold_out), (part.training, part.hold_out), places, drawn, strict=True
        ):
            found.append(standing(distances[np.ix_(part.generated, rows[place[own]])], view.within is not None))
    ours, theirs = memorised(stood[0], stood[1], alpha)
    return {Figure.MEMORISED: ours, Figure.MEMORISED_HOLD_OUT: theirs, Figure.MEMORISED_EXCESS: ours - theirs}


def _figures_within(within: Within, part: Part, training: Matrix, hold_out: Matrix) -> dict[Figure, float]:
    t, h = part.training, part.hold_out
    return {
        Figure.NNDR: float(np.median(nndr(training))),
        Figure.NNDR_HOLD_OUT: float(np.median(nndr(hold_out))),
        Figure.AUTHENTICITY: authenticity(training, within.training[np.ix_(t, t)]),
        Figure.AUTHENTICITY_HOLD_OUT: authenticity(hold_out, within.hold_out[np.ix_(h, h)]),
    }


def c_t_of(view: View, part: Part) -> float:
    """`c_t` of these rows; NaN for the combined view."""
    g, t, h = part.generated, part.training, part.hold_out
    if view.within is None or not len(t):
        return np.nan
    cells = view.within.generated_cell[g], view.within.hold_out_cell[h], view.within.training_cell[t]
    return c_t(view.training[np.ix_(g, t)], view.within.crossed[np.ix_(h, t)], *cells)


def estimate(
    view: View, parts: Sequence[Part], groups: RealGroups, *, seed: int = 0, alpha: float = ALPHA
) -> dict[Figure, Estimate]:
    """Every figure of a view, the mean over the parts, with an interval of 95%.

    The interval is the value +- t standard errors, t of Student's distribution with one degree of freedom less than the side with
    fewest patients has. The standard error is the spread of the figure over `HALVES` random halves of all three sets, drawn
    without replacement and whole groups at a time (the delete-half jackknife, Shao and Wu, Annals of Statistics 1989). A
    bootstrap would not do: its resamples hold 63% of the images, some twice, so that a nearest neighbour among them is farther
    than in truth, and its percentiles lie beside the value. Shares stay within 0 and 1; where every half gives 0, or 1, the
    interval is Clopper and Pearson's with groups as the trials, as `query.evaluation.resampling.grouped_proportion` has it.

    NaN stands for an undefined value, and for the ends where one side has fewer than 4 groups.
    """
    rng = np.random.default_rng(seed)
    parts = [seen(view, part) for part in parts]
    draws = max(_covering(part, groups) for part in parts)
    values = _mean_of(view, parts, groups, rng, alpha, DRAWS * draws)
    halves = (_halved(parts, len(view.training), groups, rng) for _ in range(HALVES))
    spread = [_mean_of(view, each, groups, rng, alpha, min(draws, HALF_DRAWS)) for each in halves]
    count = _fewest_groups(parts, groups)
    halves_of = {figure: np.array([each[figure] for each in spread]) for figure in Figure}
    return {figure: interval_of_halves(figure, values[figure], halves_of[figure], count) for figure in Figure}


def seen(view: View, part: Part) -> Part:
    """Without the images that are blank in this view."""
    return Part(
        part.generated[view.seen_generated[part.generated]],
        part.training[view.seen_training[part.training]],
        part.hold_out[view.seen_hold_out[part.hold_out]],
    )


def _covering(part: Part, groups: RealGroups) -> int:
    """Draws that together are as many images as the larger side has; at most `DRAWS`."""
    if not min(len(part.training), len(part.hold_out)):
        return 1
    return min(DRAWS, -(-max(len(part.training), len(part.hold_out)) // _drawn(part, groups)))


def _drawn(part: Part, groups: RealGroups) -> int:
    """Images of either side in a draw."""
    return len(alike(groups.training[part.training], groups.hold_out[part.hold_out], np.random.default_rng(0))[0])


def _mean_of(
    view: View, parts: Iterable[Part], groups: RealGroups, rng: np.random.Generator, alpha: float, draws: int
) -> dict[Figure, float]:
    """Of draws, then of parts; NaN where a part has none."""
    of_parts = []
    for part in parts:
        drawn = [figures(view, part, groups, rng, alpha) for _ in range(draws)]
        found = {figure: _known([each.get(figure, np.nan) for each in drawn]) for figure in Figure}
        means = {figure: float(each.mean()) if len(each) else np.nan for figure, each in found.items()}
        of_parts.append(means | {Figure.C_T: c_t_of(view, part)})
    return {figure: float(np.mean([means[figure] for means in of_parts])) for figure in Figure}


def _halved(parts: Sequence[Part], generated: int, groups: RealGroups, rng: np.random.Generator) -> Iterator[Part]:
    """Half of everything: the same generated images in all parts, half of the groups of real images in each."""
    kept = rng.permutation(generated) < (generated + 1) // 2
    for part in parts:
        training = part.training[half(groups.training[part.training], rng)]
        hold_out = part.hold_out[half(groups.hold_out[part.hold_out], rng)]
        yield Part(part.generated[kept[part.generated]], training, hold_out)


def _fewest_groups(parts: Sequence[Part], groups: RealGroups) -> int:
    """Groups of the side and part that has fewest."""
    sides = [rows for part in parts for rows in (groups.training[part.training], groups.hold_out[part.hold_out])]
    return min(len(np.unique(rows)) for rows in sides)


def interval_of_halves(figure: str, value: float, halves: Vector, groups: int) -> Estimate:
    """The interval of `estimate`.

    Args:
        figure: one of `Figure`, or another that needs no limits.
        value: of all images.
        halves: of half-samples of them, NaN where it is not defined.
        groups: of the side that has fewest.
    """
    from scipy.stats import t

    known = _known(halves)
    undefined = len(halves) - len(known)
    if groups < 4 or len(known) < len(halves) / 2 or np.isnan(value):
        return Estimate(value, np.nan, np.nan, groups, undefined)
    error = float(known.std(ddof=1)) * (np.sqrt(2) if figure == Figure.C_T else 1)  # a z-score grows with the root of the size
    wide = float(t.ppf((1 + LEVEL) / 2, groups - 1)) * error
    low, high = value - wide, value + wide
    if figure in _SHARES:
        far = ((1 - LEVEL) / 2) ** (1 / groups)
        low = far if value == 1 and error == 0 else max(low, 0)
        high = 1 - far if value == 0 and error == 0 else min(high, 1)
    return Estimate(value, float(low), float(high), groups, undefined)


def _known(values: Sequence[float] | Vector) -> Vector:
    found = np.array(values, np.float64)
    return found[np.isfinite(found)]


# Collections


@dataclass(frozen=True)
class LeakageSets:
    """The three collections, embedded with the same fitted views.

    Raises:
        CollectionError: one is empty, or they were made differently.
    """

    generated: Collection
    training: Collection
    hold_out: Collection

    def __post_init__(self) -> None:
        for name, real in (("training", self.training), ("hold-out", self.hold_out)):
            refuse_empty(len(real), len(self.generated))
            self.generated.comparable(real, self.generated.views)
            if len(real) < 2:
                raise CollectionError(f"{real.folder}: one {name} image is too few; at least 2 are needed")


def grouped(sides: LeakageSets, grouping: Given | None) -> RealGroups:
    """Groups of training and of hold-out images, and that they share none; slices of one file belong together.

    Args:
        sides: the collections.
        grouping: see `query.inputs.groups.read_groups`. An image that it does not place, or places under its own name, is a
            group by itself.

    Raises:
        ContaminationError: groups are on both sides; hold-out images are, byte for byte, training or generated ones.
        GroupsError: groups cannot be had as asked.
    """
    real = sides.training, sides.hold_out
    labels = labels_of_both(*real, grouping)
    generated = Side(sides.generated.names, sides.generated.digests)
    contamination({**real_sides(real, labels), Role.GENERATED: generated}).settled()
    return numbered(*labels, *(images.digests for images in real))


def labels_of_both(training: Grouped, hold_out: Grouped, grouping: Given | None) -> tuple[list[str], list[str]]:
    """The group of each training and of each hold-out image, see `labels_of`.

    Raises:
        GroupsError: see `grouped`.
    """
    given = grouping(training, hold_out) if grouping else [{}, {}]
    return labels_of(training, "training", given[0]), labels_of(hold_out, "hold-out", given[1])


def real_sides(real: tuple[Grouped, Grouped], labels: tuple[Sequence[str], Sequence[str]]) -> dict[Role, Side]:
    """Training and hold-out images with their groups, as `query.inputs.contamination` takes them; without thumbnails."""
    roles = (Role.TRAINING, Role.HOLD_OUT)
    groups = [[label.removeprefix(_GROUP) if label.startswith(_GROUP) else "" for label in of_side] for of_side in labels]
    return {role: Side(each.names, each.digests, named) for role, each, named in zip(roles, real, groups, strict=True)}


def labels_of(images: Grouped, side: str, known: Mapping[str, str]) -> list[str]:
    """The group of each image; one by itself is told with its side, since both sides may have the same names."""
    return [group_of(name, side, known) for name in images.names]


def group_of(name: str, side: str, known: Mapping[str, str]) -> str:
    """The group of an image; with its side where it is a group by itself."""
    group = known.get(name, name)
    return f"{_GROUP}{group}" if group != name else f"{side} alone: {name}"


def numbered(training: Sequence[str], hold_out: Sequence[str], *digests: Sequence[str]) -> RealGroups:
    """Groups by number, in the order of their contents: names, which may be hashes with a salt, must not decide what is drawn."""
    together = by_content(np.array([*training, *hold_out], str), [digest for of_side in digests for digest in of_side])
    numbers = np.unique(together, return_inverse=True)[1].astype(np.int64)
    return RealGroups(numbers[: len(training)], numbers[len(training) :])


def views_of(sides: LeakageSets, groups: RealGroups, seed: int = 0) -> dict[str, View]:
    """Every view of the generated collection, and the combined one.

    Memory is 4 bytes for each view and pair of images: the figures draw their images again and again, and need all distances.
    """
    return views_of_sets([sides], groups, seed)


def views_of_sets(
    sets: Sequence[LeakageSets], groups: RealGroups, seed: int = 0, scaled_by: Rows | None = None
) -> dict[str, View]:
    """The same of several generated sets, one after the other in the rows of each view.

    Args:
        sets: with the same training and hold-out images.
        groups: of these.
        seed: of cells.
        scaled_by: rows that tell how far a real image usually is from generated ones, for the combined view; None for all.
    """
    generated, real = [each.generated for each in sets], (sets[0].training, sets[0].hold_out)
    views = {view: _view_of(view, generated, *real, seed) for view in generated[0].views}
    distances = {name: np.hstack([view.training, view.hold_out]) for name, view in views.items()}
    together = combined_of(distances, *_blank(generated, real), groups.both, scaled_by)
    for collection in (*generated, *real):
        collection.check_unchanged()
    split, weighed = len(real[0]), weights_of(generated[0].views)
    seen_generated, seen_training, seen_hold_out = (
        ~np.logical_and.reduce([_blank_of(side, view) for view in weighed]) for side in (generated, [real[0]], [real[1]])
    )
    combined_view = View(together[:, :split], together[:, split:], seen_generated, seen_training, seen_hold_out)
    return views | {COMBINED: combined_view}


def combined_distances(generated: Collection, reals: Sequence[Collection], patients: Rows) -> Matrix:
    """(ng, n) combined distances to the images of all `reals` one after the other; small is near, some are negative.

    Made from standard scores as in `query.comparison.combined`, over all real images together, but a real image's own spread is
    told by median and quartiles. Its copies must not move its scale: and where many generated images are copies, the axes that
    views learned from them set training images apart, so that images which are no copies would seem nearer to hold-out images.
    """
    distances = {}
    for view in generated.views:
        vectors = np.concatenate([real.vectors(view) for real in reals])
        between = brute_force.distances(generated.spec(view).metric, np.asarray(generated.vectors(view)), vectors)
        distances[view] = between.astype(np.float32, copy=False)
    together = combined_of(distances, *_blank([generated], reals), patients)
    for collection in (generated, *reals):
        collection.check_unchanged()
    return together


def _blank(generated: Sequence[Collection], reals: Sequence[Collection]) -> tuple[Blank, Blank]:
    """By view, which generated images are blank, and which of all real images."""
    ours, theirs = ({view: _blank_of(side, view) for view in generated[0].views} for side in (generated, reals))
    return ours, theirs


def _blank_of(collections: Sequence[Collection], view: str) -> NDArray[np.bool_]:
    """Of all images of these, one after the other."""
    return np.concatenate([each.blank(view) for each in collections])


def combined_of(
    distances: Mapping[str, Matrix], generated_blank: Blank, real_blank: Blank, patients: Rows, scaled_by: Rows | None = None
) -> Matrix:
    """The same from each view's (ng, n) distances, some images at a time; blank images by view, (ng,) and (n,); patients (n,).

    Quartiles are those of rows `scaled_by`, or of all.
    """
    rows_of_scale = slice(None) if scaled_by is None else scaled_by
    scales = {view: _by_quartiles(distances[view][rows_of_scale]) for view in weights_of(distances)}
    count, reals = next(iter(distances.values())).shape
    together = np.empty((count, reals), np.float32)
    for rows in _slices(count, reals):
        parts: dict[str, Evidence] = {}
        for view, real in scales.items():
            own = distances[view][rows]
            scale = Scale(real, bulk_moments_by_patient(own, patients))
            parts[view] = standardised(own.T, scale, real_blank[view], generated_blank[view][rows])
        together[rows] = combined(parts).T
    return together


def _by_quartiles(distances: Matrix) -> Moments:
    """Median and spread of each column: 1.349 quartile distances are a normal standard deviation."""
    parts = [np.zeros((3, 0))]
    for columns in _slices(*distances.shape[::-1]):
        parts.append(np.quantile(distances[:, columns].astype(np.float64), [0.25, 0.5, 0.75], axis=0))
    low, middle, high = np.concatenate(parts, axis=1)
    return Moments(middle, (high - low) / 1.349)


def _slices(count: int, others: int) -> Iterator[slice]:
    """Of `count` images, so that their pairs with the others are about `_PAIRS`."""
    step = max(1, _PAIRS // max(1, others))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _view_of(view: str, sets: Sequence[Collection], training: Collection, hold_out: Collection, seed: int) -> View:
    metric = training.spec(view).metric
    vectors = [np.asarray(each.vectors(view)) for each in sets]
    generated = vectors[0] if len(vectors) == 1 else np.concatenate(vectors)
    ours, theirs = np.asarray(training.vectors(view)), np.asarray(hold_out.vectors(view))

    def between(queries: NDArray[Any], vectors: NDArray[Any]) -> Matrix:
        return brute_force.distances(metric, queries, vectors).astype(np.float32)

    cells = _cells(metric, generated, ours, theirs, seed)
    within = Within(between(ours, ours), between(theirs, theirs), between(theirs, ours), *cells)
    seen_generated, seen_training, seen_hold_out = (~_blank_of(side, view) for side in (sets, [training], [hold_out]))
    return View(between(generated, ours), between(generated, theirs), seen_generated, seen_training, seen_hold_out, within)


def _cells(
    metric: Metric, generated: NDArray[Any], training: NDArray[Any], hold_out: NDArray[Any], seed: int
) -> tuple[Rows, Rows, Rows]:
    """Cells of a k-means partition of the training images, as Meehan et al. make it, filled twice on average."""
    from sklearn.cluster import KMeans

    sets = [np.unpackbits(rows, axis=1) if metric is Metric.HAMMING else rows for rows in (generated, training, hold_out)]
    count = int(np.clip(min(len(training), len(hold_out)) // (2 * FILLED), 1, CELLS))
    partition = KMeans(count, n_init=3, random_state=seed).fit(sets[1].astype(np.float32))
    first, second, third = (partition.predict(rows.astype(np.float32)).astype(np.int64) for rows in sets)
    return first, second, third


@dataclass(frozen=True)
class Leakage:
    """The test of patients, and the figures by view.

    Attributes:
        test: of the combined view: are training patients nearer to the generated images than hold-out patients.
        views: view -> figure -> its interval.
        generated, training, hold_out: images.
        compared: training and as many hold-out images that each figure compares at a time.
    """

    test: SetTest
    views: Mapping[str, Mapping[Figure, Estimate]]
    generated: int
    training: int
    hold_out: int
    compared: int

    @property
    def found(self) -> bool:
        """Whether there is evidence of leakage."""
        return self.test.p_value <= LEVEL_OF_TEST

    @property
    def testable(self) -> bool:
        """Whether there are enough patients: no permutation test says less than one in the number of ways to deal them out."""
        ways = comb(self.test.patients + self.test.reference, self.test.reference)
        return self.test.p_value >= 0 and ways >= 1 / LEVEL_OF_TEST

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values; null where a figure, or an end of its interval, is not defined."""
        views = {
            view: {str(figure): {**estimate.as_dict(), "expected": EXPECTED.get(figure)} for figure, estimate in figures.items()}
            for view, figures in self.views.items()
        }
        sizes = {"generated": self.generated, "training": self.training, "hold_out": self.hold_out, "compared": self.compared}
        test = {
            "p_value": plain(self.test.p_value),
            "share_low": plain(self.test.share_low),
            "training_patients": self.test.patients,
            "hold_out_patients": self.test.reference,
            "testable": self.testable,
        }
        return {**sizes, "evidence": self.found, "test": test, "views": views}


def leakage(
    views: Mapping[str, View], parts: Sequence[Part], groups: RealGroups, *, seed: int = 0, alpha: float = ALPHA
) -> Leakage:
    """The test and all figures of all views, for the whole (`whole`) or for the folds that a filter is evaluated on."""
    together = views[COMBINED]
    test = evidence(together.training, together.hold_out, [seen(together, part) for part in parts], groups, seed)
    found = {name: estimate(view, parts, groups, seed=seed, alpha=alpha) for name, view in views.items()}
    generated = round(float(np.mean([len(part.generated) for part in parts])))
    compared = min(_drawn(part, groups) for part in parts)
    return Leakage(test, found, generated, len(groups.training), len(groups.hold_out), compared)
