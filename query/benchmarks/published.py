"""Check published accuracy figures against their counts, or against all counts that are possible. NumPy only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.files.spreadsheet import unescaped
from query.evaluation.classification import Counts, Measure, measures
from query.inputs.tables import AS_FOUND, Column, TableError, TableForm, read_sheet

PUBLISHED = Path(__file__).parent / "published.csv"  # what the ImageCLEF GANs task of 2023 saw, on 100 used and 100 unused images
FIGURES = (Measure.ACCURACY, Measure.PRECISION, Measure.SPECIFICITY, Measure.RECALL, Measure.F1)
CELLS = ("tp", "tn", "fp", "fn")
TOTALS = ("positives", "negatives")
_MOST = 4_000_000  # tables tried
_SHOWN = 3  # tables named of those that fit


class RecomputeError(TableError):
    """A file of published figures cannot be used; the message is one line that names it and the line."""


class Fit(StrEnum):
    """Whether a printed figure follows from counts."""

    ROUNDED = "follows"
    CUT = "follows when digits are cut off instead of rounded"
    WRONG = "does not follow"


@dataclass(frozen=True)
class Row:
    """One published line.

    Attributes:
        name: of the method.
        figures: measure -> the figure as printed: its digits say how far it was rounded.
        counts: tp, tn, fp, fn, where all four are given, else None.
        totals: images used and not used, where they are known, else None.
    """

    name: str
    figures: Mapping[Measure, Decimal]
    counts: tuple[int, int, int, int] | None
    totals: tuple[int, int] | None


@dataclass(frozen=True)
class Cell:
    """A printed figure, what the counts give, and whether the one follows from the other."""

    figure: Measure
    printed: Decimal
    recomputed: float
    fit: Fit


@dataclass(frozen=True)
class Recomputed:
    """What became of a row.

    Attributes:
        row: as it was published.
        consistent: whether its numbers go together; None where nothing could be checked.
        note: what was found, in one sentence.
        cells: its figures, where counts are given.
        tables: (tp, tn, fp, fn) that give every printed figure, where no counts are given.
        culprits: where no counts fit, the figures without any one of which some would.
    """

    row: Row
    consistent: bool | None
    note: str
    cells: tuple[Cell, ...] = ()
    tables: tuple[tuple[int, int, int, int], ...] = ()
    culprits: tuple[Measure, ...] = ()


def read_published(path: Path = PUBLISHED, form: TableForm = AS_FOUND) -> list[Row]:
    """Rows of a table with a column ``name`` and any of tp, tn, fp, fn, accuracy, precision, specificity, recall, f1, positives,
    negatives; fields may be empty.

    Args:
        path: see `query.inputs.tables`.
        form: how it is written, where that is not to be found out.

    Raises:
        RecomputeError: the file cannot be read, has another column, or a field is no such number.
    """
    sheet = read_sheet(path, (Column("name"),), form, RecomputeError)
    header = [cell.casefold() for cell in sheet.header]
    known = ["name", *TOTALS, *CELLS, *FIGURES]
    for column in header:
        if column not in known or header.count(column) > 1:
            what = f"unknown column {column!r}" if column not in known else f"two columns {column!r}"
            sheet.refuse(f"{what}; known are {', '.join(known)}")
    if "name" not in header:
        sheet.refuse(f"no column 'name'; known are {', '.join(known)}")
    rows = [_row(dict(zip(header, cells, strict=True)), f"{path}, line {line}") for line, cells in sheet.rows]
    if not rows:
        raise RecomputeError(f"{path}: no rows under the header")
    return rows


def recompute(row: Row) -> Recomputed:
    """Hold a row against its counts, or else against every table of counts with its totals."""
    if row.counts:
        return _from_counts(row, row.counts)
    if missing := _missing(row):
        return Recomputed(row, None, f"cannot be checked: {missing}")
    assert row.totals is not None
    tables = _possible(row.figures, row.totals)
    if tables:
        return Recomputed(row, True, _possible_said(tables), tables=tables)
    without = {left: {name: row.figures[name] for name in row.figures if name != left} for left in row.figures}
    culprits = tuple(left for left, figures in without.items() if figures and _possible(figures, row.totals))
    hint = f"; some would without {' or without '.join(culprits)}" if culprits else ""
    return Recomputed(row, False, f"no whole counts give these figures{hint}", culprits=culprits)


def _missing(row: Row) -> str:
    """Why a row without counts cannot be checked, empty where it can."""
    if row.totals is None:
        return "neither counts nor the numbers of used and unused images are given"
    if not row.figures:
        return "no figures are given"
    return "too many images to try every table of counts" if (row.totals[0] + 1) * (row.totals[1] + 1) > _MOST else ""


def fit(printed: Decimal, value: float | NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether values print as a figure with so many digits when rounded, and when cut off; a NaN never does."""
    exponent = printed.as_tuple().exponent
    unit = 10.0 ** (exponent if isinstance(exponent, int) else 0)
    above = np.asarray(value) - float(printed)
    return np.abs(above) <= unit / 2 + 1e-9, (above > -1e-9) & (above < unit - 1e-9)


