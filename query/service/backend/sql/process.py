"""Run one SQL query in a child process that can be killed.

DuckDB neither interrupts the making of a single huge value, like ``range(1000000000)``, nor counts it as its memory. So what
people ask does not run in the service: this module is the process. It reads a question as JSON from standard input, and writes
the table as JSON, or why there is none; it can write nothing else. It imports no more than it needs: it starts for each question.
"""

import json
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from query.database.statements import Known
from query.database.store import Store, StoreError, TookTooLong
from query.text import plain

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 10_000
BYTES = 20_000_000  # of an answer as JSON
MEMORY = 2_000_000_000  # bytes of this process; DuckDB itself may use half of it
REFUSED, LATE = 3, 4  # exit codes: standard output says why
SETTINGS = {"memory_limit": "1GB", "threads": "2"}
_EXACT = 2**53  # whole numbers above are not exact in JavaScript


def answer(store: Store, query: str, parameters: Mapping[str, Any] | None, seconds: float) -> dict[str, Any]:
    """The first 10,000 rows of a query, JSON-able: ``columns`` (name, type), ``rows``, ``truncated``, ``seconds``.

    Args:
        store: read-only.
        query: one statement that reads.
        parameters: values of ``$name``.
        seconds: after so long it is interrupted.

    Raises:
        TookTooLong: it was.
        StoreError: the query is wrong or not allowed, or gives a value that JSON cannot hold.
    """
    started = time.perf_counter()
    found, truncated = store.select(query, parameters, rows=ROWS, seconds=seconds)
    return _as_json(found, truncated, started)


def _as_json(found: "pa.Table", truncated: bool, started: float) -> dict[str, Any]:
    """See `answer`."""
    columns = [{"name": field.name, "type": str(field.type)} for field in found.schema]
    try:
        rows = [list(row) for row in zip(*(map(_value, column.to_pylist()) for column in found.columns), strict=True)]
    except (ValueError, OverflowError) as error:  # DuckDB knows days and months that Python does not
        raise StoreError(f"a value cannot be written as JSON ({error}); cast it to VARCHAR") from error
    return {"columns": columns, "rows": rows, "truncated": truncated, "seconds": time.perf_counter() - started}


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


def _limit(seconds: float) -> None:
    """The system ends this process where it takes too much, also when nobody watches it any more."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (int(4 * seconds) + 10,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold what patients are called


@contextmanager
def _closed_off(store: Store) -> Iterator[None]:
    """This process writes no byte into a file from here on, and inside opens none: whatever DuckDB may be talked into. Where a
    database has Parquet files, files can be opened, and DuckDB takes no others.

    Python may afterwards: for some values Arrow imports pandas, which takes longer than most questions.
    """
    store.select("SELECT now()", rows=1, seconds=1)  # what is imported late, and the time zone, are read now
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files if store.parquet_files else 0, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))


def _main() -> int:
    asked = json.load(sys.stdin)
    _limit(asked["seconds"])
    try:
        with Store.open(asked["path"], read_only=True, settings=SETTINGS, folder=Path(asked["folder"])) as store:
            known = asked["known"]  # of the same file, which never changes: it takes a while to find out
            store.known = Known(frozenset(known["tables"]), frozenset(known["functions"]), known["refused"])
            started = time.perf_counter()
            with _closed_off(store):
                found, truncated = store.select(asked["query"], rows=ROWS, seconds=asked["seconds"])
            text = json.dumps(_as_json(found, truncated, started), allow_nan=False)
        if len(text) > BYTES:
            raise StoreError(f"the answer holds {len(text) / 1e6:.0f} MB, at most {BYTES / 1e6:.0f} are sent; ask for less")
    except StoreError as error:
        sys.stdout.write(str(error))
        return LATE if isinstance(error, TookTooLong) else REFUSED
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
