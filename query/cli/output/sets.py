"""Output of `leakage` for several generated sets: the answer, then a table of figures side by side."""

from typing import TYPE_CHECKING

from query.comparison.combined import COMBINED
from query.leakage.set_figures import LEAKS_MORE
from query.leakage.sets_text import (
    basis,
    difference_cell,
    direction,
    expected,
    set_sentences,
    unit,
    value_cell,
)
from query.text import name, table

if TYPE_CHECKING:
    from query.leakage.sets import LeakageOfSets

_NOTE = (
    "The primary figure was named beforehand; the others describe and are not adjusted for their number. Differences have\n"
    "intervals of their own."
)


def sets_text(found: "LeakageOfSets") -> str:
    """The answer, the sets by their primary figure, and the figures of the combined view that say more or less leakage."""
    sets = [each.name for each in found.sets]
    ranked = table(
        ["set, least leakage first", f"{found.primary}, %"], [[name(each.of), value_cell(each)] for each in found.ranking]
    )
    of = [found.of(each) for each in sets]
    rows = [
        [figure, unit(figure), direction(figure), expected(figure), *map(value_cell, own), *map(difference_cell, own[1:])]
        for figure in LEAKS_MORE
        if figure in of[0] and any((own := [each[figure] for each in of])[i].value.known for i in range(len(of)))
    ]
    differences = [f"{name(each)} - {name(sets[0])}" for each in sets[1:]]
    figures = table([f"view {COMBINED}", "unit", "", "nothing leaks", *map(name, sets), *differences], rows)
    return "\n\n".join(["\n".join([*set_sentences(found), basis(found)]), ranked, figures, _NOTE])
