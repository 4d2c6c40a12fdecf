"""Structural similarity: the nearest neighbour by SSIM, with the rule of team VCMI (ImageCLEFmedical GANs 2023)."""

from dataclasses import dataclass

import numpy as np

from query.membership.ssim import Seen, similarities
from rival_methods.rival import Compared, Groups, Pictures


@dataclass(frozen=True)
class Ssim:
    """1 - SSIM of whole pictures, as scikit-image has it.

    VCMI's membership method (`query/membership/methods/vcmi.py`) ranks real images by the same value. Its rule: copied where the
    similarity exceeds the mean plus two standard deviations of all pairs of real images, one with itself counting as its row's
    mean.
    """

    name = "ssim-vcmi"

    def compare(self, real: Pictures, generated: Pictures, groups: Groups) -> Compared:
        """See `Rival`."""
        one, other = ([Seen.of(picture) for picture in side] for side in (real, generated))
        among = similarities(one, one)
        np.fill_diagonal(among, among.mean(axis=1))
        return Compared(np.asarray(1 - similarities(one, other), np.float32), float(1 - among.mean() - 2 * among.std()))
