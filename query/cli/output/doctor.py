"""Output of `doctor`: versions, processor, GPU, extras, disk."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from query.cli import memory
from query.text import many, table

REQUIRED = (
    *("numpy", "pillow", "tifffile", "imagecodecs", "opencv-python-headless", "scipy", "pyarrow", "duckdb"),
    *("torch", "torchvision", "safetensors", "threadpoolctl", "matplotlib", "rich"),
)
EXTRAS = {
    "medical": ("pydicom", "nibabel", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pyjpegls", "simpleitk"),
    "formats": ("pi-heif",),
    "serve": ("fastapi", "uvicorn", "jinja2", "prometheus-client"),
}
ENOUGH_DISK = 1 << 30  # bytes: 10,000 images take about 200 MB


@dataclass(frozen=True)
class Check:
    """One finding; `fit` is False where work is impossible, None where something optional is missing."""

    what: str
    fit: bool | None
    found: str


def examine(folder: Path) -> list[Check]:
    """Every check; `folder` is where results would be written."""
    return [
        Check("synthtrace", True, _version("synthtrace") or "not installed, running from its source"),
        Check("python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.platform()}"),
        *_libraries(),
        _faiss(),
        *_extras(),
        Check("cpu", True, many(_cores(), "core")),
        _memory(),
        _check("network", _network),
        _check("gpu", _gpu),
        *_disk(folder),
    ]


def report(checks: Sequence[Check]) -> str:
    """A table, and what to do."""
    words = {True: "ok", None: "-", False: "WRONG"}
    rows = [[check.what, words[check.fit], check.found] for check in checks]
    wrong = [check.what for check in checks if check.fit is False]
    outcome = f"cannot work here because of: {', '.join(wrong)}" if wrong else "fit for work"
    return f"{table(['what', 'state', 'found'], rows)}\n\n{outcome}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _libraries() -> list[Check]:
    numbers = {package: _version(package) for package in REQUIRED}
    return [
        Check(package, number is not None, number or f"missing: pip install {package}") for package, number in numbers.items()
    ]


def _faiss() -> Check:
    installed = [f"{package} {number}" for package in ("faiss-cpu", "faiss-gpu") if (number := _version(package))]
    if len(installed) == 2:
        return Check("faiss", False, f"{' and '.join(installed)} overwrite each other: uninstall both, then install one")
    return Check("faiss", bool(installed), installed[0] if installed else "missing: pip install 'synthtrace[cpu]'")


def _extras() -> list[Check]:
    checks = []
    for extra, packages in EXTRAS.items():
        missing = [package for package in packages if _version(package) is None]
        text = f"without {', '.join(missing)}: pip install 'synthtrace[{extra}]'" if missing else "present"
        checks.append(Check(f"extra {extra}", None if missing else True, text))
    return checks


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> Check:
    try:
        memory.check("index", {})
    except memory.NotEnoughMemory as error:
        return Check("memory", False, str(error))
    free = memory.available()
    return Check("memory", True, "nothing says how much is free" if free is None else f"{free / 1e9:,.1f} GB free")


def _check(what: str, look: Callable[[], Check]) -> Check:
    """A check that loads heavy libraries: whatever they throw is the finding."""
    try:
        return look()
    except Exception as error:
        return Check(what, False, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def _network() -> Check:
    from embeddings.views.network import Network
    from embeddings.views.resnet_settings import ResNetSettings

    precision = Network(ResNetSettings(), "cpu").precision
    speed = "bfloat16 on this processor" if precision == "bfloat16" else "float32 (this processor has no bfloat16)"
    return Check("network", True, f"torch, torchvision and the bundled weights work, {speed}")


def _gpu() -> Check:
    from indexer.device import choose_device

    chosen = choose_device("auto", network=True)
    have = [where != "cpu" for where in (chosen.network, chosen.search)]
    if all(have):
        return Check("gpu", True, chosen.note)
    reasons = []
    if not shutil.which("nvidia-smi"):
        reasons.append("no NVIDIA driver (there is no nvidia-smi)")
    if not have[0]:
        reasons.append(f"torch {_version('torch')} finds no GPU")
    if not have[1]:
        reasons.append("faiss-gpu is not installed" if _version("faiss-gpu") is None else "faiss-gpu finds no GPU")
    return Check("gpu", None, f"{chosen.note}: {'; '.join(reasons)}")


def _disk(folder: Path) -> list[Check]:
    free = shutil.disk_usage(folder).free
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
        writing = Check("writing", True, f"{folder.absolute()} can be written to")
    except OSError as error:
        writing = Check("writing", False, f"{folder.absolute()} cannot be written to: {error.strerror}")
    return [Check("disk", True if free >= ENOUGH_DISK else None, f"{free / 1e9:,.1f} GB free in {folder.absolute()}"), writing]
