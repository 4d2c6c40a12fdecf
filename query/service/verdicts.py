"""What people think of pairs, in a file of its own beside the database: results.duckdb has results.verdicts.jsonl.

A line a verdict, appended and brought to the disk before it is answered; the last line of a pair counts, one without a verdict
takes it back. A pair is named by the contents of its two images, so that verdicts outlive a new audit.
"""

import csv
import fcntl
import io
import json
import os
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from indexer.files import Locked, full_disk_named
from query.service.models import Judged, Verdict

Key = tuple[str, int]  # SHA-256 of the file, frame
Pair = tuple[Key, Key]  # real, generated


@dataclass(frozen=True)
class Kept:
    """A verdict as it stands in the file."""

    verdict: Judged
    note: str
    real: str
    generated: str
    time: str


class Verdicts:
    """The verdicts of one file, which no other service may use meanwhile; a context manager. Safe from several threads.

    Args:
        database: whose neighbour the file is.

    Raises:
        Locked: another service has it.
        OSError: it cannot be made or read.
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_suffix(".verdicts.jsonl")
        self._lock = threading.Lock()
        self._kept: dict[Pair, Kept] = {}
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        self._file = open(descriptor, "r+b", buffering=0)  # noqa: SIM115 - held until close; nothing stays in a buffer
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read()
        except BlockingIOError as error:
            self._file.close()
            raise Locked(f"{self.path} is in use by another service; end that one, or copy the database") from error

    def __enter__(self) -> "Verdicts":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def all(self) -> dict[Pair, Kept]:
        """Every pair with a verdict, the latest last."""
        with self._lock:
            return dict(self._kept)

    def get(self, real: Key, generated: Key) -> Kept | None:
        """The verdict of a pair."""
        with self._lock:
            return self._kept.get((real, generated))

    def put(self, real: Key, generated: Key, kept: Kept) -> None:
        """Keep a verdict, in place of an earlier one.

        Raises:
            FullDisk: it could not be brought to the disk, and does not count.
        """
        with self._lock:  # the file and what is kept here agree on which came last
            self._append(real, generated, {"verdict": kept.verdict, "note": kept.note}, kept.real, kept.generated, kept.time)
            self._kept.pop((real, generated), None)
            self._kept[real, generated] = kept

    def remove(self, real: Key, generated: Key) -> bool:
        """Take a verdict back; False where there was none.

        Raises:
            FullDisk: as `put` raises it.
        """
        with self._lock:
            kept = self._kept.get((real, generated))
            if kept is None:
                return False
            self._append(real, generated, {"verdict": None}, kept.real, kept.generated, now())
            del self._kept[real, generated]
        return True

    def as_csv(self) -> str:
        """All verdicts with the names and contents of their images."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(
            ["real", "generated", "verdict", "note", "time", "real_sha256", "real_frame", "generated_sha256", "generated_frame"]
        )
        for (real, generated), kept in self.all().items():
            said = [harmless(text) for text in (kept.real, kept.generated, str(kept.verdict), kept.note)]
            writer.writerow([*said, kept.time, *real, *generated])
        return text.getvalue()

    def _append(self, real: Key, generated: Key, said: dict[str, Any], name: str, other: str, time: str) -> None:
        sides = {
            side: {"sha256": key[0], "frame": key[1], "name": named}
            for side, key, named in (("real", real, name), ("generated", generated, other))
        }
        line = json.dumps({**sides, **said, "time": time}) + "\n"
        with full_disk_named(self.path.parent):
            end = self._file.seek(0, os.SEEK_END)
            rest = line.encode()
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
                os.fsync(self._file.fileno())
            except OSError:
                self._file.truncate(end)
                raise

    def _read(self) -> None:
        """Take up what stands in the file; what is no verdict, as of a kill in the middle of a line, is left out and named."""
        line = b"\n"
        for number, line in enumerate(self._file.readall().splitlines(keepends=True), 1):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError, OverflowError):
                print(f"synthtrace: {self.path}: line {number} is no verdict and is left out", file=sys.stderr)
        if not line.endswith(b"\n"):  # cut short, or an editor left it so: the next verdict begins a line
            self._file.write(b"\n")

    def _take(self, entry: dict[str, Any]) -> None:
        pair, kept = (_key(entry["real"]), _key(entry["generated"])), None
        if entry["verdict"] is not None:
            said = Verdict(verdict=entry["verdict"], note=entry["note"])  # as strict as what is sent: people edit files
            names = str(entry["real"]["name"]), str(entry["generated"]["name"])
            kept = Kept(said.verdict, said.note, *names, str(entry["time"]))
        self._kept.pop(pair, None)
        if kept:
            self._kept[pair] = kept


def _key(side: dict[str, Any]) -> Key:
    return str(side["sha256"]), int(side["frame"])


def harmless(text: str) -> str:
    """The text with an apostrophe before it where a spreadsheet would run it as a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def now() -> str:
    """UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
