"""Methods `phash` and `phash-calibrated`: apply a pHash threshold, within so many bits of some generated image."""

from dataclasses import dataclass

import numpy as np

from query.membership.case import Answer, Case, MembershipError, Model, Needs, Values

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
    views = ("phash",)

    @property
    def name(self) -> str:
        """``phash`` with a threshold that was given, ``phash-calibrated`` with one that was found."""
        return "phash-calibrated" if self.bits is None else "phash"

    @property
    def needs(self) -> Needs:
        """Nothing, but for a threshold that must be found."""
        return Needs.REFERENCE if self.bits is None else Needs.NOTHING

    def fit(self, case: Case) -> Model:
        """The threshold. One that was found belongs to the number of generated images: more are nearer by number alone."""
        if self.bits is not None:
            return Model(self.name, facts={"bits": self.bits})
        nearest = _nearest(case)[case.reference]
        nearest = np.sort(nearest[np.isfinite(nearest)])
        allowed = int(self.wrong * len(nearest))
        if not len(nearest):
            raise MembershipError(f"{self.name} needs images known not to be used; name them with --unused DIR")
        return Model(self.name, facts={"bits": float(nearest[allowed]) - 0.5, "generated": len(case.generated)})

    def answer(self, case: Case, model: Model) -> Answer:
        """Minus the distance to the nearest, in bits."""
        bits = model.facts["bits"]
        found = "generated" in model.facts
        source = "found on images known not to be used" if found else "as published, calibrated by nothing"
        return Answer(-_nearest(case), -float(bits), calibrated=found, note=f"Used within {bits:g} bits, {source}.")


def _nearest(case: Case) -> Values:
    """(nr,) bits to the nearest generated image, NaN for a blank one."""

    def make() -> Values:
        return np.concatenate([case.distances("phash", block).min(axis=1) for block in case.blocks()]).astype(np.float64)

    return np.where(case.real.blank["phash"], np.nan, case.once("bits", make))
