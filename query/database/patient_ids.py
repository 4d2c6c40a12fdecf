"""Who hashed patients are: read again from the image files for who asks on purpose. Nothing of it is stored or logged."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import pyarrow as pa

from indexer.salt import is_hashed
from query.database.pictures import RunPictures
from query.database.store import Store, StoreError
from query.inputs.groups import folder_of

HASHED = ("patient", "group")  # columns in which patients stand
COLUMN = "patient_id"


def with_patient_ids(store: Store, table: pa.Table) -> pa.Table:
    """The table with a column ``patient_id`` behind its column ``patient`` or ``group``.

    It holds what was hashed: PatientID, SeriesInstanceUID or folder; null beside what is no hash. Where patients share a file,
    they were one to the run: all of them stand there, separated by commas.

    Args:
        store: whose tables the rows came from; every file of these patients is read again.
        table: the answer to a query.

    Raises:
        StoreError: the table has neither of these columns, or both.
        ImageError: a file is gone, or not what it was.
    """
    places = [at for at, name in enumerate(table.column_names) if name in HASHED]
    if len(places) != 1:
        raise StoreError(f"patient ids go beside one column called {' or '.join(HASHED)}; the answer has {len(places)} of them")
    values = table.column(places[0]).to_pylist()
    known = _identities(store, {value for value in values if isinstance(value, str) and is_hashed(value)})
    return table.add_column(places[0] + 1, COLUMN, [pa.array([known.get(value) for value in values], pa.string())])


def _identities(store: Store, hashes: Iterable[str]) -> Mapping[str, str | None]:
    """Hashed value -> what was hashed, by the latest run that has it."""
    query = """SELECT run_id AS run, "group" AS hashed, min(image_id) AS image, min(name) AS name FROM images
        WHERE "group" IN (SELECT unnest(CAST($hashes AS VARCHAR[])))
        GROUP BY run_id, path, "group"
        QUALIFY run_id = max(run_id) OVER (PARTITION BY "group")
        ORDER BY image"""
    found: dict[str, set[str]] = defaultdict(set)
    pictures: dict[int, RunPictures] = {}
    for row in store.sql(query, {"hashes": sorted(hashes)}).to_pylist():
        if row["hashed"].startswith("folder "):
            found[row["hashed"]].add(folder_of(row["name"]))
            continue
        run = row["run"]
        if run not in pictures:
            pictures[run] = RunPictures(store, run)
        found[row["hashed"]].add(pictures[run].patient(row["image"]).partition(":")[2])
    return {hashed: ", ".join(sorted(filter(None, names))) or None for hashed, names in found.items()}
