"""Output of `compare`: nearest distances in each view, and the nearest real images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from query.comparison.combined import COMBINED
from query.database.store import Store
from query.report.copies import CopiesSummary, copies_summary
from query.report.distributions import nearest_distances, nearest_images
from query.report.memorisation import MemorisationSummary, memorisation_summary
from query.report.run_summary import Side, compared_sides, run_warnings
from query.report.statistics import CLOSEST, recorded_views, shared_files
from query.report.text.copies import around_copies, copies_sentences
from query.report.text.memorisation import memorisation_sentences
from query.report.text.units import distance_text
from query.text import many, name, plain, table

TOP = 10  # real images shown


@dataclass(frozen=True)
class NearestOfView:
    """Smallest and median distance of a real image to its nearest generated one, None where the view sees none."""

    view: str
    metric: str
    note: str
    smallest: float | None
    median: float | None


@dataclass(frozen=True)
class NearestPair:
    """A real image and its nearest generated one by all views together; `mirrored`: it is the flipped one."""

    real_image: str
    generated_image: str
    distance: float
    mirrored: bool


@dataclass(frozen=True)
class Overview:
    """A run in short.

    Attributes:
        run: its number.
        database: path of the file.
        copies: exact and near-exact ones.
        memorisation: share of generated images that copy a real one.
        sides: role -> what was compared.
        shared_files: generated files that are byte for byte real ones.
        warnings: what makes all of it doubtful, a sentence each.
        views: the combined one last.
        nearest: the real images that are nearest to a generated one.
    """

    run: int
    database: str
    copies: CopiesSummary | None
    memorisation: MemorisationSummary | None
    sides: Mapping[str, Side]
    shared_files: int
    warnings: Sequence[str]
    views: Sequence[NearestOfView]
    nearest: Sequence[NearestPair]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        sides = {role: {"images": self.sides[role].images, "failed": self.sides[role].failed} for role in ("real", "generated")}
        results = {"shared_files": self.shared_files, "warnings": self.warnings, "views": self.views, "nearest": self.nearest}
        copies = self.copies and {"note": copies_sentences(self.copies), **plain(self.copies)}
        return {
            "run": self.run,
            "database": self.database,
            "copies": copies,
            "memorisation": self.memorisation,
            **sides,
            **results,
        }

    def __str__(self) -> str:
        real, generated = self.sides["real"], self.sides["generated"]
        counts = f"{many(real.images, 'real image')} against {many(generated.images, 'generated one')}"
        before, after = around_copies(self.warnings)
        lines = [*before, *copies_sentences(self.copies), *after, f"run {self.run} in {name(self.database)}: {counts}"]
        if real.failed or generated.failed:
            lines.append(f"could not be read: {many(real.failed, 'real file')}, {many(generated.failed, 'generated file')}")
        distances = [
            [view.view, *(distance_text(view.view, distance, "none") for distance in (view.smallest, view.median))]
            for view in self.views
        ]
        lines += [
            "",
            "distance of each real image to its nearest generated one",
            table(["view", "smallest", "median"], distances),
        ]
        lines += memorisation_sentences(self.memorisation)
        lines += [f"{view.view}: {view.note}" for view in self.views if view.note]
        pairs = [[pair.real_image, pair.generated_image, distance_text(COMBINED, pair.distance)] for pair in self.nearest]
        lines += ["", "nearest by all views together", table(["real image", "generated image", "distance"], pairs)]
        return "\n".join(lines)


def overview(store: Store, run: int) -> Overview:
    """Ask the database for a run; blank images are left out.

    Raises:
        StoreError: there is no such run.
    """
    nearest = nearest_images(store, run)
    views = []
    for view in sorted(recorded_views(store, run), key=lambda view: view.view == COMBINED):
        distances = nearest_distances(nearest[nearest["view"] == view.view], "real")
        views.append(NearestOfView(view.view, view.metric, view.note, distances.smallest, distances.median))
    columns = "r.name AS real_image, g.name AS generated_image, n.distance, n.mirrored"
    pairs = store.sql(f"SELECT {columns} {CLOSEST}", {"run": run, "count": TOP}).to_pylist()
    sides, shared = compared_sides(store, run), shared_files(store, run).generated_files
    found = copies_summary(store, run), memorisation_summary(store, run)
    nearest_pairs = [NearestPair(**pair) for pair in pairs]
    return Overview(run, store.path, *found, sides, shared, run_warnings(store, run), views, nearest_pairs)