def _from_counts(row: Row, counts: tuple[int, int, int, int]) -> Recomputed:
    tp, tn, fp, fn = counts
    values = measures(Counts(tp, fp, tn, fn))
    cells = tuple(_cell(figure, printed, float(values[figure])) for figure, printed in row.figures.items())
    wrong = [f"{each.figure} {each.printed} (the counts give {each.recomputed:.3f})" for each in cells if each.fit is Fit.WRONG]
    cut = [f"{each.figure} {each.printed}" for each in cells if each.fit is Fit.CUT]
    parts = [f"does not follow from the counts: {', '.join(wrong)}"] if wrong else ["follows from the counts"]
    parts += [f"cut off instead of rounded: {', '.join(cut)}"] if cut else []
    other = row.totals is not None and row.totals != (tp + fn, tn + fp)
    parts += [f"counts are of {tp + fn} used and {tn + fp} unused images, not of those stated"] if other else []
    return Recomputed(row, not wrong and not other, "; ".join(parts), cells)


def _cell(figure: Measure, printed: Decimal, value: float) -> Cell:
    rounded, cut = fit(printed, value)
    return Cell(figure, printed, value, Fit.ROUNDED if rounded else Fit.CUT if cut else Fit.WRONG)


def _possible(figures: Mapping[Measure, Decimal], totals: tuple[int, int]) -> tuple[tuple[int, int, int, int], ...]:
    """Every (tp, tn, fp, fn) that gives all figures, rounded or cut off."""
    tp, tn = np.meshgrid(*(np.arange(total + 1) for total in totals), indexing="ij")
    values = measures(Counts(tp, totals[1] - tn, tn, totals[0] - tp))
    fits = np.ones(tp.shape, bool)
    for figure, printed in figures.items():
        fits &= np.logical_or(*fit(printed, values[figure]))
    fitting = zip(tp[fits].tolist(), tn[fits].tolist(), strict=True)
    return tuple((hit, right, totals[1] - right, totals[0] - hit) for hit, right in fitting)


def _possible_said(tables: tuple[tuple[int, int, int, int], ...]) -> str:
    shown = "; ".join("TP {} TN {} FP {} FN {}".format(*table) for table in tables[:_SHOWN])
    if len(tables) == 1:
        return f"only these counts give these figures: {shown}"
    more = f" and {len(tables) - _SHOWN} more" if len(tables) > _SHOWN else ""
    return f"{len(tables)} tables of counts give these figures: {shown}{more}"


def _row(line: Mapping[str, str], where: str) -> Row:
    counts = _whole(line, CELLS, where)
    totals = _whole(line, TOTALS, where)
    figures = {}
    for figure in FIGURES:
        if (text := line.get(figure, "").strip()) != "":
            figures[figure] = _printed(text, figure, where)
    return Row(
        unescaped(line["name"]),
        figures,
        None if counts is None else (counts[0], counts[1], counts[2], counts[3]),
        None if totals is None else (totals[0], totals[1]),
    )


def _whole(line: Mapping[str, str], names: Iterable[str], where: str) -> list[int] | None:
    """The counts of these names; None where none is given."""
    texts = [line.get(name, "").strip() for name in names]
    if not any(texts):
        return None
    if not all(text.isascii() and text.isdigit() for text in texts):
        raise RecomputeError(f"{where}: {', '.join(names)} must all be whole numbers, or all empty; got {', '.join(texts)}")
    return [int(text) for text in texts]


def _printed(text: str, figure: str, where: str) -> Decimal:
    try:
        printed = Decimal(text.replace(",", "."))  # a German spreadsheet writes 0,535
    except InvalidOperation:
        raise RecomputeError(f"{where}: {figure} must be a number such as 0.535, got {text!r}") from None
    if not printed.is_finite() or not 0 <= printed <= 1:
        raise RecomputeError(f"{where}: {figure} must be between 0 and 1, got {text!r}")
    return printed
