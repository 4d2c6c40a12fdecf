"""Predictions of a run for the report, with their accuracy where labels are known."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import numpy as np

from query.database.evaluation import BESIDE, GREY_LEVELS
from query.database.labelled_predictions import EvaluationError, LabelledPredictions, groups_said, labelled_predictions, ordered
from query.database.store import Store
from query.evaluation import ranking, reliability
from query.evaluation.classification import AUROC, Measure
from query.evaluation.reliability import Bin
from query.evaluation.resampling import Estimate, Measured
from query.report.distributions import GROUPS, Threshold
from query.report.histograms import Histogram, of_values
from query.report.text.predictions import UNLABELLED_ROLES, power
from query.text import many

POINTS = 200  # of a ROC that are drawn
LEAKAGE = "leakage "  # what the methods begin with whose metrics `synthtrace filter` keeps
METRICS = (AUROC, Measure.F1, Measure.RECALL, Measure.SPECIFICITY, "tpr_at_0.05", "brier", "tp", "fp", "tn", "fn")


@dataclass(frozen=True)
class Range:
    """From where on a method says used: several thresholds where labelled images are predicted in parts."""

    low: float
    high: float


@dataclass(frozen=True)
class MethodSummary:
    """What a method says; None is not shown.

    Attributes:
        facts: what it told about itself.
        images: that are told of.
        says_used, says_not: of these, by its binary prediction.
    """

    method: str
    primary: bool
    calibrated: bool
    note: str
    facts: Mapping[str, Any]
    images: int | None
    says_used: int | None
    says_not: int | None
    smallest_p: float | None
    threshold: Range | None


@dataclass(frozen=True)
class CalledUsed:
    """An image that the primary method calls used."""

    id: int
    image: str
    value: float | None
    p: float | None
    q: float | None
    probability: float | None


@dataclass(frozen=True)
class PrimarySummary:
    """What the primary method answers.

    Attributes:
        unlabelled: the images are those without a label; else labelled ones, each predicted without its label.
        reference: images known not to be used, 0 without any.
        prior: share of used images that P(used) holds for.
        power: what so few reference images can show, in words.
        predicted_used: nearest first.
        histogram: of its values, by what is known of the images.
    """

    method: str
    unlabelled: bool
    images: int | None
    answers: Mapping[str, int | None]
    fdr: float | None
    reference: int | None
    prior: float | None
    power: Sequence[str]
    predicted_used: Sequence[CalledUsed]
    histogram: Mapping[str, Histogram]


@dataclass(frozen=True)
class Decisions:
    """All methods, the primary one first."""

    methods: Sequence[MethodSummary]
    primary: PrimarySummary | None


@dataclass(frozen=True)
class MethodFigures:
    """How well a method decides: metric -> value, see `METRICS`."""

    method: str
    metrics: Mapping[str, Measured]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return {"method": self.method, **self.metrics}


@dataclass(frozen=True)
class RocCurve:
    """The ROC of a method, and how many images of either kind it stands on."""

    method: str
    images: Mapping[str, int] | None
    false: Sequence[float]
    true: Sequence[float]
    auroc: Estimate


@dataclass(frozen=True)
class Reliability:
    """How often images were used, by what a method's P(used) said."""

    method: str
    bins: Sequence[Bin]


@dataclass(frozen=True)
class EvaluationSummary:
    """How well methods predict, and why there are no curves."""

    groups: str
    methods: Sequence[MethodFigures]
    roc: Sequence[RocCurve]
    reliability: Reliability | None
    reason: str


def decisions(store: Store, run: int) -> Decisions | None:
    """The methods, and the images that the primary one calls used, nearest first; None for a run that decided nothing."""
    query = """SELECT d.*, i.name, membership(l.used) AS membership
        FROM decisions AS d
        JOIN images AS i ON i.run_id = d.run_id AND i.image_id = d.image_id AND i.role = 'real'
        LEFT JOIN labels AS l ON l.run_id = d.run_id AND l.image_id = d.image_id
        WHERE d.run_id = $run ORDER BY d.method, d.image_id"""
    note: dict[str, list[dict[str, Any]]] = {}
    for row in store.sql(query, {"run": run}).to_pylist():
        note.setdefault(row["method"], []).append(row)
    if not note:
        return None
    about = {row["method"]: row for row in store.sql("SELECT * FROM methods WHERE run_id = $run", {"run": run}).to_pylist()}
    methods = [_method(name, images, about.get(name)) for name, images in note.items()]
    methods.sort(key=lambda method: not method.primary)
    return Decisions(methods, _primary(methods[0], note[methods[0].method]) if methods[0].primary else None)


