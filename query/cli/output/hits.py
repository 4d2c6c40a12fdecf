"""Output of `lookup`: tables of hits, and a picture of an image beside its neighbours."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from embeddings.images.errors import ImageError
from embeddings.types import GreyImage
from indexer.collection import Collection
from indexer.hits import Hit
from indexer.manifest import CollectionError
from query.report.text.units import distance_text
from query.text import name, table


def lookup_text(hits: Sequence[Hit], notes: Mapping[str, str]) -> str:
    """A table for each image, and under all what must be known of the views."""
    parts = []
    for image, image_hits in groupby(hits, key=lambda hit: hit.image):
        rows = [[hit.view, hit.rank, hit.name, distance_text(hit.view, hit.distance), _remark(hit)] for hit in image_hits]
        parts.append(f"{name(image)}\n{table(['view', 'rank', 'file', 'distance', ''], rows)}")
    return "\n\n".join([*parts, *(["\n".join(f"{view}: {note}" for view, note in notes.items())] if notes else [])])


def _remark(hit: Hit) -> str:
    blank = "blank: no evidence" if hit.blank else ""
    return ", ".join(filter(None, ["mirrored" if hit.mirrored else "", blank]))


def draw(path: Path, collection: Collection, images: Sequence[GreyImage], hits: Sequence[Hit]) -> None:
    """A picture of one looked-up image beside its neighbours.

    Args:
        path: of the picture.
        collection: that was searched.
        images: (H, W) uint8, those that were looked up.
        hits: what was found.

    Raises:
        CollectionError: not exactly one image was looked up, or a neighbour is no longer what was indexed.
    """
    if len({hit.image for hit in hits}) != 1:
        raise CollectionError("a figure shows one image; look up just one that can be read and has one frame")
    from query.inputs.pictures import Pictures
    from query.report.figures.figures import lookup_figure

    pictures = Pictures(collection)
    try:
        shown = [(hit.name, pictures.read(hit.row), hit.view, hit.distance) for hit in hits]
    except ImageError as error:
        raise CollectionError(f"no picture of the neighbours: {error}") from error
    lookup_figure(path, images[0], shown)
