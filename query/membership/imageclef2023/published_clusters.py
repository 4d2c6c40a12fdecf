"""Method `clusters-published`: two clusters of the images in question, taken for not used and used by their numbers."""

from dataclasses import dataclass, field

import numpy as np

from embeddings.pipeline import one_thread_each
from query.membership.case import UNKNOWN, Answer, Case, MembershipError, Model, Needs
from query.membership.features import Eye
from query.membership.imageclef2023.imagenet import ImageNet


@dataclass(frozen=True)
class PublishedClusters:
    """What the notebook of Bharathi et al. (CLEF 2023 working notes; F1 0.521) does to the images in question.

    Ward's tree of their 2,048 features is cut into two clusters, and scikit-learn's number of a cluster, 0 or 1, is the answer.
    No label and no generated image has a part in it, so the number cannot mean "used": 1 is the cluster whose last merger was at
    the smaller height. `Clusters` is what the paper describes.

    Attributes:
        eye: where features come from.
    """

    eye: Eye = field(default_factory=lambda: ImageNet("resnet50"))
    name = "clusters-published"
    needs = Needs.NOTHING
    looks = True  # at which images are in question

    @property
    def views(self) -> tuple[str, ...]:
        """Those that features come from."""
        return self.eye.views

    def fit(self, case: Case) -> Model:
        """Nothing is learned: the images in question are clustered anew."""
        return Model(self.name, facts={"features": self.eye.facts(case)})

    def answer(self, case: Case, model: Model) -> Answer:
        """The number of an image's cluster, 0 or 1; NaN for images whose membership is known."""
        from sklearn.cluster import AgglomerativeClustering

        self.eye.check(case, model)
        asked = np.flatnonzero(case.used == UNKNOWN)
        value = np.full(len(case.real), np.nan)
        if len(asked) == 1:
            raise MembershipError(f"{self.name} clusters the images in question, and there is one alone: give at least two")
        if len(asked):
            features = self.eye.real(case, asked).astype(np.float64)
            with one_thread_each():
                value[asked] = AgglomerativeClustering(n_clusters=2, linkage="ward").fit_predict(features)
        return Answer(value, 1.0, calibrated=False, note="Used where the cluster's number is 1, as published; it means nothing.")
