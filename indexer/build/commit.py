"""Last steps of a build: order rows, write vectors, indexes and checksums, and swap everything in at once."""

import io
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy
from numpy.typing import NDArray

from embeddings.files.writing import make_folder, write_atomic
from embeddings.images.decoding import Decoding, frame_name
from embeddings.images.errors import printable
from embeddings.images.find import Source
from embeddings.types import Embedder, EmbeddingSpec, View
from embeddings.views.keypoints import RECORD
from embeddings.views.registry import VIEWS
from indexer.build.files import File
from indexer.build.parts import Arrays, writer
from indexer.build.sources import Place, VectorSource
from indexer.collection import IMAGES, KEYPOINTS, Collection, view_files
from indexer.files import sha256_of
from indexer.manifest import NAME as MANIFEST
from indexer.manifest import CollectionError, Manifest, ViewEntry
from indexer.salt import Salt
from indexer.types import IndexSpec

_LIBRARIES = (
    *("synthtrace", "numpy", "scipy", "pillow", "tifffile", "imagecodecs", "opencv-python-headless", "torch", "torchvision"),
    *("faiss-cpu", "faiss-gpu", "pydicom", "nibabel", "simpleitk", "pi-heif"),
)
_RUN = 1024  # rows read at a time
_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("path", pa.string()),
        ("frame", pa.int32()),
        ("name", pa.string()),
        ("sha256", pa.string()),
        ("bytes", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("mode", pa.string()),
        ("status", pa.string()),
        ("error", pa.string()),
        ("note", pa.string()),
        ("patient", pa.string()),
        ("blank", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True)
class Origin:
    """How the vectors were made; `settings` are those of `indexer.build.build.Settings`, as a dictionary.

    Approximate indexes take their centroids from those of `trained`, if there is one of the same kind.
    """

    views: Mapping[str, View]
    embedders: Mapping[str, Embedder]
    learned: Mapping[str, Arrays]
    settings: Mapping[str, Any]
    salt: Salt
    trained: Collection | None = None


@dataclass(frozen=True)
class _Run:
    """Consecutive rows of one source."""

    source: VectorSource
    start: int
    stop: int


def versions() -> dict[str, str]:
    """Versions of synthtrace and of the installed libraries that decide results."""
    numbers = {}
    for name in _LIBRARIES:
        try:
            numbers[name] = package_version(name)
        except PackageNotFoundError:
            continue
    return numbers


def write_next(
    folder: Path, source: Source, files: Sequence[File], places: Mapping[str, Place], errors: Mapping[str, str], origin: Origin
) -> None:
    """Write the whole collection into `next/`, its manifest last: from then on it only has to be moved.

    Args:
        folder: of the collection.
        source: where the images came from.
        files: in the order of their rows.
        places: content key -> where the vectors are.
        errors: content key -> why there are none.
        origin: how vectors were made.

    Raises:
        FullDisk: no space left.
        CollectionError: the window or the percentiles leave nothing to see in any image.
    """
    target = folder / "next"
    shutil.rmtree(target, ignore_errors=True)
    make_folder(target)
    try:
        _write_all(target, source, files, places, errors, origin)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)  # a full disk gets its space back
        raise


def _write_all(
    target: Path, source: Source, files: Sequence[File], places: Mapping[str, Place], errors: Mapping[str, str], origin: Origin
) -> None:
    runs = _runs(files, places)
    images = sum(run.stop - run.start for run in runs)
    how = IndexSpec(**origin.settings["index"])
    blank, entries = {}, {}
    for name, embedder in origin.embedders.items():
        blank[name] = _write_vectors(target, embedder.spec, runs, images)
        if name == "sift" and origin.settings["views"][name]["keep"]:
            records = (run.source.read_kept(name, run.start, run.stop).view(RECORD)[:, 0] for run in runs)
            _write_array(target / KEYPOINTS, (images,), RECORD, records)
        write_atomic(target / view_files(name)["learned"], writer(origin.learned[name]))
        entries[name] = _write_index(target, embedder.spec, how, origin)
    _refuse_blank(source, origin.settings["decoding"], blank)
    table = _table(source, files, places, errors, blank)
    write_atomic(target / IMAGES, lambda file: pq.write_table(table, file))
    checksums = {path.relative_to(target).as_posix(): sha256_of(path) for path in sorted(target.rglob("*")) if path.is_file()}
    Manifest(
        source=printable(str(source.root)),
        images=images,
        failed=sum(file.key not in places for file in files),
        ignored=source.ignored,
        left_out=[asdict(kind) for kind in source.left_out],
        orientation=origin.settings["orientation"],
        salt=origin.salt.fingerprint if table["patient"].null_count < len(table) else "",
        decoding=origin.settings["decoding"],
        sample={"size": origin.settings["sample_size"], "seed": origin.settings["seed"]},
        index=origin.settings["index"],
        views=entries,
        versions=versions(),
        files=checksums,
        base=printable(source.base),
    ).write(target)


def finish_swap(folder: Path) -> None:
    """Move a whole `next/` into place, the manifest last, and clear up; a `next/` that is not whole goes.

    A kill at any moment leaves either the old collection or a `next/` that the following run moves.
    """
    target = folder / "next"
    try:
        manifest = Manifest.read(target)
    except CollectionError:  # not whole, or by another version
        shutil.rmtree(target, ignore_errors=True)
        return
    for name in manifest.files:
        make_folder((folder / name).parent)
        if (target / name).exists():
            os.replace(target / name, folder / name)
    os.replace(target / MANIFEST, folder / MANIFEST)
    shutil.rmtree(target)
    clear_up(folder, manifest)


