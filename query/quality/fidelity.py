"""Fidelity of generated images with intervals, beside what real images of other patients reach and beside leakage.

All figures depend on how many images are compared, and so does what is reachable. So each compares equally many images of either
side, and stands beside the same figure of real images against real images of other patients.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.build.build import Progress
from indexer.collection import Collection
from indexer.notebook import escaped, in_cells
from indexer.notebook import table as html_table
from query.comparison.combined import COMBINED
from query.evaluation.resampling import Estimate
from query.inputs.groups import Given, as_given
from query.inputs.images import images_of
from query.inputs.sides import refuse_empty
from query.leakage.draws import RealGroups, whole
from query.leakage.leakage import EXPECTED, PRIMARY, Leakage, LeakageSets, grouped, labels_of, leakage, numbered, views_of
from query.quality.estimate import GAP, GENERATED, REAL, FidelitySettings, Pools, estimated
from query.quality.features import drawn_rows, features_of
from query.quality.figures import FidelityError, Figure, on_grid
from query.report.text.numbers import interval

if TYPE_CHECKING:
    import pandas

Measure = Mapping[str, Estimate]  # name of a set -> its value


@dataclass(frozen=True)
class Fidelity:
    """How like real images generated ones are, what is reachable, and how private they are.

    Attributes:
        figures: ``real`` (real images of other patients: what is reachable), ``generated``, after a filter ``kept``, and the
            differences ``generated - real`` and ``kept - generated`` -> figure -> value with its interval of 95%.
        images: of either side that are compared at a time.
        held_out: whether the reference is a hold-out set; else halves of the real images by patient.
        settings: how it was measured.
        grouped: whether patients are known.
        leakage: name of a figure of `query.leakage.leakage`, by all views -> set -> value; what is expected without leakage
            stands under ``real``. Empty without hold-out images.
    """

    figures: Mapping[str, Mapping[Figure, Estimate]]
    images: int
    held_out: bool
    settings: FidelitySettings
    grouped: bool
    leakage: Mapping[str, Measure] = field(default_factory=dict)

    @property
    def suspicious(self) -> bool:
        """Whether generated images come nearer to the real ones than real images of other patients do."""
        return not self.held_out and self.figures[GAP][Figure.FRECHET].high < 0

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return {
            "images": self.images,
            "k": self.settings.k,
            "view": self.settings.view,
            "reference": "hold-out images" if self.held_out else "halves of the real images",
            "groups_known": self.grouped,
            "suspicious": self.suspicious,
            "figures": {name: {str(figure): each.as_dict() for figure, each in of.items()} for name, of in self.figures.items()},
            "leakage": {figure: {name: each.as_dict() for name, each in of.items()} for figure, of in self.leakage.items()},
        }

    def rows(self) -> Iterator[tuple[str, str, Measure]]:
        """``how good`` or ``how private``, figure, set -> value: the table, row by row."""
        for figure in Figure:
            yield "how good", str(figure), {name: of[figure] for name, of in self.figures.items()}
        for name, sets in self.leakage.items():
            yield "how private", name, sets

    def to_pandas(self) -> "pandas.DataFrame":
        """A row for each figure and set, with the ends of its interval."""
        import pandas

        rows = [
            {"question": question, "figure": figure, "set": name, "value": each.value, "low": each.low, "high": each.high}
            for question, figure, sets in self.rows()
            for name, each in sets.items()
        ]
        return pandas.DataFrame(rows)

    def __repr__(self) -> str:
        return f"Fidelity({', '.join(self.figures)}: {self.images:,} images of either side at a time, view {self.settings.view})"

    def _repr_html_(self) -> str:
        names = list(self.figures)
        cells = [[figure, *(escaped(interval(sets.get(name), ".3g")) for name in names)] for _, figure, sets in self.rows()]
        return f"<p>{escaped(repr(self))}</p>" + html_table(["", *names], cells)


@dataclass(frozen=True)
class Unmeasured:
    """Why fidelity could not be measured beside something else."""

    reason: str


def if_possible(measure: Callable[[], Fidelity]) -> Fidelity | Unmeasured:
    """What it measures, or why that cannot be had of these images."""
    try:
        return measure()
    except FidelityError as error:
        return Unmeasured(str(error))


def fidelity(
    real: Collection,
    generated: Collection,
    hold_out: Collection | None = None,
    *,
    groups: str | Path | Mapping[str, str] | Given | None = None,
    settings: FidelitySettings | None = None,
    progress: Progress = in_cells,
) -> Fidelity:
    """Precision, recall, density, coverage, Fréchet and kernel distance of generated images; images are read again.

    With hold-out images these are the reference: a copy of a training image is no better there than any image of its kind, and
    leakage is measured beside. Without, generated images are held against halves of the real ones, and copies look best of all.

    Args:
        real: training images, or those that generated ones should look like; indexed with ``fitted_on=generated``.
        generated: the generated images.
        hold_out: real images that were not used in training, indexed like `real`.
        groups: patients, as of `query.compare`, or what `query.read_groups` gives; without them each image counts as a patient.
        settings: how it is measured.
        progress: called with stage, done, total; by default a bar in notebooks.

    Raises:
        CollectionError: a collection is empty, or they were made differently.
        ContaminationError, GroupsError: see `query.leakage.leakage.grouped`.
        FidelityError: there are too few images, no such view, or an image cannot be read again.
    """
    settings, given = settings or FidelitySettings(), groups if callable(groups) else as_given(groups)
    sides = RealSides.of(real, hold_out, generated, given)
    found = measured(sides, generated, {}, settings, progress)
    if hold_out is None:
        return found
    views = views_of(LeakageSets(generated, real, hold_out), sides.groups, settings.seed)
    leak = leakage({COMBINED: views[COMBINED]}, whole(len(generated), sides.groups), sides.groups, seed=settings.seed)
    return replace(found, leakage=leakage_rows({GENERATED: leak}))


@dataclass(frozen=True)
class RealSides:
    """Real images and their patients.

    Attributes:
        collections: of training images, then of hold-out images, if there are any.
        groups: of all their images.
        known: whether patients are known.
    """

    collections: Sequence[Collection]
    groups: RealGroups
    known: bool

    @classmethod
    def of(cls, training: Collection, hold_out: Collection | None, generated: Collection, given: Given | None) -> "RealSides":
        """Real images beside these generated ones; raises as `fidelity`."""
        if hold_out is not None:
            groups = grouped(LeakageSets(generated, training, hold_out), given)
            return cls((training, hold_out), groups, given is not None)
        refuse_empty(len(training), len(generated))
        generated.comparable(training, generated.views)
        (named,) = given(training) if given else [{}]
        groups = numbered(labels_of(training, "training", named), [], training.digests)
        return cls((training,), groups, given is not None)


def leakage_rows(found: Mapping[str, Leakage | None]) -> dict[str, Measure]:
    """Primary figures of leakage of each set, by all views, beside what is expected without leakage; empty where unmeasured."""
    known = {name: each for name, each in found.items() if each}
    if not known:
        return {}
    return {
        str(figure): {REAL: Estimate(EXPECTED[figure], np.nan, np.nan)}
        | {name: each.views[COMBINED][figure] for name, each in known.items()}
        for figure in PRIMARY
    }


def measured(
    real: RealSides,
    generated: Collection,
    sets: Mapping[str, NDArray[np.bool_]],
    settings: FidelitySettings,
    progress: Progress,
) -> Fidelity:
    """Fidelity without leakage.

    Args:
        sets: name -> (ng,) bool, sets of generated images beside all of them.

    Raises:
        FidelityError: see `fidelity`.
    """
    found: list[NDArray[np.float32]] = []
    own = [np.zeros(0, np.int64), np.zeros(0, np.int64)]
    for place, side in enumerate(real.collections):
        rows = drawn_rows(side.digests, settings.seed)
        found.append(features_of(images_of(side), rows, settings.view, progress))
        own[place] = (real.groups.training, real.groups.hold_out)[place][rows]
    rows = drawn_rows(generated.digests, settings.seed)
    of_real, of_generated = on_grid(np.concatenate(found), features_of(images_of(generated), rows, settings.view, progress))
    names = {GENERATED: np.arange(len(rows))} | {name: np.flatnonzero(member[rows]) for name, member in sets.items()}
    pools = Pools(of_real, RealGroups(*own), of_generated, names)
    figures, images = estimated(pools, settings, progress)
    return Fidelity(figures, images, pools.held_out, settings, real.known)
