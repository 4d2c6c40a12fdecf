"""Sizes of the working memory on a GPU."""

import pytest

from indexer import gpu_memory


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("1000", 1000), ("64k", 65536), ("512M", 536870912), ("1G", 1073741824)])
def test_a_size_is_read(text: str, size: int) -> None:
    assert gpu_memory.parse(text) == size


@pytest.mark.parametrize("text", ["", "M", "1.5G", "-1", "2G", "1537M", "1T", "12 M"])
def test_what_faiss_would_not_take_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a size up to 1536M, such as 512M"):
        gpu_memory.parse(text)
