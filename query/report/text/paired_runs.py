"""Recorded runs of several generated sets in words: in which less was found, by how much, and what that does not say."""

from typing import Any

from query.database.paired_runs import PairedRuns, Traces
from query.leakage.set_figures import CALLED_PATIENTS
from query.leakage.sets import SetFigure
from query.leakage.sets_text import MEANINGS, difference_cell, not_told_apart, size_of, value_cell
from query.report.text.lines import wrapped
from query.text import many, name, plain, table

ONLY_THESE = (
    "This is about these images. Two sets of one generator can differ as much, so it does not say which generator leaks less: "
    "for that compare with a hold-out set (synthtrace leakage), or audit two sets of each generator."
)


def paired_text(found: PairedRuns) -> str:
    """The answer, the figures side by side, and how to read them."""
    sets = [each.name for each in found.sets]
    of = [found.of(each) for each in sets]
    rows = [
        [figure, *(value_cell(each[figure]) for each in of), *(difference_cell(each[figure]) for each in of[1:])]
        for figure in of[0]
    ]
    differences = [f"{name(each)} - {name(sets[0])}" for each in sets[1:]]
    figures = table(["figure, %", *map(name, sets), *differences], rows)
    meanings = [f"{figure}: {MEANINGS[figure]}." for figure in of[0]]
    below = wrapped([*meanings, *notes(found)]).rstrip("\n")
    return "\n\n".join([wrapped(answer(found)).rstrip("\n"), figures, below])


def answer(found: PairedRuns) -> list[str]:
    """Sentences: the difference of each set but the first, and what is compared."""
    sets = "; ".join(f"{name(each.name)}: {many(each.images, 'generated image')}, run {each.run}" for each in found.sets)
    return [
        *(_difference(each, found.sets[0].name) for each in found.answers),
        *(["Intervals of these differences hold together with 95% (Bonferroni)."] if len(found.answers) > 1 else []),
        ONLY_THESE,
        f"{many(found.patients, 'real patient (group)', 'real patients (groups)')}, the same ones for all sets ({sets}).",
    ]


def _difference(each: SetFigure, first: str) -> str:
    """What was found in one set beside the first. Not which generator leaks less: images are taken as they are."""
    one, other, found = name(each.of), name(first), each.difference
    what = f"{each.figure} ({MEANINGS[each.figure]})"
    if found is None or not found.has_interval:
        return f"Whether {one} and {other} differ cannot be told: {each.figure} has no interval with so few patients."
    if each.less is None:
        between, unseen = not_told_apart(each.figure, found)
        return f"No difference between {one} and {other} in {what}: {between}. Up to {unseen} would have remained unseen."
    return f"{'Less' if each.less else 'More'} was found in {one} than in {other}, by {size_of(each.figure, found)}: {what}."


def notes(found: PairedRuns) -> list[str]:
    """What the figures do not say."""
    lines = [
        f"Intervals are by patients, 95%, from the same draws of patients for all sets. {found.primary} was chosen "
        "beforehand; the others describe.",
        "Fewer patients found does not mean fewer used, and no difference found does not mean that there is none.",
    ]
    if not found.of_one_size and CALLED_PATIENTS in found.of(found.sets[0].name):
        lines.append(
            "WARNING: sets have different numbers of images, and more images find more patients: to compare sets by "
            f"{CALLED_PATIENTS}, predict with equally many images of each."
        )
    return [*lines, *(f"{figure} is left out: {reason}." for figure, reason in found.left_out.items())]


def paired_values(found: PairedRuns) -> dict[str, Any]:
    """JSON-able values; null where something is not defined."""
    return {
        "answer": answer(found),
        "primary": found.primary,
        "patients": found.patients,
        "level_of_differences": found.level,
        "sets": [_set(each) for each in found.sets],
        "figures": [
            {
                "set": each.of,
                "figure": each.figure,
                **dict(zip(("value", "low", "high"), plain(each.value.ends), strict=True)),
                "difference": plain(each.difference.ends[0]) if each.difference else None,
                "difference_low": plain(each.difference.low) if each.difference else None,
                "difference_high": plain(each.difference.high) if each.difference else None,
            }
            for each in found.figures
        ],
        "left_out": dict(found.left_out),
        "notes": notes(found),
    }


def _set(each: Traces) -> dict[str, Any]:
    return {"set": each.name, "run": each.run, "generated": each.images, "method": each.method}
