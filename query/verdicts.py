"""What methods said of the real images, as text for a person."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from query.command.text import name, table

if TYPE_CHECKING:
    from query.decide import Decided
    from query.membership.judge import Judgement

SHOWN = 20  # images called used that are listed


def decided_text(decided: "Decided", groups: str) -> str:
    """The primary method with its answers, the others in one table, and what none of it means."""
    from query.summary import wrapped

    return wrapped(decided_lines(decided, groups)).rstrip("\n")


def decided_lines(decided: "Decided", groups: str) -> Iterator[str]:
    """The same as lines of any length."""
    if not decided.judgements:
        yield "No method can judge these images with what is known and indexed."
        return
    facts = decided.judgements[0].facts
    known = facts["used"] + facts["not_used"]
    yield (
        f"{len(decided.names) - known:,} real images in question, {known:,} labelled ({facts['used']:,} used, "
        f"{facts['not_used']:,} not used), before {facts['generated']:,} generated ones. {groups}"
    )
    primary = [each for each in decided.judgements if each.facts["primary"]]
    others = [each for each in decided.judgements if not each.facts["primary"]]
    for each in primary:
        yield ""
        yield from _primary(each, decided.names)
    if others:
        yield ""
        yield "Other methods, exploratory: none of them was named beforehand" + (", none decides" if primary else "")
        yield from _others(others)
    yield ""
    yield 'Undecided does not mean not used, and "no evidence found" is not "safe to release".'


def _primary(each: "Judgement", names: Sequence[str]) -> Iterator[str]:
    facts, questioned = each.facts, [role == "questioned" for role in each.role]
    yield f"Primary method {each.method}. {each.said}"
    if "reference" not in facts:
        yield "  Uncalibrated: without images known not to be used there is no p-value, and no image is called used."
    else:
        yield from (f"  {line}" for line in _power(facts))
    said = [str(verdict) for verdict, asked in zip(each.verdict, questioned, strict=True) if asked]
    counts = ", ".join(f"{said.count(answer):,} {answer}" for answer in ("used", "not used", "undecided"))
    yield f"  Of {len(said):,} images in question: {counts}; a forced yes or no says used of {_yes(each, True):,}."
    prior = facts["prior"]
    yield (
        "  P(used): not available without labelled images of both kinds."
        if prior is None
        else f"  P(used) holds for a share of {prior:g} used images among those in question."
    )
    yield from _called(each, names)


def _power(facts: Any) -> Iterator[str]:
    """What so many reference images can show at all."""
    yield (
        f"Reference: {facts['reference']:,} images known not to be used; the smallest p-value they can give is "
        f"{facts['smallest_p']:.3g}. Called used: q-value up to {facts['level']:g}."
    )
    least, tests = facts["least_rejected"], facts["tests"]
    if least > tests:
        yield f"WARNING: with so few, none of {tests:,} images can ever be called used; add reference images."
    elif least > 1:
        yield f"With so few, none can be called used unless {least:,} of {tests:,} stand out together."


def _called(each: "Judgement", names: Sequence[str]) -> Iterator[str]:
    """The images called used, the nearest first."""
    nearest = np.argsort(-each.value, kind="stable")
    rows = [row for row in nearest if each.verdict[row] == "used" and each.role[row] == "questioned"]
    if rows:
        columns = (each.value, each.p, each.q, each.probability)
        cells = [[name(names[row]), *(_number(column[row]) for column in columns)] for row in rows]
        lines = table(["called used", "value", "p", "q", "P(used)"], cells[:SHOWN]).splitlines()
        yield from (f"  {line}" for line in lines)
        if len(rows) > SHOWN:
            yield f"  and {len(rows) - SHOWN:,} more, in table decisions"


def _others(judgements: Sequence["Judgement"]) -> Iterator[str]:
    cells = [
        [
            each.method,
            f"{_yes(each, True):,}",
            f"{_yes(each, False):,}",
            _number(np.nanmin(each.p)) if np.isfinite(each.p).any() else "-",
            "yes" if each.calibrated else "NO",
        ]
        for each in judgements
    ]
    header = ["method", "says used", "says not", "smallest p", "calibrated"]
    yield from (f"  {line}" for line in table(header, cells).splitlines())


def _yes(each: "Judgement", answer: bool) -> int:
    """How many images in question get this forced answer."""
    return sum(said is answer for said, role in zip(each.used, each.role, strict=True) if role == "questioned")


def _number(value: float) -> str:
    return "-" if not np.isfinite(value) else f"{value:.3g}"
