"""Many vectors that lie as those of a generator's images do: made from the vectors of a few thousand images."""

import numpy as np
from numpy.typing import NDArray

_ROWS = 50_000  # made at a time

Codes = NDArray[np.uint8]
Floats = NDArray[np.float32]


def grown_codes(codes: Codes, count: int, rng: np.random.Generator) -> Codes:
    """(count, bytes) of (n, bytes): one of the codes at random with each bit flipped with a chance between 0 and 0.3, drawn anew
    for each: from copies to images that have little in common with it."""
    out = np.empty((count, codes.shape[1]), np.uint8)
    for start in range(0, count, _ROWS):
        part = codes[rng.integers(0, len(codes), min(_ROWS, count - start))]
        chance = rng.uniform(0, 0.3, (len(part), 1)).astype(np.float32)
        flips = rng.random((len(part), 8 * codes.shape[1]), np.float32) < chance
        out[start : start + len(part)] = part ^ np.packbits(flips, axis=1)
    return out


def grown_vectors(vectors: Floats, count: int, rng: np.random.Generator) -> Floats:
    """(count, d) unit vectors of (n, d): a mixture of two of the vectors, as generators blend images, and noise whose length is
    drawn between 0.1 and 1 of the mixture's."""
    out = np.empty((count, vectors.shape[1]), np.float32)
    for start in range(0, count, _ROWS):
        rows = min(_ROWS, count - start)
        first, second = (vectors[rng.integers(0, len(vectors), rows)] for _ in range(2))
        share = np.float32(1) - np.float32(0.5) * rng.random((rows, 1), np.float32) ** 3  # most are nearly copies of one
        mixed = unit(share * first + (1 - share) * second)
        noise = unit(rng.standard_normal(mixed.shape, np.float32))
        out[start : start + rows] = unit(mixed + rng.uniform(0.1, 1, (rows, 1)).astype(np.float32) * noise)
    return out


def unit(vectors: Floats) -> Floats:
    """Each row at length 1."""
    lengths: Floats = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / lengths, np.float32)
