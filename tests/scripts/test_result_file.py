"""Benchmark results name the script, commit and machine that made them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.helpers import loading
from tests.helpers.places import ROOT, SCRIPTS

COMMITTED = sorted((ROOT / "docs" / "benchmarks").glob("*.json"))
WRITERS = sorted(path for path in (SCRIPTS / "bench").glob("*.py") if path.name != "result_file.py")


@pytest.fixture
def result_file() -> Iterator[ModuleType]:
    with loading.script("bench/result_file") as module:
        yield module


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_results_say_what_made_them(path: Path, result_file: ModuleType) -> None:
    result = json.loads(path.read_text(encoding="utf-8"))
    assert tuple(result) == result_file.FIELDS
    assert (ROOT / result["script"]).is_file()
    assert re.fullmatch(r"[0-9a-f]{40}", result["commit"])  # of a tree without changes
    assert all(result[field] for field in result_file.FIELDS if field != "arguments")
    assert not [argument for argument in result["arguments"] if Path(argument).is_absolute()]


@pytest.mark.parametrize("path", [*WRITERS, SCRIPTS / "attack.py"], ids=lambda path: path.stem)
def test_every_benchmark_can_write_its_results(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert '"--json"' in text
    assert "write_results(" in text


def test_what_is_written_is_what_ran(result_file: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--small", "300", "--json", "out.json", "--json=again.json"]
    monkeypatch.setattr("sys.argv", [str(SCRIPTS / "bench" / "search.py"), *arguments])
    result_file.write_results(tmp_path / "r.json", {"ms": 1.5})
    result = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert tuple(result) == result_file.FIELDS
    assert (result["script"], result["arguments"]) == ("scripts/bench/search.py", ["--small", "300"])
    assert result["figures"] == {"ms": 1.5}
    assert result["libraries"]["numpy"]
