"""SQL from people: on the read-only copy, one SELECT, with limits of rows and time."""

import time
from collections.abc import Mapping
from typing import Any

from query.service.models import Analyses, AnalysisInfo, Column, Table
from query.service.problems import Refused
from query.store import Store, plain

ROWS = 10_000
SECONDS = 10.0
BYTES = 20_000_000  # of an answer, as Arrow holds it
_EXACT = 2**53  # whole numbers above are not exact in JavaScript


def ask(store: Store, query: str, parameters: Mapping[str, Any] | None = None) -> Table:
    """The first 10,000 rows of a query.

    Raises:
        Refused: the answer is too large.
        StoreError: the query is wrong, not allowed, or took too long.
    """
    started = time.perf_counter()
    found, truncated = store.select(query, parameters, rows=ROWS, seconds=SECONDS)
    if found.nbytes > BYTES:
        megabytes = f"{found.nbytes / 1e6:.0f} MB, at most {BYTES / 1e6:.0f} are sent"
        raise Refused(400, f"the answer holds {megabytes}; ask for fewer columns")
    columns = [Column(name=field.name, type=str(field.type)) for field in found.schema]
    rows = [list(row) for row in zip(*(map(_value, column.to_pylist()) for column in found.columns), strict=True)]
    return Table(columns=columns, rows=rows, truncated=truncated, seconds=time.perf_counter() - started)


def analyses() -> Analyses:
    """The named analyses."""
    found = Store.analyses().values()
    return Analyses(analyses=[AnalysisInfo(name=a.name, question=a.question, parameters=dict(a.parameters)) for a in found])


def analyse(store: Store, name: str, parameters: Mapping[str, Any]) -> Table:
    """The result of a named analysis, with the limits of `ask`.

    Raises:
        StoreError: as of `Store.analyse`.
        Refused: there is no such analysis, or the answer is too large.
    """
    if name not in Store.analyses():
        raise Refused(404, f"there is no analysis {name!r}; there are {', '.join(Store.analyses())}")
    sql, values = store.prepared(name, parameters)
    return ask(store, sql, values)


def _value(value: Any) -> Any:
    """As JSON can hold it and a browser can read it."""
    made = plain(value)
    return _exact(made) if isinstance(made, int | list | dict) else made


def _exact(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_exact(item) for item in value]
    return str(value) if isinstance(value, int) and abs(value) > _EXACT else value

