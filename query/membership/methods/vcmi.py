"""Methods `vcmi`, `vcmi-3sd`, `vcmi-max`: the VCMI team's own rule, by all similarities of real images to each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from embeddings.types import GreyImage
from query.inputs.images import Images
from query.membership.case import Answer, Case, MembershipError, Model, Needs, Values
from query.membership.features import look
from query.membership.ssim import Seen, similarities

_HELD = 256  # real images that are in memory together
LEAST = 3  # real images with anything to be seen


@dataclass(frozen=True)
class Vcmi:
    """Used where the most similar generated image is more similar than real images are to each other, by their rule and measure.

    As in the team's own code (repository helenaMontenegro/imageclef23-medical-gans; Montenegro et al., CLEF 2023 working notes:
    F1 0.801 by "a similarity-based approach"): structural similarity of whole pictures; the threshold is the mean plus 2 or 3
    standard deviations, or the maximum, of the matrix of all real images with each other, an image with itself counting as the
    mean of its row. Numbers are not matched: a real image has the better of thousands of generated ones, and the threshold is
    the same for 500 as for 10,000. Slices of one patient count as any others. `SelfThreshold` mends both.

    Their pictures were all of 256 x 256 pixels; others are brought to that. Their other measure, features of an ImageNet
    ResNet-50, and their autoencoders are not here. Which of all that was the run of 0.801 could not be looked up.

    Attributes:
        deviations: above the mean; None for the maximum.
    """

    deviations: float | None = 2.0
    needs = Needs.NOTHING
    looks = False
    views = ()

    @property
    def name(self) -> str:
        """``vcmi`` for 2 standard deviations, ``vcmi-3sd`` for 3, ``vcmi-max`` for the maximum."""
        return "vcmi-max" if self.deviations is None else "vcmi" if self.deviations == 2 else f"vcmi-{self.deviations:g}sd"

    def fit(self, case: Case) -> Model:
        """Nothing to learn: the real images of the case are their own measure."""
        return Model(self.name)

    def answer(self, case: Case, model: Model) -> Answer:
        """The similarity to the most similar generated image; NaN for a picture without contrast."""
        seen = np.flatnonzero(case.once("ssim contrast", lambda: _contrast(case.real)))
        if len(seen) < LEAST:
            raise MembershipError(f"{self.name} compares real images with each other and needs at least three with contrast")
        value = np.full(len(case.real), np.nan)
        value[seen] = case.once("ssim generated", lambda: _most_similar(case))[seen]
        matrix = case.once("ssim real", lambda: _all_pairs(case.real, case.real))[np.ix_(seen, seen)].copy()
        np.fill_diagonal(matrix, matrix.mean(axis=1))
        rule = "their maximum" if self.deviations is None else f"their mean plus {self.deviations:g} standard deviations"
        note = f"Used where a generated image is more similar than all pairs of real ones are: {rule} (unmatched, as published)."
        threshold = float(np.nextafter(self._threshold(matrix), np.inf))  # the published comparison is strict
        return Answer(value, threshold, calibrated=False, note=note)

    def _threshold(self, matrix: Values) -> float:
        return float(matrix.max() if self.deviations is None else matrix.mean() + self.deviations * matrix.std())


def _contrast(images: Images) -> Values:
    """(n,) bool, whether there is anything to be seen."""
    rows = np.arange(len(images))
    return np.array([flag for part in look(images, rows, lambda batch: [np.ptp(each) > 0 for each in batch]) for flag in part])


def _most_similar(case: Case) -> Values:
    """(nr,) largest similarity to a generated image; with mirrored images the larger of both."""
    found: Values = _all_pairs(case.real, case.generated).max(axis=1)
    return found if case.flipped is None else np.maximum(found, _all_pairs(case.flipped, case.generated).max(axis=1))


def _all_pairs(one: Images, other: Images) -> Values:
    """(n, m) similarities, a block of images in memory at a time."""
    return np.concatenate([_block(held, other) for held in _blocks(one)])


def _blocks(images: Images) -> Iterator[list[Seen]]:
    for first in range(0, len(images), _HELD):
        rows = np.arange(first, min(first + _HELD, len(images)))
        yield [each for part in look(images, rows, _seen) for each in part]


def _block(held: Sequence[Seen], other: Images) -> Values:
    parts = look(other, np.arange(len(other)), lambda batch: similarities(held, _seen(batch)))
    return np.concatenate(list(parts), axis=1)


def _seen(batch: Sequence[GreyImage]) -> list[Seen]:
    return [Seen.of(picture) for picture in batch]
