"""All tables of a database, to be compared with those of another."""

import pyarrow as pa

from query.database.store import Store

TABLES = "SELECT table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' ORDER BY table_name"


def tables(store: Store, run: int) -> dict[str, pa.Table]:
    """Table -> the rows of a run, ordered; without the number of the run and when it was made."""
    found = {}
    for (name,) in (row.values() for row in store.sql(TABLES).to_pylist()):
        if name == "schema_version":
            continue
        without = "run_id, created" if name == "runs" else "run_id"
        query = f'SELECT * EXCLUDE ({without}) FROM "{name}" WHERE run_id = $run ORDER BY ALL'
        found[name] = store.sql(query, {"run": run})
    return found
