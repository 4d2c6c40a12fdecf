"""Features of images that tell their kind: size, grey levels, spectrum, borders, layout, file format.

No generated image has a part in them, so images that left a trace in the generator look like others here. That is why vectors of
views are not among them: their axes were fitted on the generated images.
"""

from collections import Counter
from pathlib import PurePath

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.types import GreyImage
from query.inputs.images import Images
from query.membership.case import Values
from query.membership.features import look
from query.membership.reference_check import Feature, Features

FORMATS = 5  # suffixes of files that are told apart, the most frequent ones
_THUMBNAIL, _LAYOUTS = 16, 6  # pixels of the square that layout is read from; its principal components
_OCTAVES = 4  # of detail, the finest first
_BLOCK = 8  # pixels of a JPEG block
_EMPTY = 2.0  # grey levels of spread within a row or column that shows nothing
_EDGE = 24.0  # grey levels from one pixel to the next that make an edge
_LEAST = -2.0  # log10 of the contrast of a picture that shows nothing
_SMALL = 0.05  # grey levels: a flat picture has no steps

MEASURED = (
    Feature("height", "higher", "less high", 0),
    Feature("width", "wider", "narrower", 0),
    Feature("width / height", "wider for their height", "narrower for their height"),
    Feature("mean grey level", "brighter", "darker", 1),
    Feature("standard deviation of grey levels", "richer in contrast", "poorer in contrast", 1),
    *(Feature(f"{share}% quantile of grey levels", "brighter", "darker", 0) for share in (5, 25, 50, 75, 95)),
    Feature("share of black pixels", "richer in black", "poorer in black"),
    Feature("share of white pixels", "richer in white", "poorer in white", 3),
    Feature("entropy of grey levels in bits", "richer in grey levels", "poorer in grey levels"),
    Feature("number of grey levels", "richer in grey levels", "poorer in grey levels", 0),
    Feature("share of empty rows and columns at the border", "less tightly cropped", "more tightly cropped"),
    Feature("mean grey level of the corners", "brighter in the corners", "darker in the corners", 1),
    Feature("centre of brightness, share of the width", "brighter on the right", "brighter on the left", 3),
    Feature("centre of brightness, share of the height", "brighter at the bottom", "brighter at the top", 3),
    *(
        Feature(f"log contrast of details of {2**octave}-{2 ** (octave + 1)} pixels", "sharper or noisier", "smoother")
        for octave in range(_OCTAVES)
    ),
    Feature("fall of contrast towards fine details", "smoother", "sharper or noisier"),
    Feature("share of edge pixels", "richer in edges", "poorer in edges", 3),
    Feature("steps between blocks of 8 pixels", "more like JPEG", "less like JPEG"),
)


def features_of(images: Images) -> Features:
    """Features of all images; pixels are read once, in batches, on all cores.

    Raises:
        ImageError: a file is not there any more, or not what it was.
    """
    seen = list(look(images, np.arange(len(images)), lambda batch: [(measured(one), _thumbnail(one)) for one in batch]))
    values = np.array([one for batch in seen for one, _ in batch])
    layout = _principal(np.array([small for batch in seen for _, small in batch]))
    formats, flags = _formats(images)
    other = "laid out differently"
    layouts = [Feature(f"layout, component {number + 1}", other, other, 0) for number in range(layout.shape[1])]
    return Features([*MEASURED, *layouts, *formats], np.hstack([values, layout, flags]))


def measured(image: GreyImage) -> NDArray[np.float64]:
    """(24,) values of `MEASURED`, of an image (H, W) uint8."""
    grey = image.astype(np.float32)
    height, width = image.shape
    counts = np.bincount(image.ravel(), minlength=256) / image.size
    some = counts[counts > 0]
    below = np.cumsum(counts)
    mean = float(counts @ np.arange(256))
    spread = float(np.sqrt(counts @ (np.arange(256) - mean) ** 2))
    details = _details(grey)
    return np.array(
        [
            *(height, width, width / height, mean, spread),
            *(np.searchsorted(below, share) for share in (0.05, 0.25, 0.5, 0.75, 0.95)),
            *(counts[0], counts[255], -(some @ np.log2(some)), len(some)),
            *(_border(grey), _corners(grey), *_centre(grey)),
            *(*details, details[-1] - details[0]),
            *(_edges(grey), _blocks(grey)),
        ],
        np.float64,
    )


