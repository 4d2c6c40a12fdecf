"""Runs for tests: two collections compared and recorded."""

from collections.abc import Mapping

from indexer.collection import Collection
from query.comparison.comparison import compare
from query.comparison.search import K
from query.database.record import Results, record
from query.database.store import Store
from query.inputs.groups import groups_by_row, groups_from_table
from query.inputs.labels import labels_by_row
from query.inputs.sides import Sides, sides_of
from query.leakage.decision import decide_release


def add_run(
    store: Store,
    sides: Sides | tuple[Collection, Collection],
    labels: Mapping[str, bool] | None = None,
    groups: Mapping[str, str] | None = None,
    k: int = K,
) -> int:
    """Compare real with generated images, and record that; the number of the run."""
    compared = sides if isinstance(sides, Sides) else sides_of(*sides)
    names = compared.real.names
    known = labels_by_row(names, labels or {}), groups_by_row(groups_from_table(groups or {}), compared.real)
    comparison = compare(compared, k=k)
    return record(store, Results(comparison, *known, release=decide_release(comparison, *known)))
