"""Distributions that may be shown to anybody: no figure of a single image can be read off them."""

from collections.abc import Mapping, Sequence
from typing import Any

from query.report.distributions import ALL_PAIRS, FEWEST, coarse


def views(shown: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Views without notes, smallest distances and marks; medians of `FEWEST` images or more; coarse histograms.

    The mark of the reference is the distance of one image, and so is a smallest distance: both stay out.
    """
    keys = ("view", "metric", "dim", "unit", "fingerprint", "blank", "pairs", "auroc")
    return [
        {
            **{key: view[key] for key in keys},
            "note": "",
            "nearest": [
                {"images": row["images"], "number": row["number"], "smallest": None, "q05": None, "median": _median(row)}
                for row in view["nearest"]
            ],
            "histogram": histograms(view["histogram"]),
            "reference": None,
            "thresholds": [],
        }
        for view in shown
    ]


def histograms(shown: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Each histogram made coarse; those of too few images are left out, and with all those of real images that of all pairs."""
    nearest = [found["counts"] for name, found in shown.items() if name != ALL_PAIRS]
    held = [place for counts in nearest for place, count in enumerate(counts) if count]
    made = {
        name: coarse(*(_upto(found, max(held) + 1) if held and name != ALL_PAIRS else (found["edges"], found["counts"])))
        for name, found in shown.items()
    }
    real = [found for name, found in made.items() if found and name not in (ALL_PAIRS, "generated")]
    if ALL_PAIRS in shown and not real:  # its low end would show what is hidden of the nearest
        made[ALL_PAIRS] = None
    return {name: found for name, found in made.items() if found}


def _upto(found: Mapping[str, Any], bins: int) -> tuple[list[float], list[int]]:
    """Edges and counts of the first bins: where no image of either side is, no line needs to go."""
    return found["edges"][: bins + 1], found["counts"][:bins]


def _median(row: Mapping[str, Any]) -> float | None:
    return float(f"{row['median']:.2g}") if row["number"] >= FEWEST else None
