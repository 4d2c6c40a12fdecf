"""Comparing with a sharded collection says what comparing with one collection of the same images says, in every table."""

import importlib.util
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from indexer import index
from indexer.collection import Collection
from indexer.execution.executor import Executor
from indexer.execution.in_process import InProcess
from indexer.execution.on_ray import OnRay
from indexer.manifest import CollectionError
from indexer.sharded.build import Sharding, index_shards
from indexer.sharded.joined import Joined, open_joined
from query.cli.group import program
from query.comparison.comparison import compare
from query.inputs.sides import sides_of
from tests.helpers.loading import script
from tests.helpers.making import QUICK, flipped_settings, write_images

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
    """Everything that an audit records: comparison with flipped images, matches, predictions, copies, evaluation."""
    sides = sides_of(Collection(folder / "real"), generated, Collection(folder / "mirrored"))
    labels = {row: row % 2 == 0 for row in range(0, REALS, 2)} | dict.fromkeys(range(1, REALS, 2), False)
    with script("bench/sharded") as bench:
        vars(bench)["MATCHED"] = 8
        tables: Mapping[str, pa.Table] = bench.recorded(sides, labels, executor)
    return tables


def assert_equal(found: Mapping[str, pa.Table], expected: Mapping[str, pa.Table]) -> None:
    """Everywhere the same rows; what is a sum within 1e-6."""
    assert found.keys() == expected.keys()
    assert len(expected["matches"])
    assert len(expected["metrics"])
    with script("bench/sharded") as bench:
        apart = {name: bench.difference(name, table, found[name]) for name, table in expected.items()}
    assert max(apart.values()) < 1e-6, apart


@pytest.fixture(scope="module")
def whole(folder: Path) -> Mapping[str, pa.Table]:
    return recorded(folder, Collection(folder / "one"))


@pytest.mark.parametrize("executor", [None, InProcess()], ids=["streamed", "in pieces"])
def test_a_sharded_collection_gives_every_table_of_one_collection(
    folder: Path, whole: Mapping[str, pa.Table], executor: Executor | None
) -> None:
    sharded = open_joined(folder / "shards")
    assert isinstance(sharded, Joined)
    assert sharded.records is not None
    assert len(sharded.parts) == 6
    found = recorded(folder, sharded, executor)
    assert len(found["neighbours"]) > 1000
    assert_equal(found, whole)


def test_one_collection_in_pieces_is_the_same(
    folder: Path, whole: Mapping[str, pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("query.comparison.parts.ROWS", 7)
    assert_equal(recorded(folder, Collection(folder / "one"), InProcess()), whole)


@pytest.mark.slow
def test_on_ray_every_table_is_the_same(folder: Path, whole: Mapping[str, pa.Table]) -> None:
    if importlib.util.find_spec("ray") is None:  # not by importing it: its settings come first
        pytest.skip("Ray is not installed: synthtrace[distributed]")
    with OnRay() as ray:
        assert_equal(recorded(folder, open_joined(folder / "shards"), ray), whole)


def test_a_shard_that_is_another_by_now_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "shards", tmp_path / "shards")
    sides = sides_of(Collection(folder / "real"), open_joined(tmp_path / "shards"))
    shutil.rmtree(tmp_path / "shards" / "shard-00002")
    with pytest.raises(CollectionError, match="shard-00002"):
        compare(sides)
    shutil.copytree(folder / "shards" / "shard-00001", tmp_path / "shards" / "shard-00002")
    for executor in (None, InProcess()):
        with pytest.raises(CollectionError, match="shard-00002 is not the shard that its collection knows"):
            compare(sides, executor=executor)


def test_real_images_may_be_in_shards_too(folder: Path) -> None:
    one = open_joined(folder / "one")
    plain = compare(sides_of(one, one), k=3).views
    sharded = open_joined(folder / "shards")
    for view, found in compare(sides_of(sharded, sharded), k=3, executor=InProcess()).views.items():
        assert np.array_equal(found.real.rows, plain[view].real.rows)
        assert np.array_equal(found.generated.distances, plain[view].generated.distances)


def test_commands_take_a_collection_in_shards(folder: Path, tmp_path: Path) -> None:
    """They say the same of both."""
    real, answers = folder / "real", []
    for name in ("one", "shards"):
        generated, db = folder / name, tmp_path / f"{name}.duckdb"
        said = [
            told("lookup", folder / "reals" / "045.png", generated, "--mirror")["hits"],
            told("map", generated, real)["links"],
            told("compare", real, generated, "--db", db)["views"],
            told("predict", real, generated, "--db", db)["answer"],
            {**told("filter", real, generated, "--list", tmp_path / f"{name}.csv"), "failed": 1},
        ]
        answers.append(rounded(said))
    assert answers[0][0][0]["distance"] == 0
    assert answers[0] == answers[1]


def told(*arguments: object) -> Any:
    """What a command prints as JSON; some files could not be read."""
    result = CliRunner().invoke(program, [*map(str, arguments), "--json"])
    assert result.exit_code in (0, 1, 3), result.output
    return json.loads(result.stdout)


def rounded(value: Any) -> Any:
    """FAISS sums products in another order in another shard."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return round(value, 4) + 0.0 if isinstance(value, float) else value
