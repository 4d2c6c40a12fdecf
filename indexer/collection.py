"""Collection: images, vectors and indexes of one set of images on disk, ready to be searched."""

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy
from numpy.typing import NDArray
from safetensors.numpy import load

from embeddings.images.containers.names import is_nested
from embeddings.images.decoding import Decoding
from embeddings.images.find import LeftOut
from embeddings.pipeline import one_thread_each
from embeddings.types import Embedder, Embeddings, EmbeddingSpec, GreyImage, Metric
from embeddings.views.registry import make_view
from indexer.checked_file import CheckedFile
from indexer.manifest import CollectionError, Manifest, check, spec_in
from indexer.salt import Salt
from indexer.search import brute_force
from indexer.types import IndexSpec, Neighbours

if TYPE_CHECKING:
    from indexer.device import Device
    from indexer.hits import Hit, Hits, Images

IMAGES = "images.parquet"
KEYPOINTS = "sift/keypoints.npy"
_QUICK = 200_000  # pairs of codes that NumPy compares in less time than FAISS takes to be loaded


@dataclass(frozen=True)
class ArrayReading:
    """How an array of pictures was read, see `embeddings.images.containers.arrays`; how many pictures it gave."""

    path: str
    reading: str
    frames: int


class CollectionChanged(CollectionError):
    """A file of the collection was changed or cut short while it was in use: nothing can be answered from it any more."""


def view_files(view: str) -> dict[str, str]:
    """Paths of a view's files inside a collection, by what they hold."""
    return {"vectors": f"{view}/vectors.npy", "learned": f"{view}/learned.safetensors", "index": f"{view}/index.faiss"}


