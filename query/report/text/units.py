"""Format distances as text, each view in its unit."""

from embeddings.types import Metric
from query import text
from query.comparison.combined import COMBINED
from query.report.text.numbers import NONE


def distance_text(view: str, distance: float | None, none: str = NONE) -> str:
    """A distance with its unit, short: ``52 bits``, ``0.312``, ``-3.41 sd`` (standard deviations); `none` where there is none."""
    if distance is None:
        return none
    if view == COMBINED:
        return f"{distance:+.2f} sd"
    return f"{distance:.0f} bits" if view == "phash" else f"{distance:.3f}"


def unit(view: str, metric: str, dim: int) -> str:
    """What the distances of a view are, for the axis of a plot."""
    if view == COMBINED:
        return "combined distance (standard deviations; negative = nearer than usual)"
    if metric == Metric.HAMMING:
        return f"Hamming distance (bits of {dim} that differ; 0 = same hash)"
    return "cosine distance (1 - cosine, half a squared distance; 0 = same direction, 1 = unrelated)"


def shortened(name: str, length: int) -> str:
    """The name as one printable line, its middle left out where it is too long."""
    name = text.name(name)
    return name if len(name) <= length else f"{name[: length // 2 - 1]}…{name[length // 2 - length :]}"
