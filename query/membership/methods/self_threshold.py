"""Method `self-threshold`: nearer to a generated image than real images usually are to each other."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from query.membership.case import Answer, Case, MembershipError, Model, Needs, Values
from query.membership.methods.density_ratio import real_distances
from query.membership.proximity import Measure, matched_nearest, measure_of_draw, nearest_of_draw


class Rule(StrEnum):
    """How a threshold comes from real images' distances to their nearest neighbour."""

    MINIMUM = "minimum"
    DEVIATIONS = "deviations"  # mean - 2 standard deviations
    PERCENTILE = "percentile"  # the fifth


@dataclass(frozen=True)
class SelfThreshold:
    """Used where the nearest generated image is nearer than real images are to each other. It works without any label.

    The best entry of ImageCLEFmedical GANs 2023 had the idea, see `query.membership.methods.vcmi.Vcmi` for its own rule; Dar et
    al. (Nature Biomedical Engineering 2025) take a percentile of the distances between real images. Here both sides get equally
    many comparisons: as many generated images as an image has neighbours, or the other way round where those are more; the
    nearest of a draw is computed, see `matched_nearest`. Fellows are real images of other groups.

    Attributes:
        rule: how the threshold comes about.
        deviations, percent: of those rules.
        view: what distances are measured by.
    """

    rule: Rule = Rule.DEVIATIONS
    deviations: float = 2.0
    percent: float = 5.0
    view: str = "resnet"
    name = "self-threshold"
    needs = Needs.NOTHING
    looks = False

    @property
    def views(self) -> tuple[str, ...]:
        """The one it measures by."""
        return (self.view,)

    def measures(self, case: Case) -> list[Measure]:
        """See `query.membership.proximity.Measuring`."""
        if self.view not in case.generated.specs:
            return []
        groups = case.groups[~case.real.blank[self.view]]
        others = len(groups) - int(np.unique(groups, return_counts=True)[1].max(initial=0))
        size = min(others, len(case.generated))
        return [measure_of_draw(case, self.view, size)] if size > 0 else []

    def fit(self, case: Case) -> Model:
        """Nothing to learn: the real images of the case are their own measure."""
        return Model(self.name)

    def answer(self, case: Case, model: Model) -> Answer:
        """Minus the distance to the nearest generated image, at equal numbers."""
        seen = np.flatnonzero(~case.real.blank[self.view])
        neighbours = np.sort(real_distances(case, self.view)[np.ix_(seen, seen)], axis=1)
        counts = np.isfinite(neighbours).sum(axis=1)
        if len(seen) < 3 or counts.min() < 1:
            raise MembershipError(f"{self.name} compares real images with each other and needs at least three, of several groups")
        size = int(min(counts.min(), len(case.generated)))
        own = np.array([matched_nearest(row[None, :count], size)[0] for row, count in zip(neighbours, counts, strict=True)])
        value = np.full(len(case.real), np.nan)
        value[seen] = -nearest_of_draw(case, self.view, size)[seen]
        threshold = -self._threshold(own)
        note = f"Used where nearer to {size} generated images than real ones are to {size} others ({self.rule} of {self.view})."
        return Answer(value, threshold, calibrated=False, note=note, detail={"comparisons": size})

    def _threshold(self, own: Values) -> float:
        if self.rule is Rule.MINIMUM:
            return float(own.min())
        if self.rule is Rule.PERCENTILE:
            return float(np.percentile(own, self.percent))
        return float(own.mean() - self.deviations * own.std())
