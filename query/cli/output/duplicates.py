"""Output of `duplicates` and `leaky-splits`: what was found, what chance gives, and the diversity of the set."""

from collections import Counter
from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from query.duplication.pairs import Kind
from query.text import many, name, number, table

if TYPE_CHECKING:
    from query.duplication.duplicates import Duplicates
    from query.duplication.leaky_splits import LeakySplits
    from query.evaluation.resampling import Estimate

_WIDTH = 120  # columns
SHOWN = 10  # groups, pairs, patients
_NONE = "That does not show that there is none: heavily changed copies escape."


def duplicates_text(found: "Duplicates") -> str:
    """A screen of text."""
    pool = found.pool
    kinds = Counter(pair.kind for group in found.groups for pair in group.pairs)
    lines = [
        f"{many(len(pool.rows), 'image')}: {found.repeated:,} repeat another one ({kinds[Kind.FILE]:,} the same file, "
        f"{kinds[Kind.PIXELS]:,} the same pixels, {kinds[Kind.NEAR]:,} near-duplicates), in {many(len(found.groups), 'group')}."
    ]
    if found.groups:
        sizes = ", ".join(f"{len(group):,}" for group in found.groups[:SHOWN])
        lines.append(f"Sizes of the largest groups: {sizes}. Each member matches the centre of its group itself.")
    else:
        lines.append(_NONE)
    if pool.grouped:
        between = found.between_patients
        within = sum(pair.same_patient is True for pair in found.pairs)
        lines.append(f"Pairs within a patient: {within:,}; between different patients: {len(between):,}.")
        for pair in between[:SHOWN]:
            ends = [f"{name(pool.names[row])} ({name(pool.patients[row])})" for row in (pair.first, pair.second)]
            lines.append(f"  {' and '.join(ends)}: {pair.note}")
    if found.blank:
        lines.append(f"{many(found.blank, 'blank image')} left out: there is nothing to recognise.")
    return "\n".join([*lines, "", fill(found.chance.note, _WIDTH), "", diversity_text(found)])


def diversity_text(found: "Duplicates") -> str:
    """A table of the figures, beside those of the set to compare with."""
    size = found.diversity[0].images
    beside = any(each.baseline is not None for each in found.diversity)
    header = ["figure", "view", f"all {len(found.pool.rows):,}", f"{size:,} images [95%]"] + ["real [95%]"] * beside
    rows = [
        [str(each.figure), each.view, _ends(each.whole), _estimate(each.estimate)] + [_estimate(each.baseline)] * beside
        for each in found.diversity
    ]
    return "\n".join(
        [
            "Diversity. vendi: effective number of different images; nearest: mean distance to the nearest other image;",
            f"duplicates: share of images that have one. All depend on how many images there are: compare sets at {size:,}.",
            "",
            table(header, rows),
        ]
    )


def leaks_text(found: "LeakySplits") -> str:
    """A screen of text."""
    pool = found.pool
    counts = Counter(pool.sets[pool.rows].tolist())
    kinds = Counter(pair.kind for pair in found.pairs)
    lines = [
        ", ".join(f"{name(split)}: {many(counts[split], 'image')}" for split in found.splits) + ".",
        f"{many(len(found.pairs), 'pair')} of duplicates in different splits: {kinds[Kind.FILE]:,} the same file, "
        f"{kinds[Kind.PIXELS]:,} the same pixels, {kinds[Kind.NEAR]:,} near-duplicates.",
    ]
    lines += [f"  {name(pool.where(p.first))} and {name(pool.where(p.second))}: {p.note}" for p in found.pairs[:SHOWN]]
    if not found.pairs:
        lines.append(_NONE)
    lines += (
        _patients(found) if pool.grouped else ["Patients are unknown: one may have different slices in two splits (--groups)."]
    )
    out_of = Counter(str(pool.sets[each.row]) for each in found.drop)
    parts = ", ".join(f"{count:,} of {counts[split]:,} from {name(split)}" for split, count in sorted(out_of.items()))
    lines.append(f"To drop: {many(len(found.drop), 'image')}{f' ({parts})' if parts else ''}.")
    return "\n".join([*lines, "", fill(found.chance.note, _WIDTH)])


def _patients(found: "LeakySplits") -> list[str]:
    certain = [patient for patient in found.patients if patient.certain]
    probable = [patient for patient in found.patients if not patient.certain]
    lines = [f"{many(len(certain), 'patient')} by name in two splits{_some([name(p.first) for p in certain])}"]
    lines.append(f"{many(len(probable), 'pair')} of patients by different names that have near-duplicates: probably the same.")
    for p in probable[:SHOWN]:
        ends = f"{name(p.first)} ({name(p.first_split)}) and {name(p.second)} ({name(p.second_split)})"
        lines.append(f"  {ends}: {many(p.pairs, 'pair')} of images")
    return lines


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f": {', '.join(names[:SHOWN])}{more}." if names else "."


def _ends(*values: float) -> str:
    return ", ".join("" if np.isnan(value) else number(value) for value in values)


def _estimate(estimate: "Estimate | None") -> str:
    if estimate is None or not estimate.known:
        return ""
    return _ends(estimate.value) + (f" [{_ends(estimate.low, estimate.high)}]" if estimate.has_interval else "")
