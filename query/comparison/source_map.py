"""Find the source of every generated image: the nearest real image, or none beyond a threshold."""

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from embeddings.files.spreadsheet import write_rows
from embeddings.files.writing import write_atomic
from indexer.collection import Collection
from query.inputs.sides import refuse_empty
from query.text import name, number

_ROWS = 1 << 16  # generated images looked up at a time: those of a sharded collection are read from their shards


@dataclass(frozen=True)
class Link:
    """A generated image and its source in one view.

    Attributes:
        generated_image: its name.
        source: name of its source, or None.
        nearest_real_image: name of the nearest real image.
        distance: to that one.
        blank: one of the two is blank in this view, so the distance is no evidence.
    """

    generated_image: str
    source: str | None
    nearest_real_image: str
    distance: float
    blank: bool

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        source = "None" if self.source is None else name(self.source)
        return f"The source image for {name(self.generated_image)} is {source} with {number(self.distance)}"


def source_map(generated: Collection, real: Collection, view: str, threshold: float | None, device: str = "cpu") -> list[Link]:
    """A link for every generated image, in the order of its collection.

    Without a threshold the nearest real image is the source whatever its distance; with one it is at that distance or nearer, and
    a blank image has no source.

    Raises:
        CollectionError: the collections cannot be compared in this view, or are damaged.
    """
    generated.comparable(real, [view])
    refuse_empty(len(real), len(generated))
    vectors = generated.vectors(view)
    blocks = [real.nearest(view, vectors[start : start + _ROWS], 1, device) for start in range(0, len(vectors), _ROWS)]
    rows, distances = (np.concatenate([getattr(block, name)[:, 0] for block in blocks]) for name in ("rows", "distances"))
    generated.check_unchanged()
    blank = generated.blank(view) | real.blank(view)[rows]
    links = []
    for image, row, distance, nothing in zip(generated.names, rows, distances, blank, strict=True):
        nearest = real.names[row]
        near = threshold is None or (distance <= threshold and not nothing)
        links.append(Link(image, nearest if near else None, nearest, float(distance), bool(nothing)))
    return links


def write_csv(links: Sequence[Link], path: Path) -> None:
    """The map as CSV with a header, readable for its owner only; an empty field means no source."""

    def put(file: BinaryIO) -> None:
        write_rows(file, [field.name for field in fields(Link)], map(astuple, links))

    write_atomic(path, put)
