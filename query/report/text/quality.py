"""How good the generated images are, how private, as text: one table for the page and the terminal, and sentences."""

from collections.abc import Iterator
from dataclasses import dataclass

from query.report.quality import BesideReal, QualitySummary
from query.report.run_summary import RunSummary
from query.report.text.numbers import interval, number
from query.text import many, table

TITLE = "How good, how private"
GOOD, DIVERSE, PRIVATE = "how good", "how diverse", "how private"
NAMES = {
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "frechet_distance": "Fréchet distance",
    "kernel_distance": "kernel distance (KID)",
    "vendi": "Vendi score",
    "nearest": "nearest other, distance",
    "duplicates": "with a duplicate, share",
    "copies": "exact, near-exact copies",
    "nearer_to_training": "nearer to a used image",
    "memorised_excess": "memorised beyond chance",
}
_LOW = {"frechet_distance", "kernel_distance", "duplicates", "copies"}
_AS_REAL = {"nearest"}
_SHORT = ("precision", "recall", "frechet_distance", "vendi", "duplicates")  # on one page


@dataclass(frozen=True)
class QualityRow:
    """A row of the table: question, figure, what is better, generated images, real ones or what is expected."""

    question: str
    figure: str
    better: str
    generated: str
    real: str


def quality_rows(found: RunSummary) -> list[QualityRow]:
    """How good, how diverse, how private; none where quality was not measured."""
    quality = found.quality
    if quality is None:
        return []
    rows = [_row(GOOD, each) for each in quality.fidelity] + [_row(DIVERSE, each) for each in quality.diversity]
    return rows + list(_private(found))


def _row(question: str, each: BesideReal) -> QualityRow:
    better = "low" if each.figure in _LOW else "as real" if each.figure in _AS_REAL else "high"
    return QualityRow(question, NAMES[each.figure], better, *(interval(of, "z.3g") for of in (each.generated, each.real)))


def _private(found: RunSummary) -> Iterator[QualityRow]:
    """Copies, and leakage where images not used are known, beside what is expected without leakage."""
    share = found.memorisation.shares.get("copies") if found.memorisation else None
    if share:
        ends = "" if share.high is None else f" [{share.low:.3g}, {share.high:.3g}]"
        yield QualityRow(PRIVATE, NAMES["copies"], "low", f"{share.value:.3g}{ends}", "0 expected")
    for row in found.leakage.figures:
        if row.figure in NAMES and row.before:
            expected = f"{number(row.expected, 'z.3g')} expected"
            yield QualityRow(PRIVATE, NAMES[row.figure], "", interval(row.before, "z.3g"), expected)


def quality_lines(found: RunSummary) -> Iterator[str]:
    """The block with its heading, for a terminal; nothing where quality was not measured."""
    rows = quality_rows(found)
    if found.quality is None or not rows:
        return
    yield ""
    yield TITLE
    first = {each.question: each for each in reversed(rows)}  # of each question
    cells = [
        [each.question if each is first[each.question] else "", each.figure, each.better, each.generated, each.real]
        for each in rows
    ]
    yield from (f"  {line}" for line in table(["", "", "better", "generated", "real images"], cells).splitlines())
    yield from (f"  {line}" for line in quality_sentences(found.quality))


def quality_sentences(found: QualitySummary) -> Iterator[str]:
    """What must be known of the table."""
    if found.suspicious:
        yield "WARNING: generated images lie nearer to real ones than real images of other patients do, as copies would."
    yield _drawn(found)
    if found.reason:
        yield f"Fidelity was not measured: {found.reason}."
    if found.repeated is not None:
        yield f"{_repeated(found)} Heavily changed repeats escape."
    if not found.held_out:
        yield "Copies of real images look best of all: read quality and privacy together."
    if not found.groups_known:
        yield "Patients are unknown (--groups): near-duplicates stand in for them, so real images may seem to reach too much."


def short_quality(found: QualitySummary | None) -> Iterator[str]:
    """Two sentences for one page; nothing where quality was not measured."""
    if found is None:
        return
    figures = [each for each in (*found.fidelity, *found.diversity) if each.figure in _SHORT]
    told = "; ".join(
        f"{NAMES[each.figure]} {interval(each.generated, 'z.3g')} (real images {interval(each.real, 'z.3g')})" for each in figures
    )
    yield ""
    yield f"{TITLE}: {told}."
    if found.reason:
        yield f"Fidelity was not measured: {found.reason}."
    if found.repeated is not None:
        yield _repeated(found)


def _drawn(found: QualitySummary) -> str:
    fidelity = f"fidelity compares {many(found.fidelity[0].images, 'image')} of either side at a time" if found.fidelity else ""
    diversity = f"diversity is that of {many(found.diversity[0].images, 'image')}" if found.diversity else ""
    drawn = f"Drawn: {many(found.generated, 'generated image')} and {many(found.real, 'real one')}"
    parts = "; ".join(filter(None, (drawn, fidelity, diversity)))
    reference = "images known not to be used" if found.held_out else "one half of the real patients, in turn"
    beside = f" Reference: {reference}; real images: other patients, what can be reached." if found.fidelity else ""
    return f"{parts}.{beside} Figures of other numbers of images do not compare."


def _repeated(found: QualitySummary) -> str:
    of, groups = many(found.generated, "generated image"), "" if found.groups is None else f", in {many(found.groups, 'group')}"
    rule = f"near-duplicates agree on {found.threshold:.0f} points or more"
    if not found.repeated:
        return f"None of {of} was found to repeat another one ({rule})."
    return f"{found.repeated:,} of {of} {'repeats' if found.repeated == 1 else 'repeat'} another one{groups} ({rule})."
