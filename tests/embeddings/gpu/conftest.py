"""One thread, as in the pools that the views run in: waiting for each other costs small products more than it brings."""

from collections.abc import Iterator

import pytest
import torch

from embeddings.gpu import sift


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """And small batches of scale spaces, which are filled up to one size."""
    monkeypatch.setattr(sift, "_BATCH", 4)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
