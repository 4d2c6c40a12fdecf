"""View `toy`: means of 8 x 8 blocks, for tests of what needs a collection and no network. Importing this file registers it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.types import Embeddings, EmbeddingSpec, Features, GreyImage, KMeans, Metric
from embeddings.views.registry import register
from embeddings.views.whitening import unit_rows
from indexer.build.build import Settings

SIDE = 8


@dataclass(frozen=True)
class Toy:
    """The view and its embedder: it fits nothing."""

    decoding: Mapping[str, Any]
    name = "toy"
    note = ""
    precision = "float32"
    weights = ""

    @property
    def spec(self) -> EmbeddingSpec:
        return EmbeddingSpec(self.name, SIDE**2, Metric.COSINE, {"decoding": dict(self.decoding)})

    def features(self, images: Sequence[GreyImage]) -> Features:
        means = np.array([block_means(image) for image in images], np.float32).reshape(-1, SIDE**2)
        means -= means.mean(axis=1, keepdims=True)
        return Features(list(unit_rows(means)[:, None]), np.asarray(means.std(axis=1) < 1))

    def finish(self, features: Features) -> Embeddings:
        return Embeddings(self.spec, np.array(features.values, np.float32).reshape(-1, SIDE**2), features.blank)

    def embed(self, images: Sequence[GreyImage]) -> Embeddings:
        return self.finish(self.features(images))

    def fit(self, features: Features, kmeans: KMeans) -> dict[str, NDArray[Any]]:
        return {}

    def embedder(self, learned: Mapping[str, NDArray[Any]]) -> "Toy":
        return self


def block_means(image: GreyImage) -> NDArray[np.float64]:
    """(64,) means of the blocks of an image of at least 8 x 8 pixels."""
    rows, columns = (np.arange(SIDE) * size // SIDE for size in image.shape)
    sums = np.add.reduceat(np.add.reduceat(image.astype(np.float64), rows, axis=0), columns, axis=1)
    areas = np.outer(np.diff([*rows, image.shape[0]]), np.diff([*columns, image.shape[1]]))
    return np.asarray((sums / areas).ravel())


register("toy", {}, lambda options, decoding, device: Toy(decoding))
TOY = Settings(views={"phash": {}, "toy": {}})
