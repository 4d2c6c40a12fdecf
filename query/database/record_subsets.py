"""From which subset generated images came, as rows of tables `subset_members`, `subset_probabilities`, `subset_decisions`."""

from collections.abc import Iterator

import numpy as np

from query.comparison.subsets import SubsetVotes
from query.database.store import Rows
from query.evaluation.classes import ClassEvaluation

METHOD = "subsets"  # in table metrics


def rows_of_subsets(votes: SubsetVotes) -> Iterator[Rows]:
    """What is known; ids of real images follow those of generated ones."""
    first, names = len(votes.generated), np.array(votes.subsets)
    within = np.flatnonzero(votes.members.subset >= 0)
    yield "subset_members", {"image_id": within + first, "subset": names[votes.members.subset[within]]}
    rows, columns = np.indices(votes.probability.shape).reshape(2, -1)
    chances = {"image_id": rows, "subset": names[columns], "probability": votes.probability.ravel()}
    yield "subset_probabilities", chances
    yield (
        "subset_decisions",
        {
            "image_id": np.arange(first),
            "subset": names[votes.vote],
            "probability": votes.probability.max(axis=1),
            "answer": votes.answers,
            "calibrated": [votes.calibrated] * first,
            "label": [votes.subsets[votes.known[row]] if row in votes.known else None for row in range(first)],
            "without_best": names[votes.without_best],
            "real_id": votes.best + first,
        },
    )
    controls = votes.controls
    for method, found in ((METHOD, votes.evaluation), (f"{METHOD}: without best", controls.without_best)):
        if found:
            yield _metrics(method, found)
    if look := controls.look:
        figures = {"balanced_accuracy": look.right, "balanced_accuracy:by_chance": look.by_chance, "p_value": look.p_value}
        nothing = np.full(len(figures), np.nan)
        numbers = {"value": np.array(list(figures.values())), "low": nothing, "high": nothing}
        yield "metrics", {"method": [f"{METHOD}: look"] * len(figures), "metric": list(figures), **numbers}


def _metrics(method: str, found: ClassEvaluation) -> Rows:
    ends = [each.ends for each in found.measures.values()]
    values, lows, highs = (np.array(column, np.float64) for column in zip(*ends, strict=True))  # NaN becomes NULL
    names = [str(measure) for measure in found.measures]
    columns = {"metric": [*names, "accuracy:of_largest"], "value": np.append(values, found.largest)}
    columns |= {"low": np.append(lows, np.nan), "high": np.append(highs, np.nan)}
    return "metrics", {"method": [method] * (len(names) + 1), **columns}
