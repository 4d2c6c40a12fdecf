"""Reviews of pairs, one JSON line each, in a file beside the database: results.duckdb has results.reviews.jsonl.

The last line of a pair counts, one without a review takes it back. A pair is named by the contents of its two images, so that
reviews outlive a new audit.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from embeddings.files.reading import parse_json

Key = tuple[str, int]  # SHA-256 of the file, frame
Pair = tuple[Key, Key]  # real, generated
NOTE_LENGTH = 2000  # characters
SUFFIX = ".reviews.jsonl"
NO_REVIEW = (ValueError, KeyError, TypeError, AttributeError, OverflowError)  # what `parse_line` raises


class ReviewLabel(StrEnum):
    """What a person thinks of a pair."""

    COPY = "copy"
    SIMILAR = "similar"
    UNRELATED = "unrelated"


@dataclass(frozen=True)
class Kept:
    """A review as it stands in the file; what a person left out of a line is empty."""

    review: ReviewLabel
    note: str
    real: str
    generated: str
    time: str


def parse_line(line: str | bytes) -> tuple[Pair, Kept | None, str]:
    """Pair, its review or None where that was taken back, and the time of the line.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, OverflowError: it is no review, perhaps the torn end of one.
    """
    entry: dict[str, Any] = parse_json(line)
    sides = entry["real"], entry["generated"]
    real, generated = ((str(side["sha256"]), int(side["frame"])) for side in sides)
    time, note = str(entry.get("time", "")), entry.get("note", "")
    if entry["review"] is None:
        return (real, generated), None, time
    if not isinstance(note, str) or len(note) > NOTE_LENGTH:
        raise ValueError(f"a note is a text of at most {NOTE_LENGTH} characters")
    names = [str(side.get("name", "")) for side in sides]
    return (real, generated), Kept(ReviewLabel(entry["review"]), note, names[0], names[1], time), time


def read_reviews(path: Path) -> dict[Pair, Kept]:
    """The reviews of a file; lines that are none are left out, and a missing file has none."""
    reviews: dict[Pair, Kept] = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            pair, review, _ = parse_line(line)
        except NO_REVIEW:
            continue
        reviews.pop(pair, None)
        if review:
            reviews[pair] = review
    return reviews
