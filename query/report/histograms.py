"""Histograms for display: join bins of the database to fewer ones."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BARS = 40  # about so many bins across a figure

Counts = NDArray[np.integer[Any]]
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Histogram:
    """Bins, and what each holds: counts, or in the public form shares."""

    edges: Sequence[float]
    counts: Sequence[int] = ()
    shares: Sequence[float] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values: edges, and counts or shares."""
        return {"edges": self.edges, "shares": self.shares} if self.shares else {"edges": self.edges, "counts": self.counts}


def counted(values: Floats, edges: Floats) -> Counts:
    """Counts by bin; what lies outside falls into the end bins, as in the database's histograms."""
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]


def joined(edges: Floats, counts: Counts, others: Iterable[Floats], together: int = 1) -> tuple[Floats, Counts]:
    """Edges and counts over what occurs, equal bins joined until there are about `BARS`.

    Args:
        edges, counts: (bins + 1,), (bins,).
        others: further values that must find a place.
        together: the number of bins is a multiple of this, for a coarser histogram beside.
    """
    occupied = counts + sum((counted(values, edges) for values in others), np.zeros(len(counts), np.int64))
    first, last = np.flatnonzero(occupied)[[0, -1]] if occupied.any() else (0, 0)
    width = max(1, round((last + 1 - first) / BARS))
    if (edges == np.round(edges)).all():
        width += width % 2  # hashes of balanced bits differ in even numbers of bits only: an odd width would show a comb
    bins = together * -(-(last + 1 - first) // (width * together))
    padded = np.pad(counts[first : last + 1], (0, bins * width - (last + 1 - first)))
    return edges[first] + (edges[1] - edges[0]) * width * np.arange(bins + 1), padded.reshape(bins, width).sum(axis=1)


def coarse(edges: Sequence[float], counts: Sequence[int], fewest: int) -> Histogram | None:
    """The same histogram with neighbouring bins joined until each holds so many images or more; None with fewer than two bins.

    A bin that holds one image gives away its distance to who can compute that distance: whoever has the generated images and
    the picture of a patient could see whether the patient is among the real ones.
    """
    kept_edges, kept, held = [float(edges[0])], [], 0
    for high, count in zip(edges[1:], counts, strict=True):
        held += count
        if held >= fewest:
            kept_edges.append(float(high))
            kept.append(held)
            held = 0
    if kept and held:  # what is left over belongs to the last bin
        kept[-1] += held
        kept_edges[-1] = float(edges[-1])
    return Histogram(kept_edges, kept) if len(kept) > 1 else None


def of_values(groups: Mapping[str, Floats]) -> dict[str, Histogram]:
    """Histograms of the values of a method, by group."""
    every = np.concatenate([np.empty(0), *groups.values()])
    if not len(every):
        return {}
    low, high = float(every.min()), float(every.max())
    edges = np.linspace(low, high if high > low else low + 1, BARS + 1)
    return {name: Histogram(edges.tolist(), np.histogram(v, edges)[0].tolist()) for name, v in groups.items() if len(v)}
