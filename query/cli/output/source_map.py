"""Output of `map`: the nearest real image of every generated image, or none beyond a threshold."""

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from embeddings.files.spreadsheet import write_rows
from embeddings.files.writing import write_atomic
from indexer.collection import Collection
from query.cli.inputs import notes_of
from query.comparison.all_pairs import refuse_empty
from query.text import many, name, number

if TYPE_CHECKING:
    pass


_BLANK = "generated images, or their nearest real ones, are"


@dataclass(frozen=True)
class Link:
    """What one view says of a generated image.

    Attributes:
        generated_image: its name.
        source: name of its source, or None.
        nearest_real_image: name of the nearest real image.
        distance: to that one.
        blank: the view saw nothing in one of the two, so the distance is no evidence.
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
    found = real.nearest(view, generated.vectors(view), 1, device)
    generated.check_unchanged()
    blank = generated.blank(view) | real.blank(view)[found.rows[:, 0]]
    links = []
    for image, row, distance, nothing in zip(generated.names, found.rows[:, 0], found.distances[:, 0], blank, strict=True):
        nearest = real.names[row]
        near = threshold is None or (distance <= threshold and not nothing)
        links.append(Link(image, nearest if near else None, nearest, float(distance), bool(nothing)))
    return links


def map_text(links: Sequence[Link]) -> str:
    """A line for each link."""
    return "\n".join(map(str, links))


def summary(links: Sequence[Link], collection: Collection, view: str, threshold: float | None, used: int | None) -> list[str]:
    """What the map says as a whole and what must be known to read it; `used` is the result of `add_decisions`."""
    lines = [f"view {view}: {note}" for note in notes_of(collection, [view]).values()]
    blank = sum(link.blank for link in links)
    if blank:
        lines.append(f"{many(blank, 'generated image, or its nearest real one, is', _BLANK)} blank to this view: no evidence")
    if threshold is None:
        return lines
    sources = {link.source for link in links if link.source is not None}
    found = sum(link.source is not None for link in links)
    have = "has" if found == 1 else "have"
    near = f"{found:,} of {many(len(links), 'generated image')} {have} a source within {number(threshold)}"
    lines.append(f"{near}; {many(len(sources), 'real image is', 'real images are')} one")
    if used is not None:
        lines.append(f"table decisions: by this rule {many(used, 'real image was', 'real images were')} used")
    return [*lines, "the threshold is not calibrated: it means nothing by itself"]


def write_csv(links: Sequence[Link], path: Path) -> None:
    """The map as CSV with a header, readable for its owner only; no source is an empty field."""

    def put(file: BinaryIO) -> None:
        write_rows(file, [field.name for field in fields(Link)], map(astuple, links))

    write_atomic(path, put)
