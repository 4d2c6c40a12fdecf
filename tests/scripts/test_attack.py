"""What scripts/attack.py counts and says."""

import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.helpers.places import SCRIPTS


@pytest.fixture
def tally(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Its part that counts."""
    monkeypatch.syspath_prepend(SCRIPTS)
    import attacks.tally as module

    yield module
    for name in [name for name in sys.modules if name.partition(".")[0] == "attacks"]:
        del sys.modules[name]


def test_one_complaint_is_enough_not_to_hold(tally: ModuleType) -> None:
    counted = tally.Tally()
    counted.count("kills", 3)
    assert counted.check(True, "not said")
    assert str(counted.result("kill", "3 kills", 1.0)) == "held: kill: 3 kills; kills 3"
    assert not counted.check(False, "a row is lost")
    result = counted.result("kill", "3 kills", 1.0)
    assert not result.held
    assert str(result) == "NOT HELD: kill: 3 kills; kills 3, not held 1\n    a row is lost"


def test_only_the_first_complaints_are_kept(tally: ModuleType) -> None:
    counted = tally.Tally()
    for number in range(1000):
        counted.check(False, f"row {number}")
    result = counted.result("kill", "kills", 1.0)
    assert result.figures["not_held"] == 1000
    assert result.wrong == tuple(f"row {number}" for number in range(tally.KEPT))
    assert len(str(result).splitlines()) == 1 + tally.SHOWN


def attack(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPTS / "attack.py", *map(str, arguments)], capture_output=True, text=True)


def test_kinds_are_listed_and_unknown_ones_refused() -> None:
    listed = attack("--list").stdout
    assert all(len(line.split()) > 3 for line in listed.splitlines())
    assert {"kill-index", "flip-served", "idle", "exits"} <= {line.split()[0] for line in listed.splitlines()}
    assert attack("--only", "nothing").returncode == 2
