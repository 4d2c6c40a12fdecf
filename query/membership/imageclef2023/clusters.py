"""Method `clusters`: hierarchical clustering of real and generated images, named by the labelled images in each cluster."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embeddings.pipeline import one_thread_each
from query.membership.case import Answer, Case, Model, Needs
from query.membership.features import drawn, labelled, pooled, same_sight, sight
from query.membership.labels import both_kinds

GENERATED = 2  # of a leaf, beside NOT_USED and USED


@dataclass(frozen=True)
class Clusters:
    """Clustering of Bharathi et al. (CLEF 2023 working notes): F1 0.521 on the task's test images.

    Pooled features are agglomerated, labelled and generated images joined by Ward's criterion. Published labels
    came from the clusters' numbers, which mean nothing; here a cluster has the label of most labelled images in it. A later image
    belongs to the cluster with the nearest centroid among those that hold a labelled image.

    Attributes:
        components: groups of features whose means are clustered; published were 32.
        clusters: the tree is cut into so many; the team's cut of its own tree left 8. A cut at its height (40) would mean
            something else for every network.
        generated: at most so many generated images are drawn; published were 500.
    """

    components: int = 32
    clusters: int = 8
    generated: int = 500
    name = "clusters"
    needs = Needs.LABELS
    looks = True
    views = ("resnet",)

    def fit(self, case: Case) -> Model:
        """Arrays: groups (c,) of the features; centroids (k, components), shares (k,) of used among a cluster's labelled images;
        linkage (n - 1, 4) as SciPy has it; leaves (n,) 0 not used, 1 used, 2 generated."""
        from scipy.cluster.hierarchy import cophenet, fcluster, linkage
        from scipy.spatial.distance import pdist
        from sklearn.cluster import FeatureAgglomeration

        both_kinds(case, self.name)
        features = sight(case, self.views)
        rows, used = labelled(case)
        generated = pooled(case.generated, drawn(case.generated, self.generated, case.seed))
        raw = np.concatenate([pooled(case.real, rows), generated]).astype(np.float64)
        leaves = np.concatenate([used, np.full(len(generated), GENERATED)])
        with one_thread_each():
            groups = FeatureAgglomeration(min(self.components, raw.shape[1])).fit(raw).labels_.astype(np.int64)
            reduced = _means(raw, groups)
            tree = linkage(reduced, "ward")
            correlation = float(cophenet(tree, pdist(reduced))[0])
        centroids, shares = _named(reduced, fcluster(tree, self.clusters, "maxclust"), leaves)
        arrays = {"groups": groups, "centroids": centroids, "shares": shares, "linkage": tree, "leaves": leaves}
        return Model(self.name, arrays, {"features": features, "cophenetic": correlation})

    def answer(self, case: Case, model: Model) -> Answer:
        """Share of used images among the labelled ones of the cluster that an image belongs to."""
        same_sight(case, model)
        arrays = model.arrays
        reduced = _means(pooled(case.real, np.arange(len(case.real))).astype(np.float64), arrays["groups"])
        nearest = np.array([((arrays["centroids"] - row) ** 2).sum(axis=1).argmin() for row in reduced], np.int64)
        detail = {
            "cophenetic": model.facts["cophenetic"],
            "linkage": arrays["linkage"].tolist(),
            "leaves": [("not used", "used", "generated")[leaf] for leaf in arrays["leaves"]],
            "cluster": nearest.tolist(),
        }
        note = "Used where at least half of the labelled images of the nearest cluster were used."
        return Answer(arrays["shares"][nearest], 0.5, calibrated=True, note=note, detail=detail)


def _means(features: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, c) -> (n, k): mean of each group of features, as `FeatureAgglomeration.transform`, row by row."""
    return np.stack([features[:, groups == group].mean(axis=1) for group in range(groups.max() + 1)], axis=1)


def _named(
    points: NDArray[np.float64], clusters: NDArray[np.int32], leaves: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centroid, and share of used among the labelled, of each cluster that holds a labelled image."""
    members = [clusters == number for number in np.unique(clusters)]
    known = [member for member in members if np.any(leaves[member] != GENERATED)]
    centroids = np.array([points[member].mean(axis=0) for member in known])
    shares = np.array([leaves[member & (leaves != GENERATED)].mean() for member in known])
    return centroids, shares
