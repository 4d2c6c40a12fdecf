"""Vectors that nothing was fitted on, to tell how diverse a set is beside another: hashes, and features before whitening.

Whitened vectors would not do. Their axes are fitted on one of the two sets, whose images lie farther apart by them than others
of the same kind do.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from embeddings.images.errors import ImageError
from embeddings.pipeline import in_order
from embeddings.types import EmbeddingSpec, GreyImage, Metric
from indexer.build.build import Progress, silent
from query.duplication.diversity import Vectors
from query.inputs.images import Images

_BATCH = 32  # images looked at together; as many as the network takes at a time
Rows = NDArray[np.int64]
Features = Mapping[str, NDArray[np.float32]]  # view -> (m, d), NaN where an image cannot be read again


def features_of_views(images: Images, rows: Rows, progress: Progress = silent) -> dict[str, NDArray[np.float32]]:
    """What each view sees of these rows before whitening; images are read again. Views of parts of an image are left out."""
    widths = _widths(images, rows)
    batches = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)] if widths else []
    parts: dict[str, list[NDArray[np.float32]]] = {view: [] for view in widths}
    for done, found in enumerate(in_order(lambda batch: _seen(images, batch, widths), batches), 1):
        for view, values in found.items():
            parts[view].append(values)
        progress("reading images for diversity", min(done * _BATCH, len(rows)), len(rows))
    return {view: np.concatenate(values) for view, values in parts.items()}


def _widths(images: Images, rows: Rows) -> dict[str, int]:
    """View -> length of its features, of those that make one vector an image: told by the first that can be read."""
    views = [view for view in images.views if images.specs[view].metric is Metric.COSINE]
    for row in rows.tolist():
        try:
            read = images.read(row)
        except ImageError:
            continue
        values = {view: np.asarray(images.embedders[view].features([read]).values[0]) for view in views}
        return {view: each.shape[1] for view, each in values.items() if len(each) == 1}
    return {}


def _seen(images: Images, rows: Rows, widths: Mapping[str, int]) -> dict[str, NDArray[np.float32]]:
    """Features of a batch."""
    read: dict[int, GreyImage] = {}
    for place, row in enumerate(rows.tolist()):
        try:
            read[place] = images.read(row)
        except ImageError:  # the search for duplicates names it
            continue
    found = {view: np.full((len(rows), width), np.nan, np.float32) for view, width in widths.items()}
    for view, values in found.items() if read else ():
        values[list(read)] = np.concatenate(images.embedders[view].features(list(read.values())).values)
    return found


def centre_of(features: Features) -> dict[str, NDArray[np.float32]]:
    """View -> (d,) mean: what all images share tells nothing of how they differ."""
    return {view: np.nanmean(values, axis=0) for view, values in features.items()}


def unfitted(images: Images, rows: Rows, features: Features, centre: Features) -> dict[str, Vectors]:
    """Hashes, and features less the centre as vectors of length 1.

    Args:
        images: of a set.
        rows: (m,) of those that take part.
        features: of these rows, see `features_of_views`.
        centre: view -> (d,), of the real images where sets are compared.
    """
    found = {}
    for view, spec in images.specs.items():
        seen = ~np.asarray(images.blank[view][rows])
        if spec.metric is Metric.HAMMING:
            found[view] = Vectors(spec, images.vectors[view][rows], seen)
        elif view in features:
            apart = features[view] - centre[view]
            known = np.isfinite(apart).all(axis=1)
            apart = np.where(known[:, None], apart, 0)
            long = np.linalg.norm(apart, axis=1, keepdims=True)
            values = np.asarray(apart / np.where(long > 0, long, 1), np.float32)
            found[view] = Vectors(EmbeddingSpec(view, values.shape[1], Metric.COSINE), values, seen & known)
    return found
