"""scripts/bench/recording.py records the same rows in both ways, and tells their sizes."""

from pathlib import Path

import pyarrow as pa
import pytest

from query.database.store import Store
from tests.helpers import loading


@pytest.mark.slow
def test_both_ways_hold_the_same_rows(tmp_path: Path) -> None:
    held: list[dict[str, pa.Table]] = []
    with loading.script("bench/recording") as bench:
        for above in (0, 300):
            folder = tmp_path / str(above)
            folder.mkdir()
            figures = bench.measured(folder, 300, above)
            assert (figures["files"] > 1) == (above == 0)
            with Store.open(folder / "results.duckdb", read_only=True) as store:
                names = set(store.tables()) - {"runs", "parquet_files"}
                held.append({name: store.sql(f'SELECT * FROM "{name}" ORDER BY ALL') for name in names})
    assert held[0] == held[1]
    assert len(held[0]["neighbours"]) == 5 * 10 * (300 + 200)
