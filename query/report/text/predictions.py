"""Predictions as text."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from query.report.predictions import CalledUsed, MethodSummary, PrimarySummary, decisions_of
from query.report.text.lines import wrapped
from query.report.text.numbers import number
from query.text import many, name, table

if TYPE_CHECKING:
    from query.membership.predict import Predictions

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


def predictions_text(predictions: "Predictions", groups: str) -> str:
    """The primary method with its answers, the others in one table, and a caution."""
    closing = 'Undecided does not mean not used, and "no evidence found" is not "safe to release".'
    return wrapped([*predictions_lines(predictions, groups), "", closing]).rstrip("\n")


def predictions_lines(predictions: "Predictions", groups: str, shown: int = SHOWN) -> Iterator[str]:
    """The same as lines of any length; lists at most `shown` images predicted used."""
    decided = decisions_of(predictions)
    if not decided.methods:
        yield "No method can predict these images from the known labels and the indexed views."
        yield from _refused(predictions)
        return
    facts = decided.methods[0].facts
    known = facts["used"] + facts["not_used"]
    yield (
        f"{many(len(predictions.names) - known, 'unlabelled real image')}, {known:,} labelled ({facts['used']:,} used, "
        f"{facts['not_used']:,} not used), against {many(facts['generated'], 'generated image')}. {groups}".rstrip()
    )
    primary, others = decided.primary, [method for method in decided.methods if not method.primary]
    if predictions.reference and predictions.reference.note:
        yield predictions.reference.note
    if primary:
        yield ""
        yield from _primary(primary, decided.methods[0], shown)
    if others:
        yield ""
        yield "Other methods (exploratory: not chosen beforehand" + ("; their predictions do not count)" if primary else ")")
        yield from _others(others)
    yield from _refused(predictions)


def _refused(predictions: "Predictions") -> Iterator[str]:
    yield from (f"  Left out: {line}." for line in predictions.refused)


def _primary(primary: PrimarySummary, method: MethodSummary, shown: int) -> Iterator[str]:
    yield f"Primary method {method.method}. {method.note}"
    if not primary.reference:
        yield "  Uncalibrated: without images known not to be used there is no p-value, and no image is predicted used."
    yield from (f"  {line}" for line in primary.power)
    which = many(primary.images, "unlabelled image" if primary.unlabelled else "labelled image")
    without = "" if primary.unlabelled else ", each predicted without its label"
    counts = ", ".join(f"{count:,} {answer}" for answer, count in primary.answers.items())
    yield f"  Of {which}{without}: {counts}; binary prediction: {method.says_used:,} used."
    yield (
        "  P(used): not available without labelled images of both kinds."
        if primary.priors is None
        else "  P(used) at even odds; table decisions has it for other shares of used images."
    )
    yield from _predicted_used(primary.predicted_used, shown)


def _predicted_used(images: Sequence[CalledUsed], shown: int) -> Iterator[str]:
    """The images predicted used, the nearest first."""
    if images:
        numbers = [[number(each, ".3g") for each in (image.value, image.p, image.q, image.probability)] for image in images]
        cells = [[name(image.image), *row] for image, row in zip(images, numbers, strict=True)]
        lines = table(["predicted used", "value", "p", "q", "P(used)"], cells[:shown]).splitlines()
        yield from (f"  {line}" for line in lines)
        if len(images) > shown:
            yield f"  and {len(images) - shown:,} more, in table decisions"


def _others(methods: Sequence[MethodSummary]) -> Iterator[str]:
    cells = [
        [
            method.method,
            f"{method.says_used:,}",
            f"{method.says_not:,}",
            number(method.smallest_p, ".3g"),
            "yes" if method.calibrated else "NO",
        ]
        for method in methods
    ]
    header = ["method", "used", "not used", "smallest p", "calibrated"]
    yield from (f"  {line}" for line in table(header, cells).splitlines())
