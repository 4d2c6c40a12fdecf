"""The evaluation of a run: written to table `metrics`."""

from collections.abc import Iterator, Sequence
from typing import Any

from query.database.evaluation import BESIDE, GREY_LEVELS, Evaluation, MethodEvaluation
from query.database.store import Store
from query.evaluation.classification import AUROC
from query.evaluation.resampling import Measured
from query.text import plain


def record_evaluation(store: Store, evaluation: Evaluation) -> None:
    """Put the metrics in place of earlier ones of the run; those of the filter and of subsets stay.

    Raises:
        StoreError: the database refuses.
    """
    store.replace(evaluation.run, {"metrics": _table(evaluation, _of_others(store, evaluation.run))})


def _of_others(store: Store, run: int) -> list[tuple[Any, ...]]:
    """Rows of table metrics that are not of methods, and stay."""
    kept = "starts_with(method, 'leakage ') OR starts_with(method, 'subsets')"
    query = f"SELECT method, metric, value, low, high FROM metrics WHERE run_id = $run AND ({kept})"
    return [tuple(row.values()) for row in store.sql(query, {"run": run}).to_pylist()]


def _table(evaluation: Evaluation, more: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    """Rows of table metrics."""
    rows = [*more] + [(name, *row) for name, figures in evaluation.methods.items() for row in _rows(figures)]
    if evaluation.differences:
        for other, figures in evaluation.differences.minus.items():
            rows += [(evaluation.differences.of, f"{name}:minus:{other}", *each.ends) for name, each in figures.items()]
    if evaluation.controls:
        for name, spreads in evaluation.controls.spreads.items():
            rows += [(name, f"control:{each.control}", each.mean, each.low, each.high) for each in spreads]
        area = evaluation.controls.grey_levels.area
        if area.n is not None:  # it was measured
            rows.append((GREY_LEVELS, AUROC, *area.ends))
            rows.append((GREY_LEVELS, f"{AUROC}:p_value", evaluation.controls.grey_levels.p_value, None, None))
    columns = zip(*map(plain, rows), strict=True)  # NaN is NULL
    return dict(zip(("method", "metric", "value", "low", "high"), map(list, columns), strict=True))


def _rows(method: MethodEvaluation) -> Iterator[tuple[str, float, float | None, float | None]]:
    """metric, value, low, high; what stands beside a metric is ``metric:by_chance`` and the like."""
    named: dict[str, Measured | None] = {str(name): figure for name, figure in method.measures.items()}
    named |= {AUROC: method.auroc, "partial_auroc": method.partial_auroc, "brier": method.brier}
    named |= {f"tpr_at_{rate.asked:g}": rate for rate in method.true_rates}
    for name, figure in named.items():
        if figure:
            yield name, *figure.ends
            for beside in BESIDE:
                if (value := getattr(figure, beside)) is not None:
                    yield f"{name}:{beside}", value, None, None
    if method.patients:
        yield "patients_found", *method.patients.found.ends
        yield "patients_false", *method.patients.false.ends
    if method.siblings:
        yield "auroc_siblings", *method.siblings.siblings.ends
        yield "auroc_other_patients", *method.siblings.others.ends
    whole = {**method.counts, **{key: getattr(method, key) for key in ("images", "undecided", "seen")}}
    whole |= {"unanswered": sum(method.unanswered.values())}
    yield from ((name, float(count), None, None) for name, count in whole.items())
