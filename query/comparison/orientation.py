"""Whether one side of a comparison is turned or flipped against the other.

A generator trained on `get_fdata()[:, :, k]` draws in array order, while NIfTI and DICOM files are laid out as a viewer does: a
quarter turn apart, no copy is found. So a sample of both sides is compared under all eight turns and flips, first by small
thumbnails, then by keypoints of the pairs that look most alike.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.images.errors import ImageError
from embeddings.images.orientation import Orientation
from embeddings.pipeline import in_order
from embeddings.types import GreyImage
from embeddings.views.keypoints import SIZE, keypoints, resized
from query.comparison.models import models
from query.inputs.images import Images
from query.inputs.sides import Sides

REALS, GENERATED = 200, 400  # images of each side that are looked at
_SIDE = 32  # pixels of a thumbnail
_BLANK = 1.0  # grey levels of standard deviation, below which a thumbnail shows nothing
_FEWEST = 20  # thumbnails of each side from which something can be told
_DOMINATES = 2.0  # times as many images must prefer a turn or flip as prefer the pictures as they are
_LEVEL = 0.001  # of the test that this is no chance, in each direction
_DRAWS = 2000  # of its bootstrap
_PAIRS = 24  # pairs whose keypoints are compared
_CANDIDATES = 4  # turns and flips that keypoints choose from
_COPY = 20  # inliers from which a pair counts as a copy
_COPIES = 5  # copies of different real images that decide against thumbnails
_AGREE = 0.8  # share of them

_ALL = tuple(Orientation)

TURNED, APPLIED = "WARNING: one side is turned or flipped", "Real images were compared under"


@dataclass(frozen=True)
class OrientationCheck:
    """How the real images must be turned or flipped to lie like the generated ones.

    Attributes:
        found: what dominates; `Orientation.AS_IS` where nothing else does.
        applied: how the real images were turned or flipped already when they were indexed.
        shares: of the generated images in the sample, by the turn or flip of the real images that brings one nearest.
        images: generated images in the sample.
        copies: pairs of the sample whose keypoints agree, by the turn or flip under which they do.
        reason: why nothing was checked; empty where it was.
    """

    found: Orientation = Orientation.AS_IS
    applied: Orientation = Orientation.AS_IS
    shares: Mapping[str, float] = field(default_factory=dict)
    images: int = 0
    copies: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> "OrientationCheck":
        """What the settings of a run say; runs of `synthtrace map` say nothing."""
        values = dict(settings.get("orientation") or {})
        return cls(**values | {name: Orientation(values[name]) for name in ("found", "applied") if name in values})

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    @property
    def turned(self) -> bool:
        """Whether a turn or flip dominates that was not applied."""
        return self.found != Orientation.AS_IS

    @property
    def note(self) -> str:
        """What a person must know of it, a sentence or two; empty where there is nothing to tell."""
        if self.reason:
            return f"Whether one side is turned or flipped was not checked: {self.reason}."
        if not self.turned:
            return f"{APPLIED} {self.applied}." if self.applied != Orientation.AS_IS else ""
        mend, turned, as_they_are = self.applied.then(self.found), self.shares[self.found], self.shares[Orientation.AS_IS]
        return (
            f"{TURNED}. Of {self.images:,} generated images, {turned:.0%} are nearest to a real "
            f"one under {self.found}, and {as_they_are:.0%} as they are. So copies are not found. Compare again with "
            f"--orient {mend}, or with --orient auto.{self._partner}"
        )

    @property
    def _partner(self) -> str:
        """The other candidate where pictures are so symmetric that a flip hardly shows, and no copies decide."""
        partner = self.found.then(Orientation.FLIP_LEFT_RIGHT)
        if _agreed(self.copies) or self.shares.get(partner, 0) < self.shares[self.found] / 2:
            return ""
        mend = self.applied.then(partner)
        return f" It may also be {mend}: these pictures look alike when flipped; --mirror compares both."


@dataclass(frozen=True)
class _Sample:
    """What one side shows.

    Attributes:
        pictures: those that show something, at the size that keypoints are found at.
        thumbnails: (8, n, pixels) of them under every turn and flip, of mean 0 and norm 1.
    """

    pictures: list[GreyImage]
    thumbnails: NDArray[np.float32]


def check_orientation(sides: Sides, seed: int = 0) -> OrientationCheck:
    """Compare a sample of both sides under all turns and flips; where that cannot be done, the check says why.

    Args:
        sides: at most 200 real and 400 generated images are read, the first by content, so that names and order change nothing.
        seed: of the bootstrap.
    """
    applied = sides.real.stored.manifest.orientation
    if min(len(sides.real), len(sides.generated)) < _FEWEST:
        return OrientationCheck(applied=applied, reason=f"fewer than {_FEWEST} images on a side")
    try:
        check = orientation_of(_pictures(sides.real, REALS), _pictures(sides.generated, GENERATED), seed)
    except ImageError as error:
        return OrientationCheck(applied=applied, reason=str(error))
    return replace(check, applied=applied)


def _pictures(images: Images, count: int) -> Iterator[GreyImage]:
    rows = np.argsort(np.array(images.digests, str), kind="stable")[:count]
    return in_order(images.read, rows.tolist())


def orientation_of(real: Iterable[GreyImage], generated: Iterable[GreyImage], seed: int = 0) -> OrientationCheck:
    """The same for pictures at hand, each (H, W) uint8; those that show nothing are left out."""
    ours, theirs = _sample(real), _sample(generated)
    if min(len(ours.pictures), len(theirs.pictures)) < _FEWEST:
        return OrientationCheck(reason=f"fewer than {_FEWEST} pictures of a side show something")
    alike = np.stack([theirs.thumbnails[0] @ turned.T for turned in ours.thumbnails])  # (8, generated, real)
    shares = np.bincount(alike.max(axis=2).argmax(axis=0), minlength=len(_ALL)) / len(theirs.pictures)
    copies = _copies(ours, theirs, alike, shares)
    return OrientationCheck(
        _decided(_preferred(alike, np.random.default_rng(seed)), copies),
        shares={str(each): float(share) for each, share in zip(_ALL, shares, strict=True)},
        images=len(theirs.pictures),
        copies=copies,
    )


def _sample(pictures: Iterable[GreyImage]) -> _Sample:
    shown, thumbnails = [], []
    for picture in pictures:
        small = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        small -= small.mean()
        if small.std() >= _BLANK:
            shown.append(resized(picture, SIZE))  # hundreds of radiographs as they are would fill the memory
            thumbnails.append(small / np.float32(np.linalg.norm(small)))
    turned = [np.array([each.apply(one).ravel() for one in thumbnails], np.float32) for each in _ALL]
    return _Sample(shown, np.stack(turned))


def _preferred(alike: NDArray[np.float32], rng: np.random.Generator) -> Orientation:
    """The turn or flip that images of both sides prefer to the pictures as they are, far more often than chance explains."""
    votes = [_votes(alike), _votes(np.swapaxes(alike, 1, 2))]
    counts = [np.bincount(chosen, minlength=len(_ALL)) for chosen, _ in votes]
    best = int(np.argmax(counts[0][1:] / counts[0].sum() + counts[1][1:] / counts[1].sum())) + 1
    for (chosen, partner), count in zip(votes, counts, strict=True):
        if count[best] < _DOMINATES * count[0] or not _beyond_chance(chosen, partner, best, rng):
            return Orientation.AS_IS
    return _ALL[best]


def _votes(alike: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each image of one side the turn or flip that brings one of the other side nearest, and which one that is."""
    chosen = alike.max(axis=2).argmax(axis=0)
    return chosen, alike[chosen, np.arange(len(chosen))].argmax(axis=1)


