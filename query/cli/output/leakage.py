"""Output of `leakage` and `filter`: a table of figures and a conclusion."""

from typing import TYPE_CHECKING

from query.comparison.combined import COMBINED
from query.leakage.leakage import EXPECTED, PRIMARY, Figure
from query.report.text.numbers import interval, p_text
from query.text import many, table

if TYPE_CHECKING:
    from query.evaluation.resampling import Estimate
    from query.leakage.filter import Release
    from query.leakage.leakage import Leakage

NOT_SHOWN = "that does not show that there is none"


def leakage_table(leakage: "Leakage") -> str:
    """A row for each figure, a column for each view, with 95% intervals."""
    views = list(leakage.views)
    rows = [
        [
            str(figure),
            f"{EXPECTED[figure]:g}" if figure in EXPECTED else "",
            *(cell(leakage.views[view][figure]) for view in views),
        ]
        for figure in Figure
    ]
    compared = f"figures compare {many(leakage.compared, 'image')} of either side at a time"
    sizes = f"{many(leakage.generated, 'generated image')}; {compared}"
    ratios = "ratios are of bits or of 1 - cosine, half a squared distance: squares of ratios of Euclidean distances"
    return f"{sizes}\n\n{table(['', 'expected', *views], rows)}\n\n{ratios}"


def cell(estimate: "Estimate") -> str:
    """A figure and its interval; nothing where it is not defined."""
    return interval(estimate, ".3g", none="", alone=" [no interval]")


def leakage_sentence(leakage: "Leakage", what: str) -> str:
    """Conclusion from the test of patients, in one sentence; it never says safe."""
    test = leakage.test
    sides = f"{many(test.patients, 'training patient')} against {many(test.reference, 'hold-out patient')}"
    if not leakage.testable:
        return f"whether {what} leak cannot be tested with so few patients ({sides}); {NOT_SHOWN.replace('there is', 'they do')}"
    tested = f"p = {p_text(test.p_value)}, {sides}"
    if not leakage.found:
        return f"no evidence of leakage was found in {what} ({tested}); {NOT_SHOWN}"
    share = f"; with 95% confidence at least {100 * test.share_low:.0f}% of the training patients left a trace"
    nearer = f"training patients lie nearer to them than hold-out patients ({tested})"
    return f"evidence of leakage in {what}: {nearer}{share if test.share_low >= 0.005 else ''}"


_BLANK = "are blank in every view and withheld, since they cannot be compared"


def filter_text(release: "Release") -> str:
    """Counts, and the leakage that remains; without file names."""
    withheld, count = int(release.withheld.sum()), len(release.names)
    lines = [f"{many(count, 'generated image')}: keep {count - withheld:,}, withhold {withheld:,}"]
    if release.blank:
        lines.append(many(release.blank, "is blank in every view and withheld, since it cannot be compared", _BLANK))
    if release.before is None or release.after is None:
        lines.append("uncalibrated: without --hold-out the distances of images that are no copies are unknown")
        lines.append("without --groups, similar slices of one patient let copies through")
        return "\n".join([*lines, "the remaining leakage cannot be measured without --hold-out"])
    lines.append(f"calibrated so that about {100 * release.risk:g}% would be withheld if nothing was copied")
    rows = [
        [
            str(figure),
            f"{EXPECTED[figure]:g}",
            cell(release.before.views[COMBINED][figure]),
            cell(release.after.views[COMBINED][figure]),
        ]
        for figure in PRIMARY
    ]
    head = "measured on real images that the filter was not calibrated on (cross-fitted halves), all views combined"
    return "\n".join(
        [
            *lines,
            "",
            head,
            table(["", "expected", "before", "after"], rows),
            "",
            leakage_sentence(release.after, "the images kept"),
        ]
    )
