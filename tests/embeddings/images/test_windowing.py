"""Percentiles and windows in pieces are those of NumPy over the whole."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.images import windowing
from embeddings.images.decoding import Decoding
from embeddings.images.errors import BadPixels
from embeddings.images.windowing import scaled_limits, window, window_limits

RNG = np.random.default_rng(0)
SCALES: list[Callable[[NDArray[Any]], NDArray[Any]]] = [lambda x: x, lambda x: x * 2.5 - 100, lambda x: x * -0.3]


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "uint16", ">i2", "int32", "float32", "float64"])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("count", [1, 2, 3, 1000, 4097])
def test_scaled_limits_are_the_percentiles(
    kind: str, scale: Callable[[NDArray[Any]], NDArray[Any]], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windowing, "BLOCK", 1000)
    stored = RNG.normal(50, 30, count).astype(kind)
    for low, high in ((0.5, 99.5), (0, 100), (33.3, 66.6), (10, 10.1)):
        expected = np.percentile(scale(stored), (low, high))
        if expected[0] == expected[1]:
            expected = scale(stored).min(), scale(stored).max()
        assert scaled_limits(stored, scale, Decoding(low=low, high=high)) == tuple(expected)
        assert window_limits(scale(stored), Decoding(low=low, high=high)) == tuple(expected)


def test_what_is_not_finite_does_not_count() -> None:
    stored = np.array([np.nan, 1, 2, 3, np.inf], np.float32)
    assert scaled_limits(stored, lambda x: x, Decoding(low=0, high=100)) == (1, 3)
    with pytest.raises(BadPixels, match="finite"):
        scaled_limits(stored[:1], lambda x: x, Decoding())
    with pytest.raises(BadPixels, match="complex64"):
        scaled_limits(stored.astype(np.complex64), lambda x: x, Decoding())
    assert scaled_limits(stored[1:3], lambda x: x, Decoding(centre=5, width=2)) == (4, 6)


@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (70, 31), (2, 3000)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_windows_in_blocks(shape: tuple[int, int], order: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.asarray(RNG.normal(0, 500, shape).astype(np.float32), order=order)
    whole = window(values, -300, 700, SCALES[1])
    monkeypatch.setattr(windowing, "BLOCK", 100)
    blocks = window(values, -300, 700, SCALES[1])
    np.testing.assert_array_equal(whole, blocks)
    np.testing.assert_array_equal(whole, window(values * 2.5 - 100, -300, 700))
    assert blocks.flags.c_contiguous
