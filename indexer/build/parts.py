"""Checkpoints of an unfinished build: small files of vectors, keyed by content hash, so that nothing is computed twice."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from embeddings.files.reading import parse_json
from embeddings.files.writing import make_folder, remove_unfinished, write_atomic
from embeddings.pipeline import FileResult, FrameInfo
from embeddings.types import Embeddings, Features
from indexer.build.sources import Place

Arrays = Mapping[str, NDArray[Any]]
_frame = lru_cache(maxsize=1024)(FrameInfo)  # one object for all images of one size and kind


@dataclass(frozen=True)
class PartShelf:
    """The rows of one part file, opened by `open`."""

    path: Path
    open: Callable[[Path], Any]

    def read(self, view: str, start: int, stop: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """As `VectorSource.read`."""
        part = self.open(self.path)
        return part.get_slice(f"{view}.vectors")[start:stop], part.get_slice(f"{view}.blank")[start:stop]

    def read_kept(self, view: str, start: int, stop: int) -> NDArray[np.uint8]:
        """As `VectorSource.read_kept`."""
        rows: NDArray[np.uint8] = self.open(self.path).get_slice(f"{view}.kept")[start:stop]
        return rows


@dataclass(frozen=True)
class KeptFeatures:
    """Features of the readable files of a chunk of the sample."""

    keys: Sequence[str]
    files: Sequence[FileResult]
    features: Mapping[str, Features]


class Parts:
    """The folder `parts/` of a collection.

    Args:
        folder: made where it is missing.
        stamp: identifies everything that decides the contents; parts with another stamp are not used.
    """

    def __init__(self, folder: Path, stamp: str) -> None:
        self.folder, self.stamp = folder, stamp
        # Kept open, because rows come in another order than they were made in; by this object, because another run may
        # write other contents to the same path.
        self._open = lru_cache(maxsize=32)(_open)
        make_folder(folder)
        remove_unfinished(folder)

    def add(self, keys: Sequence[str], files: Sequence[FileResult], embeddings: Mapping[str, Embeddings]) -> None:
        """Keep the vectors of a chunk. Files without frames leave no trace: they are tried again after a kill."""
        arrays: dict[str, NDArray[Any]] = {}
        for view, of_view in embeddings.items():
            arrays |= {f"{view}.vectors": of_view.vectors, f"{view}.blank": of_view.blank, **_kept(view, of_view)}
        self._write("part", keys, files, arrays)

    def places(self) -> dict[str, Place]:
        """Content key -> place, of all parts with this stamp."""
        places = {}
        for path in sorted(self.folder.glob("part-*.safetensors")):
            start = 0
            for key, frames in self._table(path):
                places[key] = Place(PartShelf(path, self._open), start, frames)
                start += len(frames)
        return places

    def add_features(self, keys: Sequence[str], files: Sequence[FileResult], features: Mapping[str, Features]) -> None:
        """Keep the features of a chunk of the sample, until the views have learned from all of it."""
        arrays: dict[str, NDArray[Any]] = {}
        for view, of_view in features.items():
            if of_view.values:
                arrays[f"{view}.values"] = np.concatenate(of_view.values)
                arrays[f"{view}.lengths"] = np.array([len(value) for value in of_view.values])
                arrays |= {f"{view}.blank": of_view.blank, **_kept(view, of_view)}
        self._write("features", keys, files, arrays)

    def features(self, keys: Sequence[str], views: Iterable[str]) -> KeptFeatures | None:
        """What `add_features` kept of the chunk with these keys, None where it is not there yet."""
        path = self._path("features", keys)
        table = self._table(path) if path.exists() else []
        if not table:
            return None
        features = {}
        with _open(path) as part:
            for view in views:
                ends = np.cumsum(part.get_tensor(f"{view}.lengths"))[:-1]
                kept = part.get_tensor(f"{view}.kept") if f"{view}.kept" in part.keys() else None  # noqa: SIM118 (no mapping)
                values, blank = np.split(part.get_tensor(f"{view}.values"), ends), part.get_tensor(f"{view}.blank")
                features[view] = Features(values, blank, kept)
        return KeptFeatures([key for key, _ in table], [FileResult(frames) for _, frames in table], features)

    def write_learned(self, sample: str, learned: Mapping[str, Arrays]) -> None:
        """Keep what the views learned from the sample with this digest."""
        arrays = {f"{view}.{name}": array for view, named in learned.items() for name, array in named.items()}
        write_atomic(self.folder / "learned.safetensors", writer(arrays, {"stamp": self.stamp, "sample": sample}))

    def learned(self, sample: str, views: Iterable[str]) -> dict[str, Arrays] | None:
        """What `write_learned` kept for this sample."""
        path = self.folder / "learned.safetensors"
        if _metadata(path) != {"stamp": self.stamp, "sample": sample}:
            return None
        with _open(path) as part:
            arrays = {name: part.get_tensor(name) for name in part.keys()}  # noqa: SIM118 (no mapping)
        return {view: {n.removeprefix(f"{view}."): a for n, a in arrays.items() if n.startswith(f"{view}.")} for view in views}

    def drop_features(self) -> None:
        """Delete the sample's features: they have become vectors."""
        for path in self.folder.glob("features-*.safetensors"):
            path.unlink()

    def _path(self, kind: str, keys: Sequence[str]) -> Path:
        name = hashlib.sha256("\n".join([self.stamp, *keys]).encode()).hexdigest()[:32]
        return self.folder / f"{kind}-{name}.safetensors"

    def _write(self, kind: str, keys: Sequence[str], files: Sequence[FileResult], arrays: Arrays) -> None:
        read = [(key, file) for key, file in zip(keys, files, strict=True) if file.frames]
        table = [[key, [[getattr(frame, name) for name in FrameInfo.__slots__] for frame in file.frames]] for key, file in read]
        if table:
            metadata = {"stamp": self.stamp, "files": json.dumps(table)}
            write_atomic(self._path(kind, keys), writer(arrays, metadata))

    def _table(self, path: Path) -> list[tuple[str, tuple[FrameInfo, ...]]]:
        metadata = _metadata(path)
        if metadata.get("stamp") != self.stamp:
            return []
        return [(key, tuple(_frame(*frame) for frame in frames)) for key, frames in parse_json(metadata["files"])]


def _kept(view: str, seen: Features | Embeddings) -> Arrays:
    return {} if seen.kept is None else {f"{view}.kept": seen.kept}


def writer(arrays: Arrays, metadata: Mapping[str, str] | None = None) -> Callable[[BinaryIO], None]:
    """For `write_atomic`: arrays in the safetensors format, the same bytes for the same arrays."""
    data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, dict(metadata) if metadata else None)

    def write(file: BinaryIO) -> None:
        file.write(data)

    return write


def _open(path: Path) -> Any:
    return safe_open(path, framework="numpy")


def _metadata(path: Path) -> dict[str, str]:
    """Metadata of a part, empty where it is missing or damaged: then it is made again."""
    try:
        with _open(path) as part:
            return dict(part.metadata() or {})
    except (OSError, SafetensorError):
        return {}
