"""Predictions of a run for the report, with their accuracy where labels are known."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from query.database.evaluation import BESIDE, GREY_LEVELS
from query.database.labelled_predictions import EvaluationError, LabelledPredictions, groups_said, labelled_predictions, ordered
from query.database.store import Store
from query.evaluation import ranking, reliability
from query.evaluation.classification import AUROC, Measure
from query.evaluation.reliability import Bin
from query.evaluation.resampling import Estimate, Measured
from query.report.distributions import GROUPS, Threshold
from query.report.histograms import Histogram, of_values
from query.report.patients import (
    DecidedPatient,
    PatientsSummary,
    WholeSummary,
    patients_summary,
    predicted_patients,
    recorded_patients,
    recorded_whole,
    whole_summary,
)
from query.report.statistics import groups_from
from query.text import plain

if TYPE_CHECKING:
    from query.membership.predict import Predictions

UNLABELLED_ROLES = {"unlabelled", "perhaps seen"}  # roles of images that are told of before labelled ones
POINTS = 200  # of a ROC that are drawn
ANSWERS = ("used", "patient used", "no trace found", "undecided")  # of the primary method on images
CALLED = ANSWERS[:2]  # of images whose patient is called used
LEAKAGE = "leakage "  # what the methods begin with whose metrics `synthtrace filter` keeps
METRICS = (AUROC, Measure.F1, Measure.RECALL, Measure.SPECIFICITY, "tpr_at_0.05", "brier", "tp", "fp", "tn", "fn")
BY_PATIENT = ("patients_found", "patients_false", "auroc_siblings", "auroc_other_patients")  # of the primary method alone


@dataclass(frozen=True)
class DecidedImage:
    """What a method says of a real image; None where it has no number or gives no answer.

    Attributes:
        id: of the image in the run.
        role: how the method knows it, see `query.membership.cross_fit.Role`.
        used: the binary prediction.
        answer: of the primary method.
    """

    id: int
    image: str
    role: str
    used: bool | None
    answer: str | None
    value: float | None
    threshold: float | None
    p: float | None
    q: float | None
    probability_low: float | None
    probability_high: float | None


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
    """An image whose patient the primary method calls used; P(used) at the lowest and at the highest prior."""

    id: int
    image: str
    value: float | None
    p: float | None
    q: float | None
    probability_low: float | None
    probability_high: float | None


@dataclass(frozen=True)
class PrimarySummary:
    """What the primary method answers.

    Attributes:
        unlabelled: the images are those without a label; else labelled ones, each predicted without its label.
        reference: images known not to be used, 0 without any.
        priors: lowest and highest share of used images that P(used) is given for; None without it.
        whole: what it says of the set; None where that was not tested.
        patients: None where none was tested.
        predicted_used: images of patients called used, nearest first.
        histogram: of its values, by what is known of the images.
    """

    method: str
    unlabelled: bool
    images: int | None
    answers: Mapping[str, int | None]
    fdr: float | None
    reference: int | None
    priors: Sequence[float] | None
    whole: WholeSummary | None
    patients: PatientsSummary | None
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


def decisions(store: Store, run: int, groups: Mapping[int, str]) -> Decisions | None:
    """The methods, and what the primary one says of the set, of patients and of images; None for a run that decided nothing.

    Args:
        groups: number of a real image -> its group.
    """
    query = """SELECT d.method, d.image_id AS id, i.name AS image, d.role, d.used, d.answer, d.value, d.threshold, d.p_value AS p,
            d.q_value AS q, d.probability_low, d.probability_high, membership(l.used) AS membership
        FROM decisions AS d
        JOIN images AS i ON i.run_id = d.run_id AND i.image_id = d.image_id AND i.role = 'real'
        LEFT JOIN labels AS l ON l.run_id = d.run_id AND l.image_id = d.image_id
        WHERE d.run_id = $run ORDER BY d.method, d.image_id"""
    images: dict[str, list[DecidedImage]] = {}
    membership: dict[int, str] = {}
    for row in store.sql(query, {"run": run}).to_pylist():
        membership[row["id"]] = row.pop("membership")
        images.setdefault(row.pop("method"), []).append(DecidedImage(**row))
    if not images:
        return None
    about = {row["method"]: row for row in store.sql("SELECT * FROM methods WHERE run_id = $run", {"run": run}).to_pylist()}
    unknown = {"calibrated": False, "note": "", "facts": "{}"}
    described = {name: about.get(name, unknown) for name in images}
    methods = [
        _method(name, images[name], bool(each["calibrated"]), each["note"], json.loads(each["facts"]))
        for name, each in described.items()
    ]
    methods.sort(key=lambda method: not method.primary)
    if not methods[0].primary:
        return Decisions(methods, None)
    primary, told, source = methods[0].method, images[methods[0].method], groups_from(groups)
    patients, whole = recorded_patients(store, run, primary), recorded_whole(store, run, primary, source)
    values = {group: _finite(each.value for each in told if membership[each.id] == group) for group in GROUPS}
    return Decisions(methods, replace(_primary(methods[0], told, patients, whole, source), histogram=of_values(values)))


def decisions_of(predictions: "Predictions") -> Decisions:
    """The same of what step predict found, without the primary method's histogram; ids are rows."""
    methods, primary = [], None
    source = groups_from({row: f"group: {group}" for row, group in predictions.groups.items()})
    for each in predictions.methods:
        chances = each.probability_low, each.probability_high
        columns = (each.role, each.used, each.decision, each.value, each.threshold, each.p, each.q, *chances)
        images = [
            DecidedImage(row, *map(plain, values)) for row, values in enumerate(zip(predictions.names, *columns, strict=True))
        ]
        methods.append(_method(each.method, images, each.calibrated, each.note, each.facts))
        if methods[-1].primary:
            patients, whole = predicted_patients(predictions, each), whole_summary(each.whole, source)
            primary = _primary(methods[-1], images, patients, whole, source)
    return Decisions(sorted(methods, key=lambda method: not method.primary), primary)


