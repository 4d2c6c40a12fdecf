"""Find generated images that are copies of real ones: the same file, the same pixels, or nearly the same pixels.

Such a pair is evidence by itself: it needs no reference and no p-value. Blank images are never copies.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache, partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embeddings.images.decoding import flip
from embeddings.images.errors import ImageError
from embeddings.pipeline import in_order
from embeddings.types import GreyImage
from indexer.build.build import Progress, silent
from query.comparison.comparison import Comparison
from query.comparison.matching import Matches
from query.comparison.search import ViewResult
from query.inputs.images import Images
from query.inputs.near_duplicates import thumbnail
from query.inputs.sides import Sides

NEAREST = 3  # neighbours of each image that are looked at, by each view
NEAR = 0.99  # correlation from which on a pair can be a near-exact copy
_BLANK_SPREAD = 1.0  # grey levels of a small picture; below, noise and rounding decide its correlation
_WORTH_READING = 0.95  # correlation of pictures from which pixels are compared; a turned image has not quite a turned picture
_KEPT = 500  # real images whose pixels stay in memory

Result = TypeVar("Result")
Turn = tuple[bool, int]  # whether a real image is flipped left to right, and quarter turns counterclockwise after that


class CopyKind(StrEnum):
    """How a generated image is a copy."""

    FILE = "file"  # byte for byte the same file
    PIXELS = "pixels"  # the same pixels after decoding
    NEAR = "near"  # nearly the same pixels, see `find_copies`


@dataclass(frozen=True)
class Copies:
    """Pairs of which the generated image is a copy of the real one.

    Attributes:
        real, generated: (n,) int64 rows, by generated row, then real row.
        kinds: of each pair.
        similarity: (n,) float64, Pearson's correlation of the pixels, the smaller of thumbnails and full size.
        mirrored, quarter_turns: (n,) how the real image has to be flipped left to right and turned, as in `geometry.Match`.
        threshold: near-exact copies have at least this similarity.
        largest: similarity of the two real images of different groups that are most alike, as far as neighbours show.
        failed: why files could not be read again, each once.
    """

    real: NDArray[np.int64]
    generated: NDArray[np.int64]
    kinds: Sequence[CopyKind]
    similarity: NDArray[np.float64]
    mirrored: NDArray[np.bool_]
    quarter_turns: NDArray[np.int64]
    threshold: float
    largest: float
    failed: Sequence[str]


def find_copies(
    comparison: Comparison,
    groups: NDArray[Any],
    matches: Matches | None = None,
    *,
    rotations: bool = False,
    progress: Progress = silent,
) -> Copies:
    """Find exact and near-exact copies.

    Files and pixels are compared for equality over all pairs. Near-exact copies are looked for among the nearest neighbours of
    every view in both directions and the pairs that were matched: pixels correlate at 0.99 or more, as thumbnails and at full
    size, and the pair is twice as alike as any two real images of different groups: 1 - similarity is at most half of theirs.

    Args:
        comparison: with mirrored real images, flipped copies are looked for.
        groups: (nr,) of the real images; those of one group may be alike.
        matches: pairs that were matched.
        rotations: look for copies by quarter turns too.
        progress: called with stage, done, total.
    """
    sides = comparison.sides
    work = _Work(sides, _turns(sides.flipped is not None, rotations))
    seen = list(_told(in_order(work.seen, range(len(sides.real))), len(sides.real), "looking at real images", progress))
    work.know(seen)
    others = _other_groups(sides.real, groups)
    alike = _told(in_order(work.alike, others), len(others), "comparing real images with each other", progress)
    largest = max(alike, default=0.0)
    threshold = max(NEAR, 1 - (1 - largest) / 2)
    candidates = _candidates(comparison.views, matches)
    looks = in_order(partial(work.copies_of, candidates, threshold), range(len(sides.generated)))
    found = [copy for copies in _told(looks, len(sides.generated), "looking for copies", progress) for copy in copies]
    return Copies(
        real=np.array([copy.real for copy in found], np.int64),
        generated=np.array([copy.generated for copy in found], np.int64),
        kinds=[copy.kind for copy in found],
        similarity=np.array([copy.similarity for copy in found], np.float64),
        mirrored=np.array([copy.turn[0] for copy in found], bool),
        quarter_turns=np.array([copy.turn[1] for copy in found], np.int64),
        threshold=threshold,
        largest=largest,
        failed=sorted(work.failed),
    )


@dataclass(frozen=True)
class _Copy:
    """A pair."""

    generated: int
    real: int
    kind: CopyKind
    similarity: float = 1.0
    turn: Turn = (False, 0)


class _Work:
    """Compares images of both sides: by small pictures, and by pixels, which are read, where these are alike.

    Safe from several threads once it knows the real ones.
    """

    def __init__(self, sides: Sides, turns: Sequence[Turn]) -> None:
        self._sides, self._turns = sides, turns
        self._real = lru_cache(maxsize=_KEPT)(sides.real.read)
        self._pictures: list[GreyImage | None] = []
        self._by_file: dict[str, list[int]] = defaultdict(list)
        self._by_picture: dict[bytes, list[int]] = defaultdict(list)
        self._contents = contents(sides.generated)
        self.failed: set[str] = set()

    def know(self, pictures: Sequence[GreyImage | None]) -> None:
        """Keep the pictures of the real images."""
        self._pictures = list(pictures)
        for row, (content, picture) in enumerate(zip(contents(self._sides.real), pictures, strict=True)):
            if picture is not None:
                self._by_file[content].append(row)
                self._by_picture[picture.tobytes()].append(row)

    def seen(self, row: int) -> GreyImage | None:
        """The picture of a real image; None where it is blank or cannot be read."""
        return self._picture(self._sides.real, row)

    def alike(self, pair: tuple[int, int]) -> float:
        """The similarity of two real images of different groups."""
        picture = self._pictures[pair[0]]
        if picture is None:
            return 0.0
        return self._similarity(lambda: self._read(self._sides.real, pair[0]), picture, pair[1])[0]

    def copies_of(self, candidates: Mapping[int, Sequence[int]], threshold: float, row: int) -> list[_Copy]:
        """The real images that a generated one is a copy of."""
        picture = self._picture(self._sides.generated, row)
        if picture is None:
            return []
        pixels = cache(partial(self._read, self._sides.generated, row))
        same = [real for real in self._by_picture.get(picture.tobytes(), []) if self._equal(pixels(), real)]
        found = {real: _Copy(row, real, CopyKind.PIXELS) for real in same}
        found |= {real: _Copy(row, real, CopyKind.FILE) for real in self._by_file.get(self._contents[row], [])}
        for real in candidates.get(row, ()):
            if real not in found:
                similarity, turn = self._similarity(pixels, picture, real)
                if similarity >= threshold:
                    found[real] = _Copy(row, real, CopyKind.NEAR, similarity, turn)
        return [found[real] for real in sorted(found)]

    def _equal(self, pixels: GreyImage | None, row: int) -> bool:
        """Whether a real image shows the same pixels."""
        real = None if pixels is None else self._read(self._sides.real, row)
        return real is not None and pixels is not None and np.array_equal(pixels, real)

    def _similarity(self, read: Callable[[], GreyImage | None], picture: GreyImage, row: int) -> tuple[float, Turn]:
        """Of an image and a real one, the largest of all turns; 0 where their pictures tell that they are no copies."""
        other = self._pictures[row]
        if other is None:
            return 0.0, (False, 0)
        alike, turn = max((correlation(picture, turned(other, turn)), turn) for turn in self._turns)
        if alike < _WORTH_READING or (pixels := read()) is None or (real := self._read(self._sides.real, row)) is None:
            return 0.0, turn
        real = turned(real, turn)
        return min(correlation(thumbnail(pixels), thumbnail(real)), correlation(pixels, real)), turn

    def _picture(self, images: Images, row: int) -> GreyImage | None:
        try:
            picture = images.picture(row)
        except ImageError as error:
            self.failed.add(str(error))
            return None
        return picture if picture.std() >= _BLANK_SPREAD else None

    def _read(self, images: Images, row: int) -> GreyImage | None:
        try:
            return self._real(row) if images is self._sides.real else images.read(row)
        except ImageError as error:
            self.failed.add(str(error))
            return None


def contents(images: Images) -> list[str]:
    """(n,) what tells the content of each row from that of others: of a volume, each slice has its own."""
    stored = images.stored.images
    frames, modes = stored["frame"].to_pylist(), stored["mode"].to_pylist()
    return [
        digest if mode.startswith("array ") else f"{digest}#{frame}"
        for digest, frame, mode in zip(images.digests, frames, modes, strict=True)
    ]


def turned(image: GreyImage, turn: Turn) -> GreyImage:
    """The image flipped left to right or not, then turned counterclockwise."""
    return np.ascontiguousarray(np.rot90(flip(image) if turn[0] else image, turn[1]))


def correlation(first: GreyImage, second: GreyImage) -> float:
    """Pearson's correlation of the pixels of two images, 0 where one is constant; the larger is reduced to the other's size by
    area averages."""
    height, width = (min(sizes) for sizes in zip(first.shape, second.shape, strict=True))
    one, other = (_reduced(image, height, width).ravel().astype(np.float64) for image in (first, second))
    one, other = one - one.mean(), other - other.mean()
    norms = np.linalg.norm(one) * np.linalg.norm(other)
    return float(one @ other / norms) if norms else 0.0


def _reduced(image: GreyImage, height: int, width: int) -> GreyImage:
    if image.shape == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def _turns(mirrored: bool, rotations: bool) -> list[Turn]:
    """How a real image may have been flipped and turned."""
    return [
        (flipped, quarter) for flipped in ([False, True] if mirrored else [False]) for quarter in range(4 if rotations else 1)
    ]


def _other_groups(real: Images, groups: NDArray[Any]) -> list[tuple[int, int]]:
    """Pairs of real images of different groups, among the nearest ones of each by each view; each pair once."""
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    k = min(len(real), int(sizes.max()) + NEAREST)
    pairs: set[tuple[int, int]] = set()
    for view in real.views:
        near = real.nearest(view, real.vectors[view], k).rows
        apart = (near >= 0) & (member[near] != member[:, None])
        first, place = np.nonzero(apart & (np.cumsum(apart, axis=1) <= NEAREST))
        pairs.update((min(pair), max(pair)) for pair in zip(first.tolist(), near[first, place].tolist(), strict=True))
    return sorted(pairs)


def _candidates(views: Mapping[str, ViewResult], matches: Matches | None) -> dict[int, list[int]]:
    """Generated row -> real rows that are compared with it, each once."""
    found: dict[int, dict[int, None]] = defaultdict(dict)
    for result in views.values():
        for generated, near in enumerate(result.generated.rows[:, :NEAREST].tolist()):
            found[generated] |= dict.fromkeys(row for row in near if row >= 0)
        for real, near in enumerate(result.real.rows[:, :NEAREST].tolist()):
            for generated in near:
                if generated >= 0:
                    found[generated][real] = None
    if matches:
        for number in matches.shown:
            found[int(matches.generated[number])][int(matches.real[number])] = None
    return {row: list(reals) for row, reals in found.items()}


def _told(results: Iterator[Result], total: int, stage: str, progress: Progress) -> Iterator[Result]:
    """The same, while progress is told."""
    for done, result in enumerate(results, 1):
        yield result
        progress(stage, done, total)
