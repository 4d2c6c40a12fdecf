"""What is promised across processors: the same bytes again on one, stated bounds between two (docs/ARCHITECTURE.md)."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from indexer.build.build import Settings, build
from indexer.search import brute_force
from tests.helpers.kernels import KERNELS
from tests.helpers.making import tree, write_images
from tests.helpers.places import ROOT

pytestmark = pytest.mark.slow

VIEWS = {"phash": {}, "resnet": {"size": 64}, "pixels": {}, "sift": {"words": 16}}
MADE_ANEW = {"phash": 0, "resnet": 1e-4, "pixels": 1e-5, "sift": 0.05}  # distances of vectors made elsewhere
TWO_THREADS = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}  # unless a kernel says otherwise
MADE_ANEW_BFLOAT16 = MADE_ANEW | {"resnet": 0.02}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kernels")
    write_images(folder / "images", range(90))
    write_images(folder / "some", range(20))
    generated = build(folder / "generated", folder / "images", settings=Settings(views=VIEWS, sample_size=80), device="cpu")
    build(folder / "real", folder / "some", fitted_on=generated, device="cpu")
    return folder


def computed(folder: Path, out: Path, environment: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """What `tests.helpers.kernels` computes in a process with these variables."""
    command = [sys.executable, "-m", "tests.helpers.kernels", str(folder), str(out)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **TWO_THREADS, **environment}, check=True, timeout=300)
    return dict(np.load(out))


@pytest.fixture(scope="module")
def here(folder: Path) -> dict[str, NDArray[Any]]:
    return computed(folder, folder / "here.npz", {})


def test_the_same_processor_gives_the_same_bytes(folder: Path, here: Mapping[str, NDArray[Any]]) -> None:
    again = computed(folder, folder / "again.npz", {})
    assert {name: array.tobytes() for name, array in again.items()} == {name: array.tobytes() for name, array in here.items()}


def test_what_views_learn_does_not_depend_on_the_number_of_cores(folder: Path, tmp_path: Path) -> None:
    settings = Settings(views={"pixels": {}, "sift": {"words": 16}}, sample_size=80)
    for threads in (1, 2):
        with threadpool_limits(threads):
            build(tmp_path / str(threads), folder / "images", settings=settings, device="cpu")
    one, two = (tree(tmp_path / name) for name in ("1", "2"))
    learned = [name for name in one if name.endswith("learned.safetensors")]
    assert len(learned) == 2
    assert all(one[name] == two[name] for name in learned)


@pytest.mark.parametrize("kernel", KERNELS)
def test_another_processor_keeps_the_bounds(folder: Path, here: Mapping[str, NDArray[Any]], kernel: str) -> None:
    there = computed(folder, folder / f"{kernel}.npz", KERNELS[kernel])
    bounds = MADE_ANEW_BFLOAT16 if kernel == "bfloat16" else MADE_ANEW
    for view in VIEWS:
        for what in ("search", "all"):
            largest = np.abs(there[f"{what} {view}"].astype(np.float64) - here[f"{what} {view}"]).max()
            assert largest <= (0 if view == "phash" else brute_force.ROUNDING), (what, view)
        ours, theirs = here[f"vectors {view}"], there[f"vectors {view}"]
        apart = (
            np.bitwise_count(ours ^ theirs).max() if view == "phash" else np.abs(1 - np.einsum("nd,nd->n", ours, theirs)).max()
        )
        assert apart <= bounds[view], view
    if "avx2" in Path("/proc/cpuinfo").read_text(encoding="utf-8") and kernel.startswith("sse"):
        assert there["all pixels"].tobytes() != here["all pixels"].tobytes()  # else nothing was tried
