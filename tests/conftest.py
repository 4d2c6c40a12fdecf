"""Options of the whole suite."""

import sys
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.search import brute_force


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--rounding 3e-7` runs the suite as on another processor: no test may depend on the last bits of a float."""
    parser.addoption(
        "--rounding", type=float, default=0.0, help="largest error added to every cosine distance, by who computes it"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Each computation of cosine distances gets errors of its own, the same whenever it repeats: so do BLAS kernels."""
    largest = config.getoption("--rounding")
    if not largest:
        return
    clipped = brute_force.clipped

    def rounded(products: NDArray[np.float32]) -> Any:
        computation = zlib.crc32(sys._getframe(1).f_code.co_name.encode())
        bits = np.ascontiguousarray(products, np.float32).view(np.uint32) ^ np.uint32(computation)
        share = (bits * np.uint32(2654435761)).astype(np.float64) / 2**31 - 1  # Knuth's multiplicative hash, -1..1
        return clipped((products + largest * share).astype(np.float32))

    brute_force.clipped = rounded
