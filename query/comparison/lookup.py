"""Look up the nearest images of a collection for single images, without a database."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.images.decoding import Decoding, flip
from embeddings.images.errors import ImageError
from embeddings.images.find import several
from embeddings.types import Embeddings, GreyImage
from indexer.collection import Collection
from indexer.device import Device
from indexer.hits import Hit, frames_of, positive
from indexer.search import brute_force
from indexer.search.merging import merge_in_order
from indexer.types import Distances, Neighbours
from query.comparison.combined import COMBINED_LOOKUP, Evidence, combined, standardised_query, weights_of
from query.comparison.mirrored import merge_mirrored

_READ = 1 << 16  # rows of the collection read at a time
_BLOCK = 8  # vectors searched at a time: BLAS rounds products by their number
CPU = Device("cpu", "cpu", "computing on the CPU")


def read_images(
    collection: Collection, paths: str | Path | Sequence[str | Path]
) -> tuple[list[tuple[str, GreyImage]], dict[Path, str]]:
    """Every frame of image files with its name, (H, W) uint8 as the collection decodes its own; path -> reason of bad files."""
    read: list[tuple[str, GreyImage]] = []
    failed: dict[Path, str] = {}
    decoding = Decoding(**collection.manifest.decoding)
    for path in map(Path, several(paths)):
        try:
            read += frames_of(path, decoding)
        except ImageError as error:
            failed[path] = str(error)
    return read, failed


def lookup(
    collection: Collection,
    named: Sequence[tuple[str, GreyImage]],
    *,
    views: Sequence[str] | None = None,
    k: int = 5,
    mirror: bool = False,
    device: Device | None = None,
) -> list[Hit]:
    """Hits of decoded images, image by image and view by view.

    Args:
        collection: what is searched; images are seen as it sees its own.
        named: name in the hits and pixels, (H, W) uint8, of each image, as of `read_images`; at least one.
        views: default all of the collection, and with several also ``combined-lookup``.
        k: neighbours for each view.
        mirror: ask with the flipped image too.
        device: where the network computes and FAISS searches; default the CPU.

    Raises:
        CollectionError: a view is not there, or the collection is damaged.
        ValueError, TypeError: k is below 1, or no whole number.
    """
    k = positive(k)
    names, images = [name for name, _ in named], [pixels for _, pixels in named]
    views, device = list(views or collection.views), device or CPU
    flipped = [flip(image) for image in images] if mirror else []
    seen = {view: collection.embed(view, images, device.network) for view in views}
    mirrored = {view: collection.embed(view, flipped, device.network) for view in views} if mirror else {}
    return hits_of(collection, names, seen, mirrored, k, device.search)


def hits_of(
    collection: Collection,
    names: Sequence[str],
    seen: Mapping[str, Embeddings],
    mirrored: Mapping[str, Embeddings],
    k: int,
    device: str = "cpu",
) -> list[Hit]:
    """Hits of embedded images, see `lookup`.

    Args:
        collection: what is searched.
        names: of the n images in the hits.
        seen: view -> n vectors, at least one view.
        mirrored: the same of the flipped images; empty where they are not asked with.
        k: neighbours for each view.
        device: where FAISS searches.

    Raises:
        CollectionError: as of `lookup`.
    """
    searched = _search(collection, {view: [seen[view], *([mirrored[view]] if mirrored else [])] for view in seen}, k, device)
    found: dict[str, Neighbours] = {}
    blank = {}
    whole: dict[str, Evidence] = {}
    for view, embedded in seen.items():
        blank[view] = embedded.blank, collection.blank(view)
        near, distances = searched.pop(view)
        found[view] = merge_mirrored(*near) if mirrored else near[0]
        if distances is not None:
            whole[view] = standardised_query(distances.astype(np.float32), embedded.blank[:, None] | blank[view][1][None])
    if whole:
        found[COMBINED_LOOKUP] = _combined(whole, k)
        blank[COMBINED_LOOKUP] = tuple(np.logical_and.reduce([blank[view][side] for view in weights_of(seen)]) for side in (0, 1))

    def hit(q: int, view: str, rank: int, row: int, distance: float, mirrored: bool) -> Hit:
        nothing = bool(blank[view][0][q] or blank[view][1][row])
        return Hit(names[q], view, rank + 1, collection.names[row], int(row), float(distance), bool(mirrored), nothing)

    return [
        hit(q, view, rank, row, distance, mirrored)
        for q in range(len(names))
        for view, near in found.items()
        for rank, (row, distance, mirrored) in enumerate(zip(near.rows[q], near.distances[q], near.mirrored[q], strict=True))
        if row >= 0
    ]


def _search(
    collection: Collection, asked: Mapping[str, Sequence[Embeddings]], k: int, device: str
) -> dict[str, tuple[list[Neighbours], Distances | None]]:
    """View -> the k nearest of its images, and of those flipped; with several views also the smaller (n, rows) distances of both.

    Each shard of a collection is opened once.
    """
    near: dict[str, list[list[Neighbours]]] = {view: [[] for _ in sides] for view, sides in asked.items()}
    distances: dict[str, list[Distances]] = {view: [] for view in asked}
    ends = [0]
    for piece in collection.pieces():
        for view, sides in asked.items():
            apart = [_all_distances(piece, view, embedded) for embedded in sides] if len(asked) > 1 else []
            if apart and device == "cpu" and piece.is_exact(view):  # no index need be loaded
                parts = [brute_force.nearest_of(piece.spec(view).metric, each, k) for each in apart]
            else:
                parts = [_nearest(piece, view, embedded.vectors, k, device) for embedded in sides]
            for found, part in zip(near[view], parts, strict=True):
                found.append(part)
            if apart:
                distances[view].append(np.minimum.reduce(apart))
        piece.check_unchanged()  # vectors were used after they were looked at
        ends.append(ends[-1] + len(piece))
    offsets = np.array(ends, np.int64)
    searched: dict[str, tuple[list[Neighbours], Distances | None]] = {}
    for view in asked:
        whole: Any = np.concatenate(distances.pop(view), axis=1) if len(asked) > 1 else None
        searched[view] = [merge_in_order(found, offsets, k) for found in near[view]], whole
    return searched


def _nearest(collection: Collection, view: str, vectors: NDArray[Any], k: int, device: str) -> Neighbours:
    parts = [collection.nearest(view, block, k, device) for block in _blocks(vectors)]
    rows, distances, mirrored = (
        np.concatenate(arrays)[: len(vectors)] for arrays in zip(*((p.rows, p.distances, p.mirrored) for p in parts), strict=True)
    )
    return Neighbours(rows, distances, mirrored)


def _all_distances(collection: Collection, view: str, embedded: Embeddings) -> Distances:
    theirs, metric, parts = collection.vectors(view), embedded.spec.metric, []
    for start in range(0, len(theirs), _READ):
        some = theirs[start : start + _READ]
        blocks: list[Any] = [brute_force.distances(metric, block, some) for block in _blocks(embedded.vectors)]
        parts.append(np.concatenate(blocks)[: len(embedded.vectors)])
    return np.concatenate(parts, axis=1)


def _blocks(vectors: NDArray[Any]) -> list[NDArray[Any]]:
    """The vectors, filled up with zeros, in blocks that are always full: an answer must not depend on what is asked with it.

    Codes are counted exactly, and stay together.
    """
    if vectors.dtype == np.uint8:
        return [vectors]
    filled = np.zeros((-(-len(vectors) // _BLOCK) * _BLOCK, vectors.shape[1]), vectors.dtype)
    filled[: len(vectors)] = vectors
    return list(filled.reshape(-1, _BLOCK, vectors.shape[1]))


def _combined(whole: Mapping[str, Evidence], k: int) -> Neighbours:
    """The k best by the views' standardised distances together."""
    total = combined(whole)
    order = np.argsort(total, axis=1, kind="stable")[:, :k].astype(np.int64)
    return Neighbours(order, np.take_along_axis(total, order, axis=1), np.zeros(order.shape, bool))
