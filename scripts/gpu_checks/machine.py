"""What is checked and measured, and where: the machine, its card, FAISS, and the sizes of the work."""

import importlib
import os
import sys
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

KIT = "faiss_gpu_*.zip"  # in ../shared/gpu_kit beside the checkout
# Dense bfloat16 TFLOP/s and bytes/s that NVIDIA's data sheets give; the longest name that fits counts.
PEAKS = {
    "H100": (989, 3.35e12),
    "H100 PCIe": (756, 2.0e12),
    "H100 NVL": (835, 3.9e12),
    "H200": (989, 4.8e12),
    "H200 NVL": (835, 4.8e12),
}


class Skipped(Exception):
    """A check or measurement that cannot be made here; the message says why."""


@dataclass(frozen=True)
class Sizes:
    """How much work.

    Attributes:
        pictures: different ones.
        side: of each, pixels.
        batch, batches: pictures a stage is given at a time, and how often.
        turns: of which the median counts.
        rows, queries: of searches; each pair of both is timed.
        dim: bits of codes, components of vectors.
        product: side of the matrices of the bfloat16 product.
        bytes: that are copied on the card.
        files: that are indexed from PNG.
    """

    pictures: int = 64
    side: int = 256
    batch: int = 64
    batches: int = 64
    turns: int = 3
    rows: tuple[int, ...] = (1_000_000, 10_000_000)
    queries: tuple[int, ...] = (200, 10_000)
    dim: int = 256
    product: int = 8192
    bytes: int = 4 << 30
    files: int = 8192


TINY = Sizes(3, 64, 3, 1, 1, (3000,), (5, 40), 64, 64, 1 << 16, 8)


@dataclass(frozen=True)
class Machine:
    """Where things run.

    Attributes:
        torch: device of PyTorch's kernels.
        search: device of FAISS.
        sizes: of the work.
    """

    torch: str
    search: str
    sizes: Sizes

    @property
    def stand_in(self) -> bool:
        """Whether there is no GPU, and its part is played."""
        return self.torch == "cpu"

    def wait(self) -> None:
        """Until the card has done what was asked of it."""
        if not self.stand_in:
            torch.cuda.synchronize()


def find_faiss(root: Path) -> None:
    """Make FAISS known: the installed one, else the kit beside the checkout, unpacked into a temporary folder.

    Raises:
        Skipped: there is neither.
    """
    try:
        importlib.import_module("faiss")
        return
    except ImportError:
        kits = sorted((root.parent / "shared" / "gpu_kit").glob(KIT))
    if not kits:
        raise Skipped("no FAISS is installed, and none lies in ../shared/gpu_kit")
    folder = tempfile.mkdtemp(prefix="faiss-")  # stays until the machine is given back: the library is mapped
    with zipfile.ZipFile(kits[-1]) as kit:
        kit.extractall(folder)
    sys.path.insert(0, folder)
    importlib.import_module("faiss")


def play_gpu() -> None:
    """Let FAISS's GPU classes be those of the stand-in, and batches small: they are filled up to one size."""
    from gpu_checks.stand_in import FaissWithGpus
    from indexer.search import faiss_gpu

    vars(faiss_gpu)["faiss"] = FaissWithGpus(2)
    faiss_gpu._owner.cache_clear()
    with suppress(ImportError):  # where OpenCV is missing, the checks that need it are skipped anyway
        from embeddings.gpu import sift

        vars(sift)["_BATCH"] = 4


def card(machine: Machine) -> dict[str, Any]:
    """Name, memory and peaks of the card, versions of libraries, cores."""
    import faiss

    known: dict[str, Any] = {"torch": torch.__version__, "faiss": faiss.__version__, "python": sys.version.split()[0]}
    known["cores"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if machine.stand_in:
        return {"card": "none: the CPU plays its part", **known}
    found = torch.cuda.get_device_properties(machine.torch)
    return {"card": found.name, "gpus": torch.cuda.device_count(), "bytes": found.total_memory, **known}


def peaks(name: str) -> tuple[float, float] | None:
    """bfloat16 FLOP/s and bytes/s of a card, None where it is not known."""
    fitting = [model for model in PEAKS if all(part in name.split() for part in model.split())]
    if not fitting:
        return None
    flops, bandwidth = PEAKS[max(fitting, key=len)]
    return flops * 1e12, bandwidth
