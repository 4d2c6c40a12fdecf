"""Evaluation as text: every metric with its interval, beside chance and the trivial answer."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from query.database.evaluation import GREY_LEVELS
from query.evaluation.classification import AUROC, Measure
from query.text import many, table
from query.text import name as shown_name

Facts = Mapping[str, Any]  # see `query.database.evaluation.Evaluation.as_dict`

_CAVEATS = (
    "A method that says of an image that it was not used does not clear it: no evidence found is no proof that there is none.",
    "Values of cross-fitted images come from several models; an AUROC over them takes these for one scale.",
    "p: share of permuted labels, by whole groups, that do at least as well; nothing is corrected for the number of methods.",
)


def evaluation_text(facts: Facts) -> str:
    """The whole evaluation."""
    labels, methods = facts["labels"], facts["methods"]
    head = (
        f"run {facts['run']} in {shown_name(facts['database'])}: {many(labels['used'], 'image')} known to be used, "
        f"{labels['not_used']:,} not used"
    )
    parts = [
        f"{head}\n{facts['groups']['note']}",
        ranked(methods),
        _decided(methods),
        _counted(methods),
        _answered(methods),
        _rates(methods),
    ]
    parts += [_differences(facts["differences"]), _probable(methods), _controls(facts["controls"])]
    notes = "\n".join(f"- {note}" for note in (*_uncalibrated(methods), *facts["notes"], *_CAVEATS))
    return "\n\n".join([part for part in parts if part] + [notes])


def interval(found: Facts | None) -> str:
    """``0.61 [0.53, 0.69]``, or what is known of it."""
    if found is None or found["value"] is None:
        return "-"
    ends = "" if found["low"] is None else f" [{found['low']:.2f}, {found['high']:.2f}]"
    return f"{found['value']:.2f}{ends}"


def number(value: float | None) -> str:
    """``0.61``."""
    return "-" if value is None else f"{round(value, 2) + 0.0:.2f}"  # never -0.00


def p_text(value: float | None) -> str:
    """``0.012``; ``-`` where there is none."""
    return "-" if value is None else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


def ranked(methods: Facts) -> str:
    """AUROC and F1 of each method beside what chance and the simplest answer give."""
    rows = []
    for name, found in methods.items():
        f1 = found["measures"][Measure.F1]
        area = found[AUROC] or {}
        beside = [number(f1["by_chance"]), number(f1["all_used"])]
        rows.append([name, interval(found[AUROC]), p_text(area.get("p_value")), interval(f1), p_text(f1["p_value"]), *beside])
    note = "AUROC (chance 0.50) and F1 [95% by groups]; chance: as many images called used at random"
    return "\n".join([note, table(["method", "AUROC", "p", "F1", "p", "chance", "all used"], rows)])


def _decided(methods: Facts) -> str:
    """The other measures, each as value [interval] / by chance, three in a table so that lines stay readable."""
    tables = ["the binary prediction: value [95% by groups] / what chance gives"]
    for measures in (list(Measure)[:3], list(Measure)[3:6], list(Measure)[6:]):
        shown = [measure for measure in measures if measure is not Measure.F1]
        rows = [[name, *(_beside(found["measures"][measure]) for measure in shown)] for name, found in methods.items()]
        tables.append(table(["method", *(measure.replace("_", " ") for measure in shown)], rows))
    return "\n".join(tables)


def _beside(figure: Facts) -> str:
    p_value = "" if figure["p_value"] is None else f", p {p_text(figure['p_value'])}"
    return f"{interval(figure)} / {number(figure['by_chance'])}{p_value}"


def _counted(methods: Facts) -> str:
    rows = []
    for name, found in methods.items():
        cells = [found["counts"][cell] for cell in ("tp", "fp", "tn", "fn")]
        unanswered = found["unanswered"]
        silent = f"{unanswered['used']} used, {unanswered['not_used']} not" if any(unanswered.values()) else "0"
        rows.append([name, found["images"], *cells, found["undecided"], silent, found["seen"]])
    note = "counts of the binary prediction; undecided: among them; without an answer and left out (label seen): not among them"
    return "\n".join([note, table(["method", "images", "TP", "FP", "TN", "FN", "undecided", "no answer", "left out"], rows)])


def _answered(methods: Facts) -> str:
    """Of the three answers the one that accuses."""
    rows = [
        [name, each["images"], interval(each), number(each["by_chance"])]
        for name, each in ((name, found["false_discoveries"]) for name, found in methods.items())
        if each
    ]
    note = 'false discoveries: share of images not used among those answered "used" by a method that may stay undecided'
    return "\n".join([note, table(["method", "answered used", "share", "chance"], rows)]) if rows else ""


def _rates(methods: Facts) -> str:
    rows, reasons = [], []
    for name, found in methods.items():
        rates = found["true_rates"]
        if not rates:
            continue
        cells = [
            "not estimable" if rate["reason"] else f"{interval(rate)} at {rate['false']:.3f}" for rate in found["true_rates"]
        ]
        reasons += [f"{rate['asked']:.0%}: {rate['reason']}" for rate in rates if rate["reason"]]
        rows.append([name, interval(found["partial_auroc"]), *cells])
    note = "share of used images found at a false positive rate, thresholds from other groups; chance gives the rate itself"
    head = ["method", "partial AUROC to 10%", "1%", "5%", "10%"]
    return "\n".join([note, table(head, rows), *dict.fromkeys(f"not estimable at {reason}" for reason in reasons)])


def _differences(found: Facts | None) -> str:
    if not found:
        return ""
    measures = (AUROC, Measure.ACCURACY, Measure.F1)
    rows = [
        [f"{found['of']} - {other}", each["images"], *(_difference(each.get(measure)) for measure in measures)]
        for other, each in found["minus"].items()
    ]
    note = "differences on the same images, both methods resampled together; an interval that holds 0 shows none"
    return "\n".join([note, table(["methods", "images", "AUROC", "accuracy", "F1"], rows)])


def _difference(found: Facts | None) -> str:
    if found is None or found["value"] is None:
        return "-"
    ends = " (no interval)" if found["low"] is None else f" [{found['low']:+.2f}, {found['high']:+.2f}]"
    return f"{found['value']:+.2f}{ends}"


def _probable(methods: Facts) -> str:
    rows = []
    for name, found in methods.items():
        if found["brier"]:
            ends = f"{found['brier']['value']:.3f} [{found['brier']['low'] or 0:.3f}, {found['brier']['high'] or 1:.3f}]"
            rows.append([name, ends, f"{found['brier']['of_share']:.3f}", f"{_gap(found['reliability']):.3f}"])
    if not rows:
        return "P(used) is not available: no method was calibrated for it on labelled images"
    missing = [name for name, found in methods.items() if not found["brier"]]
    note = "P(used): Brier score (0 is best), that of always saying the share of used images, mean gap of said and was"
    parts = [note, table(["method", "Brier", "share alone", "gap"], rows)]
    return "\n".join([*parts, f"not available for {', '.join(missing)}"] if missing else parts)


def _gap(bins: Sequence[Facts]) -> float:
    """How far P(used) is from the share of used images, on average."""
    return float(
        sum(each["images"] * abs(each["mean"] - each["used"]["value"]) for each in bins) / sum(b["images"] for b in bins)
    )


def _controls(found: Facts | None) -> str:
    if not found:
        return ""
    rows = []
    for name, spreads in found["spreads"].items():
        kinds = {each["control"]: interval({**each, "value": each["mean"]}) for each in spreads}
        rows.append([name, *kinds.values()])
    grey = found[GREY_LEVELS]
    text = f"{interval(grey['area'])}, p {p_text(grey['p_value'])}" if grey["area"] else "not available"
    reason = f" ({grey['reason']})" if grey["reason"] else ""
    note = "controls: AUROC where no difference is; what chance alone gives, middle 95%"
    tabled = table(["method", "shuffled labels", "used against used", "not used against not used"], rows)
    return "\n".join([note, tabled, f"used against not used by their grey levels alone, which show no copying: {text}{reason}"])


def _uncalibrated(methods: Facts) -> Iterator[str]:
    names = [name for name, found in methods.items() if found["calibrated"] is False]
    if names:
        yield f"not calibrated, so their yes or no is by a fixed rule: {', '.join(names)}"
