"""Sources of vectors that are already computed: checkpoints (parts), or the collection of an earlier build."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from embeddings.images.containers.names import is_nested
from embeddings.images.decoding import DICOM_SUFFIXES, NIFTI_SUFFIXES
from embeddings.images.pairs import HEADERS
from embeddings.pipeline import FrameInfo
from indexer.collection import Collection

_COLUMNS = ("row", "path", "frame", "sha256", "width", "height", "mode", "note", "patient")


class VectorSource(Protocol):
    """Vectors of some images, in rows."""

    def read(self, view: str, start: int, stop: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Vectors and blank flags of rows start..stop."""

    def read_kept(self, view: str, start: int, stop: int) -> NDArray[np.uint8]:
        """What the view keeps of them besides, (stop - start, bytes)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the frames of one file content stand: consecutive rows of a source from `start`."""

    source: VectorSource
    start: int
    frames: tuple[FrameInfo, ...]


class CollectionVectors:
    """The rows of a finished collection."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._vectors = {view: collection.vectors(view) for view in collection.views}
        self._blank = {view: collection.blank(view) for view in collection.views}

    def read(self, view: str, start: int, stop: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """As `VectorSource.read`."""
        return self._vectors[view][start:stop], self._blank[view][start:stop]

    def read_kept(self, view: str, start: int, stop: int) -> NDArray[np.uint8]:
        """As `VectorSource.read_kept`."""
        rows = self._collection.records
        assert rows is not None  # the settings are those of the collection
        return rows[start:stop, None].view(np.uint8)


def collection_places(collection: Collection) -> Mapping[str, Place]:
    """Content key -> place, of all images of a collection."""
    source = CollectionVectors(collection)
    entries: dict[str, tuple[int, list[FrameInfo]]] = {}
    columns = (collection.images[name].to_pylist() for name in _COLUMNS)
    for row, path, frame, sha256, width, height, mode, note, patient in zip(*columns, strict=True):
        key = content_key(sha256, path, "" if is_nested(path) else mode)
        if frame == 0 or key not in entries:  # each frame of an array has a key of its own
            entries[key] = (row, [])
        entries[key][1].append(FrameInfo(width, height, mode, note or "", patient or ""))
    return {key: Place(source, row, tuple(frames)) for key, (row, frames) in entries.items()}


def content_key(sha256: str, path: str, mode: str = "") -> str:
    """What decides the vectors of a file: its content, and what decides how it is read: the suffix, the reading of an array."""
    name = path.lower()
    if mode.startswith("array "):
        return sha256 + mode
    return sha256 + next(
        (suffix for suffix in (*DICOM_SUFFIXES, *NIFTI_SUFFIXES, *reversed(HEADERS)) if name.endswith(suffix)), ""
    )
