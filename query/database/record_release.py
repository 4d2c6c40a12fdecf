"""The filter's decisions on the generated images of a run: rows of table `release_decisions`, and what it says."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from query.comparison.combined import COMBINED
from query.database.store import Rows, Store
from query.leakage.decision import ReleaseDecisions

ABOVE, BELOW, BLANK = "above the threshold", "not above the threshold", "no view sees anything in it"


@dataclass(frozen=True)
class RecordedRelease:
    """What a run says of its generated images.

    Attributes:
        decided: whether the filter decided.
        withheld: number of a generated image -> score of its nearest used image; None for one that no view sees.
        threshold: withheld above it; None where it did not decide.
        risk: None where nothing calibrates the threshold.
    """

    decided: bool
    withheld: Mapping[int, float | None]
    threshold: float | None
    risk: float | None


def read_release(store: Store, run: int) -> RecordedRelease:
    """From table `release_decisions`."""
    query = "SELECT image_id, decision, score, threshold, risk FROM release_decisions WHERE run_id = $run ORDER BY image_id"
    rows = store.sql(query, {"run": run}).to_pylist()
    withheld = {row["image_id"]: row["score"] for row in rows if row["decision"] == "withhold"}
    threshold, risk = (rows[0]["threshold"], rows[0]["risk"]) if rows else (None, None)
    return RecordedRelease(bool(rows), withheld, threshold, risk)


def rows_of_release(decisions: ReleaseDecisions) -> Iterator[Rows]:
    """A row for each generated image, and the leakage before and after the filter in table `metrics`."""
    blank, count = np.isnan(decisions.score), len(decisions.score)
    above = decisions.score > decisions.threshold
    first = count  # id of the first real image
    yield (
        "release_decisions",
        {
            "image_id": np.arange(count),
            "decision": np.where(blank | above, "withhold", "keep"),
            "reason": np.where(blank, BLANK, np.where(above, ABOVE, BELOW)),
            "view": [COMBINED] * count,
            "score": decisions.score,
            "threshold": [decisions.threshold] * count,
            "risk": np.full(count, np.nan if decisions.risk is None else decisions.risk),
            "nearest_id": [None if none else int(row) + first for row, none in zip(decisions.nearest, blank, strict=True)],
            "distance": np.where(blank, np.nan, decisions.distance),
        },
    )
    for (when, view), figures in decisions.leakage.items():
        values, lows, highs = zip(*figures.values(), strict=True)
        yield (
            "metrics",
            {
                "method": [f"leakage {when} filter: {view}"] * len(figures),
                "metric": list(figures),
                "value": np.array(values, np.float64),
                "low": np.array(lows, np.float64),
                "high": np.array(highs, np.float64),
            },
        )
