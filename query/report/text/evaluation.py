"""Evaluation as text: every metric with its interval, beside chance and the trivial answer."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from query.database.evaluation import Controls, Differences, Evaluation, MethodEvaluation
from query.evaluation.classification import AUROC, Measure
from query.evaluation.reliability import Bin
from query.evaluation.resampling import Estimate, Measured
from query.report.text.numbers import UNDEFINED, interval, number, p_text, percent_interval
from query.text import many, table
from query.text import name as shown_name

Methods = Mapping[str, MethodEvaluation]

_CAVEATS = (
    "A method that does not call an image used does not clear it: no evidence found is no proof that there is none.",
    "Values of cross-fitted images come from several models; an AUROC over them takes these for one scale.",
    "p: share of permuted labels, by whole groups, that do at least as well; nothing is corrected for the number of methods.",
)


def evaluation_text(found: Evaluation, first: Measure = Measure.F1) -> str:
    """The whole evaluation; it begins with AUROC and F1, or with Cohen's kappa."""
    head = (
        f"run {found.run} in {shown_name(found.database)}: {many(found.used, 'image')} known to be used, "
        f"{found.not_used:,} not used"
    )
    sections = [kappas(found.methods)] if first is Measure.KAPPA else []
    sections += [section(found.methods) for section in (ranked, _decided, _counted, _patients, _rates)]
    parts = [f"{head}\n{found.groups_note}", *sections, _differences(found.differences), _probable(found.methods)]
    parts.append(_controls(found.controls))
    notes = "\n".join(f"- {note}" for note in (*_uncalibrated(found.methods), *found.notes, *_CAVEATS))
    return "\n\n".join([part for part in parts if part] + [notes])


def kappas(methods: Methods) -> str:
    """Cohen's kappa of each method, the largest first."""
    order = sorted(methods.items(), key=lambda each: -np.nan_to_num(each[1].measures[Measure.KAPPA].value, nan=-1.0))
    rows = [[name, interval(found.measures[Measure.KAPPA])] for name, found in order]
    return "\n".join(["Cohen's kappa [95% by groups], 0 by chance", table(["method", "kappa"], rows)])


def ranked(methods: Methods) -> str:
    """AUROC and F1 of each method beside what chance and the simplest answer give."""
    rows = []
    for name, found in methods.items():
        f1, area = found.measures[Measure.F1], found.auroc
        beside = [number(f1.by_chance), number(f1.all_used)]
        rows.append([name, interval(area), p_text(area.p_value if area else None), interval(f1), p_text(f1.p_value), *beside])
    note = "AUROC (chance 0.50) and F1 [95% by groups]; chance: as many images predicted used at random"
    return "\n".join([note, table(["method", "AUROC", "p", "F1", "p", "chance", "all used"], rows)])


def _decided(methods: Methods) -> str:
    """The other measures, each as value [interval] / by chance, three in a table so that lines stay readable."""
    tables = ["the binary prediction: value [95% by groups] / what chance gives"]
    for measures in (list(Measure)[:3], list(Measure)[3:6], list(Measure)[6:]):
        shown = [measure for measure in measures if measure is not Measure.F1]
        rows = [[name, *(_beside(found.measures[measure]) for measure in shown)] for name, found in methods.items()]
        tables.append(table(["method", *(measure.replace("_", " ") for measure in shown)], rows))
    return "\n".join(tables)


def _beside(figure: Measured) -> str:
    p_value = number(figure.p_value, none="") and f", p {p_text(figure.p_value)}"
    return f"{interval(figure)} / {number(figure.by_chance)}{p_value}"


def _counted(methods: Methods) -> str:
    rows = []
    for name, found in methods.items():
        cells = [found.counts[cell] for cell in ("tp", "fp", "tn", "fn")]
        unanswered = found.unanswered
        silent = f"{unanswered['used']} used, {unanswered['not_used']} not" if any(unanswered.values()) else "0"
        rows.append([name, found.images, *cells, found.undecided, silent, found.seen])
    note = "counts of the binary prediction; undecided: among them; without an answer and left out (label seen): not among them"
    return "\n".join([note, table(["method", "images", "TP", "FP", "TN", "FN", "undecided", "no answer", "left out"], rows)])


def _patients(methods: Methods) -> str:
    return "\n".join(patient_lines(methods))


def patient_lines(methods: Methods) -> list[str]:
    """How good decisions on patients are, and whether evidence is of the image or of the patient; nothing without them."""
    lines = []
    for name, found in methods.items():
        if patients := found.patients:
            lines.append(f"{name}, {patients_sentence(patients.found, patients.false)}")
        if siblings := found.siblings:
            lines.append(f"{name}: {siblings_sentence(siblings.siblings, siblings.others)}")
    return lines


