"""Method `sift-knn`: histograms of visual words, majority of the nearest labelled images."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.pipeline import one_thread_each
from query.membership.case import Answer, Case, MembershipError, Model, Needs
from query.membership.features import descriptors, drawn, labelled, same_sight, sight
from query.membership.labels import both_kinds


@dataclass(frozen=True)
class SiftKnn:
    """SIFT and nearest neighbours of Subburam et al. (CLEF 2023 working notes), submission 2: F1 0.449 on the task's test images.

    The vocabulary comes from generated, used and not used images, as the notes say; each image is a histogram of how many of its
    descriptors fall on each word.

    Attributes:
        words: size of the vocabulary.
        neighbours: labelled images that vote, odd so that there is a majority.
        generated: at most so many generated images are drawn for the vocabulary; published were 500.
        points: at most so many descriptors are drawn for the vocabulary.
    """

    words: int = 100
    neighbours: int = 5
    generated: int = 500
    points: int = 100_000
    name = "sift-knn"
    needs = Needs.LABELS
    looks = True
    views = ("sift",)

    def fit(self, case: Case) -> Model:
        """Arrays: words (w, 128) float32; histograms (n, w) float64 and used (n,) int64 of the labelled images."""
        both_kinds(case, self.name)
        features = sight(case, self.views)
        rows, used = labelled(case)
        if len(rows) < self.neighbours:
            raise MembershipError(f"{self.name} asks {self.neighbours} labelled images and there are {len(rows)}: label more")
        real = descriptors(case.real, rows)
        generated = descriptors(case.generated, drawn(case.generated, self.generated, case.seed))
        words = self._vocabulary(np.concatenate([*real, *generated]), case.seed)
        arrays: dict[str, NDArray[Any]] = {"words": words, "histograms": histograms(real, words), "used": used}
        return Model(self.name, arrays, {"features": features, "neighbours": self.neighbours})

    def answer(self, case: Case, model: Model) -> Answer:
        """Share of used images among the nearest labelled ones; unknown where an image has no keypoint."""
        same_sight(case, model)
        from sklearn.neighbors import KNeighborsClassifier

        # brute force: among equally near images the first in the order of their pixels counts, on any machine
        neighbours = KNeighborsClassifier(model.facts["neighbours"], algorithm="brute")
        neighbours.fit(model.arrays["histograms"], model.arrays["used"])
        seen = histograms(descriptors(case.real, np.arange(len(case.real))), model.arrays["words"])
        with one_thread_each():
            value = neighbours.predict_proba(seen)[:, 1]
        value[seen.sum(axis=1) == 0] = np.nan
        note = f"Used where most of the {model.facts['neighbours']} nearest labelled images were used."
        return Answer(value, 0.5, calibrated=True, note=note)

    def _vocabulary(self, points: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
        from sklearn.cluster import KMeans

        if len(points) < self.words:
            raise MembershipError(f"{self.name} makes {self.words} words of {len(points)} keypoints: give it more images")
        if len(points) > self.points:
            points = points[np.sort(np.random.default_rng(seed).choice(len(points), self.points, replace=False))]
        with one_thread_each():  # the sums of several threads have other last bits
            made: NDArray[np.float32] = KMeans(self.words, n_init=1, random_state=seed).fit(points).cluster_centers_
        return made.astype(np.float32)


def histograms(images: Iterable[NDArray[np.float32]], words: NDArray[np.float32]) -> NDArray[np.float64]:
    """How many of an image's descriptors, (m, 128), have each of the (w, 128) words as the nearest: (n, w)."""
    lengths = (words * words).sum(axis=1) / 2
    with one_thread_each():
        nearest = [(points @ words.T - lengths).argmax(axis=1) for points in images]
    return np.array([np.bincount(found, minlength=len(words)) for found in nearest], np.float64).reshape(-1, len(words))
