"""Features that fidelity is measured on: what view `resnet` sees of an image before anything was fitted on generated images.

Whitened vectors, as collections hold them, would not do. Their axes are fitted on the generated images: what these lack is left
out, so that recall is near 1 whatever they lack, two samples of one kind differ, and two generators are measured in two spaces.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embeddings.images.errors import ImageError
from embeddings.types import Metric
from indexer.build.build import Progress
from query.inputs.images import Images
from query.leakage.draws import Rows
from query.membership.features import look
from query.quality.figures import FidelityError

VIEW = "resnet"
POOL = 10_000  # images of a side that are read again, drawn where there are more


def drawn_rows(digests: Sequence[str], seed: int, count: int = POOL) -> Rows:
    """At most `count` rows of a collection, drawn; draw and order depend on contents and not on names."""
    order = np.argsort(np.array(digests, str), kind="stable")
    return order if len(order) <= count else order[np.sort(np.random.default_rng(seed).permutation(len(order))[:count])]


def features_of(images: Images, rows: Rows, view: str, progress: Progress) -> NDArray[np.float32]:
    """(n, d) float32 of these rows, neither centred nor whitened: of `resnet` the pooled features. Images are read again.

    Raises:
        FidelityError: the collection has no such view, or one of several vectors an image; an image cannot be read again.
    """
    name = images.stored.folder.name  # without its path: it is recorded and reported as the reason
    if view not in images.embedders:
        raise FidelityError(f"{name}: it was indexed without view {view}; index it again with --view {view}")
    if images.specs[view].metric is not Metric.COSINE:
        raise FidelityError(f"view {view} makes codes of bits, and fidelity takes features; name resnet or pixels")
    found: list[NDArray[np.float32]] = []
    try:
        for part in look(images, rows, images.embedders[view].features):
            found += [np.asarray(values, np.float32) for values in part.values]
            progress("fidelity", len(found), len(rows))
    except ImageError as error:
        raise FidelityError(f"{name}: an image cannot be read again: {error}") from error
    if any(len(values) != 1 for values in found):
        raise FidelityError(f"view {view} sees parts of an image, not the whole; name resnet or pixels")
    return np.concatenate(found)
