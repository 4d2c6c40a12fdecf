"""How like real images the generated ones of a run are, as rows of table `fidelity`; their duplicates are a search of the run."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from query.database.store import Rows

if TYPE_CHECKING:
    from query.quality.quality import Quality

SETTING = "quality"  # among the settings of a run
FIGURES = ("precision", "recall", "density", "coverage", "frechet_distance", "kernel_distance")
_COLUMNS = {
    "generated": ("value", "low", "high"),
    "real": ("real_value", "real_low", "real_high"),
    "generated - real": ("difference", "difference_low", "difference_high"),
}


def rows_of_fidelity(quality: "Quality") -> Iterator[Rows]:
    """A row for each figure; with the reason in place of values where none could be measured."""
    found = quality.fidelity
    rows: dict[str, Any] = {"figure": list(FIGURES)}
    if hasattr(found, "reason"):
        yield "fidelity", {**rows, "reason": [found.reason] * len(FIGURES)}
        return
    for name, columns in _COLUMNS.items():
        figures = {str(figure): each for figure, each in found.figures[name].items()}
        ends = np.array([figures[figure].ends for figure in FIGURES], np.float64)
        rows |= {column: ends[:, place] for place, column in enumerate(columns)}
    yield "fidelity", {**rows, "images": [found.images] * len(FIGURES)}
