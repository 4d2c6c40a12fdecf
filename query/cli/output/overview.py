"""Output of `compare`: nearest distances in each view, and the nearest real images."""

from dataclasses import dataclass
from typing import Any

from query.comparison.combined import COMBINED
from query.database.store import Store
from query.report.text.units import distance_text
from query.text import many, name, table

TOP = 10  # real images shown


_SHARED = "generated files are byte for byte real images"


@dataclass(frozen=True)
class Overview:
    """A run in short.

    Attributes:
        run: its number.
        database: path of the file.
        images: (real, generated) images compared.
        failed: (real, generated) files that could not be read.
        shared: generated files that are byte for byte real ones.
        views: of each view its name, note, and the smallest and median distance of a real image to its nearest generated one.
        nearest: the real images that are nearest to a generated one by all views together.
    """

    run: int
    database: str
    images: tuple[int, int]
    failed: tuple[int, int]
    shared: int
    views: list[dict[str, Any]]
    nearest: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        sides = {
            role: {"images": images, "failed": failed}
            for role, images, failed in zip(("real", "generated"), self.images, self.failed, strict=True)
        }
        found = {"shared_files": self.shared, "views": self.views, "nearest": self.nearest}
        return {"run": self.run, "database": self.database, **sides, **found}

    def __str__(self) -> str:
        real, generated = self.images
        counts = f"{many(real, 'real image')} against {many(generated, 'generated one')}"
        lines = [f"run {self.run} in {name(self.database)}: {counts}"]
        if any(self.failed):
            lines.append(f"could not be read: {many(self.failed[0], 'real file')}, {many(self.failed[1], 'generated file')}")
        if self.shared:
            lines.append(many(self.shared, "generated file is byte for byte a real image", _SHARED))
        lines += ["", "distance of each real image to its nearest generated one", self._views_table()]
        lines += [f"{view['view']}: {view['note']}" for view in self.views if view["note"]]
        rows = [[n["real_image"], n["generated_image"], distance_text(COMBINED, n["distance"])] for n in self.nearest]
        lines += ["", "nearest by all views together", table(["real image", "generated image", "distance"], rows)]
        return "\n".join(lines)

    def _views_table(self) -> str:
        rows = [[v["view"], *(_text(v, key) for key in ("smallest", "median"))] for v in self.views]
        return table(["view", "smallest", "median"], rows)


def _text(view: dict[str, Any], key: str) -> str:
    return "none" if view[key] is None else distance_text(view["view"], view[key])


def overview(store: Store, run: int, shared: int) -> Overview:
    """Ask the database for a run; blank images are left out.

    Raises:
        StoreError: there is no such run.
    """
    (about,) = store.sql("SELECT * FROM runs WHERE run_id = $run", {"run": run}).to_pylist()
    views = store.sql(
        """
        SELECT v.view, v.metric, v.note, min(n.distance) AS smallest, median(n.distance) AS median
        FROM run_views AS v
        LEFT JOIN nearest_generated AS n ON n.run_id = v.run_id AND n.view = v.view AND NOT n.blank
        WHERE v.run_id = $run GROUP BY v.view, v.metric, v.note ORDER BY v.view = 'combined', v.view""",
        {"run": run},
    )
    nearest = store.sql(
        """
        SELECT real_image, generated_image, distance, mirrored FROM nearest_generated
        WHERE run_id = $run AND view = $view AND NOT blank ORDER BY distance, real_image LIMIT $top""",
        {"run": run, "view": COMBINED, "top": TOP},
    )
    images = about["real_images"], about["generated_images"]
    failed = about["real_failed"], about["generated_failed"]
    return Overview(run, store.path, images, failed, shared, views.to_pylist(), nearest.to_pylist())
