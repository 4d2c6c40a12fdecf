"""What the check of the reference found and what was done about it, in words; from the settings of a run too. No library."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from query.text import many

REFERENCE = "reference"  # where it stands among the settings of a run
SHOWN = 3  # differences that a sentence names


class Mismatch(StrEnum):
    """What is done where the reference is of another kind than the unlabelled images."""

    REFUSE = "refuse"
    WEIGHT = "weight"
    IGNORE = "ignore"


class Verdict(StrEnum):
    """What the check says. That no difference was found does not show that there is none."""

    ALIKE = "no difference found"
    DIFFERENT = "different"
    TOO_FEW = "too few to tell"


@dataclass(frozen=True)
class Difference:
    """A feature that differs between the sides.

    Attributes:
        feature: its name.
        effect, low, high: AUROC of the feature for unlabelled against reference patients, with its 95% interval: 0.5 where they
            are alike, more where unlabelled patients have larger values.
        p_value: adjusted for the number of features.
        words: a sentence without its full stop.
    """

    feature: str
    effect: float
    low: float
    high: float
    p_value: float
    words: str


@dataclass(frozen=True)
class ReferenceCheck:
    """Whether unlabelled and reference patients are of one kind.

    Attributes:
        verdict: what the numbers say together.
        p_value: of the whole check.
        separation: AUROC of a classifier of the sides, on patients that it was not fitted on.
        differences: features that differ, the clearest first.
        unlabelled, reference: patients of either side; those with images on both sides are left out.
        slices: median number of images of an unlabelled and of a reference patient. It is told; it refuses nothing.
        needed: reference patients that a difference of two standard deviations in one feature would be found with; None where
            no number suffices, since the unlabelled patients are too few.
    """

    verdict: Verdict
    p_value: float
    separation: float
    differences: Sequence[Difference]
    unlabelled: int
    reference: int
    slices: Sequence[float]
    needed: int | None

    @property
    def sides(self) -> str:
        """Such as ``100 unlabelled and 80 reference patients``."""
        return f"{self.unlabelled:,} unlabelled and {many(self.reference, 'reference patient')}"

    @property
    def words(self) -> str:
        """What differs, the clearest first; without a feature of its own, what the classifiers say."""
        told = [each.words for each in self.differences[:SHOWN]]
        if not told:
            return f"no single feature differs, but a classifier tells the sides apart (AUROC {self.separation:.2f})"
        further = len(self.differences) - len(told)
        return "; ".join([*told, *([f"and {many(further, 'further feature')}"] if further else [])])

    @property
    def slices_words(self) -> str:
        """Such as ``unlabelled patients have 1 image, reference patients 10 (median)``; empty where both have as many."""
        unlabelled, reference = self.slices
        if unlabelled == reference:
            return ""
        images = "image" if unlabelled == 1 else "images"
        return f"unlabelled patients have {unlabelled:g} {images}, reference patients {reference:g} (median)"


@dataclass(frozen=True)
class ReferenceVerdict:
    """The check of a run's reference, and what was done about it.

    Attributes:
        check: what was found.
        mismatch: what was asked for in case of a difference.
        effective: reference patients that the weighted ones are worth; None where nothing was weighted.
    """

    check: ReferenceCheck
    mismatch: Mismatch
    effective: float | None = None

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> "ReferenceVerdict | None":
        """What the settings of a run say; None where nothing was checked."""
        found = settings.get(REFERENCE)
        if not found:
            return None
        values = found["check"]
        differences = [Difference(**each) for each in values["differences"]]
        check = ReferenceCheck(**values | {"verdict": Verdict(values["verdict"]), "differences": differences})
        return cls(check, Mismatch(found["mismatch"]), found["effective"])

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    @property
    def different(self) -> bool:
        """Whether the reference is of another kind."""
        return self.check.verdict is Verdict.DIFFERENT

    @property
    def too_few(self) -> bool:
        """Whether the patients are too few to tell."""
        return self.check.verdict is Verdict.TOO_FEW

    @property
    def refusal(self) -> str:
        """One line for who asked for p-values that would mean nothing."""
        return (
            f"no p-value is shown, because the reference is of another kind than the unlabelled images ({self._found}): "
            f"{self.check.words}. Name reference images of the same kind by --unused DIR; --reference-mismatch weight weights "
            "them where that can repair it, and ignore goes on without any promise"
        )

    @property
    def warnings(self) -> list[str]:
        """What makes p-values doubtful, a sentence or more each."""
        check = self.check
        if self.too_few:
            needed = f"it takes at least {check.needed} reference patients" if check.needed else "no number would be enough"
            return [
                f"WARNING: too few patients to check whether the reference is of the same kind as the unlabelled images: with "
                f"{check.sides}, a difference of two standard deviations in one feature is missed too often ({needed}). p-values "
                f"rest on your word that it is.{self._slices}"
            ]
        if not self.different:
            return []
        found = f"WARNING: the reference is of another kind than the unlabelled images ({self._found}): {check.words}."
        if self.effective is None:
            return [
                f"{found} By --reference-mismatch ignore it was used all the same: NOTHING IS PROMISED of p-values, q-values, "
                f"decisions and the test of the set. Small p-values may show this difference alone.{self._slices}"
            ]
        return [
            f"{found} So reference patients were weighted; they are worth {self.effective:.0f} of {check.reference:,}. p-values "
            "hold as far as these weights are right. The test of the set and p-values of single scores know no weights and are "
            f"not given.{self._slices}"
        ]

    @property
    def note(self) -> str:
        """One sentence or two where no difference was found, else empty."""
        if self.check.verdict is not Verdict.ALIKE:
            return ""
        return (
            f"Reference check: no difference found between {self.check.sides} (p = {self.check.p_value:.2g}). That does not show "
            f"that there is none.{self._slices}"
        )

    @property
    def _found(self) -> str:
        return f"{self.check.sides}, p = {self.check.p_value:.2g}, classifier AUROC {self.check.separation:.2f}"

    @property
    def _slices(self) -> str:
        words = self.check.slices_words
        return f" {words[0].upper()}{words[1:]}; p-values allow for that." if words else ""
