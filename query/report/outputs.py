"""Files of an audit besides its report: tables, plots, pictures of the closest pairs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embeddings.images.decoding import flip
from embeddings.images.errors import ImageError
from query.comparison.combined import COMBINED
from query.database.store import Store, write_table
from query.inputs.sides import Sides
from query.report.statistics import labelled, rows
from query.report.text.units import unit

Say = Callable[[str], None]


def write_tables(store: Store, run: int, folder: Path) -> None:
    """The nearest images of both sides, scores, decisions and failures as CSV."""
    for name, role in (("source_map", "generated"), ("nearest_generated", "real")):
        write_table(store.sql(_side_by_side(store, run, role), {"run": run}), folder / f"{name}.csv")
    for name in ("scores", "decisions", "failures"):
        write_table(store.analyse(name, run=run), folder / f"{name}.csv")


def _side_by_side(store: Store, run: int, role: str) -> str:
    """SQL: one line for each image of a role, with its nearest of the other role by every view; none where a view is blank."""
    image, other, table = {
        "generated": ("generated_image", "source", "nearest_source"),
        "real": ("real_image", "generated_image", "nearest_generated"),
    }[role]
    views = rows(store, "SELECT view FROM run_views WHERE run_id = $run ORDER BY view", run)["view"]
    columns = ", ".join(
        f"""any_value(n.{other}) FILTER (n.view = '{view}' AND NOT n.blank) AS {view}_{other},
        any_value(n.distance) FILTER (n.view = '{view}' AND NOT n.blank) AS {view}_distance,
        any_value(n.mirrored) FILTER (n.view = '{view}' AND NOT n.blank) AS {view}_mirrored"""
        for view in views
    )
    known = ', any_value(membership(l.used)) AS membership, any_value(i."group") AS "group"' if role == "real" else ""
    return f"""SELECT i.name AS {image}{known}, {columns},
            coalesce(string_agg(n.view, ' ' ORDER BY n.view) FILTER (n.blank), '') AS blank_views
        FROM images AS i
        LEFT JOIN {table} AS n ON n.run_id = i.run_id AND n.{image} = i.name
        LEFT JOIN labels AS l ON l.run_id = i.run_id AND l.image_id = i.image_id
        WHERE i.run_id = $run AND i.role = '{role}'
        GROUP BY i.image_id, i.name ORDER BY i.image_id"""


def write_plots(store: Store, run: int, facts: Mapping[str, Any], folder: Path) -> None:
    """Figures of the distances of every view."""
    from query.report.figures.figures import Distances, distance_plots

    nearest = "SELECT view, distance FROM {} WHERE run_id = $run AND NOT blank"
    to_generated, to_real = (rows(store, nearest.format(table), run) for table in ("nearest_generated", "nearest_source"))
    labels = labelled(store, run)
    histograms = rows(store, "SELECT view, low, high, pairs FROM histograms WHERE run_id = $run ORDER BY view, low", run)
    shown = []
    for view, described in facts["views"].items():
        bins, known = histograms[histograms["view"] == view], labels[labels["view"] == view]
        real, generated = (found[found["view"] == view]["distance"].to_numpy() for found in (to_generated, to_real))
        parts = {"used": known["used"], "not used": ~known["used"]}
        shown.append(
            Distances(
                view,
                unit(view, described["metric"], described["dim"]),
                described["note"] if view != COMBINED else "",
                np.append(bins["low"], bins["high"].iloc[-1]),
                bins["pairs"].to_numpy(),
                real,
                generated,
                {name: known["d1"][part].to_numpy() for name, part in parts.items() if part.any()},
            )
        )
    distance_plots(folder, shown)


def write_pictures(pairs: Sequence[Mapping[str, Any]], sides: Sides, folder: Path, say: Say) -> None:
    """A picture of each of the closest pairs, and a sheet of them all."""
    from query.report.figures.figures import Pair, contact_sheet, pair_picture

    shown = []
    for number, pair in enumerate(pairs, 1):
        try:
            real, generated = sides.real.read(pair["real_row"]), sides.generated.read(pair["generated_row"])
        except ImageError as error:
            say(f"no picture of {pair['real']} and {pair['generated']}: {error}")
            continue
        name = f"{pair['real']} (flipped)" if pair["mirrored"] else pair["real"]
        image = flip(real) if pair["mirrored"] else real
        shown.append(Pair(name, pair["generated"], image, generated, pair["distances"]))
        pair_picture(folder / f"pair_{number:02d}.png", shown[-1], f"Closest pair {number} of {len(pairs)}")
    if shown:
        title = f"The {len(shown)} closest pairs, each real image once: real, generated, generated - real"
        contact_sheet(folder / "closest_pairs.png", shown, title)
