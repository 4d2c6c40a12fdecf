"""Files of an audit besides its report: tables, plots, pictures of the closest pairs."""

from collections.abc import Callable, Sequence
from pathlib import Path

from embeddings.images.decoding import flip
from embeddings.images.errors import ImageError, MissingFolder
from query.comparison.combined import COMBINED
from query.database.store import Store, write_table
from query.inputs.sides import Sides
from query.report.distributions import ViewSummary
from query.report.statistics import ClosestPair, recorded_views

Say = Callable[[str], None]


def write_tables(store: Store, run: int, folder: Path) -> None:
    """The nearest images of both sides, scores, decisions on patients and on images, and failures as CSV."""
    for name, role in (("source_map", "generated"), ("nearest_generated", "real")):
        write_table(store.sql(_side_by_side(store, run, role), {"run": run}), folder / f"{name}.csv")
    for name in ("scores", "patients", "decisions", "failures"):
        write_table(store.analyse(name, run=run), folder / f"{name}.csv")


def _side_by_side(store: Store, run: int, role: str) -> str:
    """SQL: one line for each image of a role, with its nearest of the other role by every view; none where a view is blank."""
    image, other, table = {
        "generated": ("generated_image", "source", "nearest_source"),
        "real": ("real_image", "generated_image", "nearest_generated"),
    }[role]
    views = sorted(view.view for view in recorded_views(store, run))
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


def write_plots(views: Sequence[ViewSummary], folder: Path) -> list[Path]:
    """`distances_<view>.png` and `.svg` of every view that was compared; what was written."""
    from query.report.figures.charts import Heading, distance_figure
    from query.report.figures.figures import save, style

    written = []
    for view in views:
        if view.histogram:
            note = view.note if view.view != COMBINED else ""
            heading = Heading(f"View {view.view}: distances between real and generated images", note)
            with style():
                figure = distance_figure(view, heading)
                written += [save(figure, folder / f"distances_{view.view}.{suffix}") for suffix in ("png", "svg")]
    return written


def write_pictures(pairs: Sequence[ClosestPair], sides: Sides, folder: Path, say: Say) -> None:
    """A picture of each of the closest pairs, and a sheet of them all."""
    from query.report.figures.figures import Pair, contact_sheet, pair_picture

    shown = []
    for number, pair in enumerate(pairs, 1):
        try:
            real, generated = sides.real.read(pair.real_row), sides.generated.read(pair.generated_row)
        except MissingFolder as error:
            say(f"no pictures of pairs: {error}")
            break
        except ImageError as error:
            say(f"no picture of {pair.real} and {pair.generated}: {error}")
            continue
        name = f"{pair.real} (flipped)" if pair.mirrored else pair.real
        image = flip(real) if pair.mirrored else real
        shown.append(Pair(name, pair.generated, image, generated, pair.distances))
        pair_picture(folder / f"pair_{number:02d}.png", shown[-1], f"Closest pair {number} of {len(pairs)}")
    if shown:
        title = f"The {len(shown)} closest pairs, each real image once: real, generated, generated - real"
        contact_sheet(folder / "closest_pairs.png", shown, title)
