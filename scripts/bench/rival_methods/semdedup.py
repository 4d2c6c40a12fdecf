"""SemDeDup: Abbas et al., data-efficient learning at web-scale through semantic deduplication (2023).

After the paper (arXiv 2303.09540) and the authors' code (repository facebookresearch/SemDeDup, `semdedup.py`, `clustering/`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embeddings.pipeline import one_thread_each
from embeddings.views.resnet import ResNet
from embeddings.views.resnet_settings import ResNetSettings
from rival_methods.rival import Compared, Groups, Pictures, cosine, unit

BATCH = 256  # pictures shrunk together


@dataclass(frozen=True)
class SemDeDup:
    """1 - cosine of a network's features, within the clusters of a k-means of all pictures alone.

    Pictures of different clusters are never compared, as published. Other than published: the features are those of the ResNet-18
    that synthtrace ships, before whitening, instead of CLIP's; and ten clusters for a few thousand pictures, instead of 50,000
    for 440 million. It has no fixed rule: the published threshold is chosen by how much shall be left out.

    Attributes:
        clusters: of the k-means.
        seed: of it.
    """

    clusters: int = 10
    seed: int = 0
    name = "semdedup"

    def compare(self, real: Pictures, generated: Pictures, groups: Groups) -> Compared:
        """See `Rival`."""
        from sklearn.cluster import KMeans

        one, other = (unit(features(side)) for side in (real, generated))
        with one_thread_each():
            member = KMeans(self.clusters, n_init=1, random_state=self.seed).fit_predict(np.concatenate([one, other]))
        apart = cosine(one, other)
        apart[member[: len(one), None] != member[None, len(one) :]] = np.inf
        return Compared(apart)


def features(pictures: Pictures) -> NDArray[np.float32]:
    """(n, 512) of the network that synthtrace ships."""
    view = ResNet(ResNetSettings(), {})
    parts = [view.rows(view.features(list(pictures[start : start + BATCH]))) for start in range(0, len(pictures), BATCH)]
    return np.concatenate(parts)
