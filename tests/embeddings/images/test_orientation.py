"""Turns and flips held against Pillow's."""

from itertools import product

import numpy as np
import pytest
from PIL import Image

from embeddings.images.orientation import Orientation
from tests.helpers.making import noise

PILLOW = {
    Orientation.ROTATE_90: Image.Transpose.ROTATE_90,
    Orientation.ROTATE_180: Image.Transpose.ROTATE_180,
    Orientation.ROTATE_270: Image.Transpose.ROTATE_270,
    Orientation.FLIP_LEFT_RIGHT: Image.Transpose.FLIP_LEFT_RIGHT,
    Orientation.FLIP_TOP_BOTTOM: Image.Transpose.FLIP_TOP_BOTTOM,
    Orientation.TRANSPOSE: Image.Transpose.TRANSPOSE,
    Orientation.TRANSVERSE: Image.Transpose.TRANSVERSE,
}


@pytest.mark.parametrize("orientation", Orientation)
def test_each_does_what_pillow_does_under_that_name(orientation: Orientation) -> None:
    image = noise(1)
    turned = orientation.apply(image)
    pillow = PILLOW.get(orientation)
    expected = image if pillow is None else np.asarray(Image.fromarray(image).transpose(pillow))
    assert np.array_equal(turned, expected)
    assert turned.flags.c_contiguous


@pytest.mark.parametrize(("first", "second"), list(product(Orientation, Orientation)))
def test_one_then_the_other_is_one_of_the_eight(first: Orientation, second: Orientation) -> None:
    image = noise(2)
    assert np.array_equal(first.then(second).apply(image), second.apply(first.apply(image)))
