"""The crops that scripts/bench/crops.py makes."""

from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

from embeddings.phantoms.slices import SIZE
from tests.helpers import loading

RAMP = np.broadcast_to(np.rint(np.linspace(55, 255, SIZE)).astype(np.uint8), (SIZE, SIZE))


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """scripts/bench/crops.py as a module."""
    with loading.script("bench/crops") as module:
        yield module


@pytest.mark.parametrize(("way", "span"), [("window", 0.8), ("shrunk, border", 1 / 0.8), ("shrunk, black", 1 / 0.8)])
def test_how_much_of_a_picture_is_left(script: ModuleType, way: str, span: float) -> None:
    """On a ramp grey tells the place; the middle belongs to the picture in any case."""
    crop = script.cropped(RAMP, way, 0.8, np.random.default_rng(0))
    assert crop.shape == (SIZE, SIZE)
    assert np.polyfit(np.arange(80, 176), crop[128, 80:176], 1)[0] == pytest.approx(span * 200 / 255, rel=0.03)
    assert (crop == 0).any() == (way == "shrunk, black")


def test_every_way_and_side_of_every_image(script: ModuleType) -> None:
    crops = script.make([RAMP, RAMP[:, ::-1]], np.random.default_rng(0))
    cells = {
        (source, way, side) for source, way, side in zip(crops.sources.tolist(), crops.ways, crops.sides, strict=True) if way
    }
    assert len(cells) == 2 * len(script.WAYS) * len(script.SIDES)
    assert len(crops.images) == len(cells) + 2 * 3
