"""The API for the database: save runs in one DuckDB file, and ask it by SQL and named analyses."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from query.database.parquet import ABOVE
from query.database.store import Analysis, Store

if TYPE_CHECKING:
    from query.comparison.copies import Copies
    from query.comparison.matching import Matches
    from query.comparison.subsets import SubsetVotes
    from query.duplication.duplicates import Duplicates
    from query.membership.predict import Predictions
    from query.notebook import Run


class Database:
    """Runs in one DuckDB file. Use it with `with`.

    Args:
        path: of the file, made where it is missing; ``:memory:`` for none.
        read_only: open a file that is there, beside others who read or write it.
        parquet_above: with more generated images in a run, rows of each go to Parquet files in a folder beside the database.

    Raises:
        StoreError: it is no database of synthtrace, or somebody writes to it.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False, parquet_above: int = ABOVE) -> None:
        place = path if str(path) == ":memory:" else Path(path)
        self._store = Store.open(place, read_only=read_only, parquet_above=parquet_above)

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def save(
        self,
        run: "Run",
        predictions: "Predictions | None" = None,
        *,
        matches: "Matches | None" = None,
        copies: "Copies | None" = None,
        subsets: "SubsetVotes | None" = None,
    ) -> int:
        """Write a run, whole or not at all; its number.

        Args:
            run: of `query.compare`.
            predictions: of `Run.predict`; their labels are recorded too.
            matches: of `Run.match`.
            copies: of `Run.copies`.
            subsets: of `Run.attribute`.

        Raises:
            CollectionChanged: a file of the collections was changed meanwhile; nothing is written.
            StoreError: the database refuses.
        """
        from query.database.record import Results, record
        from query.leakage.decision import decide_release

        labels, groups = predictions.labels if predictions else {}, run.groups.named
        release = decide_release(run.comparison, labels, groups)
        results = Results(run.comparison, labels, groups, matches, predictions, release, copies, subsets=subsets)
        return record(self._store, results, command="compare")

    def save_duplicates(self, found: "Duplicates") -> int:
        """Write what `query.duplicates` found, whole or not at all; the number of the search, see analysis ``duplicates``.

        Raises:
            StoreError: the database refuses.
        """
        from query.database.record_duplicates import rows_of_duplicates

        return self._store.add_search(rows_of_duplicates(found))

    def sql(self, query: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """The result of a SELECT; nothing else is run, and no file is read.

        Raises:
            StoreError: it is something else, or DuckDB refuses it.
        """
        return self._store.sql(query, parameters or None)

    @staticmethod
    def analyses() -> dict[str, Analysis]:
        """Named analyses: name -> question, SQL, parameters with their defaults."""
        return Store.analyses()

    def analyse(self, name: str, **parameters: Any) -> pa.Table:
        """The result of a named analysis, for example ``nearest-source``; `docs/SQL.md` lists them.

        Raises:
            StoreError: there is none, or it lacks a parameter.
        """
        return self._store.analyse(name, **parameters)

    def with_patient_ids(self, table: pa.Table) -> pa.Table:
        """An answer with a column ``patient_id`` behind ``patient`` or ``group``: who hashed patients are, for your eyes.

        PatientID, SeriesInstanceUID or folder are read again from the image files, and stored nowhere; null beside what is no
        hash.

        Args:
            table: of `sql` or `analyse`.

        Raises:
            StoreError: the table has neither of these columns, or both.
            ImageError: a file is gone, or not what it was.
        """
        from query.database.patient_ids import with_patient_ids

        return with_patient_ids(self._store, table)
