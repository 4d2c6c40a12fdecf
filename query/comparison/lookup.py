"""Look up the nearest images of a collection for single images, without a database."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from embeddings.images.decoding import Decoding, flip
from embeddings.images.errors import ImageError
from embeddings.types import GreyImage
from indexer.collection import Collection
from indexer.device import Device
from indexer.hits import Hit, frames_of
from indexer.search import brute_force
from indexer.types import Neighbours
from query.comparison.combined import COMBINED, Evidence, combined, standardised_query, weights_of
from query.comparison.mirrored import merge_mirrored

CPU = Device("cpu", "cpu", "computing on the CPU")


def read_images(collection: Collection, paths: Sequence[Path]) -> tuple[list[tuple[str, GreyImage]], dict[Path, str]]:
    """Every frame of image files with its name, (H, W) uint8 as the collection decodes its own; path -> reason of bad files."""
    read: list[tuple[str, GreyImage]] = []
    failed: dict[Path, str] = {}
    decoding = Decoding(**collection.manifest.decoding)
    for path in paths:
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
        views: default all of the collection, and with several also ``combined``.
        k: neighbours for each view.
        mirror: ask with the flipped image too.
        device: where the network computes and FAISS searches; default the CPU.

    Raises:
        CollectionError: a view is not there, or the collection is damaged.
    """
    names, images = [name for name, _ in named], [pixels for _, pixels in named]
    views, device = list(views or collection.views), device or CPU
    flipped = [flip(image) for image in images] if mirror else []
    found: dict[str, Neighbours] = {}
    blank = {}
    whole: dict[str, Evidence] = {}
    for view in views:
        seen = collection.embed(view, images, device.network)
        blank[view] = seen.blank, collection.blank(view)
        found[view] = collection.nearest(view, seen.vectors, k, device.search)
        distances = brute_force.distances(seen.spec.metric, seen.vectors, collection.vectors(view)) if len(views) > 1 else None
        if mirror:
            other = collection.embed(view, flipped, device.network)
            found[view] = merge_mirrored(found[view], collection.nearest(view, other.vectors, k, device.search))
            if distances is not None:
                distances = np.minimum(
                    distances, brute_force.distances(seen.spec.metric, other.vectors, collection.vectors(view))
                )
        if distances is not None:
            nothing_seen = seen.blank[:, None] | collection.blank(view)[None]
            whole[view] = standardised_query(distances.astype(np.float32), nothing_seen)
    collection.check_unchanged()  # vectors were used after they were looked at
    if whole:
        found[COMBINED] = _combined(whole, k)
        blank[COMBINED] = tuple(np.logical_and.reduce([blank[view][side] for view in weights_of(views)]) for side in (0, 1))

    def hit(q: int, view: str, rank: int, row: int, distance: float, mirrored: bool) -> Hit:
        nothing = bool(blank[view][0][q] or blank[view][1][row])
        return Hit(names[q], view, rank + 1, collection.names[row], int(row), float(distance), bool(mirrored), nothing)

    return [
        hit(q, view, rank, row, distance, mirrored)
        for q in range(len(images))
        for view, near in found.items()
        for rank, (row, distance, mirrored) in enumerate(zip(near.rows[q], near.distances[q], near.mirrored[q], strict=True))
        if row >= 0
    ]


def _combined(whole: Mapping[str, Evidence], k: int) -> Neighbours:
    """The k best by the views' standardised distances together."""
    total = combined(whole)
    order = np.argsort(total, axis=1, kind="stable")[:, :k].astype(np.int64)
    return Neighbours(order, np.take_along_axis(total, order, axis=1), np.zeros(order.shape, bool))
