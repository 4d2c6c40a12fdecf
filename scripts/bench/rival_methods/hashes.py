"""The four hashes of imagededup (idealo, version 0.3.3; `imagededup/methods/hashing.py`), 64 bits each, without the package.

Written anew after its code. The bits are those of the package (tests/scripts/test_bench_rivals.py compares them where it is
installed). Of `imagehash` only the difference hash is the same: its perceptual hash takes the first coefficient into the median,
its wavelet hash takes out the mean, and a value at the threshold is 0 there and 1 here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dct

from rival_methods.rival import Compared, Groups, Pictures

BITS = 10  # imagededup's `max_distance_threshold`
Bits = NDArray[np.bool_]  # (8, 8)


def perceptual(picture: Image.Image) -> Bits:
    """PHash: low frequencies against their median, the constant one left out of it."""
    low = dct(dct(_levels(picture, 32, 32).astype(float), axis=0), axis=1)[:8, :8]
    return np.asarray(low >= np.median(low.ravel()[1:]))


def difference(picture: Image.Image) -> Bits:
    """DHash: whether a pixel is brighter than its left neighbour."""
    return np.asarray(imagehash.dhash(picture).hash, bool)


def average(picture: Image.Image) -> Bits:
    """AHash: whether a pixel is at least as bright as the mean."""
    small = _levels(picture, 8, 8)
    return np.asarray(small >= small.mean())


def wavelet(picture: Image.Image) -> Bits:
    """WHash: the approximation of five steps of Haar's wavelet, that is sums of 32 x 32 pixels, against their median."""
    sums = _levels(picture, 256, 256).reshape(8, 32, 8, 32).sum(axis=(1, 3), dtype=np.int64)
    return np.asarray(sums >= np.median(sums))


def _levels(picture: Image.Image, width: int, height: int) -> Pictures:
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS), np.uint8)


HASHES: Mapping[str, Callable[[Image.Image], Bits]] = {
    "phash": perceptual,
    "dhash": difference,
    "ahash": average,
    "whash": wavelet,
}


@dataclass(frozen=True)
class ImageDedup:
    """Bits in which two hashes differ.

    Attributes:
        of: one of `HASHES`.
    """

    of: str

    @property
    def name(self) -> str:
        """Package and hash."""
        return f"imagededup-{self.of}"

    def compare(self, real: Pictures, generated: Pictures, groups: Groups) -> Compared:
        """See `Rival`."""
        one, other = (np.array([self.bits(picture) for picture in side], np.float32) for side in (real, generated))
        apart = one @ (1 - other).T + (1 - one) @ other.T
        return Compared(apart, BITS)

    def bits(self, picture: Pictures) -> NDArray[np.bool_]:
        """(64,) of one (h, w) picture."""
        return HASHES[self.of](Image.fromarray(picture)).ravel()
