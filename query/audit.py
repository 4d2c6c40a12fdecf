"""Everything about two sets of images in one folder: collections, database, tables, plots, pictures of pairs, summary.

OUT/generated/ real/ mirrored/   collections: what makes the next audit of these images quick
OUT/synthtrace.duckdb            the run; `synthtrace sql --db` asks it
OUT/csv/ plots/ pairs/           tables and pictures
OUT/summary.txt                  what is printed
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from embeddings.find import find
from embeddings.groups import near_duplicate_groups, read_groups
from embeddings.images import Decoding, ImageError, decode, printable
from embeddings.pipeline import in_order
from embeddings.types import GreyImage
from indexer.build import Progress, Settings, build, silent
from indexer.collection import Collection
from indexer.files import LOCK, full_disk_named, locked, write_atomic
from indexer.manifest import CollectionError, make_folder
from query.facts import Groups, Sides, gather, labelled, rows
from query.pairs import COMBINED
from query.record import query, read_labels, rows_of
from query.search import K
from query.store import Store, write_table
from query.summary import caveats, summary
from query.wording import unit

PAIRS = 12  # pictures of closest pairs
DATABASE = "synthtrace.duckdb"
Say = Callable[[str], None]


def quiet(line: str) -> None:
    """Messages that nobody reads."""


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        out: the folder with everything.
        run: number of the run in its database.
        summary: text for a person, as in summary.txt.
        failed: files that could not be read, of both roles.
        findings: generated images within the caller's threshold, None without one.
        facts: the numbers behind the summary.
    """

    out: Path
    run: int
    summary: str
    failed: int
    findings: int | None
    facts: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: out, run, k, mirror, distances, counts, views, shared, closest_pairs, most_copied, agreement, threshold,
        groups, labels, caveats, files; see `query.facts`."""
        return dict(self.facts)


def audit(
    real: Sequence[str | Path],
    generated: Sequence[str | Path],
    out: Path,
    *,
    settings: Settings | None = None,
    labels: Path | None = None,
    groups: str | None = None,
    mirror: bool = False,
    threshold: int | None = None,
    k: int = K,
    device: str = "auto",
    progress: Progress = silent,
    say: Say = quiet,
) -> Audit:
    """Compare real with generated images in every way there is, and write all of it into `out`.

    The same command again looks only at images that came or changed, and gives the same results.

    Args:
        real, generated: what `embeddings.find.find` takes, but no list on standard input.
        out: new, empty, or of an earlier audit.
        settings: of the views and indexes, see `indexer.build.build`.
        labels: CSV of image,used for some of the real images.
        groups: CSV of image,group, or a regular expression on names, see `embeddings.groups`; without it, near-duplicates.
        mirror: compare flipped real images as well.
        threshold: bits of phash within which a generated image counts as a finding; nothing calibrates it.
        k: neighbours kept.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        progress: called with stage, done, total.
        say: receives what happens, line by line.

    Raises:
        ValueError: `out` lies inside the images, a list is to come from standard input, or the threshold has no view or no sense.
        LabelsError, GroupsError: the files of labels or groups cannot be used.
        CollectionError, NoImages, Locked, FullDisk, NoGpu, IndexProblem, WeightsError: see `indexer.build.build`.
        StoreError: the database cannot be written.
    """
    _check(real, generated, out)
    _check_threshold(threshold, settings.views if settings else None)
    known = read_labels(labels) if labels else {}
    grouping = read_groups(groups) if groups is not None else None
    claim(out)
    with full_disk_named(out), locked(out):
        sides = _index(real, generated, out, settings, mirror, device, progress)
        _check_threshold(threshold, sides.generated.views)
        pictures = Pictures(sides, real, generated)
        named, together = _groups(grouping, sides.real, pictures, needed=bool(known))
        chosen = sides.generated.devices(device)
        say(chosen.said)
        common: dict[str, Any] = {"k": k, "device": chosen, "labels": known, "groups": named, "progress": progress}
        with _database(out) as store:
            run = query(store, sides.real, sides.generated, mirrored=sides.mirrored, command="audit", **common)
            say("writing tables, plots and pictures")
            facts = gather(store, run, sides, groups=together if known else None, threshold=threshold, pairs=PAIRS)
            facts["caveats"] = caveats(facts)
            with _replaced(out / "csv") as folder:
                _write_tables(store, run, folder)
            with _replaced(out / "plots") as folder:
                _write_plots(store, run, facts, folder)
        with _replaced(out / "pairs") as folder:
            _write_pictures(facts["closest_pairs"], pictures, folder, say)
        facts |= {"out": str(out), "files": _files(out)}
        write_text(out / "summary.txt", summary(facts))
    failed = sum(facts["counts"][role]["failed"] for role in ("real", "generated"))
    findings = None if threshold is None else int(facts["threshold"]["generated_images"])
    return Audit(out, run, summary(facts), failed, findings, facts)


def claim(out: Path) -> None:
    """Make `out`, or see that it is empty or of an earlier audit: its tables and pictures will be replaced.

    Raises:
        CollectionError: it is something else.
    """
    names = make_folder(out)
    if names and LOCK not in names:
        raise CollectionError(f"{out} is not empty and of no earlier audit (it holds {names[0]}); name a new folder")
    with locked(out):  # leaves the mark
        pass


def write_text(path: Path, text: str) -> None:
    """Write a text whole or not at all, readable for its owner only."""

    def put(file: BinaryIO) -> None:
        file.write(text.encode())

    write_atomic(path, put)


def _check(real: Sequence[str | Path], generated: Sequence[str | Path], out: Path) -> None:
    """Refuse at once what would go wrong later."""
    for given in [os.fspath(path) for path in (*real, *generated)]:
        if given == "-":
            raise ValueError("an audit reads its lists more than once: write the list to a file and name it as @FILE")
        if os.path.isdir(given) and out.resolve().is_relative_to(Path(given).resolve()):
            raise ValueError(f"{out} lies inside {given}: the audit would index its own pictures; name an --out elsewhere")
    for side in (real, generated):
        find(*side)  # a mistyped folder must not be found out after an hour


def _check_threshold(threshold: int | None, views: Iterable[str] | None) -> None:
    """Refuse a threshold without sense, or without the view that it counts bits of, where the views are known."""
    if threshold is not None and threshold < 0:
        raise ValueError(f"the threshold must not be negative, got {threshold}")
    if threshold is not None and views is not None and "phash" not in views:
        raise ValueError(f"the threshold counts bits of view phash, but the views are {', '.join(views)}")


def _index(
    real: Sequence[str | Path],
    generated: Sequence[str | Path],
    out: Path,
    settings: Settings | None,
    mirror: bool,
    device: str,
    progress: Progress,
) -> Sides:
    """The collections, made or brought up to date."""

    def named(role: str) -> Progress:
        return lambda stage, done, total: progress(f"{role}: {stage}", done, total)

    fakes = build(out / "generated", *generated, settings=settings, device=device, progress=named("generated images"))
    plain = build(out / "real", *real, like=fakes, device=device, progress=named("real images"))
    flipped = None
    if mirror:
        stages = named("flipped real images")
        flipped = build(out / "mirrored", *real, like=fakes, mirrored=True, device=device, progress=stages)
    return Sides(plain, fakes, flipped)


class Pictures:
    """Pixels of the images of both sides, read again from their files."""

    def __init__(self, sides: Sides, real: Sequence[str | Path], generated: Sequence[str | Path]) -> None:
        self._sides = {"real": (sides.real, _paths(real)), "generated": (sides.generated, _paths(generated))}

    def read(self, role: str, row: int) -> GreyImage:
        """The image of a row.

        Raises:
            ImageError: the file is not there any more, or not what it was.
        """
        collection, paths = self._sides[role]
        entry = collection.images.slice(row, 1).to_pylist()[0]
        path = paths.get(entry["path"], collection.path(row))
        for number, frame in enumerate(decode(path, Decoding(**collection.manifest.decoding))):
            if number == entry["frame"]:
                return frame.pixels
        raise ImageError(f"{path} has no frame {entry['frame']} any more")


def _paths(inputs: Sequence[str | Path]) -> dict[str, Path]:
    """Name in a collection -> file: a name that is not valid UTF-8 cannot be turned back."""
    source = find(*inputs)
    return {printable(name): source.root / name for name in source.files}


def _groups(
    given: Callable[[Sequence[str]], Mapping[str, str]] | None, real: Collection, pictures: Pictures, needed: bool
) -> tuple[Mapping[str, str] | None, Groups | None]:
    """Name -> group where somebody gave groups; and the group of each row, where intervals are needed."""
    if given is not None:
        named = given(real.names)
        of_row = np.array([f"alone: {name}" for name in real.names], object)
        for name, row in rows_of(real.names, named, "group").items():
            of_row[row] = f"group: {named[name]}"
        return named, Groups(of_row.astype(str), known=True)
    if not needed:
        return None, None
    try:
        images = list(in_order(partial(pictures.read, "real"), range(len(real))))
    except ImageError as error:
        raise CollectionError(f"a real image changed during the audit ({error}); run it again") from error
    return None, Groups(near_duplicate_groups(images), known=False)


# Writing


@contextmanager
def _database(out: Path) -> Iterator[Store]:
    """A new database that takes the place of the old one when all is in it."""
    unfinished = out / f".{DATABASE}.part"
    _forget_database(unfinished)
    try:
        with Store.open(unfinished) as store:
            yield store
        os.replace(unfinished, out / DATABASE)
    finally:
        _forget_database(unfinished)


def _forget_database(path: Path) -> None:
    for name in (path, path.with_name(f"{path.name}.wal")):
        name.unlink(missing_ok=True)


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of the old one when all is in it."""
    unfinished = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    try:
        yield unfinished
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write_tables(store: Store, run: int, folder: Path) -> None:
    for name, role in (("source_map", "generated"), ("nearest_generated", "real")):
        write_table(store.sql(_side_by_side(store, run, role), {"run": run}), folder / f"{name}.csv")
    for name in ("scores", "failures"):
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


