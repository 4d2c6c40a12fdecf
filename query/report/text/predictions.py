"""Predictions as text."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from query.report.text.lines import wrapped
from query.report.text.numbers import number
from query.text import many, name, table

if TYPE_CHECKING:
    from query.membership.cross_fit import Prediction
    from query.membership.predict import Predictions

UNLABELLED_ROLES = {"unlabelled", "perhaps seen"}  # roles of images that are told of before labelled ones
SHOWN = 20  # images predicted used that are listed


def calibration(methods: Iterable[tuple[Mapping[str, Any], bool]]) -> str:
    """One sentence on what stands on images whose membership is known.

    Args:
        methods: of each, what it told about itself, with ``reference`` where it has one; and whether it is calibrated.
    """
    methods = list(methods)
    if any("reference" in facts for facts, _ in methods):
        return "Only decisions are calibrated: by reference images, so only for images of their kind and source."
    if any(calibrated for _, calibrated in methods):
        return "Only thresholds of methods that learned from labelled images are calibrated, for images of their kind."
    return "Nothing here is calibrated: that takes reference images which are known not to have been used."


def predictions_text(decided: "Predictions", groups: str) -> str:
    """The primary method with its answers, the others in one table, and a caution."""
    closing = 'Undecided does not mean not used, and "no evidence found" is not "safe to release".'
    return wrapped([*predictions_lines(decided, groups), "", closing]).rstrip("\n")


def predictions_lines(decided: "Predictions", groups: str, shown: int = SHOWN) -> Iterator[str]:
    """The same as lines of any length; lists at most `shown` images predicted used."""
    if not decided.methods:
        yield "No method can predict these images from the known labels and the indexed views."
        yield from _refused(decided)
        return
    facts = decided.methods[0].facts
    known = facts["used"] + facts["not_used"]
    yield (
        f"{many(len(decided.names) - known, 'unlabelled real image')}, {known:,} labelled ({facts['used']:,} used, "
        f"{facts['not_used']:,} not used), against {many(facts['generated'], 'generated image')}. {groups}".rstrip()
    )
    primary = [each for each in decided.methods if each.facts["primary"]]
    others = [each for each in decided.methods if not each.facts["primary"]]
    for each in primary:
        yield ""
        yield from _primary(each, decided.names, shown)
    if others:
        yield ""
        yield "Other methods (exploratory: not chosen beforehand" + ("; their predictions do not count)" if primary else ")")
        yield from _others(others)
    yield from _refused(decided)


def _refused(decided: "Predictions") -> Iterator[str]:
    yield from (f"  Left out: {line}." for line in decided.refused)


def _counted(each: "Prediction") -> list[bool]:
    """The counted images: the unlabelled ones, or if all are labelled, those predicted without their label."""
    asked = [role in UNLABELLED_ROLES for role in each.role]
    return asked if any(asked) else [role == "cross-fitted" for role in each.role]


def _primary(each: "Prediction", names: Sequence[str], shown: int) -> Iterator[str]:
    facts, counted = each.facts, _counted(each)
    yield f"Primary method {each.method}. {each.note}"
    if "reference" not in facts:
        yield "  Uncalibrated: without images known not to be used there is no p-value, and no image is predicted used."
    else:
        yield from (f"  {line}" for line in (power(facts) if facts["tests"] else _power_among_labelled(each)))
    note = [str(decision) for decision, told in zip(each.decision, counted, strict=True) if told]
    asked = bool(UNLABELLED_ROLES & {*each.role})
    which = many(len(note), "unlabelled image" if asked else "labelled image")
    judged = "" if asked else ", each predicted without its label"
    counts = ", ".join(f"{note.count(answer):,} {answer}" for answer in ("used", "not used", "undecided"))
    yield f"  Of {which}{judged}: {counts}; binary prediction: {_yes(each, True):,} used."
    prior = facts["prior"]
    yield (
        "  P(used): not available without labelled images of both kinds."
        if prior is None
        else f"  P(used) assumes a share of {prior:g} used images among the unlabelled ones."
    )
    yield from _called(each, names, shown)


def power(facts: Any) -> Iterator[str]:
    """Power of the reference: the smallest p-value, and how many images must reach the smallest p-value together."""
    yield (
        f"Reference: {many(facts['reference'], 'image')} known not to be used; the smallest p-value they can give is "
        f"{facts['smallest_p']:.3g}. Predicted used: q-value up to {facts['fdr']:g}."
    )
    least, tests = facts["least_rejected"], facts["tests"]
    if least > tests:
        yield f"WARNING: with so few, none of {many(tests, 'image')} can ever be predicted used; add reference images."
    elif least > 1:
        yield f"With so few, none can be predicted used unless {least:,} of {tests:,} reach the smallest p-value together."


def _power_among_labelled(each: "Prediction") -> Iterator[str]:
    """The same without unlabelled images: every p-value is based on somewhat fewer reference images."""
    p = each.p[_counted(each)]
    p = p[np.isfinite(p)]
    if len(p):
        least = int(np.ceil(round(len(p) * p.min() / each.facts["fdr"], 9)))  # Benjamini and Hochberg, all at the smallest
        yield (
            f"Reference: {many(each.facts['reference'], 'image')} known not to be used. Predicted used: q-value up to "
            f"{each.facts['fdr']:g}; at the smallest p-value here, {p.min():.3g}, that takes {least:,} of {len(p):,} together."
        )


def _called(each: "Prediction", names: Sequence[str], shown: int) -> Iterator[str]:
    """The images predicted used, the nearest first."""
    nearest, counted = np.argsort(-each.value, kind="stable"), _counted(each)
    rows = [row for row in nearest if each.decision[row] == "used" and counted[row]]
    if rows:
        columns = (each.value, each.p, each.q, each.probability)
        cells = [[name(names[row]), *(number(column[row], ".3g") for column in columns)] for row in rows]
        lines = table(["predicted used", "value", "p", "q", "P(used)"], cells[:shown]).splitlines()
        yield from (f"  {line}" for line in lines)
        if len(rows) > shown:
            yield f"  and {len(rows) - shown:,} more, in table decisions"


def _others(predictions: Sequence["Prediction"]) -> Iterator[str]:
    cells = [
        [
            each.method,
            f"{_yes(each, True):,}",
            f"{_yes(each, False):,}",
            number(min(each.p, key=lambda p: (np.isnan(p), p)), ".3g"),
            "yes" if each.calibrated else "NO",
        ]
        for each in predictions
    ]
    header = ["method", "used", "not used", "smallest p", "calibrated"]
    yield from (f"  {line}" for line in table(header, cells).splitlines())


def _yes(each: "Prediction", answer: bool) -> int:
    """How many of the images that are told of get this binary prediction."""
    return sum(note is answer for note, told in zip(each.used, _counted(each), strict=True) if told)
