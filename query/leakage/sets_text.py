"""What several generated sets leak, in words: the answer, and a table for notebooks. It never says equal, and never safe."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from indexer.notebook import escaped, table
from query.evaluation.resampling import Estimate
from query.leakage.evidence import ALPHA
from query.leakage.leakage import Figure
from query.leakage.set_figures import (
    CALLED_PATIENTS,
    COPIES,
    LEAKS_MORE,
    MATCHED_IMAGES,
    MATCHED_PATIENTS,
    NEAREST,
    NOTHING_LEAKS,
    UNITS,
    Unit,
)
from query.text import many, name

if TYPE_CHECKING:
    from query.leakage.sets import LeakageOfSets, SetFigure, SetSize

MEANINGS = {
    Figure.NEARER: "share of generated images nearer to a training than to a hold-out image",
    Figure.DCR_RATIO: "median distance to the nearest training image, over that to the nearest hold-out image",
    Figure.DCR_5_RATIO: "the same of the nearest 5% of images",
    Figure.C_T: "data-copying test C_T",
    Figure.MEMORISED_EXCESS: "share of generated images that stand out as copies of training, less of hold-out images",
    NEAREST: "how well the distance to the nearest generated image tells training from hold-out images",
    COPIES: "share of all images of a set that are exact or near-exact copies of a real (training) image",
    "singling_out_risk": "training patients who can be singled out, beyond hold-out patients",
    "linkability_risk": "training patients whose images can be linked, beyond hold-out patients",
    CALLED_PATIENTS: "share of the tested patients who are called used",
    MATCHED_IMAGES: "share of generated images that match a real one above the threshold",
    MATCHED_PATIENTS: "share of patients whom such an image matches, of as many images of each set",
}


def set_sentences(found: "LeakageOfSets") -> list[str]:
    """What each set leaks by itself, then what others leak less or more than the first."""
    return [*map(_alone, found.sets), *difference_sentences(found.answers, found.sets[0].name)]


def _alone(each: "SetSize") -> str:
    """Whether a set leaks; never that it does not."""
    one, test = name(each.name), each.test
    if not test.p_value >= 0:
        return f"Whether {one} leaks cannot be told: too few patients to test."
    if test.p_value > ALPHA:
        return f"{one}: no evidence of leakage was found (p = {test.p_value:.2g}); that does not show that there is none."
    return f"{one} leaks: at least {test.share_low:.0%} of training patients left a trace in it (p = {test.p_value:.2g})."


def difference_sentences(answers: Sequence["SetFigure"], first: str) -> list[str]:
    """The answer for each set but the first.

    Args:
        answers: the primary figure of these sets.
        first: name of the first set.
    """
    lines = [_answer(each, first) for each in answers]
    if len(answers) > 1:
        lines.append("Intervals of differences from the first set are wide enough to hold together with 95% (Bonferroni).")
    return lines


def _answer(each: "SetFigure", first: str) -> str:
    one, other, found = name(each.of), name(first), each.difference
    what = f"{each.figure} ({MEANINGS[each.figure]})"
    if found is None or not found.has_interval:
        return f"Whether {one} and {other} leak differently cannot be told: {each.figure} has no interval with so few patients."
    if each.less is None:
        between, unseen = not_told_apart(each.figure, found)
        return (
            f"No difference was found between {one} and {other} in {what}: {between}. Differences of up to {unseen} would have "
            "remained unseen."
        )
    more = "less" if each.less else "more"
    return f"{one} leaks {more} than {other} by {size_of(each.figure, found)} in {what}."


def not_told_apart(figure: str, found: Estimate) -> tuple[str, str]:
    """Of a difference whose interval holds 0: the difference with its interval, and how large one could have remained unseen."""
    between = f"{signed(figure, found.value)}, 95% {ends(figure, found)}"
    return between, amount(figure, max(abs(found.low), abs(found.high)))


def size_of(figure: str, found: Estimate) -> str:
    """Of a difference whose interval does not hold 0: how large it is, with its interval, without a sign."""
    low, high = sorted((abs(found.low), abs(found.high)))
    return f"{amount(figure, abs(found.value))} (95% {scaled(figure, low)} to {scaled(figure, high)})"


def basis(found: "LeakageOfSets") -> str:
    """What is compared, in one sentence."""
    drawn = f", a mean over {found.draws} draws" if any(each.images > found.generated for each in found.sets) else ""
    sets = "; ".join(f"{name(each.name)}: {many(each.images, 'image')}" for each in found.sets)
    made = f"{many(found.generated, 'generated image')} of each set at a time{drawn} ({sets})" if len(found.sets) > 1 else sets
    return (
        f"{made}, against {found.compared:,} of "
        f"{many(found.training, 'training image')} and {found.compared:,} of {many(found.hold_out, 'hold-out image')}."
    )


def evidence_of(each: "SetSize") -> str:
    """Whether a set by itself shows leakage."""
    if not each.test.p_value >= 0:
        return "too few patients to test"
    p = f"p = {each.test.p_value:.2g}"
    if each.test.p_value > ALPHA:
        return f"no evidence found ({p})"
    return f"evidence ({p}); at least {each.test.share_low:.0%} of training patients left a trace"


def scaled(figure: str, value: float) -> str:
    """A number as its unit wants it: shares as percentage points."""
    return f"{100 * value:z.1f}" if UNITS[figure] is Unit.SHARE else f"{value:z.3g}"


def amount(figure: str, value: float) -> str:
    """A difference with its unit."""
    unit = {Unit.SHARE: "percentage points", Unit.Z_SCORE: "standard deviations"}.get(UNITS[figure], "")
    return f"{scaled(figure, value)} {unit}".rstrip()


def signed(figure: str, value: float) -> str:
    """A difference with sign and unit."""
    return f"{'+' if value > 0 else ''}{amount(figure, value)}"


def ends(figure: str, found: Estimate) -> str:
    """Both ends of an interval."""
    return f"{scaled(figure, found.low)} to {scaled(figure, found.high)}"


def value_cell(each: "SetFigure") -> str:
    """A value with its interval, as share or number."""
    return _cell(each.figure, each.value)


def difference_cell(each: "SetFigure") -> str:
    """A difference with its interval; empty of the first set."""
    if each.difference is None or not each.difference.known:
        return ""
    return f"{'+' if each.difference.value > 0 else ''}{_cell(each.figure, each.difference)}"


def _cell(figure: str, found: Estimate) -> str:
    if not found.known:
        return ""
    between = f" [{scaled(figure, found.low)}, {scaled(figure, found.high)}]" if found.has_interval else " [no interval]"
    return f"{scaled(figure, found.value)}{between}"


def direction(figure: str) -> str:
    """What a larger figure means."""
    return {1: "more leaks more", -1: "less leaks more"}.get(LEAKS_MORE.get(figure, 0), "")


def expected(figure: str) -> str:
    """The figure where nothing leaks."""
    return scaled(figure, NOTHING_LEAKS[figure]) if figure in NOTHING_LEAKS else ""


def unit(figure: str) -> str:
    """Of a figure in a table: shares are in percent, their differences in percentage points."""
    return {Unit.SHARE: "%", Unit.Z_SCORE: "z"}.get(UNITS[figure], str(UNITS[figure]))


def notebook_html(found: "LeakageOfSets") -> str:
    """The answer, and the figures of the combined view in which more or less is more leakage."""
    sets = [each.name for each in found.sets]
    of = {each: found.of(each) for each in sets}
    header = ["figure", "unit", "", *sets, *(f"{each} - {sets[0]}" for each in sets[1:])]
    rows = [
        [
            *map(escaped, (figure, unit(figure), direction(figure))),
            *(escaped(value_cell(of[each][figure])) for each in sets),
            *(escaped(difference_cell(of[each][figure])) for each in sets[1:]),
        ]
        for figure in LEAKS_MORE
        if figure in of[sets[0]] and of[sets[0]][figure].value.known
    ]
    return "".join(f"<p>{escaped(line)}</p>" for line in [*set_sentences(found), basis(found)]) + table(header, rows)


def shown_figures(found: "LeakageOfSets", view: str) -> Sequence[str]:
    """Figures of a view that are defined for any set."""
    known = [each.figure for each in found.figures if each.view == view and each.value.known]
    return list(dict.fromkeys(known))
