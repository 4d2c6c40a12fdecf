"""What scripts/bench/start.py measures."""

import subprocess
from pathlib import Path

import pytest

from tests.helpers import loading


def test_a_process_that_fails_has_no_time() -> None:
    with loading.script("bench/start") as script, pytest.raises(subprocess.CalledProcessError):
        script.seconds("raise SystemExit(3)")


@pytest.mark.slow
def test_every_kind_is_started_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with loading.script("bench/start") as script:
        monkeypatch.setattr(script, "IMAGES", 12)
        figures = script.measured(tmp_path, 1, script.ROOT)
    assert set(figures) == {"python", "loaded", "phash", "all", "before", "all before"}
    assert figures["loaded"]["of loaded"] == 1
    assert figures["python"]["seconds"] < figures["phash"]["seconds"] < figures["all"]["seconds"], "PyTorch takes seconds to load"
