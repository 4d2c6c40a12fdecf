"""Exact and near-exact copies as text: the first sentences of every result."""

from collections.abc import Sequence

from query.comparison.copies import NEAR
from query.comparison.orientation import APPLIED, TURNED
from query.report.copies import CopiesSummary, CopyCount
from query.report.statistics import GIVEN, LIKENESS, NOBODY
from query.text import many

_NONE = "No generated image is an exact or near-exact copy of a real one. Changed copies are not counted here."
_HIDDEN = "How many generated images are exact or near-exact copies of real ones is not shown: too few for that."
_OTHERS = {GIVEN: " of different patients", LIKENESS: " that are no near-duplicates", NOBODY: ""}


def around_copies(warnings: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is said before copies, and what after them: of turned images none are found; the rest concerns the answer alone."""
    first = [line for line in warnings if line.startswith((TURNED, APPLIED))]
    return first, [line for line in warnings if line not in first]


def copies_sentences(found: CopiesSummary | None) -> list[str]:
    """What was found, a sentence each; none where copies were not looked for."""
    if found is None:
        return []
    if None in (found.exact.generated, found.near.generated):
        return [_HIDDEN]
    others = _OTHERS[found.groups_from]
    lines = []
    if found.exact.generated:
        lines.append(f"{_copies(found.exact, 'exact')}: this is evidence by itself.")
    if found.near.generated:
        how = "" if found.threshold is None else f": pixels correlate at {found.threshold:.4f} or more"
        lines.append(
            f"{_copies(found.near, 'near-exact')}{how}, as no two real images{others} do; this is evidence by itself, too."
        )
    lines = lines or [_NONE]
    if found.largest is not None and found.largest >= NEAR:
        lines.append(
            f"Two real images{others} correlate at {found.largest:.4f} themselves, so only pairs from {found.threshold:.4f} on "
            "count as near-exact copies. Is one picture there twice?"
        )
    if found.failed:
        lines.append(f"{many(found.failed, 'image')} could not be read again; copies among these are not known.")
    return lines


def _copies(count: CopyCount, kind: str) -> str:
    """``12 generated images are exact copies of 3 real images (2 patients)``."""
    one, several = f"generated image is an {kind} copy", f"generated images are {kind} copies"
    one = one.replace("an near", "a near")
    real = "real images" if count.real is None else many(count.real, "real image")
    patients = f" ({many(count.patients, 'patient')})" if count.patients else ""
    return f"{many(count.generated, one, several)} of {real}{patients}"