def clear_up(folder: Path, manifest: Manifest) -> None:
    """Remove what a finished collection does not need: parts, and views of an earlier collection."""
    for name in ("parts", *(view for view in VIEWS if view not in manifest.views)):
        shutil.rmtree(folder / name, ignore_errors=True)


def _runs(files: Sequence[File], places: Mapping[str, Place]) -> list[_Run]:
    """The rows in order, neighbours on one source taken together."""
    runs: list[_Run] = []
    for place in (places[file.key] for file in files if file.key in places):
        stop = place.start + len(place.frames)
        if runs and runs[-1].source == place.source and runs[-1].stop == place.start and stop - runs[-1].start <= _RUN:
            runs[-1] = _Run(place.source, runs[-1].start, stop)
        else:
            runs.append(_Run(place.source, place.start, stop))
    return runs


def _write_vectors(target: Path, spec: EmbeddingSpec, runs: Sequence[_Run], images: int) -> NDArray[np.bool_]:
    """`vectors.npy` row by row, never whole in memory; gives the blank flags."""
    blank = [np.zeros(0, bool)]

    def parts() -> Iterator[NDArray[Any]]:
        for run in runs:
            vectors, flags = run.source.read(spec.view, run.start, run.stop)
            blank.append(flags)
            yield vectors

    _write_array(target / view_files(spec.view)["vectors"], (images, spec.width), np.dtype(spec.dtype), parts())
    return np.concatenate(blank)


def _write_array(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], parts: Iterable[NDArray[Any]]) -> None:
    """A `.npy` file, part by part, never whole in memory."""
    make_folder(path.parent)

    def write(file: BinaryIO) -> None:
        header = io.BytesIO()
        npy.write_array_header_1_0(header, {"shape": shape, "fortran_order": False, "descr": npy.dtype_to_descr(dtype)})
        file.write(header.getvalue())
        for part in parts:
            file.write(np.ascontiguousarray(part).data)

    write_atomic(path, write)


def _write_index(target: Path, spec: EmbeddingSpec, how: IndexSpec, origin: Origin) -> ViewEntry:
    """`index.faiss`, and the view's entry in the manifest with the recall that was measured."""
    from indexer.search.faiss_index import build, is_exact, measured_recall, save

    vectors = np.load(target / view_files(spec.view)["vectors"], mmap_mode="r")
    factory = how.factory_for(spec.metric)
    known = origin.trained.manifest.views.get(spec.view) if origin.trained else None
    takes = known is not None and known.factory == factory != IndexSpec().factory_for(spec.metric)
    index = build(spec, vectors, how, origin.trained.index(spec.view) if origin.trained and takes else None)
    save(index, target / view_files(spec.view)["index"])
    if len(vectors) == 0:
        recall = None
    else:
        recall = 1.0 if is_exact(index) else measured_recall(index, spec.metric, vectors, how.seed, how.is_compressed(factory))
    view = origin.views[spec.view]
    return ViewEntry(spec, origin.settings["views"][spec.view], view.note, view.precision, factory, recall)


def _refuse_blank(source: Source, settings: Mapping[str, Any], blank: Mapping[str, NDArray[np.bool_]]) -> None:
    """Raises CollectionError where no view sees anything in any image, and pixels were windowed as somebody asked for."""
    decoding = Decoding(**settings)
    asked = {"--window": (decoding.centre, decoding.width), "--percentiles": (decoding.low, decoding.high)}
    usual = {"--window": (None, None), "--percentiles": (Decoding.low, Decoding.high)}
    options = [f"{name} {pair[0]:g},{pair[1]:g}" for name, pair in asked.items() if pair != usual[name]]
    if options and all(flags.size and flags.all() for flags in blank.values()):
        where = printable(str(source.root))
        raise CollectionError(f"every image of {where} is blank with {' and '.join(options)}: choose other values")


def _table(
    source: Source,
    files: Sequence[File],
    places: Mapping[str, Place],
    errors: Mapping[str, str],
    blank: Mapping[str, NDArray[np.bool_]],
) -> pa.Table:
    """One row for each frame, one for each file without any."""
    columns: dict[str, list[Any]] = {field.name: [] for field in _SCHEMA}
    add = [column.append for column in columns.values()]
    flags = [(view, flags.tolist()) for view, flags in blank.items()]
    row = 0
    for file in files:
        path = printable(file.path)
        if file.key not in places:
            reason = file.reason(errors)
            values: tuple[Any, ...] = (
                None,
                path,
                None,
                printable(source.name(file.path)),
                file.sha256,
                file.size,
                None,
                None,
                None,
                "error",
                reason,
            )
            for append, value in zip(add, (*values, None, None, None), strict=True):
                append(value)
            continue
        frames = places[file.key].frames
        of = max(file.frames, len(frames))
        for number, frame in enumerate(frames):
            if file.frame is not None:
                number = file.frame.number
            name = frame_name(source.name(file.path), number, of)
            what = (frame.width, frame.height, frame.mode, "ok", None, frame.note or None, frame.patient or None)
            values = (row, path, number, name, file.sha256, file.size, *what, [view for view, flag in flags if flag[row]])
            for append, value in zip(add, values, strict=True):
                append(value)
            row += 1
    return pa.table(columns, _SCHEMA)
