"""Summary of an audit as text, on one page of a terminal; and all of it: findings beside what chance would give, the limits."""

from collections.abc import Iterator
from pathlib import Path

from query.comparison.combined import COMBINED
from query.report.audit_summary import AuditSummary
from query.report.distributions import NearestDistances, ViewSummary
from query.report.text.copies import around_copies, copies_sentences
from query.report.text.evaluation import patient_lines, ranked
from query.report.text.lines import in_columns, wrapped
from query.report.text.memorisation import memorisation_sentences
from query.report.text.numbers import UNDEFINED, interval, share
from query.report.text.predictions import answer_lines, calibration, predictions_lines
from query.report.text.quality import quality_lines, short_quality
from query.report.text.sentences import accuracy_sentence, beyond_filter_sentence, release_sentence
from query.report.text.units import distance_text, shortened
from query.text import array_reading, left_out, many

_NAME, _COLUMN = 23, 9  # characters of a name, and of a distance, in tables
_PAIRS, _COPIED = 5, 3  # lines of each table
_SHORT = 3  # closest pairs on one page
LINES = 40  # of one page
_USED = 5  # patients called used that are listed, and images of them
_FEW = 10  # labelled images below which an interval from resampling deceives


def summary(audit: AuditSummary, out: Path, database: Path, lines: int = LINES) -> str:
    """The short of an audit, on one page: the answer, then what it stands on as far as there is room.

    Args:
        out: folder of the report and of the tables.
        database: file of the run.
        lines: of at most 100 columns. Warnings, the answer, the limits and the files are never left out.
    """
    kept = {
        "answer": [*_answer(audit), *_sides(audit), *_threshold(audit)],
        "accuracy": _short_accuracy(audit),
        "quality": short_quality(audit.run.quality),
        "copies": [*_short_matching(audit), *memorisation_sentences(audit.run.memorisation)],
        "distances": _table(audit),
        "pairs": _pairs(audit, _SHORT),
        "end": ["", *_short_limits(audit), *_short_files(out, database)],
    }
    texts = {name: wrapped(part) for name, part in kept.items()}
    for least in ("pairs", "distances", "quality", "copies", "accuracy"):
        if sum(text.count("\n") for text in texts.values()) > lines:
            texts[least] = ""
    return "".join(texts.values())


def details(audit: AuditSummary, out: Path, database: Path) -> str:
    """All of an audit, 60 to 90 lines of 100 columns, the more the more is known and must be warned of.

    Args:
        out, database: as of `summary`.
    """
    parts = [_compared(audit), _views(audit), _distances(audit), _pairs(audit), _copied(audit), _agreement(audit)]
    parts += [_matched(audit), _threshold(audit), _labels(audit), _decisions(audit), _evaluation(audit)]
    parts += [quality_lines(audit.run)]
    parts += [_limits(audit), _files(out, database)]
    return wrapped(line for part in parts for line in part)


def caveats(audit: AuditSummary) -> list[str]:
    """What keeps these numbers from being a decision, one sentence each."""
    generated = audit.run.sides["generated"].images
    return [
        calibration((method.facts, method.calibrated) for method in audit.predictions.methods),
        f"The nearest of {generated:,} is nearer by chance than that of fewer: distances do not carry over.",
        "A small distance supports that an image was used; a large one does not clear an image.",
        "Evidence is of a patient; it does not say which images of the patient were used.",
        'Neither "undecided" nor "no trace found" means not used.',
        '"No evidence found" is not "safe to release".',
    ]


def decision_lines(audit: AuditSummary) -> list[str]:
    """What methods predict, without indent."""
    groups = "" if audit.labelled else audit.groups.note  # where labels are told of, so are groups
    return list(predictions_lines(audit.predictions, groups, shown=_USED))


def evaluation_lines(audit: AuditSummary) -> list[str]:
    """How well methods predict, without indent; none where that is not known."""
    if audit.evaluation is None:
        return []
    return [*ranked(audit.evaluation.methods).splitlines(), *patient_lines(audit.evaluation.methods)]


def _compared(audit: AuditSummary) -> Iterator[str]:
    yield from _answer(audit)
    yield from _sides(audit)
    for role in audit.run.sides:
        yield from map(array_reading, audit.arrays[role])