def _details(grey: NDArray[np.float32]) -> list[float]:
    """Contrast in each octave of detail, log10 of grey levels: what is lost when the picture is halved again and again."""
    found = []
    for _ in range(_OCTAVES):
        height, width = grey.shape
        if min(height, width) < 2:
            found.append(_LEAST)
            continue
        half = _shrunk(grey, width // 2, height // 2)
        lost = grey - cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR)
        found.append(float(np.log10(max(float(lost.std()), 10**_LEAST))))
        grey = half
    return found


def _border(grey: NDArray[np.float32]) -> float:
    """Share of the rows and columns that show nothing, counted from the edges up to the first that does."""
    empty = 0
    for axis in (0, 1):
        shows = np.flatnonzero(grey.std(axis=1 - axis) > _EMPTY)
        empty += grey.shape[axis] - (int(shows[-1] - shows[0]) + 1 if len(shows) else 0)
    return empty / sum(grey.shape)


def _corners(grey: NDArray[np.float32]) -> float:
    """Mean over four squares of an eighth of the picture's side."""
    side = max(1, min(grey.shape) // 8)
    ends = slice(None, side), slice(-side, None)
    return float(np.mean([grey[rows, columns].mean() for rows in ends for columns in ends]))


def _centre(grey: NDArray[np.float32]) -> tuple[float, float]:
    """Where the grey levels have their centre of mass, from the left and from the top; 0.5 where all is black."""
    columns, rows = grey.sum(axis=0, dtype=np.float64), grey.sum(axis=1, dtype=np.float64)
    if columns.sum() == 0:
        return 0.5, 0.5
    left, top = (each @ (np.arange(len(each)) + 0.5) / each.sum() / len(each) for each in (columns, rows))
    return float(left), float(top)


def _edges(grey: NDArray[np.float32]) -> float:
    """Share of the pixels that differ much from the next one to the right or below."""
    return float(np.mean([np.mean(np.abs(np.diff(grey, axis=axis)) > _EDGE) if grey.shape[axis] > 1 else 0.0 for axis in (0, 1)]))


def _blocks(grey: NDArray[np.float32]) -> float:
    """Log2 of the mean step across the borders of JPEG's blocks over that elsewhere; 0 where the picture is too small."""
    found = []
    for axis in (0, 1):
        steps = np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis)
        across = np.arange(len(steps)) % _BLOCK == _BLOCK - 1
        if across.any():
            found.append(np.log2((steps[across].mean() + _SMALL) / (steps[~across].mean() + _SMALL)))
    return float(np.mean(found)) if found else 0.0


def _thumbnail(image: GreyImage) -> NDArray[np.float32]:
    """(256,) grey levels of the picture shrunk to a square."""
    return _shrunk(image.astype(np.float32), _THUMBNAIL, _THUMBNAIL).ravel()


def _shrunk(grey: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _principal(thumbnails: NDArray[np.float32]) -> Values:
    """(n, at most 6) leading principal components, each with the sign that makes its largest weight positive."""
    centred = thumbnails.astype(np.float64) - thumbnails.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, : min(_LAYOUTS, len(thumbnails) - 1)]
    return np.asarray(centred @ (axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])))


def _formats(images: Images) -> tuple[list[Feature], Values]:
    """Whether a file has each of the most frequent suffixes, and whether it was in colour or deep grey before it became 8-bit."""
    suffixes = [PurePath(str(images.path(row))).suffix.lower() or "none" for row in range(len(images))]
    kinds = [f"suffix {suffix}" for suffix in suffixes]
    modes = [f"pixels of mode {mode}" for mode in images.collection.images["mode"].to_pylist()] if images.collection else []
    flags = []
    features = []
    for named in (kinds, modes):
        for name, _ in sorted(Counter(named).items(), key=lambda each: (-each[1], each[0]))[:FORMATS]:
            features.append(
                Feature(f"share of files with {name}", f"more often files with {name}", f"less often files with {name}")
            )
            flags.append([each == name for each in named])
    return features, np.array(flags, np.float64).T