def _beyond_chance(chosen: NDArray[np.int64], partner: NDArray[np.int64], best: int, rng: np.random.Generator) -> bool:
    """Whether more prefer `best` than the pictures as they are in all but a share `_LEVEL` of bootstrap draws.

    Votes for one and the same partner are drawn together: a picture that many others resemble has many votes, and is one picture.
    """
    difference = (chosen == best).astype(np.int64) - (chosen == 0)
    _, place = np.unique(partner, return_inverse=True)
    totals = np.bincount(place, weights=difference)
    drawn = totals[rng.integers(0, len(totals), (_DRAWS, len(totals)))].sum(axis=1)
    return bool(np.quantile(drawn, _LEVEL) > 0)


def _copies(real: _Sample, generated: _Sample, alike: NDArray[np.float32], shares: NDArray[np.float64]) -> dict[str, int]:
    """The pairs that look most alike, each real image once: under which turn or flip do their keypoints agree best?"""
    candidates = np.argsort(-shares, kind="stable")[:_CANDIDATES].tolist()
    best = alike[candidates].max(axis=0)
    pairs: dict[int, int] = {}
    for place in np.argsort(-best, axis=None, kind="stable").tolist():
        g, r = divmod(place, best.shape[1])
        if r not in pairs and g not in pairs.values():
            pairs[r] = g
        if len(pairs) == _PAIRS:
            break
    orientations = [_ALL[number] for number in candidates]
    work = partial(_agreeing, real, generated, orientations)
    agreed = [each for each in in_order(work, list(pairs.items())) if each is not None]
    return {str(each): agreed.count(each) for each in orientations if each in agreed}


def _agreeing(real: _Sample, generated: _Sample, orientations: list[Orientation], pair: tuple[int, int]) -> Orientation | None:
    """The turn or flip under which keypoints of a pair agree best; None where it is no copy under any."""
    target, picture = keypoints(generated.pictures[pair[1]]), real.pictures[pair[0]]
    inliers = [model.inliers for model in models([keypoints(each.apply(picture)) for each in orientations], target)]
    return orientations[int(np.argmax(inliers))] if max(inliers) >= _COPY else None


def _decided(preferred: Orientation, copies: Mapping[str, int]) -> Orientation:
    """What copies agree on, where there are enough of them; else what thumbnails prefer, unless copies lie as they are."""
    agreed = _agreed(copies)
    if agreed:
        return Orientation(agreed)
    return Orientation.AS_IS if 2 * copies.get(Orientation.AS_IS, 0) >= max(_COPIES, sum(copies.values())) else preferred


def _agreed(copies: Mapping[str, int]) -> str | None:
    """The turn or flip of most copies, if there are enough and nearly all have it."""
    total, most = sum(copies.values()), max(copies, key=lambda each: copies[each], default="")
    return most if total >= _COPIES and copies[most] >= _AGREE * total else None
