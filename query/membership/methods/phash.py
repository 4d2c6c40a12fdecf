"""Methods `phash` and `phash-calibrated`: apply a pHash threshold, within so many bits of some generated image."""

from dataclasses import dataclass

import numpy as np

from query.membership.case import Answer, Case, MembershipError, Model, Needs, Values
from query.membership.proximity import Measure, Nearness, measure_of, nearest

BITS = 50  # as published


@dataclass(frozen=True)
class PHashThreshold:
    """The source map's rule: used where the nearest generated image is within a number of bits of its 256-bit perceptual hash.

    Published with 50 bits, which nothing calibrates (Subburam et al., CLEF 2023 working notes).

    Attributes:
        bits: the threshold; None finds it on images known not to be used: at most the share `wrong` of them lies within it.
        wrong: see there.
    """

    bits: int | None = BITS
    wrong: float = 0.05
    looks = False
    views = ("phash",)

    @property
    def name(self) -> str:
        """``phash`` with a threshold that was given, ``phash-calibrated`` with one that was found."""
        return "phash-calibrated" if self.bits is None else "phash"

    @property
    def needs(self) -> Needs:
        """Nothing, but for a threshold that must be found."""
        return Needs.REFERENCE if self.bits is None else Needs.NOTHING

    def measures(self, case: Case) -> list[Measure]:
        """See `query.membership.proximity.Measuring`."""
        return [measure_of("phash", Nearness.D1)] if "phash" in case.generated.specs else []

    def fit(self, case: Case) -> Model:
        """The threshold. One that was found belongs to the number of generated images: more are nearer by number alone."""
        if self.bits is not None:
            return Model(self.name, facts={"bits": self.bits})
        bits = _nearest(case)[case.reference]
        bits = np.sort(bits[np.isfinite(bits)])
        allowed = int(self.wrong * len(bits))
        if not len(bits):
            raise MembershipError(f"{self.name} needs images known not to be used; name them with --unused DIR")
        return Model(self.name, facts={"bits": float(bits[allowed]) - 0.5, "generated": len(case.generated)})

    def answer(self, case: Case, model: Model) -> Answer:
        """Minus the distance to the nearest, in bits."""
        bits = model.facts["bits"]
        found = "generated" in model.facts
        source = "found on images known not to be used" if found else "as published, calibrated by nothing"
        return Answer(-_nearest(case), -float(bits), calibrated=found, note=f"Used within {bits:g} bits, {source}.")


def _nearest(case: Case) -> Values:
    """(nr,) bits to the nearest generated image, NaN for a blank one."""
    return np.where(case.real.blank["phash"], np.nan, nearest(case, "phash", 1)[:, 0].astype(np.float64))