def _method(name: str, images: Sequence[Mapping[str, Any]], about: Mapping[str, Any] | None) -> MethodSummary:
    told = counted(images)
    facts = json.loads(about["facts"]) if about else {}
    p_values = [row["p_value"] for row in told if row["p_value"] is not None]
    return MethodSummary(
        method=name,
        primary=bool(facts.get("primary")),
        calibrated=bool(about and about["calibrated"]),
        note=about["note"] if about else "",
        facts=facts,
        images=len(told),
        says_used=sum(row["used"] is True for row in told),
        says_not=sum(row["used"] is False for row in told),
        smallest_p=min(p_values, default=None),
        threshold=_threshold(told),
    )


def counted(images: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The images that are told of: unlabelled ones, or where all are labelled, those predicted without their label."""
    asked = [row for row in images if row["role"] in UNLABELLED_ROLES]
    return asked or [row for row in images if row["role"] == "cross-fitted"]


def _threshold(images: Sequence[Mapping[str, Any]]) -> Range | None:
    thresholds = [row["threshold"] for row in images if row["threshold"] is not None and isfinite(row["threshold"])]
    return Range(min(thresholds), max(thresholds)) if thresholds else None


def thresholds(view: str, decided: Decisions | None) -> list[Threshold]:
    """Thresholds of methods that are distances of this view: those of the methods that count bits."""
    return [
        Threshold(method.method, -method.threshold.high, method.calibrated)
        for method in (decided.methods if decided else [])
        if view == "phash" and method.method in ("phash", "phash-calibrated") and method.threshold
    ]


def _primary(method: MethodSummary, images: Sequence[Mapping[str, Any]]) -> PrimarySummary:
    """What the primary method answers, and what so few reference images can show."""
    told, facts = counted(images), method.facts
    answers = Counter(row["answer"] for row in told)
    used = sorted((row for row in told if row["answer"] == "used"), key=lambda row: (-(row["value"] or 0), row["image_id"]))
    columns = ("image_id", "name", "value", "p_value", "q_value", "probability")
    values = {group: _finite(row["value"] for row in images if row["membership"] == group) for group in GROUPS}
    return PrimarySummary(
        method=method.method,
        unlabelled=bool(told) and told[0]["role"] in UNLABELLED_ROLES,
        images=len(told),
        answers={answer: answers[answer] for answer in ("used", "not used", "undecided")},
        fdr=facts.get("fdr"),
        reference=facts.get("reference", 0),
        prior=facts.get("prior"),
        power=list(power(facts)) if facts.get("tests") else _power_among_labelled(told, facts),
        predicted_used=[CalledUsed(*(row[column] for column in columns)) for row in used],
        histogram=of_values(values),
    )


def _finite(values: Any) -> Any:
    found = np.array([value for value in values if value is not None], np.float64)
    return found[np.isfinite(found)]


def _power_among_labelled(told: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> list[str]:
    """What so few reference images can show where all images are labelled."""
    p_values = [row["p_value"] for row in told if row["p_value"] is not None]
    if "reference" not in facts or not p_values:
        return []
    least = int(np.ceil(round(len(p_values) * min(p_values) / facts["fdr"], 9)))  # Benjamini and Hochberg, all at the smallest
    return [
        f"Reference: {many(facts['reference'], 'image')} known not to be used. Predicted used: q-value up to {facts['fdr']:g}; "
        f"at the smallest p-value here, {min(p_values):.3g}, that takes {least:,} of {len(p_values):,} together."
    ]


def evaluation(store: Store, run: int, labels: Mapping[int, bool], groups: Mapping[int, str]) -> EvaluationSummary | None:
    """Metrics that the database keeps, and curves made anew from decisions and labels; None where there is neither.

    Args:
        labels: number of a real image -> whether it was used.
        groups: number of a real image -> its group.
    """
    kept = _metrics(store, run)
    labelled, reason = _labelled(store, run, labels, groups)
    if not kept and not labelled:
        return None
    scored = [each for each in labelled.values() if each.values is not None and 0 < each.used.sum() < len(each.used)]
    return EvaluationSummary(
        groups=groups_said(groups, labels),
        methods=[MethodFigures(name, metrics) for name, metrics in kept.items()],
        roc=[_curve(each) for each in scored],
        reliability=next((_reliability(each) for each in labelled.values() if each.probability is not None), None),
        reason=reason,
    )


def _metrics(store: Store, run: int) -> dict[str, dict[str, Measured]]:
    """Method -> metric -> value with its interval and what stands beside it; none of leakage."""
    query = "SELECT method, metric, value, low, high FROM metrics WHERE run_id = $run ORDER BY method, metric"
    found: dict[str, dict[str, Any]] = {}
    for row in store.sql(query, {"run": run}).to_pylist():
        if row["method"] == GREY_LEVELS or row["method"].startswith(LEAKAGE):
            continue
        metric, _, beside = row["metric"].partition(":")
        own = found.setdefault(row["method"], {}).setdefault(metric, {})
        own |= {beside: row["value"]} if beside else {key: row[key] for key in ("value", "low", "high")}
    return {
        method: {str(name): _measured(figures.get(str(name), {})) for name in METRICS}
        for method, figures in found.items()
        if "tp" in figures
    }


def _measured(row: Mapping[str, float | None]) -> Measured:
    """Where the database has no number there is NaN."""
    estimate = Estimate.of(*(row.get(key) for key in ("value", "low", "high")))
    return Measured.beside(estimate, **{key: nan if row.get(key) is None else row[key] for key in BESIDE})


def _labelled(
    store: Store, run: int, labels: Mapping[int, bool], groups: Mapping[int, str]
) -> tuple[dict[str, LabelledPredictions], str]:
    """Decisions that may be held against labels, the primary method first; why there are none."""
    if len(set(labels.values())) < 2:
        return {}, "no curves: images of both kinds, used and not used, are not known"
    about = store.sql("SELECT method, facts FROM methods WHERE run_id = $run", {"run": run}).to_pylist()
    note = {row["method"]: {"facts": json.loads(row["facts"])} for row in about}
    try:
        found = labelled_predictions(store, run, labels, groups, ordered(store, run, (), note))
    except EvaluationError as error:
        return {}, f"no curves: {str(error).removeprefix(store.path + ': ')}"
    return {name: each for name, each in found.items() if len(each.predicted)}, ""


def _curve(labelled: LabelledPredictions) -> RocCurve:
    assert labelled.values is not None
    false, true = ranking.roc(labelled.values, labelled.used)
    shown = np.unique(np.linspace(0, len(false) - 1, min(len(false), POINTS)).round().astype(int))
    area = ranking.auroc_interval(labelled.values, labelled.used, labelled.groups)
    images = {"used": int(labelled.used.sum()), "not_used": int((~labelled.used).sum())}
    return RocCurve(labelled.method, images, false[shown].tolist(), true[shown].tolist(), area)


def _reliability(labelled: LabelledPredictions) -> Reliability:
    assert labelled.probability is not None
    return Reliability(labelled.method, reliability.reliability(labelled.probability, labelled.used, labelled.groups))


def leakage_kept(store: Store, run: int) -> dict[str, dict[str, Estimate]]:
    """What `synthtrace filter --db` kept: ``before`` and ``after`` -> figure -> value with interval, by all views."""
    query = "SELECT method, metric, value, low, high FROM metrics WHERE run_id = $run AND method LIKE 'leakage %: combined'"
    found: dict[str, dict[str, Estimate]] = {}
    for row in store.sql(query, {"run": run}).to_pylist():
        found.setdefault(row["method"].split()[1], {})[row["metric"]] = Estimate.of(row["value"], row["low"], row["high"])
    return found