def _method(name: str, images: Sequence[DecidedImage], calibrated: bool, note: str, facts: Mapping[str, Any]) -> MethodSummary:
    told = _counted(images)
    thresholds = [each.threshold for each in told if each.threshold is not None and isfinite(each.threshold)]
    return MethodSummary(
        method=name,
        primary=bool(facts.get("primary")),
        calibrated=calibrated,
        note=note,
        facts=facts,
        images=len(told),
        says_used=sum(each.used is True for each in told),
        says_not=sum(each.used is False for each in told),
        smallest_p=min((each.p for each in told if each.p is not None), default=None),
        threshold=Range(min(thresholds), max(thresholds)) if thresholds else None,
    )


def _counted(images: Sequence[DecidedImage]) -> list[DecidedImage]:
    """The images that are told of: unlabelled ones, or where all are labelled, those predicted without their label."""
    asked = [each for each in images if each.role in UNLABELLED_ROLES]
    return asked or [each for each in images if each.role == "cross-fitted"]


def thresholds(view: str, decided: Decisions | None) -> list[Threshold]:
    """Thresholds of methods that are distances of this view: those of the methods that count bits."""
    return [
        Threshold(method.method, -method.threshold.high, method.calibrated)
        for method in (decided.methods if decided else [])
        if view == "phash" and method.method in ("phash", "phash-calibrated") and method.threshold
    ]


def _primary(
    method: MethodSummary,
    images: Sequence[DecidedImage],
    patients: Sequence[DecidedPatient],
    whole: WholeSummary | None,
    source: str,
) -> PrimarySummary:
    """What the primary method answers; `source` says which images are of one patient."""
    told, facts = _counted(images), method.facts
    answers, unlabelled = Counter(each.answer for each in told), bool(told) and told[0].role in UNLABELLED_ROLES
    used = sorted((each for each in told if each.answer in CALLED), key=lambda each: (-(each.value or 0), each.id))
    shown = ("id", "image", "value", "p", "q", "probability_low", "probability_high")
    return PrimarySummary(
        method=method.method,
        unlabelled=unlabelled,
        images=len(told),
        answers={answer: answers[answer] for answer in ANSWERS},
        fdr=facts.get("fdr"),
        reference=facts.get("reference", 0),
        priors=facts.get("priors"),
        whole=whole,
        patients=patients_summary(patients, facts, unlabelled, source),
        predicted_used=[CalledUsed(**{name: getattr(each, name) for name in shown}) for each in used],
        histogram={},
    )


def _finite(values: Iterable[float | None]) -> NDArray[np.float64]:
    found = np.array([value for value in values if value is not None], np.float64)
    return found[np.isfinite(found)]


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
    return EvaluationSummary(
        groups=groups_said(groups, labels),
        methods=[MethodFigures(name, metrics) for name, metrics in kept.items()],
        roc=[curve for curve in map(roc_curve, labelled.values()) if curve],
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
        method: {str(name): _measured(figures.get(str(name), {})) for name in (*METRICS, *BY_PATIENT)}
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


def roc_curve(labelled: LabelledPredictions) -> RocCurve | None:
    """The ROC of a method; None where it gives no values, or images of one kind are not among those it tells of."""
    if labelled.values is None or not 0 < labelled.used.sum() < len(labelled.used):
        return None
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
    query = (
        "SELECT method, metric, value, low, high FROM metrics WHERE run_id = $run AND method LIKE 'leakage % filter: combined'"
    )
    found: dict[str, dict[str, Estimate]] = {}
    for row in store.sql(query, {"run": run}).to_pylist():
        found.setdefault(row["method"].split()[1], {})[row["metric"]] = Estimate.of(row["value"], row["low"], row["high"])
    return found
