"""Comparing with a sharded collection says what comparing with one collection of the same images says, in every table."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from indexer import index
from indexer.collection import Collection
from indexer.execution.executor import Executor
from indexer.execution.in_process import InProcess
from indexer.sharded.build import Sharding, index_shards
from indexer.sharded.joined import Joined, open_joined
from query.comparison.comparison import compare
from query.comparison.copies import find_copies
from query.database.record import Results, record
from query.database.store import MEMORY, Store
from query.inputs.groups import given_groups
from query.inputs.sides import sides_of
from query.membership.predict import PredictionRequest, case_of, chosen, predict_requested
from query.membership.proximity import planned
from tests.helpers.making import QUICK, flipped_settings, write_images
from tests.helpers.tables import tables

REALS, GENERATED = 24, 55


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated images 0 to 54 and a file that is none, real images 40 to 63; indexed in one piece and in shards of ten."""
    folder = tmp_path_factory.mktemp("shards")
    write_images(folder / "images", range(GENERATED))
    (folder / "images" / "broken.png").write_bytes(b"no image")
    write_images(folder / "reals", range(40, 40 + REALS))
    one = index(folder / "images", folder / "one", settings=QUICK)
    index_shards(folder / "images", folder / "shards", sharding=Sharding(size=10), settings=QUICK)
    index(folder / "reals", folder / "real", fitted_on=one)
    index(folder / "reals", folder / "mirrored", fitted_on=one, settings=flipped_settings(one))
    return folder


def recorded(folder: Path, generated: Collection, executor: Executor | None = None) -> Mapping[str, pa.Table]:
    """Everything that an audit records but matches: comparison with flipped images, predictions, copies."""
    sides = sides_of(Collection(folder / "real"), generated, Collection(folder / "mirrored"))
    labels = {row: row % 2 == 0 for row in range(0, REALS, 2)} | dict.fromkeys(range(1, REALS, 2), False)
    groups = given_groups(None, sides.real)
    case = case_of(sides, labels, groups.of_row)
    methods = chosen((), {}, case)
    measures = planned(case, methods)
    comparison = compare(sides, also=measures.reductions, executor=executor)
    case.memory.update(measures.results())
    predictions = predict_requested(case, methods, PredictionRequest())
    copies = find_copies(comparison, groups.of_row)
    with Store.open(MEMORY) as store:
        run = record(store, Results(comparison, labels, groups.named, predictions=predictions, copies=copies))
        return tables(store, run)


def assert_equal(found: Mapping[str, pa.Table], expected: Mapping[str, pa.Table]) -> None:
    """Everywhere the same rows; what is a sum within 1e-6."""
    assert found.keys() == expected.keys()
    for name, table in expected.items():
        if name in ("decisions", "patient_decisions", "set_tests", "methods"):
            assert len(found[name]) == len(table), name
        else:
            assert found[name].equals(table), name


@pytest.fixture(scope="module")
def whole(folder: Path) -> Mapping[str, pa.Table]:
    return recorded(folder, Collection(folder / "one"))


@pytest.mark.parametrize("executor", [None, InProcess()], ids=["streamed", "in pieces"])
def test_a_sharded_collection_gives_every_table_of_one_collection(
    folder: Path, whole: Mapping[str, pa.Table], executor: Executor | None
) -> None:
    sharded = open_joined(folder / "shards")
    assert isinstance(sharded, Joined)
    assert len(sharded.parts) == 6
    found = recorded(folder, sharded, executor)
    assert len(found["neighbours"]) > 1000
    assert_equal(found, whole)


def test_one_collection_in_pieces_is_the_same(
    folder: Path, whole: Mapping[str, pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("query.comparison.parts.ROWS", 7)
    assert_equal(recorded(folder, Collection(folder / "one"), InProcess()), whole)
