"""Distortions that the training of the bundled network never applies, to measure it on what it did not learn.

What training applies is in `embeddings/training/augmentation.py`: mirror, crop, affine map, smooth deformation, window, gamma,
brightness, uneven brightness, inversion, Gaussian blur, sharpening, a coarser grid made smooth again, Gaussian grain, JPEG, a
covered box, and mixtures (weighted means, regions, one's fine detail on another). None of those is here,
though some are alike: docs/NETWORK.md says which.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.types import GreyImage

Sources = NDArray[np.uint8]  # (n, s, s), n as in `SOURCES`
Draw = np.random.Generator
Pixels = NDArray[np.float32]
Picture = NDArray[np.uint8] | Pixels


class Unseen(StrEnum):
    """How a generated image comes from its sources; in `benchmark.py` a copy of strength 1 to 3 follows."""

    PERSPECTIVE = "perspective"  # seen aslant: corners moved by up to a fifth of the side
    LENS = "lens"  # barrel or pincushion
    SWIRL = "swirl"  # turned by 60 to 150 degrees round a place, less and less outwards
    TURNED = "turned"  # by one to three quarters
    SHUFFLED = "shuffled"  # four of sixteen tiles change places
    EQUALISED = "equalised"  # contrast-limited adaptive histogram equalisation
    SOLARISED = "solarised"  # what is brighter than a threshold is inverted
    POSTERISED = "posterised"  # three to five grey levels
    EDGES = "edges"  # a drawing: the size of the gradient, light on dark or dark on light
    SPECTRUM = "spectrum"  # the amplitude of every frequency brought nearer to a common one
    MEDIAN = "median"  # median filter
    MOSAIC = "mosaic"  # squares of one tone
    THICKENED = "thickened"  # grey dilation or erosion
    RINGING = "ringing"  # high frequencies cut off, as by a small acquisition matrix
    GHOSTS = "ghosts"  # fainter displaced pictures of itself along one axis, as by motion in MRI
    SPIKES = "spikes"  # stripes all over, as by a spark in MRI
    MOTION = "motion"  # blurred along a line
    JPEG2000 = "jpeg2000"  # wavelet compression
    IMPULSES = "impulses"  # black and white pixels
    SPECKLE = "speckle"  # noise in proportion to the tone, as in ultrasound
    TEXT = "text"  # written over
    INPAINTED = "inpainted"  # a box taken out and filled from its border
    INLAY = "inlay"  # a piece of the second set into the first without a seam; the first is named first
    LIGHTER = "lighter"  # of two the lighter pixel
    INTERLACED = "interlaced"  # bands of rows, of two in turn


SOURCES: Mapping[Unseen, tuple[int, ...]] = {
    kind: (2,) if kind in (Unseen.INLAY, Unseen.LIGHTER, Unseen.INTERLACED) else (1,) for kind in Unseen
}


def compose_unseen(kind: Unseen, sources: Sources, rng: Draw) -> GreyImage:
    """What a generated image shows, (s, s) uint8.

    Args:
        kind: which distortion.
        sources: (n, s, s) uint8, as many as the kind has.
        rng: source of all draws.
    """
    return np.clip(np.rint(_MAKERS[kind](sources, rng)), 0, 255).astype(np.uint8)


# Places -------------------------------------------------------------------------------------------------------------------


def _grid(size: int) -> tuple[Pixels, Pixels]:
    """Places from the centre, x and y from -1 to 1."""
    place = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = np.meshgrid(place, place)
    return x, y


def _taken_from(picture: GreyImage, x: NDArray[Any], y: NDArray[Any]) -> GreyImage:
    """The picture read at places from -1 to 1."""
    half = np.float32((len(picture) - 1) / 2)
    across, down = (((place + 1) * half).astype(np.float32) for place in (x, y))
    return np.asarray(cv2.remap(picture, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _perspective(sources: Sources, rng: Draw) -> GreyImage:
    size = sources.shape[1]
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * np.float32(size - 1)
    inward = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * rng.uniform(0, 0.2, (4, 2)) * size
    view = cv2.getPerspectiveTransform(corners, (corners + inward).astype(np.float32))
    return np.asarray(cv2.warpPerspective(sources[0], view, (size, size), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _lens(sources: Sources, rng: Draw) -> GreyImage:
    x, y = _grid(sources.shape[1])
    bend = rng.choice([-1, 1]) * rng.uniform(0.12, 0.3)
    scale = (1 + np.float32(bend) * (x**2 + y**2)) / np.float32(1 + bend)
    return _taken_from(sources[0], x * scale, y * scale)


def _swirl(sources: Sources, rng: Draw) -> GreyImage:
    x, y = _grid(sources.shape[1])
    across, down = (np.float32(v) for v in rng.uniform(-0.3, 0.3, 2))
    x, y = x - across, y - down
    strongest = np.float32(rng.choice([-1, 1]) * np.deg2rad(rng.uniform(60, 150)))
    angle = strongest * np.clip(1 - np.hypot(x, y) / np.float32(rng.uniform(0.5, 0.8)), 0, 1) ** 2
    cosine, sine = np.cos(angle), np.sin(angle)
    return _taken_from(sources[0], cosine * x - sine * y + across, sine * x + cosine * y + down)


def _turned(sources: Sources, rng: Draw) -> GreyImage:
    return np.ascontiguousarray(np.rot90(sources[0], int(rng.integers(1, 4))))


def _shuffled(sources: Sources, rng: Draw) -> GreyImage:
    picture, side = np.array(sources[0]), sources.shape[1] // 4
    chosen = rng.permutation(16)[:4]
    for to, source in zip(chosen, np.roll(chosen, 1), strict=True):
        (top, left), (row, column) = (np.array(divmod(int(n), 4)) * side for n in (to, source))
        picture[top : top + side, left : left + side] = sources[0][row : row + side, column : column + side]
    return picture


# Tones --------------------------------------------------------------------------------------------------------------------


def _equalised(sources: Sources, rng: Draw) -> GreyImage:
    return np.asarray(cv2.createCLAHE(rng.uniform(4, 12), (int(rng.integers(4, 9)),) * 2).apply(sources[0]), np.uint8)


def _solarised(sources: Sources, rng: Draw) -> GreyImage:
    threshold = np.quantile(sources[0], rng.uniform(0.4, 0.8))
    return np.asarray(np.where(sources[0] > threshold, 255 - sources[0], sources[0]), np.uint8)


def _posterised(sources: Sources, rng: Draw) -> GreyImage:
    steps = int(rng.integers(3, 6)) - 1
    return np.asarray(np.rint(sources[0] / 255 * steps) * (255 / steps), np.uint8)


def _edges(sources: Sources, rng: Draw) -> Pixels:
    smooth = cv2.GaussianBlur(sources[0].astype(np.float32), (0, 0), rng.uniform(1, 2))
    size = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    drawn = np.asarray(np.clip(size * np.float32(220 / max(float(np.quantile(size, 0.98)), 1e-3)), 0, 255), np.float32)
    return 255 - drawn if rng.random() < 0.5 else drawn


def _spectrum(sources: Sources, rng: Draw) -> Pixels:
    frequencies = np.fft.rfft2(sources[0].astype(np.float64))
    changed = frequencies * np.maximum(np.abs(frequencies), 1) ** -rng.uniform(0.2, 0.4)
    changed[0, 0] = 0
    picture = np.fft.irfft2(changed, sources[0].shape)
    return np.asarray(128 + 45 * picture / max(float(picture.std()), 1e-9), np.float32)


# Detail -------------------------------------------------------------------------------------------------------------------


def _median(sources: Sources, rng: Draw) -> GreyImage:
    return np.asarray(cv2.medianBlur(sources[0], 2 * int(rng.integers(4, 9)) + 1), np.uint8)


def _mosaic(sources: Sources, rng: Draw) -> GreyImage:
    size = sources.shape[1]
    coarse = cv2.resize(sources[0], (size // int(rng.integers(6, 13)),) * 2, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_NEAREST), np.uint8)


def _thickened(sources: Sources, rng: Draw) -> GreyImage:
    shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * int(rng.integers(2, 5)) + 1,) * 2)
    return np.asarray((cv2.dilate if rng.random() < 0.5 else cv2.erode)(sources[0], shape), np.uint8)


def _jpeg2000(sources: Sources, rng: Draw) -> GreyImage:
    _, code = cv2.imencode(".jp2", sources[0], (cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, int(rng.integers(8, 20))))
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_GRAYSCALE), np.uint8)


# Acquisition --------------------------------------------------------------------------------------------------------------


def _ringing(sources: Sources, rng: Draw) -> Pixels:
    size = sources.shape[1]
    kept = np.abs(np.fft.fftfreq(size)) < rng.uniform(0.06, 0.12)
    return np.asarray(np.fft.ifft2(np.fft.fft2(sources[0].astype(np.float64)) * np.outer(kept, kept)).real, np.float32)


def _ghosts(sources: Sources, rng: Draw) -> Pixels:
    picture, size, axis = sources[0].astype(np.float32), sources.shape[1], int(rng.integers(2))
    count, strength = int(rng.integers(2, 5)), rng.uniform(0.25, 0.5)
    ghosts = [np.roll(picture, size * n // count, axis) * np.float32(strength / n) for n in range(1, count)]
    return np.asarray(picture + sum(ghosts), np.float32)


def _spikes(sources: Sources, rng: Draw) -> Pixels:
    x, y = _grid(sources.shape[1])
    angle, waves, amount = rng.uniform(0, np.pi), rng.uniform(15, 120), np.float32(rng.uniform(20, 50))
    along = np.float32(waves) * (np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y)
    return np.asarray(sources[0] + amount * np.sin(along), np.float32)


def _motion(sources: Sources, rng: Draw) -> GreyImage:
    length = 2 * int(rng.integers(6, 15)) + 1
    line = np.zeros((length, length), np.float32)
    angle, middle = rng.uniform(0, np.pi), length // 2
    end = [round(middle * float(f(angle))) for f in (np.cos, np.sin)]
    cv2.line(line, (middle - end[0], middle - end[1]), (middle + end[0], middle + end[1]), 1.0)
    return np.asarray(cv2.filter2D(sources[0], -1, line / line.sum(), borderType=cv2.BORDER_REPLICATE), np.uint8)


def _impulses(sources: Sources, rng: Draw) -> GreyImage:
    picture, hit = np.array(sources[0]), rng.random(sources[0].shape) < rng.uniform(0.05, 0.2)
    picture[hit] = rng.choice([0, 255], int(hit.sum()))
    return picture


def _speckle(sources: Sources, rng: Draw) -> Pixels:
    shape = rng.uniform(4, 12)
    return np.asarray(sources[0] * rng.gamma(shape, 1 / shape, sources[0].shape), np.float32)


# Covered ------------------------------------------------------------------------------------------------------------------


def _text(sources: Sources, rng: Draw) -> GreyImage:
    picture, size = np.array(sources[0]), sources.shape[1]
    letters = np.array(list("ABCDEFGHKLMNPRSTUVXYZ0123456789:/-"))
    for _ in range(int(rng.integers(4, 9))):
        line = "".join(rng.choice(letters, int(rng.integers(6, 16))))
        place = (int(rng.integers(-size // 8, size // 2)), int(rng.integers(size // 10, size)))
        scale, tone = size / 256 * rng.uniform(0.6, 1.4), int(rng.choice([0, 255]))
        cv2.putText(picture, line, place, cv2.FONT_HERSHEY_SIMPLEX, scale, tone, max(1, size // 100), cv2.LINE_AA)
    return picture


def _inpainted(sources: Sources, rng: Draw) -> GreyImage:
    size = sources.shape[1]
    height, width = (round(size * share) for share in rng.uniform(0.25, 0.45, 2))
    top, left = int(rng.integers(0, size - height)), int(rng.integers(0, size - width))
    hole = np.zeros((size, size), np.uint8)
    hole[top : top + height, left : left + width] = 1
    return np.asarray(cv2.inpaint(sources[0], hole, 3, cv2.INPAINT_TELEA), np.uint8)


# Two sources --------------------------------------------------------------------------------------------------------------


def _inlay(sources: Sources, rng: Draw) -> GreyImage:
    """Poisson editing: the gradients of the piece, the tones of its border; it takes a fifth to a third of the area."""
    size = sources.shape[1]
    wide, high = (round(size * share) for share in rng.uniform(0.5, 0.66, 2))
    left, top = int(rng.integers(2, size - wide - 2)), int(rng.integers(2, size - high - 2))
    piece = np.zeros((size, size), np.uint8)
    cv2.ellipse(piece, (left + wide // 2, top + high // 2), (wide // 2, high // 2), 0, 0, 360, 255, -1)
    x, y, w, h = cv2.boundingRect(piece)
    host, guest = (cv2.cvtColor(source, cv2.COLOR_GRAY2BGR) for source in sources)
    made = cv2.seamlessClone(guest, host, piece, (x + w // 2, y + h // 2), cv2.NORMAL_CLONE)
    return np.asarray(made[:, :, 0], np.uint8)


def _lighter(sources: Sources, rng: Draw) -> GreyImage:
    return np.asarray(sources.max(axis=0), np.uint8)


def _interlaced(sources: Sources, rng: Draw) -> GreyImage:
    rows = np.arange(sources.shape[1]) // int(rng.integers(4, 13)) % 2
    return np.asarray(np.where(rows[:, None] == 0, sources[0], sources[1]), np.uint8)


_MAKERS: Mapping[Unseen, Callable[[Sources, Draw], Picture]] = {
    Unseen.PERSPECTIVE: _perspective,
    Unseen.LENS: _lens,
    Unseen.SWIRL: _swirl,
    Unseen.TURNED: _turned,
    Unseen.SHUFFLED: _shuffled,
    Unseen.EQUALISED: _equalised,
    Unseen.SOLARISED: _solarised,
    Unseen.POSTERISED: _posterised,
    Unseen.EDGES: _edges,
    Unseen.SPECTRUM: _spectrum,
    Unseen.MEDIAN: _median,
    Unseen.MOSAIC: _mosaic,
    Unseen.THICKENED: _thickened,
    Unseen.RINGING: _ringing,
    Unseen.GHOSTS: _ghosts,
    Unseen.SPIKES: _spikes,
    Unseen.MOTION: _motion,
    Unseen.JPEG2000: _jpeg2000,
    Unseen.IMPULSES: _impulses,
    Unseen.SPECKLE: _speckle,
    Unseen.TEXT: _text,
    Unseen.INPAINTED: _inpainted,
    Unseen.INLAY: _inlay,
    Unseen.LIGHTER: _lighter,
    Unseen.INTERLACED: _interlaced,
}
