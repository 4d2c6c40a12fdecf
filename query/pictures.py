"""Pixels of images, read again from their files: of a collection's, or of a run's."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from embeddings.find import find
from embeddings.images import Decoding, ImageError, decode, printable
from embeddings.reading import parse_json
from embeddings.types import GreyImage
from indexer.collection import Collection
from indexer.files import sha256_of
from query.store import Store, StoreError


class Pictures:
    """The images of a collection as they were decoded for it.

    Args:
        collection: whose images.
        paths: name in the collection -> file, where a name alone does not lead back to it; see `paths_of`.
    """

    def __init__(self, collection: Collection, paths: Mapping[str, Path] | None = None) -> None:
        self._collection = collection
        self._paths = paths or {}

    def read(self, row: int) -> GreyImage:
        """The image of a row, (H, W) uint8.

        Raises:
            ImageError: the file is not there any more, or not what it was.
        """
        entry = self._collection.images.slice(row, 1).to_pylist()[0]
        path = self._paths.get(entry["path"], self._collection.path(row))
        return _frame(path, entry["frame"], Decoding(**self._collection.manifest.decoding))


class RunPictures:
    """The images of a run as they were decoded for it, by their ids; a file with other contents than it had is refused.

    Safe from several threads, as long as the store is read-only.

    Args:
        store: holds the run.
        run: its number.

    Raises:
        StoreError: the run does not say how its images were decoded.
    """

    def __init__(self, store: Store, run: int) -> None:
        self._store, self._run = store, run
        described = store.sql(
            "SELECT real_source, generated_source, settings->'decoding' AS decoding FROM runs WHERE run_id = $run", {"run": run}
        ).to_pylist()[0]
        if described["decoding"] is None:
            raise StoreError(f"{store.path}: run {run} does not say how its images were decoded; make it again")
        self._decoding = _decoding(described["decoding"])
        self._sources = {role: described[f"{role}_source"] for role in ("real", "generated")}

    def read(self, image_id: int) -> GreyImage:
        """The image, (H, W) uint8.

        Raises:
            ImageError: the run has no such image, or the file is not there any more, or not what it was.
        """
        query = "SELECT role, path, frame, sha256 FROM images WHERE run_id = $run AND image_id = $id"
        found = self._store.sql(query, {"run": self._run, "id": image_id}).to_pylist()
        if not found:
            raise ImageError(f"run {self._run} has no image {image_id}")
        entry = found[0]
        source = self._sources[entry["role"]]
        path = Path(source, entry["path"])
        if not path.exists():  # perhaps its name is not valid UTF-8
            path = _paths_in(source).get(entry["path"], path)
        _check_content(path, entry["sha256"])
        return _frame(path, entry["frame"], self._decoding)


def paths_of(inputs: Sequence[str | Path]) -> dict[str, Path]:
    """Name in a collection -> file: a name that is not valid UTF-8 cannot be turned back."""
    source = find(*inputs)
    return {printable(name): source.root / name for name in source.files}


@lru_cache(maxsize=8)
def _paths_in(source: str) -> dict[str, Path]:
    return paths_of([source]) if Path(source).is_dir() else {}


def _decoding(text: str) -> Decoding:
    return Decoding(**parse_json(text))


def _check_content(path: Path, sha256: str) -> None:
    try:
        same = sha256_of(path) == sha256
    except OSError as error:
        raise ImageError(f"{printable(str(path))}: {error.strerror}") from error
    if not same:
        raise ImageError(f"{printable(str(path))} is not what it was when the run was made; index and query again")


def _frame(path: Path, number: int, decoding: Decoding) -> GreyImage:
    try:
        for at, frame in enumerate(decode(path, decoding)):
            if at == number:
                return frame.pixels
    except ImageError as error:
        raise ImageError(f"{printable(str(path))}: {error}") from error
    raise ImageError(f"{printable(str(path))} has no frame {number} any more")
