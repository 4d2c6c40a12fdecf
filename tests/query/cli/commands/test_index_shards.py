"""Commands that make, describe, check and fetch a collection in shards."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from indexer.sharded.collection import ShardedCollection
from query.cli.group import program
from tests.helpers.making import write_images


def run(*arguments: object) -> Result:
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_images(folder / "in", range(24))
    result = run(
        "index", folder / "in", "--out", folder / "c", "--shards", 8, "--view", "phash", "--store", f"file://{folder}/store"
    )
    assert result.exit_code == 0, result.stderr
    assert "indexing shards: 24 of 24" in result.stderr
    assert f"collection {folder}/c in 3 shards" in result.stdout
    return folder


def test_info_and_check_know_it(made: Path, tmp_path: Path) -> None:
    info = json.loads(run("info", made / "c", "--json").stdout)
    assert (info["images"], info["size"], info["fingerprint"]) == (24, 8, ShardedCollection(made / "c").manifest.fingerprint)
    assert [shard["name"] for shard in info["shards"]] == [f"shard-{number:05d}" for number in range(3)]
    assert sum(shard["images"] for shard in info["shards"]) == 24
    shutil.copytree(made / "c", tmp_path / "c")
    assert run("check", tmp_path / "c").stdout == f"{tmp_path}/c: whole\n"
    shutil.rmtree(tmp_path / "c" / "shard-00001")
    result = run("check", tmp_path / "c")
    assert result.exit_code == 1
    assert f"{tmp_path}/c/shard-00001/manifest.json: No such file or directory; bring it back" in result.stdout


def test_fetch_brings_it_back(made: Path, tmp_path: Path) -> None:
    result = run("fetch", f"file://{made}/store", "--out", tmp_path / "back", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["fingerprint"] == ShardedCollection(made / "c").manifest.fingerprint
    assert run("check", tmp_path / "back").exit_code == 0


def test_files_and_shards_that_failed_end_with_code_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "in", range(12))
    (tmp_path / "in" / "x.png").write_bytes(b"no image")
    arguments = ("index", tmp_path / "in", "--out", tmp_path / "c", "--shards", 6, "--view", "phash")
    result = run(*arguments)
    assert result.exit_code == 3
    assert "cannot read" in result.stderr
    (tmp_path / "in" / "x.png").unlink()
    assert run(*arguments).exit_code == 0
    monkeypatch.setattr("indexer.sharded.build._PATIENCE", 0)
    from indexer.files import locked

    (tmp_path / "in" / "000.png").unlink()
    with locked(tmp_path / "c" / "shard-00001"):
        result = run(*arguments)
    assert result.exit_code == 3
    assert f"cannot read {tmp_path}/c/shard-00001: {tmp_path}/c/shard-00001 is in use by another process" in result.stderr
    assert "shard-00001 could not be made, " in result.stdout
    assert run(*arguments).exit_code == 0


@pytest.mark.parametrize("option", ["--ray", "--store"])
def test_what_is_for_shards_needs_shards(option: str, tmp_path: Path) -> None:
    result = run("index", tmp_path, "--out", tmp_path / "c", option, "local")
    assert result.exit_code == 2
    assert f"{option} is for a collection in shards" in result.stderr


def test_without_ray_one_line_names_the_extra(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = run("index", made / "in", "--out", tmp_path / "c", "--shards", 8, "--ray", "local")
    assert result.exit_code == 2
    assert result.stderr == "synthtrace: error: --ray needs Ray: pip install '.[distributed]' in the project folder\n"


def test_a_file_in_the_working_folder_sends_nothing_anywhere(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("synthtrace.toml").write_text('[index]\nstore = "file:///elsewhere"\nray = "far:1"\n', encoding="utf-8")
    result = run("index", made / "in", "--out", tmp_path / "c", "--shards", 8, "--view", "phash")
    assert result.exit_code == 0, result.stderr
    assert "synthtrace.toml: not store, ray: what it names" in result.stderr
