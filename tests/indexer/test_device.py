"""The choice of device, with and without GPUs."""

import pytest

from indexer import device
from indexer.device import Device, choose_device, choose_device_to_index
from indexer.search import faiss_gpu
from indexer.types import NoGpu


@pytest.fixture
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where FAISS and PyTorch find so many GPUs."""
    for_faiss, for_torch = request.param
    monkeypatch.setattr(device, "_faiss_gpus", lambda: for_faiss)
    monkeypatch.setattr(device, "_torch_gpus", lambda: for_torch)


def machines(*gpus: tuple[int, int]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("machine", gpus, indirect=True, ids=[f"FAISS {f}, PyTorch {t}" for f, t in gpus])


@machines((0, 0))
@pytest.mark.usefixtures("machine")
def test_without_gpu_auto_takes_the_cpu_and_says_so() -> None:
    assert choose_device("auto", network=True) == Device("cpu", "cpu", "no GPU found, computing on the CPU")


@machines((0, 0), (2, 2))
@pytest.mark.usefixtures("machine")
def test_cpu_is_the_cpu() -> None:
    assert choose_device("cpu", network=True) == Device("cpu", "cpu", "computing on the CPU")


@machines((1, 0))
@pytest.mark.usefixtures("machine")
def test_auto_takes_what_there_is_for_each_library() -> None:
    chosen = choose_device("auto", network=True)
    assert (chosen.network, chosen.search) == ("cpu", "cuda:0")
    assert chosen.note == "network on cpu, search on cuda:0"
    assert choose_device("cuda", network=False) == Device("cpu", "cuda:0", "computing on cuda:0")
    with pytest.raises(NoGpu, match="cuda was asked for, but PyTorch found no such GPU; use --device auto or cpu"):
        choose_device("cuda", network=True)


@machines((0, 1))
@pytest.mark.usefixtures("machine")
def test_cuda_needs_both_libraries() -> None:
    with pytest.raises(NoGpu, match="FAISS found no such GPU"):
        choose_device("cuda:0", network=True)
    assert choose_device("auto", network=True).network == "cuda:0"


@machines((2, 2))
@pytest.mark.usefixtures("machine")
def test_a_numbered_gpu_must_exist() -> None:
    assert choose_device("cuda:1", network=True) == Device("cuda:1", "cuda:1", "computing on cuda:1")
    with pytest.raises(NoGpu, match="cuda:2 was asked for, but FAISS and PyTorch found no such GPU"):
        choose_device("cuda:2", network=True)


@pytest.mark.parametrize("asked", ["gpu", "cuda:", "cuda:-1", "CPU", "", "cuda:0 ", "cuda:any", "cuda:all:1"])
def test_what_is_no_device_is_refused(asked: str) -> None:
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda, cuda:N or cuda:all"):
        choose_device(asked, network=True)


@pytest.mark.skipif(faiss_gpu.gpus() > 0, reason="there is a GPU here")
def test_cuda_is_refused_on_this_machine() -> None:
    with pytest.raises(NoGpu, match="use --device auto or cpu"):
        choose_device("cuda", network=True)


@machines((0, 1))
@pytest.mark.parametrize("asked", ["auto", "cuda", "cuda:0"])
@pytest.mark.usefixtures("machine")
def test_training_needs_no_gpu_for_the_search(asked: str) -> None:
    assert choose_device(asked, network=True, search=False) == Device("cuda:0", "cpu", "computing on cuda:0")


@machines((1, 0))
@pytest.mark.usefixtures("machine")
def test_a_gpu_for_the_search_is_none_for_training() -> None:
    assert choose_device("auto", network=True, search=False) == Device("cpu", "cpu", "no GPU found, computing on the CPU")
    with pytest.raises(NoGpu, match="but PyTorch found no such GPU"):
        choose_device("cuda", network=True, search=False)


@machines((2, 2), (1, 1))
@pytest.mark.usefixtures("machine")
def test_all_gpus_are_asked_for_by_name() -> None:
    assert choose_device("cuda:all", network=True) == Device("cuda:all", "cuda:all", "computing on cuda:all")


@machines((0, 0))
@pytest.mark.usefixtures("machine")
def test_all_of_no_gpus_are_refused() -> None:
    with pytest.raises(NoGpu, match="cuda:all was asked for, but FAISS and PyTorch found no such GPU; use --device auto or cpu"):
        choose_device("cuda:all", network=True)


@machines((1, 1))
@pytest.mark.usefixtures("machine")
def test_indexing_computes_all_views_where_it_is_told_to() -> None:
    assert choose_device_to_index("cuda", ["phash"]).network == "cuda:0"
    assert choose_device_to_index("auto", ["phash"]).network == "cpu"
    assert choose_device_to_index("auto", ["phash", "resnet"]).network == "cuda:0"
