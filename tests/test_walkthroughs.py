"""The walkthroughs in docs/walkthroughs run as they stand, each from a folder that holds what its user has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.places import ROOT
from tests.helpers.walks import USERS

SCRIPTS = ROOT / "docs" / "walkthroughs"


def test_every_user_has_a_walkthrough() -> None:
    assert {path.stem for path in SCRIPTS.glob("*.sh")} == set(USERS)


@pytest.mark.slow
@pytest.mark.parametrize("user", USERS)
def test_walkthrough_runs(user: str, tmp_path: Path) -> None:
    USERS[user](tmp_path)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", SCRIPTS / f"{user}.sh"],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "Traceback" not in ended.stderr
