"""How many generated images copy a real one, as text."""

from query.comparison.memorisation import CONFIDENCE, Share
from query.report.memorisation import MemorisationSummary
from query.text import many


def memorisation_sentences(found: MemorisationSummary | None) -> list[str]:
    """What is known, a sentence each; none where nothing was measured."""
    if found is None:
        return []
    lines = [_counted(found.shares["copies"])] if "copies" in found.shares else []
    if found.matched:
        lines += [_called(found), *([_bounded(found.shares["matched"])] if "matched" in found.shares else [])]
    return lines


def _counted(share: Share) -> str:
    interval = "" if share.high is None else f" [{share.low:.1%}, {share.high:.1%}]"
    return f"Exact and near-exact copies are {share.value:.1%}{interval} of the generated images ({CONFIDENCE:.0%} interval)."


def _called(found: MemorisationSummary) -> str:
    """At a false discovery rate, and of how many."""
    if found.called is None:
        if not found.groups_known:
            return "Matching calls no image a copy at a false discovery rate: patients are unknown (--groups)."
        return "How many images matching calls copies is not shown: too few for that."
    which = many(found.generated, "generated image")
    copy = "copies" if found.called == 1 else "copy"
    matched = "" if found.matched == found.generated else f"; {found.matched:,} were matched, the others count as no copies"
    if found.called:
        return f"{found.called:,} of {which} {copy} a real image at a false discovery rate of {found.fdr:.0%}{matched}."
    note = f"None of {which} can be called a copy of a real one at a false discovery rate of {found.fdr:.0%}{matched}"
    if found.fewest is None or found.patients is None or found.fewest <= 1:
        return f"{note}."
    controls = many(found.patients, "patient")
    if found.generated is not None and found.fewest > found.generated:
        return f"{note}: with {controls} as controls none ever can."
    return f"{note}: with {controls} as controls, {found.fewest:,} must stand out from all of these before one can be called."


def _bounded(share: Share) -> str:
    """By matching, with a lower bound alone."""
    if not share.low:
        return (
            f"By matching, the share of generated images that copy a real one may be 0 (lower bound at {CONFIDENCE:.0%} "
            f"confidence; estimate {share.value:.1%})."
        )
    return (
        f"At least {share.low:.1%} of the images that this generator makes copy a real image shown here ({CONFIDENCE:.0%} "
        f"confidence; estimate {share.value:.1%}), if others are as like real images as a further patient's are."
    )
