"""Reviews of pairs, one JSON line each, in a file beside the database: results.duckdb has results.reviews.jsonl.

The last line of a pair and reader counts, one without a review takes it back. A pair is named by the contents of its two images,
so that reviews outlive a new audit. Lines with a ``reader`` come from blinded reading; reviews on the open page have none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from embeddings.files.reading import parse_json

Key = tuple[str, int]  # SHA-256 of the file, frame
Pair = tuple[Key, Key]  # real, generated
NOTE_LENGTH = 2000  # characters
SUFFIX = ".reviews.jsonl"
READ = 50  # pairs that are read blinded, where nobody says otherwise
NO_REVIEW = (ValueError, KeyError, TypeError, AttributeError, OverflowError)  # what `parse_line` raises


class ReviewLabel(StrEnum):
    """What a person thinks of a pair."""

    COPY = "copy"
    SIMILAR = "similar"
    UNRELATED = "unrelated"


@dataclass(frozen=True)
class Kept:
    """A review as it stands in the file; what a person left out of a line is empty.

    Attributes:
        review, note: what the person says.
        real, generated: names of the images.
        time: UTC, ISO 8601.
        reader: who read the pair blinded; empty for a review on the open page.
        code: SHA-256 of the reader's code, hexadecimal; empty where none was needed.
    """

    review: ReviewLabel
    note: str
    real: str
    generated: str
    time: str
    reader: str = ""
    code: str = ""


@dataclass(frozen=True)
class Entry:
    """A line of the file: the pair, who read it, its review or None where that was taken back, and the time of the line."""

    pair: Pair
    reader: str
    kept: Kept | None
    time: str


def parse_line(line: str | bytes) -> Entry:
    """What a line says.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, OverflowError: it is no review, perhaps the torn end of one.
    """
    entry: dict[str, Any] = parse_json(line)
    sides = entry["real"], entry["generated"]
    real, generated = ((str(side["sha256"]), int(side["frame"])) for side in sides)
    time, note, reader = str(entry.get("time", "")), entry.get("note", ""), str(entry.get("reader", ""))
    if entry["review"] is None:
        return Entry((real, generated), reader, None, time)
    if not isinstance(note, str) or len(note) > NOTE_LENGTH:
        raise ValueError(f"a note is a text of at most {NOTE_LENGTH} characters")
    names = [str(side.get("name", "")) for side in sides]
    kept = Kept(ReviewLabel(entry["review"]), note, names[0], names[1], time, reader, str(entry.get("code", "")))
    return Entry((real, generated), reader, kept, time)


def read_reviews(path: Path) -> dict[Pair, Kept]:
    """The reviews of the open page; lines that are none are left out, and a missing file has none."""
    return {pair: kept for (pair, reader), kept in _last(path).items() if not reader}


def read_blinded(path: Path) -> dict[Pair, dict[str, ReviewLabel]]:
    """What each blinded reader says: pair -> reader -> label."""
    found: dict[Pair, dict[str, ReviewLabel]] = {}
    for (pair, reader), kept in _last(path).items():
        if reader:
            found.setdefault(pair, {})[reader] = kept.review
    return found


def _last(path: Path) -> dict[tuple[Pair, str], Kept]:
    """What counts of a file, by pair and reader, the latest last."""
    kept: dict[tuple[Pair, str], Kept] = {}
    for entry in _entries(path):
        kept.pop((entry.pair, entry.reader), None)
        if entry.kept:
            kept[entry.pair, entry.reader] = entry.kept
    return kept


def _entries(path: Path) -> Iterator[Entry]:
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            yield parse_line(line)
        except NO_REVIEW:
            continue
