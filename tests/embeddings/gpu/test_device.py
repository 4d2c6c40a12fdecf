"""Turns on GPUs, with streams that are played: there is no GPU here."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import numpy as np
import pytest
import torch

from embeddings.gpu import device
from embeddings.gpu.device import STREAMS, Kept, by_shape, first_of, on, upload


class Stream:
    def __init__(self, number: int) -> None:
        self.device = torch.device("cuda", number)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Stream]]:
    """Gives the streams that are in use."""
    used: list[Stream] = []

    @contextmanager
    def enter(stream: Stream) -> Iterator[None]:
        used.append(stream)
        yield
        used.remove(stream)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", enter)
    device._streams.cache_clear()
    yield used
    device._streams.cache_clear()


def test_all_gpus_take_turns(two_gpus: list[Stream]) -> None:
    full = Barrier(2 * STREAMS)

    def work(_: int) -> str:
        with on("cuda:all") as where:
            full.wait(timeout=10)  # as many at once as there are streams
            assert len(set(two_gpus)) == len(two_gpus) <= 2 * STREAMS
            return str(where)

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(work, range(4 * STREAMS)))
    assert seen.count("cuda:0") == seen.count("cuda:1") == 2 * STREAMS


@pytest.mark.usefixtures("two_gpus")
def test_a_stream_is_given_back_after_an_error() -> None:
    for _ in range(3 * STREAMS):
        with pytest.raises(ZeroDivisionError), on("cuda:1") as where:
            assert 1 / (where.index - 1) == 0


def test_devices_by_name() -> None:
    assert [str(first_of(name)) for name in ("cpu", "cuda:1", "cuda:all")] == ["cpu", "cuda:1", "cuda:0"]


def test_arrays_that_cannot_be_written_are_uploaded_without_a_warning() -> None:
    array = np.arange(6)
    array.flags.writeable = False
    for there in (upload(array, torch.device("cpu")), Kept(array).on(torch.device("cpu"))):
        assert there.tolist() == [0, 1, 2, 3, 4, 5]


def test_images_are_stacked_by_their_shape() -> None:
    images = [np.full((2 + number % 2, 3), number, np.uint8) for number in range(7)]
    seen = []
    by_shape(images, 2, lambda stack, places: seen.append((stack.shape, stack[:, 0, 0].tolist(), places.tolist())))
    assert [shape for shape, _, _ in seen] == [(2, 2, 3), (2, 2, 3), (2, 3, 3), (1, 3, 3)]
    assert all(values == places for _, values, places in seen)
    assert sorted(place for _, _, places in seen for place in places) == list(range(7))