def _answer(audit: AuditSummary) -> Iterator[str]:
    """Warnings, copies, the set, patients, and how many generated images to withhold."""
    before, after = around_copies(audit.run.warnings)
    yield from [*before, *copies_sentences(audit.run.copies), *after]
    if audit.pairs.shared.same_files:
        yield "WARNING: real and generated images are THE SAME FILES; every distance below is that of an image to itself."
    yield from answer_lines(audit.predictions)
    yield release_sentence(audit.run)
    if beyond := beyond_filter_sentence(audit.run):
        yield beyond


def _sides(audit: AuditSummary) -> Iterator[str]:
    """What was compared."""
    for role, side in audit.run.sides.items():
        failed = f", {many(side.failed, 'file')} unreadable (csv/failures.csv)" if side.failed else ""
        ignored = f", {left_out(audit.left_out[role])}" if audit.left_out[role] else ""
        patients = f" of {many(side.patients, 'patient')}" if side.patients else ""
        yield f"{many(side.images, f'{role} image')}{patients}{failed}{ignored}: {side.source}"
    if audit.run.run.mirror:
        yield "Flipped real images were compared too; the nearer of both counts."


def _views(audit: AuditSummary) -> Iterator[str]:
    for view in audit.run.views:
        if view.note and view.view != COMBINED:
            yield f"View {view.view}: {view.note}."
    blank = [(view.view, view.blank) for view in audit.run.views if view.blank and any(view.blank.values())]
    if blank:
        counts = "; ".join(f"{view} {count['generated']:,} generated, {count['real']:,} real" for view, count in blank)
        yield f"Left out, because they are blank in a view: {counts}."


def _distances(audit: AuditSummary) -> Iterator[str]:
    yield from _table(audit)
    yield from memorisation_sentences(audit.run.memorisation)


def _table(audit: AuditSummary) -> Iterator[str]:
    """One line for each view: smallest and median distance to the nearest; smaller is nearer."""
    yield ""
    yield f"{'Distance to the nearest':<24}{'real to generated':^26}{'generated to real':^26}{'all pairs':>14}"
    yield f"{'':<24}{'smallest':>12}{'median':>12}  {'smallest':>12}{'median':>12}  {'median':>12}"
    for view in audit.run.views:
        about = "" if view.all_pairs_median_exact else "about "
        every = f"{about}{distance_text(view.view, view.all_pairs_median)}"
        yield f"  {view.view:<22}{_nearest(view, view.real)}  {_nearest(view, view.generated)}  {every:>12}"


def _nearest(view: ViewSummary, nearest: NearestDistances) -> str:
    return _distance(view, nearest.smallest) + _distance(view, nearest.median)


def _distance(view: ViewSummary, value: float | None) -> str:
    return f"{distance_text(view.view, value):>12}"


def _pairs(audit: AuditSummary, shown: int = _PAIRS) -> Iterator[str]:
    pairs = audit.pairs.closest_pairs[:shown]
    if not pairs:
        return
    yield ""
    views = "".join(f"{view:>{_COLUMN}}" for view in pairs[0].distances)
    yield f"{'Closest pairs, each real image once':<{2 * _NAME + 8}}{views}"
    for pair in pairs:
        arrow = "<~" if pair.mirrored else "<-"  # of the flipped real image
        names = f"  {shortened(pair.real, _NAME):<{_NAME}} {arrow} {shortened(pair.generated, _NAME):<{_NAME}}  "
        yield names + "".join(f"{distance_text(view, distance):>{_COLUMN}}" for view, distance in pair.distances.items())


def _copied(audit: AuditSummary) -> Iterator[str]:
    copied = audit.pairs.most_copied
    if not copied.images:
        return
    yield ""
    by_chance = f"{copied.by_chance:,.1f}"
    yield f"Real images nearest to the most generated ones by view {COMBINED} (did none have a source, {by_chance} each"
    yield "  on average, and some many times that: the top of this list is no proof)"
    for image in copied.images[:_COPIED]:
        count, nearest = many(image.generated_images, "generated image"), distance_text(COMBINED, image.nearest_distance)
        membership = "" if image.membership == "unlabelled" else f", {image.membership}"
        yield f"  {shortened(image.real, 40):<40}  {count}, the nearest at {nearest}{membership}"


