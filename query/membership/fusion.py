"""Method `fusion`, the primary one: a list of scores fixed beforehand, each measured against the reference, averaged."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from query.membership.nearness import Nearness, nearness
from query.membership.types import Answer, Case, MembershipError, Model, Needs, Values

# Score -> how much it counts; chosen on part `dev` of a diffusion model's images and on a benchmark of seed 101 (docs/METHODS.md).
PRIMARY: Mapping[tuple[str, Nearness], float] = {
    ("pixels", Nearness.RESIDUAL): 2.0,
    ("pixels", Nearness.NEAR): 1.0,
    ("resnet", Nearness.NEAR): 1.0,
    ("phash", Nearness.D1_D50): 1.0,
    ("sift", Nearness.D1): 1.0,
}
LEAST = 5  # reference images that a mean and a spread are taken from


@dataclass(frozen=True)
class Fusion:
    """Mean of scores in standard deviations of the reference: how much nearer to generated images than images never used are.

    Standard deviations, not ranks: ranks against few images end at the first place, where all that stand out are alike.

    Attributes:
        scores: (view, score) -> weight; those of views that the collection lacks are left out.
    """

    scores: Mapping[tuple[str, Nearness], float] = field(default_factory=lambda: PRIMARY)
    name = "fusion"
    needs = Needs.REFERENCE
    views = ()

    def fit(self, case: Case) -> Model:
        """Nothing to learn: the reference belongs to the case."""
        return Model(self.name)

    def answer(self, case: Case, model: Model) -> Answer:
        """Above 0 an image is nearer than the mean of the reference. A score that is not defined counts as that mean."""
        chosen = {key: weight for key, weight in self.scores.items() if key[0] in case.generated.specs}
        if not chosen:
            needed = ", ".join(sorted({view for view, _ in self.scores}))
            raise MembershipError(f"{self.name} needs one of the views {needed}; index with one of them")
        parts = np.array([weight * self._standardised(case, *key) for key, weight in chosen.items()])
        total = np.nansum(parts, axis=0) / sum(chosen.values())
        value = np.where(np.isfinite(parts).any(axis=0), total, np.nan)
        scores = [f"{which} of {view}" for view, which in chosen]
        said = "Used where it is nearer to generated images than reference images are, by " + ", ".join(scores) + "."
        return Answer(value, 0.0, calibrated=False, said=said, detail={"scores": scores, "weights": list(chosen.values())})

    def _standardised(self, case: Case, view: str, which: Nearness) -> Values:
        score = nearness(case, view, which)
        known = score[case.reference]
        known = known[np.isfinite(known)]
        if len(known) < LEAST:
            few = f"{self.name} needs at least {2 * LEAST} images known not to be used, of several groups"
            raise MembershipError(f"{few}; name them with --unused DIR")
        return np.asarray((score - known.mean()) / max(float(known.std(ddof=1)), 1e-9))
