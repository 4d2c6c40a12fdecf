"""Benchmark results as JSON, with the script, commit and machine that made them."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from embeddings.files.writing import write_text

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("duckdb", "faiss-cpu", "faiss-gpu", "numpy", "opencv-python-headless", "scikit-learn", "scipy", "torch")
FIELDS = ("script", "arguments", "commit", "processor", "cores", "load", "system", "python", "libraries", "date", "figures")


def write_results(path: Path, figures: Any, arguments: list[str] | None = None) -> None:
    """Write the figures of the running script, and what made them.

    Args:
        path: the JSON file.
        figures: what was measured, for `json.dumps`.
        arguments: of the script; default: those of the command line, without ``--json FILE``.
    """
    write_text(path, json.dumps({**made_by(arguments), "figures": figures}, indent=1) + "\n")


def made_by(arguments: list[str] | None = None) -> Mapping[str, Any]:
    """All fields but the figures."""
    code = ("status", "--porcelain", "--", ".", ":!docs/benchmarks")  # the results of another script change no code
    commit, changed = (_git(*command) for command in (("rev-parse", "HEAD"), code))
    script = Path(sys.argv[0]).resolve()
    return {
        "script": script.relative_to(ROOT).as_posix() if script.is_relative_to(ROOT) else script.name,
        "arguments": _without_json(sys.argv[1:] if arguments is None else arguments),
        "commit": commit + ("-changed" if changed else ""),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),  # of the last minute: far above the work of the script on a busy machine
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
        "date": datetime.now(UTC).date().isoformat(),
    }


def _git(*command: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _without_json(arguments: list[str]) -> list[str]:
    """The place of the file says nothing about the figures."""
    after = {number + 1 for number, argument in enumerate(arguments) if argument == "--json"}
    return [argument for number, argument in enumerate(arguments) if number not in after and not argument.startswith("--json")]