def _write_plots(store: Store, run: int, facts: Mapping[str, Any], folder: Path) -> None:
    from query.figures import Distances, distance_plots

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


def _write_pictures(pairs: Sequence[Mapping[str, Any]], pictures: Pictures, folder: Path, say: Say) -> None:
    from query.figures import Pair, contact_sheet, pair_picture

    shown = []
    for number, pair in enumerate(pairs, 1):
        try:
            real, generated = (pictures.read(role, pair[f"{role}_row"]) for role in ("real", "generated"))
        except ImageError as error:
            say(f"no picture of {pair['real']} and {pair['generated']}: {error}")
            continue
        name = f"{pair['real']} (flipped)" if pair["mirrored"] else pair["real"]
        image = np.ascontiguousarray(real[:, ::-1]) if pair["mirrored"] else real
        shown.append(Pair(name, pair["generated"], image, generated, pair["distances"]))
        pair_picture(folder / f"pair_{number:02d}.png", shown[-1], f"Closest pair {number} of {len(pairs)}")
    if shown:
        title = f"The {len(shown)} closest pairs, each real image once: real, generated, generated - real"
        contact_sheet(folder / "closest_pairs.png", shown, title)


def _files(out: Path) -> dict[str, list[str]]:
    """What was written, by kind."""
    found = {name: sorted(str(path) for path in (out / name).iterdir()) for name in ("csv", "plots", "pairs")}
    return {"summary": [str(out / "summary.txt")], "database": [str(out / DATABASE)], **found}
