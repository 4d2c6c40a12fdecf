"""The figures of one of several generated sets, in table `metrics` of its run: side by side with those of the others."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from query.comparison.combined import COMBINED
from query.database.store import Rows

if TYPE_CHECKING:
    from query.evaluation.resampling import Estimate
    from query.leakage.sets import LeakageOfSets

SETTING = "set"  # among the settings of a run
OF_SET, LESS_FIRST = "leakage of set", "leakage less first set"  # what methods begin with in table metrics
_TEST = ("p_value", "share_low")  # what the test of patients says, beside figures


@dataclass(frozen=True)
class RecordedSet:
    """One set.

    Attributes:
        name: of the set.
        found: what all sets leak.
        first_run: run of the first set; None for that itself.
    """

    name: str
    found: "LeakageOfSets"
    first_run: int | None

    def settings(self) -> dict[str, Any]:
        """What a run says of it."""
        return {
            "name": self.name,
            "first_run": self.first_run,
            "generated_compared": self.found.generated,
            "draws": self.found.draws,
            "primary": self.found.primary,
            "level_of_differences": self.found.level,
        }


def rows_of_set(recorded: RecordedSet) -> Iterator[Rows]:
    """A row for each view and figure, and for each difference from the first set."""
    own = [each for each in recorded.found.figures if each.of == recorded.name]
    yield "metrics", _metrics([(f"{OF_SET}: {each.view}", each.figure, each.value) for each in own])
    apart = [(f"{LESS_FIRST}: {each.view}", each.figure, each.difference) for each in own if each.difference]
    if apart:
        yield "metrics", _metrics(apart)
    test = next(each.test for each in recorded.found.sets if each.name == recorded.name)
    values = [float(getattr(test, name)) for name in _TEST]
    nothing = [np.nan] * len(values)
    yield (
        "metrics",
        {
            "method": [f"{OF_SET}: {COMBINED}"] * len(values),
            "metric": list(_TEST),
            "value": values,
            "low": nothing,
            "high": nothing,
        },
    )


def _metrics(rows: "list[tuple[str, str, Estimate]]") -> dict[str, Any]:
    methods, figures, estimates = zip(*rows, strict=True)
    ends = np.array([each.ends for each in estimates], np.float64)
    return {"method": list(methods), "metric": list(figures), "value": ends[:, 0], "low": ends[:, 1], "high": ends[:, 2]}
