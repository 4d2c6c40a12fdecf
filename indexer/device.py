"""Choose and report the device: CPU, one GPU, or all."""

import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from embeddings.extras import installing
from indexer.types import NoGpu

DEVICES = r"auto|cpu|cuda(:(\d+|all))?"


@dataclass(frozen=True)
class Device:
    """Where each of the two heavy libraries computes.

    Attributes:
        network: device of PyTorch, which embeds images: ``cpu``, ``cuda:N`` or ``cuda:all``.
        search: device of FAISS, likewise.
        note: one line about the choice.
    """

    network: str
    search: str
    note: str


def choose_device(asked: str, network: bool, search: bool = True) -> Device:
    """Resolve ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``cuda:all``; ``auto`` takes the first GPU.

    Args:
        asked: the device.
        network: whether PyTorch is needed.
        search: whether FAISS is.

    Raises:
        NoGpu: CUDA was asked for and one of the libraries has none.
        ValueError: no such device.
    """
    if not re.fullmatch(DEVICES, asked):
        raise ValueError(f"device must be auto, cpu, cuda, cuda:N or cuda:all, got {asked!r}")
    if asked == "cpu":
        return Device("cpu", "cpu", "computing on the CPU")
    if asked == "auto" and not _may_have_gpu():
        return Device("cpu", "cpu", "no GPU found, computing on the CPU")
    which = asked.partition(":")[2] or "0"
    number = 0 if which == "all" else int(which)
    faiss_has, torch_has = search and number < _faiss_gpus(), network and number < _torch_gpus()
    name = f"cuda:{which}"
    if asked == "auto":
        network_device, search_device = name if torch_has else "cpu", name if faiss_has else "cpu"
        if not (faiss_has or torch_has):
            return Device("cpu", "cpu", "no GPU found, computing on the CPU")
        if not search:
            return Device(name, "cpu", f"computing on {name}")
        return Device(network_device, search_device, f"network on {network_device}, search on {search_device}")
    lacking = [lib for lib, has in (("FAISS", faiss_has or not search), ("PyTorch", torch_has or not network)) if not has]
    if lacking:
        mend = f"use --device auto or cpu, or where an NVIDIA driver answers {installing('gpu')}"
        raise NoGpu(f"{asked} was asked for, but {' and '.join(lacking)} found no such GPU; {mend}")
    return Device(name if network else "cpu", name if search else "cpu", f"computing on {name}")


def choose_device_to_index(asked: str, views: Collection[str]) -> Device:
    """The choice for indexing by these views: where CUDA is asked for, all of them are computed there.

    With ``auto`` PyTorch is loaded, and asked for GPUs, only where the network needs it anyway.

    Raises:
        NoGpu, ValueError: see `choose_device`.
    """
    return choose_device(asked, network="resnet" in views or asked.startswith("cuda"))


def _may_have_gpu() -> bool:
    """Whether a driver of NVIDIA's is there: without one the libraries, which take seconds to load, need not be asked.

    Its devices are those of the driver on Linux, of Windows below Linux (WSL), and of Tegra.
    """
    if {"faiss", "torch"} & sys.modules.keys():  # they know better
        return True
    return sys.platform != "linux" or any(Path("/dev", name).exists() for name in ("nvidiactl", "dxg", "nvmap"))


def _faiss_gpus() -> int:
    from indexer.search.faiss_gpu import gpus

    return gpus()


def _torch_gpus() -> int:
    from embeddings.views.network import cuda_devices

    return cuda_devices()
