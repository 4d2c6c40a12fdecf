"""Labels of blinded readers as text, and how far they agree."""

from query.database.readings import Agreement, Readings
from query.inputs.reviews import ReviewLabel
from query.report.text.numbers import UNDEFINED, interval
from query.text import many, name, table

NO_READERS = "No pair of this run was read blinded: synthtrace serve --blinded."
_WHAT = "1 is full agreement, 0 is that of chance; 95% intervals by patients"


def readers_text(found: Readings) -> str:
    """Who gave which labels, and the agreement."""
    if not found.readers:
        return NO_READERS
    rows = [[reader, sum(labels.values()), *labels.values()] for reader, labels in found.readers.items()]
    head = f"{many(len(found.pairs), 'pair')} of {many(found.patients, 'patient')} (groups), read blinded in run {found.run}"
    parts = [head, table(["reader", "labels", *ReviewLabel], rows), *agreement_lines(found)]
    return "\n".join(parts)


def agreement_lines(found: Readings) -> list[str]:
    """The agreement, a line for each coefficient."""
    if not found.agreements:
        return ["Agreement takes two readers or more."]
    return [f"Agreement ({_WHAT}):", *(f"  {_line(each)}" for each in found.agreements)]


def _line(each: Agreement) -> str:
    whose = " and ".join(map(name, each.readers)) if len(each.readers) == 2 else f"all {len(each.readers)} readers"
    why = (
        "" if each.estimate.known else f" ({'all labels are the same' if each.pairs else 'no pair was labelled by all of them'})"
    )
    return f"{each.coefficient} of {whose}: {interval(each.estimate, none=UNDEFINED)}{why}, on {many(each.pairs, 'pair')}"
