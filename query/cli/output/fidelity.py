"""Output of `fidelity`, `leakage` and `filter`: how good, how private, in one table."""

from query.quality.estimate import GAP, KEPT, REAL
from query.quality.fidelity import Fidelity, Unmeasured
from query.quality.figures import Figure
from query.report.text.numbers import interval
from query.text import many, table

_HEADS = {REAL: "real images"}
_BETTER = {Figure.FRECHET: "low", Figure.KERNEL: "low"}  # others: high


def fidelity_text(found: Fidelity | Unmeasured) -> str:
    """A row for each figure, a column for each set, with 95% intervals; or why there is none."""
    if isinstance(found, Unmeasured):
        return f"fidelity was not measured: {found.reason}"
    names = [name for name in found.figures if name != GAP or KEPT not in found.figures]
    rows = [
        [figure, _better(question, figure), *(interval(sets.get(name), "z.3g", none="", alone="") for name in names)]
        for question, figure, sets in found.rows()
    ]
    return "\n".join(
        [_head(found), "", table(["", "better", *(_HEADS.get(name, name) for name in names)], rows), "", *_notes(found)]
    )


def _better(question: str, figure: str) -> str:
    return "as real" if question == "how private" else _BETTER.get(Figure(figure), "high")


def _head(found: Fidelity) -> str:
    reference = "hold-out images" if found.held_out else "one half of the real patients, and the other half, in turn"
    private = " and how private" if found.leakage else ""
    sizes = f"{many(found.images, 'image')} of either side at a time, k = {found.settings.k}"
    return f"how good{private}: {sizes}, view {found.settings.view} before whitening; reference: {reference}"


def _notes(found: Fidelity) -> list[str]:
    lines = ["real images: of other patients, as good as can be reached; figures of other numbers of images cannot be compared"]
    if found.leakage:
        lines.append("the last rows tell of leakage, by all views: under real images stands what is expected without leakage")
    elif not found.held_out:
        lines.append("how private they are is not told here: that takes images that were not used in training (--hold-out)")
    if not found.grouped:
        lines.append("patients are unknown (--groups): every image counts as one, so real images may seem to reach too much")
    if found.suspicious:
        lines.append("WARNING: generated images lie nearer to real ones than real images of other patients do, as copies would")
    if not found.figures[REAL][Figure.PRECISION].has_interval:
        lines.append("there are too few patients or images for intervals")
    return lines
