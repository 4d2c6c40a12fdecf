"""Format distances as text, each view in its unit."""

from embeddings.types import Metric
from query import text
from query.comparison.combined import COMBINED, COMBINED_LOOKUP
from query.report.text.numbers import NONE


def distance_text(view: str, distance: float | None, none: str = NONE) -> str:
    """A distance with its unit, short: ``52 bits``, ``0.312``, ``-3.41 sd`` (standard deviations); `none` where there is none."""
    if distance is None:
        return none
    if view in (COMBINED, COMBINED_LOOKUP):
        return f"{distance:+.2f} sd"
    return f"{distance:.0f} bits" if view == "phash" else f"{distance:.3f}"


def unit(view: str, metric: str, dim: int) -> str:
    """What the distances of a view are, with direction and unit, for the axis of a plot on which the left is nearer."""
    if view == COMBINED:
        return "← nearer: combined distance (standard deviations from what is usual; -30: no difference)"
    if metric == Metric.HAMMING:
        return f"← nearer: Hamming distance (bits of {dim} that differ; 0: same hash)"
    return "← nearer: cosine distance (1 - cosine, no unit; 0: same direction, 1: unrelated)"


def short_unit(view: str, metric: str) -> str:
    """The same in few words."""
    if view == COMBINED:
        return "in standard deviations (sd) from what is usual"
    return "in bits that differ" if metric == Metric.HAMMING else "without a unit"


def shortened(name: str, length: int) -> str:
    """The name as one printable line, its middle left out where it is too long."""
    name = text.name(name)
    return name if len(name) <= length else f"{name[: length // 2 - 1]}…{name[length // 2 - length :]}"
