"""Dendrogram of a hierarchical clustering, its lower part joined."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from query.evaluation.classification import Floats
from query.report.figures.figures import INK
from query.report.text.units import shortened

_LEAVES = 60  # of a dendrogram; what is below is joined


def dendrogram_figure(method: str, linkage: ArrayLike, leaves: Sequence[str], cophenetic: float | None = None) -> Figure:
    """The upper part of a method's tree, what each of its ends holds below it.

    Args:
        method: its name.
        linkage: (n - 1, 4) as SciPy has it.
        leaves: (n,) what each image is, as "used", "not used", "generated".
        cophenetic: correlation of the tree's heights with the distances.

    Raises:
        ValueError: there are not n leaves for n - 1 links.
    """
    from scipy.cluster.hierarchy import dendrogram

    links = np.asarray(linkage, np.float64).reshape(-1, 4)
    if len(links) != len(leaves) - 1:
        raise ValueError(f"{len(links)} links join {len(links) + 1} leaves, {len(leaves)} are given")
    held = _held(links, leaves)
    kinds = sorted(set(leaves))
    figure = Figure(figsize=(11, 5.6))
    axes = figure.add_axes((0.06, 0.2, 0.925, 0.68))

    def label(node: int) -> str:
        return " ".join(f"{held[kind][node]:,}{kind[0]}" for kind in kinds if held[kind][node])

    options = {"truncate_mode": "lastp", "p": _LEAVES, "color_threshold": 0, "above_threshold_color": INK}
    dendrogram(links, ax=axes, leaf_label_func=label, leaf_rotation=90, leaf_font_size=7, **options)
    axes.set_ylabel("height of the join (Ward, no unit): less alike ↑")
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    note = "images at each end: " + ", ".join(f"{kind[0]} {kind}" for kind in kinds)
    note += "" if cophenetic is None else f"; cophenetic correlation {cophenetic:.3f}"
    figure.text(0.06, 0.965, f"Clusters of {shortened(method, 40)}", fontsize=13, weight="bold", va="top")
    figure.text(0.06, 0.915, note, fontsize=9.5, va="top")
    return figure


def _held(links: Floats, leaves: Sequence[str]) -> dict[str, list[int]]:
    """Kind -> how many leaves of it each node holds, leaves first, joins in their order."""
    held = {kind: [int(leaf == kind) for leaf in leaves] for kind in set(leaves)}
    for left, right in links[:, :2].astype(np.int64):
        for below in held.values():
            below.append(below[left] + below[right])
    return held