class Collection:
    """A finished collection. Files are checked against their checksums when they are first used.

    From then on answers come from those bytes: small files are held in memory, large ones are mapped and watched, see
    `indexer.checked_file`. `nearest` looks before and after, `vectors` before; whoever works long on vectors looks again at
    the end with `check_unchanged`.

    Make one with `indexer.build.build.build`. Searching is safe from several threads; on a GPU one of its own does the work
    for all of them, see `indexer.search.faiss_gpu`.

    Args:
        folder: where it is.

    Raises:
        CollectionError: it is unfinished, damaged or of another version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = Manifest.read(self.folder)
        # kept open: after the collection was brought up to date the same path leads to other bytes
        self._files: dict[str, CheckedFile] = {}
        self._vectors: dict[str, NDArray[Any]] = {}
        self._embedders: dict[tuple[str, str], Embedder] = {}
        self._indexes: dict[tuple[str, str], Any] = {}

    def __len__(self) -> int:
        return self.manifest.images

    @property
    def views(self) -> tuple[str, ...]:
        """Names of its views."""
        return tuple(self.manifest.views)

    def spec(self, view: str) -> EmbeddingSpec:
        """What the vectors of a view are.

        Raises:
            CollectionError: no such view here.
        """
        return spec_in(self.manifest.views, view, self.folder)

    @cached_property
    def table(self) -> pa.Table:
        """All files: row (null where it failed), path, frame, name, sha256, bytes, width, height, mode, status, error, note,
        patient, blank."""
        content = self._checked(IMAGES).content
        # In this thread: one of Arrow's own may let go of the bytes only when Python has ended, and that ends the process with
        # SIGABRT. read_table would import pandas.
        return pq.ParquetFile(pa.BufferReader(content), pre_buffer=False).read(use_threads=False)

    @cached_property
    def images(self) -> pa.Table:
        """Those with vectors; entry i has row i."""
        return self.table.filter(self.table["row"].is_valid()) if self.table["row"].null_count else self.table

    @cached_property
    def notes(self) -> Mapping[str, str]:
        """Path of each file that was read although something was wrong with it, and what was done about it."""
        noted = self.images.filter(self.images["note"].is_valid())
        return dict(zip(noted["path"].to_pylist(), noted["note"].to_pylist(), strict=True))  # the last frame of a file says all

    @cached_property
    def names(self) -> list[str]:
        """Name of each row."""
        return list(self.images["name"].to_pylist())

    @property
    def patients(self) -> list[str]:
        """(n,) whose image each row is, as its file says (DICOM): ``patient`` or ``series`` and a hashed value; else empty."""
        return [patient or "" for patient in self.images["patient"].to_pylist()]

    @property
    def digests(self) -> list[str]:
        """(n,) what tells the content of each row: SHA-256 (hex) of its file, which all slices of a volume share.

        A picture of an array has a hash of its own, and in an array that lies in an archive its number beside that of the array:
        pictures of a set belong together no more than files of a folder do. A list of its own each time, for a million images are
        many strings.
        """
        import pyarrow.compute as pc  # takes longer to load than a look-up

        digests = list(self.images["sha256"].to_pylist())
        for row in np.flatnonzero(pc.starts_with(self.images["mode"], "array ").to_numpy()).tolist():
            if is_nested(self.images["path"][row].as_py()):
                digests[row] += f"#{self.images['frame'][row]}"
        return digests

    @cached_property
    def salt(self) -> Salt:
        """What its patients are hashed with; a new one where the collection came without its own.

        Raises:
            SaltError: it cannot be read.
        """
        return Salt.read(self.folder) or Salt.random()

    @property
    def left_out(self) -> list[LeftOut]:
        """Files that were left aside because of their names, by kind."""
        return [LeftOut(**kind) for kind in self.manifest.left_out]

    @cached_property
    def arrays(self) -> list[ArrayReading]:
        """How arrays of pictures were read."""
        modes = zip(self.images["path"].to_pylist(), self.images["mode"].to_pylist(), strict=True)
        counts = Counter((path, mode) for path, mode in modes if mode.startswith("array "))
        return [ArrayReading(path, mode, count) for (path, mode), count in counts.items()]

    def path(self, row: int) -> Path:
        """Where the image of a row was when it was indexed."""
        return Path(self.manifest.source, str(self.images["path"][row].as_py()))

    def vectors(self, view: str) -> NDArray[Any]:
        """(n, width) vectors of a view, read-only, from memory or mapped from disk.

        Raises:
            CollectionChanged: see `check_unchanged`.
        """
        self.spec(view)
        self.check_unchanged()
        if view not in self._vectors:
            self._vectors[view] = _array(self._kept(view_files(view)["vectors"]).content)
        return self._vectors[view]

    @property
    def records(self) -> NDArray[np.void] | None:
        """(n,) what is kept of the keypoints of each image, see `embeddings.views.keypoints.RECORD`; None where nothing is.

        Raises:
            CollectionChanged: see `check_unchanged`.
        """
        if KEYPOINTS not in self.manifest.files:
            return None
        self.check_unchanged()
        if KEYPOINTS not in self._vectors:
            self._vectors[KEYPOINTS] = _array(self._kept(KEYPOINTS).content)
        return self._vectors[KEYPOINTS]

    def blank(self, view: str) -> NDArray[np.bool_]:
        """(n,) bool: where the view saw nothing."""
        named = self.images["blank"].combine_chunks()
        flags, offsets = np.zeros(len(self), bool), named.offsets
        ends = np.frombuffer(offsets.buffers()[1], np.int32)[offsets.offset + 1 :][: len(self)]  # to_numpy imports pandas
        places = [place for place, of in enumerate(named.values.to_pylist()) if of == view]
        flags[np.searchsorted(ends, places, side="right")] = True
        return flags

    def learned(self, view: str) -> Mapping[str, NDArray[Any]]:
        """What the view learned from the generated images."""
        self.spec(view)
        return load(bytes(self._checked(view_files(view)["learned"]).content))

    def embedder(self, view: str, device: str = "cpu") -> Embedder:
        """The view as this collection sees it.

        Raises:
            CollectionError: no such view here, or what it needs (a weights file) is not what it was.
        """
        self.spec(view)
        if (view, device) not in self._embedders:
            entry = self.manifest.views[view]
            embedder = make_view(view, entry.options, Decoding(**self.manifest.decoding), device).embedder(self.learned(view))
            self.recognise(embedder.spec)
            self._embedders[view, device] = embedder
        return self._embedders[view, device]

    def recognise(self, other: EmbeddingSpec) -> None:
        """Refuse a view that is not what it was when this collection was made, although its options are the same.

        Raises:
            CollectionError: a weights file has other contents now, or synthtrace has changed; the message names the difference.
        """
        spec = self.spec(other.view)
        if other.fingerprint != spec.fingerprint:
            differences = "; ".join(spec.differences(other))
            raise CollectionError(f"{self.folder}: {differences}; bring that back, or build the collection again with --refit")

    def embed(self, view: str, images: Sequence[GreyImage], device: str = "cpu") -> Embeddings:
        """Images embedded by the same fitted views as the collection's own."""
        embedder = self.embedder(view, device)  # first: libraries are limited that are loaded
        with one_thread_each():
            return embedder.embed(images)

    def nearest(self, view: str, queries: NDArray[Any], k: int, device: str = "cpu") -> Neighbours:
        """The k nearest rows of each query vector, see `indexer.search.faiss_index.search`.

        Raises:
            CollectionChanged: see `check_unchanged`.
        """
        if device == "cpu" and self._is_quick(view, len(queries)):
            found = brute_force.neighbours(self.spec(view).metric, queries, self.vectors(view), k)
            self.check_unchanged()
            return found
        from indexer.search.faiss_index import search, search_ranked

        self.check_unchanged()
        index, metric = self.index(view, device), self.spec(view).metric
        if IndexSpec.is_compressed(self.manifest.views[view].factory):
            neighbours = search_ranked(index, metric, queries, self.vectors(view), k)
        else:
            neighbours = search(index, metric, queries, k)
        self.check_unchanged()
        return neighbours

    def is_exact(self, view: str) -> bool:
        """Whether `nearest` finds what comparing all finds."""
        return self.manifest.views[view].factory == IndexSpec().factory_for(self.spec(view).metric)

    def _is_quick(self, view: str, queries: int) -> bool:
        """Whether codes are few enough to be counted before FAISS is loaded, with equal results."""
        flat = self.spec(view).metric is Metric.HAMMING and self.manifest.views[view].factory == "BFlat"
        return flat and (view, "cpu") not in self._indexes and queries * len(self) <= _QUICK

    def search(self, images: "Images", *, view: str | None = None, k: int = 10, device: str = "cpu") -> "Hits":
        """The k nearest images of the collection for images from outside.

        Args:
            images: a file, an array (H, W) uint8, a Pillow image, or several of these; each frame of a file is looked up.
            view: name of a view; None for each view of the collection.
            k: hits for each image and view.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``cuda:all``.

        Raises:
            ImageError: an image cannot be read.
            CollectionError: no such view here, or the collection is damaged.
            ValueError: k is below 1.
            TypeError: images, view or k are of another kind.
        """
        from indexer.hits import Hits, positive, read

        k = positive(k)
        if view is not None and not isinstance(view, str):
            raise TypeError(f"view must be the name of one view, or None for all; got {view!r}")
        where = self.devices(device)
        pixels, names = read(Decoding(**self.manifest.decoding), images)
        near, blank = {}, {}
        for name in [view] if view else self.views:
            embedded = self.embed(name, pixels, where.network)
            near[name] = self.nearest(name, embedded.vectors, k, where.search)
            blank[name] = embedded.blank[:, None] | self.blank(name)[near[name].rows]
        return Hits(
            [
                self._hit(names[q], name, near[name], (q, rank), bool(blank[name][q, rank]))
                for q in range(len(pixels))
                for name in near
                for rank in np.flatnonzero(near[name].rows[q] >= 0).tolist()
            ],
            dict(zip(names, pixels, strict=True)),
            self,
        )

    def __repr__(self) -> str:
        return f"Collection({str(self.folder)!r}: {len(self):,} images, {', '.join(self.views)})"

    def _repr_html_(self) -> str:
        from indexer.notebook import collection_html

        return collection_html(self)

    def _hit(self, image: str, view: str, near: Neighbours, place: tuple[int, int], blank: bool) -> "Hit":
        from indexer.hits import Hit

        row = int(near.rows[place])
        return Hit(image, view, place[1] + 1, self.names[row], row, float(near.distances[place]), False, blank)

    def pieces(self) -> Iterator["Collection"]:
        """Collections that hold its rows, one after the other: itself."""
        yield self

    def check_unchanged(self) -> None:
        """See that the mapped files are what they were when they were first used. Costs a system call for each.

        Raises:
            CollectionChanged: one was changed or cut short.
        """
        for name, file in list(self._files.items()):
            if not file.unchanged():
                mend = "build the collection again, and start again what uses it"
                raise CollectionChanged(f"{self.folder / name} was changed while it was in use; {mend}")

    def release(self) -> None:
        """Give the memory of mapped files back to the system, after work that has read much of them once."""
        for file in list(self._files.values()):
            file.release()

    def index(self, view: str, device: str = "cpu") -> Any:
        """The FAISS index of a view, see `indexer.search.faiss_index.load`; or on a GPU."""
        from indexer.search.faiss_index import load as load_index

        if (view, device) not in self._indexes:
            name = view_files(view)["index"]
            index = load_index(self.folder / name, self._kept(name).content, self.spec(view).metric)
            if device != "cpu":
                from indexer.search.faiss_gpu import GpuIndex

                index = GpuIndex(index, device)
            self._indexes.setdefault((view, device), index)  # of two threads the first wins
        return self._indexes[view, device]

    def comparable(self, other: "Collection", views: Sequence[str]) -> None:
        """Refuse to compare vectors that were made differently.

        Raises:
            CollectionError: fingerprints differ; the message names each difference.
        """
        for view in views:
            mine, theirs = self.spec(view), other.spec(view)
            if mine.fingerprint != theirs.fingerprint:
                differences = "; ".join(mine.differences(theirs))
                raise CollectionError(f"{self.folder} and {other.folder} cannot be compared: {differences}")

    def check(self) -> list[str]:
        """One line for each file that is missing or has changed; empty when all is well."""
        return check(self.folder, self.manifest)

    def devices(self, asked: str = "auto") -> "Device":
        """The choice of device for this collection's views, see `indexer.device.choose_device`."""
        from indexer.device import choose_device

        return choose_device(asked, network="resnet" in self.views)

    def _checked(self, name: str) -> CheckedFile:
        """A file whose bytes are those that were written: FAISS would load flipped bits without a word."""
        return CheckedFile(self.folder / name, self.manifest.files.get(name))

    def _kept(self, name: str) -> CheckedFile:
        """The same, kept open, and watched where it is mapped."""
        if name not in self._files:
            self._files.setdefault(name, self._checked(name))  # of two threads the first wins
        return self._files[name]


def _array(content: memoryview) -> NDArray[Any]:
    """The array of a `.npy` file, where it lies."""
    header = io.BytesIO(content[: 1 << 16])
    npy.read_magic(header)
    shape, _, dtype = npy.read_array_header_1_0(header)
    return np.ndarray(shape, dtype, content, header.tell())
