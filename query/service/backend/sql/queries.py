"""Run SQL queries and named analyses, with limits of time, size and number."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from query.database.store import Store, StoreError, TookTooLong
from query.service.backend.sql import process
from query.service.errors import Refused
from query.service.schemas import Analyses, AnalysisInfo, Table

SECONDS = 10.0
_START = 5.0  # seconds more, to start and to convert, until the process is killed
_TOO_MUCH = "the query was stopped: it needs more memory or CPU time than allowed; ask for less"


def ask(store: Store, query: str) -> bytes:
    """The first 10,000 rows of one SELECT, a `Table` as JSON; arguments and limits as of `query.service.backend.sql.process`.

    Raises:
        TookTooLong: it was interrupted, or killed where DuckDB does not let itself be interrupted.
        StoreError: the query is wrong, not allowed, its answer too large, or it took too much memory.
    """
    # not the current folder, which -m would take modules from; one thread: each more would count as memory
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", process.__name__],
            input=request(store, query).encode(),
            capture_output=True,
            timeout=SECONDS + _START,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the service
        )
    except subprocess.TimeoutExpired as error:
        raise TookTooLong(f"stopped after {SECONDS:g} seconds; ask for less") from error
    if done.returncode == 0:
        return done.stdout
    reason = done.stdout.decode().strip()
    if done.returncode == process.LATE:
        raise TookTooLong(reason)
    raise StoreError(reason if done.returncode == process.REFUSED else _TOO_MUCH)


def request(store: Store, query: str) -> str:
    """What a process is given to answer, as JSON."""
    known = {"tables": [*store.known.tables], "functions": [*store.known.functions], "refused": store.known.refused}
    asked = {"path": store.path, "folder": str(store.folder), "query": query, "seconds": SECONDS, "known": known}
    return json.dumps(asked)


def analyses() -> Analyses:
    """The named analyses."""
    found = Store.analyses().values()
    return Analyses(analyses=[AnalysisInfo(name=a.name, question=a.question, parameters=dict(a.parameters)) for a in found])


def analyse(store: Store, name: str, parameters: Mapping[str, Any]) -> Table:
    """The result of a named analysis, its first 10,000 rows.

    Raises:
        TookTooLong: it was interrupted.
        StoreError: a parameter, the run or the view is unknown.
        Refused: there is no such analysis.
    """
    if name not in Store.analyses():
        raise Refused(404, f"there is no analysis {name!r}; there are {', '.join(Store.analyses())}")
    sql, values = store.prepared(name, parameters)
    return Table(**process.answer(store, sql, values, SECONDS))
