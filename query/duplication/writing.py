"""Write what was found into a folder: CSV, JSON, and a sheet of pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from embeddings.files.spreadsheet import write_rows
from embeddings.files.writing import make_folder, write_atomic, write_text
from query.duplication.duplicates import Duplicates
from query.duplication.leaky_splits import LeakySplits
from query.duplication.pairs import Pair
from query.duplication.pictures import ACROSS, Block, sheet
from query.duplication.tables import Table, drop_rows, group_rows, pair_rows, patient_rows
from query.text import as_json, many

SHEET = 40  # groups, or pairs, on a sheet at most


def write_duplicates(found: Duplicates, folder: Path) -> list[Path]:
    """``groups.csv``, ``duplicates.json`` and, where there are groups, ``groups.png``; what was written."""
    make_folder(folder)
    written = [_csv(folder / "groups.csv", group_rows(found)), _json(folder / "duplicates.json", found.as_dict())]
    if found.groups:
        blocks = [_group_block(found, place) for place in range(min(SHEET, len(found.groups)))]
        title = f"{many(len(found.groups), 'group')} of duplicates" + (
            f", the {SHEET} largest" if len(found.groups) > SHEET else ""
        )
        written.append(sheet(folder / "groups.png", found.pool, blocks, title))
    return written


def _group_block(found: Duplicates, place: int) -> Block:
    group, pool = found.groups[place], found.pool
    more = f", the first {ACROSS}" if len(group) > ACROSS else ""
    images = [(group.centre, "centre"), *((pair.second, pair.note) for pair in group.pairs[: ACROSS - 1])]
    patients = {str(pool.patients[row]) for row in group.rows if pool.patients[row]}
    of = f", {many(len(patients), 'patient')}" if patients else ""
    return f"{place + 1}. {many(len(group), 'image')}{of}{more}", images


def write_leaks(found: LeakySplits, folder: Path) -> list[Path]:
    """``pairs.csv``, ``patients.csv``, ``drop.csv``, ``leaky-splits.json`` and, where there are pairs, ``pairs.png``."""
    make_folder(folder)
    tables: dict[str, Callable[[LeakySplits], Table]] = {
        "pairs": pair_rows,
        "patients": patient_rows,
        "drop": drop_rows,
    }
    written = [_csv(folder / f"{name}.csv", table(found)) for name, table in tables.items()]
    written.append(_json(folder / "leaky-splits.json", found.as_dict()))
    if found.pairs:
        of_them = f", the first {SHEET}" if len(found.pairs) > SHEET else ""
        title = f"{many(len(found.pairs), 'pair')} of duplicates in different splits{of_them}"
        blocks = [_pair_block(pair) for pair in found.pairs[:SHEET]]
        written.append(sheet(folder / "pairs.png", found.pool, blocks, title))
    return written


def _pair_block(pair: Pair) -> Block:
    return pair.note, [(pair.first, ""), (pair.second, "")]


def _csv(path: Path, table: Table) -> Path:
    write_atomic(path, lambda file: write_rows(file, *table))
    return path


def _json(path: Path, values: dict[str, Any]) -> Path:
    write_text(path, as_json(values))
    return path
