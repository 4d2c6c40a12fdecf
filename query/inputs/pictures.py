"""Read the pixels of images again from their files, for a collection or a run.

A file that does not hold the bytes any more that were indexed is refused: its picture would stand under an old name and distance.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from embeddings.files.reading import parse_json
from embeddings.images.decode import decode
from embeddings.images.decoding import Decoding
from embeddings.images.errors import ImageError, printable
from embeddings.images.find import paths_of
from embeddings.types import GreyImage
from indexer.collection import Collection

if TYPE_CHECKING:
    from query.database.store import Store

_AHEAD = 64_000_000  # pixels of one file that are kept for who reads its frames one after the other


class Pictures:
    """The images of a collection as they were decoded for it. Safe from several threads.

    Args:
        collection: whose images.
        paths: name in the collection -> file, where a name alone does not lead back to it; see `paths_of`.
    """

    def __init__(self, collection: Collection, paths: Mapping[str, Path] | None = None) -> None:
        self._collection = collection
        self._paths = paths or {}
        self._frames = _Frames(Decoding(**collection.manifest.decoding))

    def read(self, row: int) -> GreyImage:
        """The image of a row, (H, W) uint8.

        Raises:
            ImageError: the file is not there any more, or not what it was.
        """
        entry = self._collection.images.slice(row, 1).to_pylist()[0]
        path = self._paths.get(entry["path"], self._collection.path(row))
        return self._frames.read(path, entry["frame"], entry["sha256"], several=entry["name"] != entry["path"])


class RunPictures:
    """The images of a run as they were decoded for it, by their ids; a file with other contents than it had is refused.

    Safe from several threads, as long as the store is read-only.

    Args:
        store: holds the run.
        run: its number.

    Raises:
        StoreError: the run does not say how its images were decoded.
    """

    def __init__(self, store: "Store", run: int) -> None:
        self._store, self._run = store, run
        described = store.sql(
            "SELECT real_source, generated_source, settings->'decoding' AS decoding FROM runs WHERE run_id = $run", {"run": run}
        ).to_pylist()[0]
        if described["decoding"] is None:
            from query.database.store import StoreError  # not above: a look-up shows pictures and needs no database

            raise StoreError(f"{store.path}: run {run} does not say how its images were decoded; make it again")
        self._frames = _Frames(Decoding(**parse_json(described["decoding"])))
        self._sources = {role: described[f"{role}_source"] for role in ("real", "generated")}

    def read(self, image_id: int) -> GreyImage:
        """The image, (H, W) uint8.

        Raises:
            ImageError: the run has no such image, or the file is not there any more, or not what it was.
        """
        query = "SELECT role, path, name, frame, sha256 FROM images WHERE run_id = $run AND image_id = $id"
        found = self._store.sql(query, {"run": self._run, "id": image_id}).to_pylist()
        if not found:
            raise ImageError(f"run {self._run} has no image {image_id}")
        entry = found[0]
        source = self._sources[entry["role"]]
        path = Path(source, entry["path"])
        if not path.exists():  # perhaps its name is not valid UTF-8
            path = _paths_in(source).get(entry["path"], path)
        return self._frames.read(path, entry["frame"], entry["sha256"], several=entry["name"] != entry["path"])


@lru_cache(maxsize=8)
def _paths_in(source: str) -> dict[str, Path]:
    return paths_of([source]) if Path(source).is_dir() else {}


class _Frames:
    """Single frames of files. Of one file with several the next ones are kept, or each would cost all that come before it."""

    def __init__(self, decoding: Decoding) -> None:
        self._decoding = decoding
        self._lock = Lock()
        self._file: tuple[Path, str] | None = None
        self._kept: dict[int, GreyImage] = {}

    def read(self, path: Path, number: int, sha256: str, several: bool) -> GreyImage:
        """A frame of the file that has this hash.

        Raises:
            ImageError: the file is not there any more, not what it was, or has no such frame; the text names it.
        """
        if not several:
            return self._read_on(path, number, sha256)[number]
        with self._lock:
            if self._file != (path, sha256) or number not in self._kept:
                self._kept = self._read_on(path, number, sha256)
                self._file = path, sha256
            return self._kept[number].copy()

    def _read_on(self, path: Path, number: int, sha256: str) -> dict[int, GreyImage]:
        """The frame and those after it, up to so many pixels."""
        kept: dict[int, GreyImage] = {}
        pixels = 0
        try:
            for at, frame in enumerate(decode(path, self._decoding, sha256)):
                if at >= number:
                    kept[at] = frame.pixels
                    pixels += frame.pixels.size
                    if pixels > _AHEAD:
                        break
        except ImageError as error:
            raise type(error)(f"{printable(str(path))}: {error}") from error
        if not kept:
            raise ImageError(f"{printable(str(path))} has no frame {number} any more")
        return kept
