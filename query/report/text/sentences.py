"""The report's opening sentences with their uncertainty, and its limits.

Nothing here calls anything harmless: finding no evidence is never worded as its absence.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from query.comparison.combined import COMBINED
from query.evaluation.classification import AUROC, Measure
from query.report.patients import unit
from query.report.predictions import MethodFigures
from query.report.public import TOO_FEW
from query.report.run_summary import Known, RunSummary
from query.report.text.numbers import UNDEFINED, interval, number
from query.report.text.patients import called_headline, power_sentences, set_headline, unknown_patients
from query.report.text.predictions import calibration
from query.text import many


@dataclass(frozen=True)
class Answer:
    """A question, a sentence that answers it, and what more must be known of that."""

    question: str
    note: str
    more: str


def answer(found: RunSummary) -> list[Answer]:
    """Questions, each with a sentence that answers it and with what more must be known of that: the set first, then patients."""
    questions = (
        ("Was any of it used?", _used(found)),
        (f"Which {_who(found)}s were used?", _called(found)),
        ("How surely?", _surely(found)),
        ("What must not be released, and what remains unknown?", _released(found)),
    )
    return [Answer(question, note, more.strip()) for question, (note, more) in questions if note]


def limits(found: RunSummary, rule: str) -> list[str]:
    """What the numbers do not say, a sentence each; see docs/METHODS.md and docs/MEMBERSHIP.md."""
    methods = found.decisions.methods if found.decisions else []
    generated = found.sides["generated"].images
    calibrated = calibration((method.facts, method.calibrated) for method in methods)
    return [
        "Only the filter is calibrated: by hold-out images, so only for images of their kind."
        if found.by_hold_out
        else calibrated,
        "A distance is not a decision: without a reference no threshold means anything.",
        f"The nearest of {generated:,} is nearer by chance than that of fewer: compare distances only between sets of one size.",
        "A small distance supports that an image was used; a large one does not clear an image. Used images that left no trace "
        "are not found by any method here.",
        "Nearest is not source: every generated image has a nearest real image, also where it has no source among them.",
        "A small distance can have other reasons: another slice of the same patient, a common template, burnt-in text, two blank "
        "images.",
        "Views are not independent: three that agree count for less than three independent findings.",
        "The views see copies and near-copies of whole images. They do not see a patient's anatomy in another pose, nor a "
        "fragment pasted into another image.",
        "Points that fit one transform show that two pictures share structure; two slices of one patient can do that too. From "
        f"where on it is told of here: {rule}.",
        "Methods were chosen on warped copies and on one diffusion model. What another generator leaks may look different.",
        "Evidence is of a patient. It does not say which images of the patient were used: unused ones lie near, too.",
        'Neither "undecided" nor "no trace found" means not used. That no evidence was found does not show that there is none.',
    ]


def release_sentence(found: RunSummary) -> str:
    """How many generated images to withhold."""
    return _released(found)[0]


def beyond_filter_sentence(found: RunSummary) -> str:
    """How many of these images the filter by itself does not list, and why they are here; empty where it lists all."""
    count, rules = found.withheld.beyond_filter, found.withheld.beyond_rules
    if not count:
        return ""
    why = [f"match: {found.pairs.rule}" if rule == "match" else rule for rule in rules]
    reason = f" ({'; '.join(why)})" if why else ""
    fall = "falls" if count == 1 else "fall"
    return (
        f"{count:,} of them {fall} under other rules alone{reason}: synthtrace filter and the analysis withheld do not list "
        f"{'it; leave it' if count == 1 else 'them; leave them'} out too."
    )


def accuracy_sentence(found: RunSummary) -> str:
    """How accurate the predictions are on labelled images, with an interval, or why that is unknown."""
    return _surely(found)[0]


def _who(found: RunSummary) -> str:
    """What patients are called."""
    return unit(found.known.groups_from)


def _used(found: RunSummary) -> tuple[str, str]:
    """The set as a whole, or why nothing can be said; nothing where no image is without a label."""
    primary = found.decisions.primary if found.decisions else None
    if primary is None:
        real = many(found.sides["real"].images, "real image")
        if found.known.not_used == found.known.unlabelled == 0:
            return f"{real}: all are given as used in training; whether they were was not tested.", _looked_at(found)
        return f"This run did not decide which of {real} were used: distances alone do not tell.", _looked_at(found)
    if primary.reference == 0:
        headline = called_headline(primary)
        return headline.note, f"{headline.more} {_looked_at(found)}"
    return next(((each.note, each.more) for each in set_headline(primary)), ("", ""))


def _called(found: RunSummary) -> tuple[str, str]:
    """How many patients are called used, and at which false discovery rate; nothing without a reference."""
    primary = found.decisions.primary if found.decisions else None
    if primary is None or primary.reference == 0:
        return "", ""
    headline = called_headline(primary)
    more = [headline.more, *power_sentences(primary), *unknown_patients(primary), _looked_at(found)]
    return headline.note, " ".join(filter(None, more))


def _looked_at(found: RunSummary) -> str:
    """What matching of points says of real images."""
    strong, looked_at = found.pairs.strong, found.pairs.looked_at
    if not looked_at or strong is None:
        return ""
    return (
        f"Of {many(looked_at, 'real image')} compared point by point with a near generated one, {strong:,} "
        f"{'shares' if strong == 1 else 'share'} so much structure that both look like one picture "
        f"({found.pairs.rule})."
    )


def _surely(found: RunSummary) -> tuple[str, str]:
    """Second sentence: how accurate the predictions are on labelled images, with intervals, or why that is unknown."""
    known = found.known
    told = None not in (known.used, known.not_used)
    labelled = f"{many(known.used, 'image')} known to be used, {known.not_used:,} not. " if told else ""
    figures = _primary_figures(found)
    if figures:
        area, f1 = figures.metrics[AUROC], figures.metrics[Measure.F1]
        note = (
            f"On labelled images, each predicted without its label, method {figures.method} reaches an AUROC of "
            f"{interval(area, none=UNDEFINED)}; chance gives 0.50."
        )
        if not f1.known and found.public:
            return note, "Its F1 is not shown: it would tell a number that is too small for that."
        beside = f"as many random calls give {number(f1.by_chance)} and calling all used gives {number(f1.all_used)}"
        groups = found.evaluation.groups if found.evaluation else ""
        more = f"{labelled}Its F1 is {interval(f1, none=UNDEFINED)}, where {beside}. Intervals are 95%, by groups. {groups}"
        more += _few(known)
        return note, more
    combined = next((view.auroc for view in found.views if view.view == COMBINED), None)
    if combined:
        note = "the distance to the nearest generated image, by all views, reaches an AUROC of "
        reached = interval(combined, none=UNDEFINED)
        return f"On labelled images {note}{reached}; chance gives 0.50.", f"{labelled}{_few(known)}"
    if found.public and (not told or (known.used and known.not_used)):
        return "Figures of labelled images are not shown: they would stand on too few.", ""
    if found.by_hold_out:
        note = "Hold-out images, not used in training, calibrated the filter and measured leakage; this run keeps none of them."
        return (
            note,
            f"Of a generator that copies nothing, about {100 * (found.withheld.risk or 0):g}% of the images would be withheld.",
        )
    if known.not_used:
        note = f"{many(known.not_used, 'image')} known not to be used {_is_are(known.not_used)} the reference"
        return f"{note}; without images known to be used nothing measures how many used ones are found.", ""
    if known.used:
        return "Nothing calibrates these figures: only images known to be used were given, none known not to be used.", ""
    return "Nothing calibrates these figures: that takes real images of the same kind and source, certainly not used.", ""


def _primary_figures(found: RunSummary) -> MethodFigures | None:
    """The evaluation of the primary method."""
    primary = found.decisions.primary if found.decisions else None
    methods = found.evaluation.methods if found.evaluation else []
    return next((method for method in methods if primary and method.method == primary.method), None)


def _few(known: Known) -> str:
    fewest = min((count for count in (known.used, known.not_used) if count is not None), default=10)
    return " With fewer than 10 images of a kind these numbers say next to nothing." if fewest < 10 else ""


def _released(found: RunSummary) -> tuple[str, str]:
    """Third sentence: how many generated images to withhold, and which leakage remains unknown."""
    withheld, generated = found.withheld.withheld, found.sides["generated"].images
    they = "it is" if withheld == 1 else "they are"
    if withheld is None:
        few = "too few for that, or all but too few"
        note = f"How many of {many(generated, 'generated image')} should not be released is not shown: {few}."
    elif withheld:
        note = f"{withheld:,} of {many(generated, 'generated image')} should not be released as {they}."
    else:
        none = f"None of {many(generated, 'generated image')} is singled out"
        note = f"{none} by the rules that could be applied, which clears none of them."
    return note, f"{_remaining(found)} {_unknown(found)}"


def _remaining(found: RunSummary) -> str:
    leakage = found.leakage
    if not leakage.figures:
        return f"What leakage remains in the others {'is not shown' if leakage.reason == TOO_FEW else 'was not measured'}."
    if leakage.tests["after"].evidence:
        return "Evidence of leakage remains in the others."
    if next((row.after for row in leakage.figures if row.after), None) is None:
        note = "There is evidence of leakage" if leakage.tests["before"].evidence else "No evidence of leakage was found"
        return f"{note} by all images together; what a filter would leave was not measured."
    return "In the others no evidence of leakage was found, which does not show that there is none."


def _unknown(found: RunSummary) -> str:
    parts = []
    primary = found.decisions.primary if found.decisions else None
    patients = primary.patients if primary else None
    for answer in ("no trace found", "undecided"):
        count = patients.answers[answer] if patients else None
        if count:
            parts.append(f'{many(count, _who(found))} {_is_are(count)} answered "{answer}"')
    failed, blank = (_total(getattr(side, what) for side in found.sides.values()) for what in ("failed", "blank"))
    if failed != 0:
        parts.append(f"{many(failed, 'file')} could not be read")
    if blank != 0:
        parts.append(f"no view sees anything in {many(blank, 'image')}")
    note = "; ".join(parts)
    return f"Unknown: {note}; and whatever these views cannot see." if note else "Unknown: whatever these views cannot see."


def _total(counts: Iterable[int | None]) -> int | None:
    """The sum; None where a part is not shown."""
    parts = list(counts)
    return None if None in parts else sum(part for part in parts if part is not None)


def _is_are(count: int) -> str:
    return "is" if count == 1 else "are"
