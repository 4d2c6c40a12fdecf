"""Store reviews in the file of `query.inputs.reviews`: a line is on disk before its request is answered.

People may edit the file meanwhile: what they wrote is taken up. What was answered here and is not in what they saved, since they
had begun earlier, is put there again.
"""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from embeddings.files.spreadsheet import write_rows
from embeddings.files.writing import FullDisk
from query import terminal
from query.inputs.reviews import NO_REVIEW, SUFFIX, Kept, Key, Pair, ReviewLabel, parse_line
from query.service.backend.reviews.journal import Journal
from query.text import many, name

_NOT_KEPT = "reviews cannot be saved"
_TRIES = 5  # looks at a file that is written all the time
Who = tuple[Pair, str]  # a pair, and the blinded reader of it; empty on the open page


class Unusable(Exception):
    """The file of reviews cannot be used; nothing was saved."""


@dataclass(frozen=True)
class Line:
    """A review or its deletion, as a line of the file."""

    text: bytes
    time: str


class Reviews:
    """The reviews of one file, which no other service may use meanwhile; a context manager. Safe from several threads.

    Args:
        database: whose neighbour the file is.

    Raises:
        Locked: another service has it.
        OSError: it cannot be made or read.
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_suffix(SUFFIX)
        self._lock = threading.Lock()
        self._kept: dict[Who, Kept] = {}
        self._lines: dict[Who, Line] = {}  # the last of each pair and reader in the file
        self._answered: dict[Who, Line] = {}  # the last of each pair and reader that was given or taken back here
        self._reason = ""
        self._journal = Journal(self.path)
        try:
            self._read()
        except BaseException:
            self._journal.close()
            raise

    def __enter__(self) -> "Reviews":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._look()  # a file that was replaced since the last answer gets what it lacks
            self._journal.close()

    @property
    def reason(self) -> str:
        """Reason why reviews cannot be saved; empty if they can."""
        with self._lock:
            self._look()
            return self._reason

    def all(self) -> dict[Pair, Kept]:
        """Every pair with a review on the open page, the latest last."""
        return self.of_reader("")

    def of_reader(self, reader: str) -> dict[Pair, Kept]:
        """Every pair that a blinded reader gave a label, the latest last; the empty name is the open page."""
        return {pair: kept for (pair, who), kept in self._everything().items() if who == reader}

    def blinded(self) -> dict[Pair, dict[str, ReviewLabel]]:
        """What each blinded reader says: pair -> reader -> label."""
        found: dict[Pair, dict[str, ReviewLabel]] = {}
        for (pair, reader), kept in self._everything().items():
            if reader:
                found.setdefault(pair, {})[reader] = kept.review
        return found

    def codes(self) -> dict[str, str]:
        """Blinded reader -> SHA-256 of the code that the reader's labels were given with, empty where none was needed."""
        return {reader: kept.code for (_, reader), kept in self._everything().items() if reader}

    def get(self, real: Key, generated: Key, reader: str = "") -> Kept | None:
        """The review of a pair."""
        return self._everything().get(((real, generated), reader))

    def put(self, real: Key, generated: Key, kept: Kept) -> None:
        """Save a review; it replaces an earlier one of the same reader.

        Raises:
            FullDisk: it could not be brought to the disk, and does not count.
            Unusable: nor could it, since the file cannot be used.
        """
        with self._lock, _named():
            self._append((real, generated), {"review": kept.review, "note": kept.note}, kept, kept.time)

    def remove(self, real: Key, generated: Key, reader: str = "") -> bool:
        """Delete a review; False if there was none.

        Raises:
            FullDisk, Unusable: as `put` raises them.
        """
        with self._lock, _named():
            self._follow()
            kept = self._kept.get(((real, generated), reader))
            if kept is not None:
                self._append((real, generated), {"review": None}, kept, now())
        return kept is not None

    def _everything(self) -> dict[Who, Kept]:
        with self._lock:
            self._look()
            return dict(self._kept)

    def as_csv(self) -> str:
        """All reviews, those of blinded readers too, with the names and contents of their images."""
        keys = ("real_sha256", "real_frame", "generated_sha256", "generated_frame")
        rows = [
            [kept.real, kept.generated, str(kept.review), kept.note, kept.time, kept.reader, *real, *generated]
            for ((real, generated), _), kept in self._everything().items()
        ]
        file = io.BytesIO()
        write_rows(file, ("real", "generated", "review", "note", "time", "reader", *keys), rows)
        return file.getvalue().decode()

    def _append(self, pair: Pair, said: dict[str, Any], kept: Kept, time: str) -> None:
        sides = {
            side: {"sha256": key[0], "frame": key[1], "name": named}
            for side, key, named in zip(("real", "generated"), pair, (kept.real, kept.generated), strict=True)
        }
        who = {"reader": kept.reader, "code": kept.code} if kept.reader else {}
        line = json.dumps({**sides, **said, "time": time, **who}).encode()
        self._follow()
        self._journal.append(line)
        self._take(line)
        self._answered[pair, kept.reader] = self._lines[pair, kept.reader]
        self._look()  # perhaps the file was replaced in this moment

    def _look(self) -> None:
        """Follow the file; where it cannot be used, what was read of it stands."""
        try:
            with _named():
                self._follow()
            self._reason = ""
        except FullDisk:
            self._reason = f"{_NOT_KEPT}: there is no space left beside the database"
        except Unusable as error:
            self._reason = str(error)

    def _follow(self) -> None:
        """Take up what the file holds now, and put there what it should hold too."""
        for _ in range(_TRIES):
            if not self._journal.changed:
                return
            if self._journal.gone:
                self._answered = {**self._lines, **self._answered}  # of a file without lines nobody can say what is to go
            self._read()
            lacking = [line for who, line in self._answered.items() if self._since(who) < line.time]
            try:
                for line in lacking:
                    self._journal.append(line.text)
                    self._take(line.text)
            except OSError:
                self._journal.forget()
                raise
            if lacking:
                note = f"{name(str(self.path))} was replaced; {many(len(lacking), 'review')} that it lacked put back"
                terminal.say(f"synthtrace: {note}")

    def _since(self, who: Who) -> str:
        return self._lines[who].time if who in self._lines else ""

    def _read(self) -> None:
        """Take up what stands in the file; what is no review, as of a kill in the middle of a line, is left out and named."""
        lines = self._journal.lines()
        self._kept, self._lines = {}, {}
        for number, line in enumerate(lines, 1):
            try:
                self._take(line)
            except NO_REVIEW:
                terminal.say(f"synthtrace: {name(str(self.path))}: line {number} is no review and is left out")

    def _take(self, text: bytes) -> None:
        entry = parse_line(text)
        who = entry.pair, entry.reader
        self._lines[who] = Line(text, entry.time)
        self._kept.pop(who, None)
        if entry.kept:
            self._kept[who] = entry.kept


@contextmanager
def _named() -> Iterator[None]:
    """Turn what the system says into what a reviewer can be told, which names no folder."""
    try:
        yield
    except FullDisk:
        raise
    except OSError as error:
        raise Unusable(f"{_NOT_KEPT}: the file beside the database cannot be used ({error.strerror or error})") from error


def now() -> str:
    """UTC, ISO 8601; to the millisecond, so that it tells which of two reviews came last."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
