"""Predictions as text."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from query.membership.decisions import Role
from query.report.patients import unit
from query.report.predictions import CalledUsed, MethodSummary, PrimarySummary, decisions_of
from query.report.text.lines import wrapped
from query.report.text.numbers import number
from query.report.text.patients import called_table, counts_sentence, headlines, power_sentences
from query.text import many, name, table

if TYPE_CHECKING:
    from query.membership.predict import Predictions

SHOWN = 20  # patients called used that are listed, and images of them


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
    """The answer in short, the primary method with its decisions, the others in one table, and a caution."""
    closing = 'Neither "undecided" nor "no trace found" means not used, and "no evidence found" is not "safe to release".'
    short = answer_lines(predictions)
    return wrapped([*short, *([""] if short else []), *predictions_lines(predictions, groups), "", closing]).rstrip("\n")


def answer_lines(predictions: "Predictions") -> list[str]:
    """The answer in short, see `query.report.text.patients.headlines`."""
    return [line for each in headlines(decisions_of(predictions).primary) for line in each.lines]


def predictions_lines(predictions: "Predictions", groups: str, shown: int = SHOWN) -> Iterator[str]:
    """What stands behind it, as lines of any length; lists at most `shown` patients and images called used."""
    decided = decisions_of(predictions)
    if not decided.methods:
        yield "No method can predict these images from the known labels and the indexed views."
        yield from _refused(predictions)
        return
    yield f"{_known(predictions, decided.methods[0].facts)} {groups}".rstrip()
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


def _known(predictions: "Predictions", facts: Mapping[str, Any]) -> str:
    """How many images of what kind are predicted."""
    labelled = facts["used"] + facts["not_used"]
    siblings = predictions.methods[0].role.count(Role.SIBLING)
    held = f", {siblings:,} held back as siblings of used ones" if siblings else ""
    return (
        f"{many(len(predictions.names) - labelled - siblings, 'unlabelled real image')}, {labelled:,} labelled "
        f"({facts['used']:,} used, {facts['not_used']:,} not used){held}, against {many(facts['generated'], 'generated image')}."
    )


def _refused(predictions: "Predictions") -> Iterator[str]:
    yield from (f"  Left out: {line}." for line in predictions.refused)


def _primary(primary: PrimarySummary, method: MethodSummary, shown: int) -> Iterator[str]:
    yield f"Primary method {method.method}. {method.note}"
    yield from (f"  {line}" for line in power_sentences(primary))
    if primary.patients:
        yield f"  {counts_sentence(primary.patients, primary.unlabelled)}"
        called = called_table(primary.patients.called, unit(primary.patients.groups_from), shown)
        yield from (f"    {line}" for line in called)
    which = many(primary.images, "unlabelled image" if primary.unlabelled else "labelled image")
    without = "" if primary.unlabelled else ", each predicted without its label"
    counts = ", ".join(f"{count:,} {answer}" for answer, count in primary.answers.items())
    yield f"  Of {which}{without}: {counts}; binary prediction: {method.says_used:,} used."
    yield f"  {probability_sentence(primary)}"
    if primary.answers["patient used"] or primary.priors:  # else each patient called used has one image, and is listed
        yield from (f"    {line}" for line in _predicted_used(primary, shown))


def probability_sentence(primary: PrimarySummary) -> str:
    """What P(used) stands on."""
    if primary.priors is None:
        return "P(used): not available without labelled images of both kinds."
    low, high = (f"{share:.0%}" for share in primary.priors)
    return f"P(used) is a range, for a share of used images of {low} to {high} beforehand (--prior)."


def _predicted_used(primary: PrimarySummary, shown: int) -> Iterator[str]:
    """The images of patients called used, the nearest first."""
    images, chances = primary.predicted_used, ["P(used)"] if primary.priors else []
    if not images:
        return
    cells = [
        [name(each.image), *(number(value, ".3g") for value in (each.value, each.p, each.q)), probability_range(each)]
        for each in images[:shown]
    ]
    header = ["image of these", "value", "p", "q of patient", *chances]
    yield from table(header, [row[: len(header)] for row in cells]).splitlines()
    if len(images) > shown:
        yield f"and {len(images) - shown:,} more, in table decisions"


def probability_range(image: CalledUsed) -> str:
    """``0.12 to 0.91``."""
    low, high = (number(value) for value in (image.probability_low, image.probability_high))
    return low if low == high else f"{low} to {high}"


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
    header = ["method", "says used", "says not", "smallest p", "calibrated"]
    yield from (f"  {line}" for line in table(header, cells).splitlines())