def patients_sentence(found: Estimate, false: Estimate) -> str:
    """How many used patients are found, and how many of those called used were not; intervals by patient."""
    wrong = f"of those called used {percent_interval(false)} falsely" if false.known else "nobody is called used"
    share = percent_interval(found) if found.known else "unknown"
    return f"by patient: share of used patients called used {share}; {wrong} [95% by patients]."


def siblings_sentence(siblings: Estimate, others: Estimate) -> str:
    """Whether used images stand out from other slices of their patients.

    Args:
        siblings, others: see `query.database.patient_evaluation.SiblingsEvaluation`.
    """
    against = f"used images against other slices of the same patients: AUROC {interval(siblings, none=UNDEFINED)}"
    areas = f"{against}; against images of patients not used: {interval(others, none=UNDEFINED)}; 0.50 tells nothing."
    if siblings.has_interval and siblings.low > 0.5:
        return f"Evidence is of the image, not of the patient alone; {areas}"
    if others.has_interval and others.low > 0.5:
        return f"Evidence is of the patient; nothing shows that it is of the image; {areas}"
    return f"No evidence shows, neither of the image nor of the patient; {areas}"


def _rates(methods: Methods) -> str:
    rows, reasons = [], []
    for name, found in methods.items():
        if not found.true_rates:
            continue
        cells = ["not estimable" if rate.reason else f"{interval(rate)} at {rate.false:.3f}" for rate in found.true_rates]
        reasons += [f"{rate.asked:.0%}: {rate.reason}" for rate in found.true_rates if rate.reason]
        rows.append([name, interval(found.partial_auroc), *cells])
    note = "share of used images found at a false positive rate, thresholds from other groups; chance gives the rate itself"
    head = ["method", "partial AUROC to 10%", "1%", "5%", "10%"]
    return "\n".join([note, table(head, rows), *dict.fromkeys(f"not estimable at {reason}" for reason in reasons)])


def _differences(found: Differences | None) -> str:
    if not found:
        return ""
    measures = (AUROC, Measure.ACCURACY, Measure.F1)
    rows = [
        [f"{found.of} - {other}", found.images[other], *(_difference(each.get(measure)) for measure in measures)]
        for other, each in found.minus.items()
    ]
    note = "differences on the same images, both methods resampled together; an interval that holds 0 shows none"
    return "\n".join([note, table(["methods", "images", "AUROC", "accuracy", "F1"], rows)])


def _difference(found: Estimate | None) -> str:
    return interval(found, "+z.2f", alone=" (no interval)")


def _probable(methods: Methods) -> str:
    rows = [
        [name, interval(found.brier, "z.3f"), number(found.brier.of_share, "z.3f"), number(_gap(found.reliability), "z.3f")]
        for name, found in methods.items()
        if found.brier and found.reliability
    ]
    if not rows:
        return "P(used) is not available: no method was calibrated for it on labelled images"
    missing = [name for name, found in methods.items() if not found.brier]
    note = "P(used): Brier score (0 is best), that of always saying the share of used images, mean gap of said and was"
    parts = [note, table(["method", "Brier", "share alone", "gap"], rows)]
    return "\n".join([*parts, f"not available for {', '.join(missing)}"] if missing else parts)


def _gap(bins: Sequence[Bin]) -> float:
    """How far P(used) is from the share of used images, on average."""
    return sum(each.images * abs(each.mean - each.used.value) for each in bins) / sum(each.images for each in bins)


def _controls(found: Controls | None) -> str:
    if not found:
        return ""
    rows = [
        [name, *(interval(Estimate(spread.mean, spread.low, spread.high)) for spread in spreads)]
        for name, spreads in found.spreads.items()
    ]
    grey = found.grey_levels
    text = f"{interval(grey.area)}, p {p_text(grey.p_value)}" if grey.area.known else "not available"
    reason = f" ({grey.reason})" if grey.reason else ""
    note = "controls: AUROC where no difference is; what chance alone gives, middle 95%"
    tabled = table(["method", "shuffled labels", "used against used", "not used against not used"], rows)
    return "\n".join([note, tabled, f"used against not used by their grey levels alone, which show no copying: {text}{reason}"])


def _uncalibrated(methods: Methods) -> Iterator[str]:
    names = [name for name, found in methods.items() if found.calibrated is False]
    if names:
        yield f"not calibrated, so their yes or no is by a fixed rule: {', '.join(names)}"
