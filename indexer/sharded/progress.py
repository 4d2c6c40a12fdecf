"""Progress over all shards: whoever makes one notes in a small file how far it is, and the run adds these up."""

import shutil
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from embeddings.files.writing import make_folder, write_text
from indexer.build.build import Progress
from indexer.sharded.plan import Piece

NOTES = "progress"  # folder of the notes, which goes at the end
STAGE = "indexing shards"
EVERY = 1.0  # seconds between two looks


def noting(folder: Path, name: str) -> Progress:
    """Progress of one shard, noted for `Tally`. It is no reason to fail: a full disk is told by what it leaves no room for."""

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "embedding":
            with suppress(OSError):
                write_text(folder / NOTES / name, str(done))

    return progress


class Tally:
    """Tells, while it is open, how many files all shards have done. A context manager.

    Args:
        folder: of the sharded collection.
        plan: the shards.
        progress: is called every second, by one thread at a time.
    """

    def __init__(self, folder: Path, plan: Sequence[Piece], progress: Progress) -> None:
        self._folder, self._progress = folder / NOTES, progress
        self._open = {piece.name: len(piece.files) for piece in plan}
        self._total, self._told = sum(self._open.values()), 0
        self._end, self._lock = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def finished(self, piece: Piece) -> None:
        """A shard is made, or has failed."""
        with self._lock:
            del self._open[piece.name]
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            left = sum(size - min(self._noted(name), size) for name, size in self._open.items())
            self._told = max(self._told, self._total - left)
            self._progress(STAGE, self._told, self._total)

    def _noted(self, name: str) -> int:
        try:
            return int((self._folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0

    def _watch(self) -> None:
        while not self._end.wait(EVERY):
            self._tell()

    def __enter__(self) -> Self:
        shutil.rmtree(self._folder, ignore_errors=True)
        make_folder(self._folder)
        self._tell()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()
        shutil.rmtree(self._folder, ignore_errors=True)