def _agreement(audit: AuditSummary) -> Iterator[str]:
    agreement = audit.pairs.agreement
    if not agreement.pairs:
        return
    yield ""
    chance = f"chance {share(agreement.one_in)}; in brackets: keeping views' favourites"
    yield f"Same nearest real image, of {agreement.images:,} generated ({chance})"
    shares = [f"{' = '.join(each.views)} {share(each.share)} ({share(each.by_chance)})" for each in agreement.pairs]
    yield from (f"    {line}" for line in in_columns(shares))


def _matched(audit: AuditSummary) -> Iterator[str]:
    matching = audit.matching
    if matching is None:
        return
    looked = f"{matching.generated_images:,} of {many(matching.of, 'generated image')}"
    yield ""
    yield f"Geometric matching ({matching.budget}): {looked}, {many(matching.pairs, 'pair')}"
    if matching.threshold is not None:
        above = f"{many(matching.generated_above, 'generated image')} and {many(matching.real_above, 'real image')}"
        yield f"  {above} are above the threshold of {matching.threshold:.2f}."
        yield "  The value counts matched points that agree on one position, over what is usual."
    yield f"  {matching.note}"
    if matching.failed:
        yield f"  {many(len(matching.failed), 'image')} could not be read again: {matching.failed[0]}"


def _short_matching(audit: AuditSummary) -> Iterator[str]:
    matching = audit.matching
    if matching is None or matching.threshold is None:
        return
    above = f"{many(matching.generated_above, 'generated image')} and {many(matching.real_above, 'real image')}"
    level = (
        "not calibrated by patients" if matching.level is None else f"level {matching.level:.2g} for images that are no copies"
    )
    yield ""
    yield f"Matched point by point, {above} have a pair above the threshold of {matching.threshold:.2f} ({level})."


def _short_accuracy(audit: AuditSummary) -> Iterator[str]:
    known = audit.run.known
    if audit.labelled:
        yield f"Labels: {known.used:,} used, {known.not_used:,} not used, {known.unlabelled:,} without. {audit.groups.note}"
    yield accuracy_sentence(audit.run)


def _threshold(audit: AuditSummary) -> Iterator[str]:
    count = audit.pairs.threshold
    if count is None:
        return
    sides = audit.run.sides
    generated = f"{count.generated_images:,} of {sides['generated'].images:,}"
    real = f"{count.real_images:,} of {sides['real'].images:,}"
    yield ""
    yield f"Within {count.bits} bits of phash (your threshold, NOT CALIBRATED)"
    yield f"  {generated} generated images have a real one; {real} real images have a generated one."


def _labels(audit: AuditSummary) -> Iterator[str]:
    if not audit.labelled:
        return
    known = audit.run.known
    yield ""
    numbers = f"{known.used:,} used, {known.not_used:,} not used, {known.unlabelled:,} without"
    yield f"Labels: {numbers}. {audit.groups.note}"
    if not (known.used and known.not_used):
        return
    yield "  AUROC of the distance to the nearest generated image [95% by groups]; 0.50 tells nothing"
    areas = [f"{view.view} {interval(view.auroc, none=UNDEFINED)}" for view in audit.run.views]
    yield from (f"    {line}" for line in in_columns(areas))
    if min(known.used, known.not_used) < _FEW:
        yield f"  With fewer than {_FEW} labelled images of a kind these numbers say next to nothing."


def _decisions(audit: AuditSummary) -> Iterator[str]:
    first, *others = decision_lines(audit)
    yield ""
    yield f"Patients and images: {first}"
    yield from (f"  {line}" for line in others if line)


def _evaluation(audit: AuditSummary) -> Iterator[str]:
    if audit.evaluation is None:
        return
    yield ""
    yield "How well methods predict, on labelled images, each predicted without its label (more in evaluation/)"
    yield from (f"  {line}" for line in evaluation_lines(audit))


def _limits(audit: AuditSummary) -> Iterator[str]:
    yield ""
    yield "What this does not say"
    yield from (f"  - {caveat}" for caveat in caveats(audit))


def _short_limits(audit: AuditSummary) -> Iterator[str]:
    first, *_, last = caveats(audit)
    yield f"{first} {last}"


def _short_files(out: Path, database: Path) -> Iterator[str]:
    yield f"Read report.html in {out}; details.txt there has all of this and more (--details prints it)."
    yield f"Everything: synthtrace sql --db {database}"


def _files(out: Path, database: Path) -> Iterator[str]:
    yield ""
    yield f"Read report.html in {out}; tables are in csv/, pictures in plots/ and pairs/,"
    yield f"  everything in: synthtrace sql --db {database}"
