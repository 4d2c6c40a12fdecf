"""Output of `map`: a line for each generated image, and a summary."""

from collections.abc import Sequence

from indexer.collection import Collection
from query.cli.inputs import notes_of
from query.comparison.source_map import Link
from query.text import many, number

_BLANK = "generated images, or their nearest real ones, are"


def map_text(links: Sequence[Link]) -> str:
    """A line for each link."""
    return "\n".join(map(str, links))


def summary(links: Sequence[Link], collection: Collection, view: str, threshold: float | None, used: int | None) -> list[str]:
    """Summary lines of a map, with caveats; `used`: number of real images recorded as used, None without a database."""
    lines = [f"view {view}: {note}" for note in notes_of(collection, [view]).values()]
    blank = sum(link.blank for link in links)
    if blank:
        lines.append(f"{many(blank, 'generated image, or its nearest real one, is', _BLANK)} blank in this view: no evidence")
    if threshold is None:
        return lines
    sources = {link.source for link in links if link.source is not None}
    sourced = sum(link.source is not None for link in links)
    have = "has" if sourced == 1 else "have"
    near = f"{sourced:,} of {many(len(links), 'generated image')} {have} a source within {number(threshold)}"
    lines.append(f"{near}; {many(len(sources), 'real image is', 'real images are')} one")
    if used is not None:
        lines.append(f"recorded in table decisions: {many(used, 'real image')} used by this rule")
    return [*lines, "the threshold is not calibrated: by itself it is no evidence"]
