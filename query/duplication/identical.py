"""Images that are equal: the same file, or the same pixels after decoding."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embeddings.images.errors import ImageError
from embeddings.pipeline import in_order
from embeddings.types import GreyImage
from indexer.build.build import Progress, silent
from query.duplication.pool import Pool

_BLANK_SPREAD = 1.0  # grey levels of a small picture; below, there is nothing to recognise


@dataclass(frozen=True, eq=False)
class Identical:
    """Which images are equal.

    Attributes:
        first: (n,) row of the first image with the same pixels: its own where it has none before it.
        blank: (n,) bool, images without anything to recognise; they are like none.
        failed: why pictures could not be seen, each once.
    """

    first: NDArray[np.int64]
    blank: NDArray[np.bool_]
    failed: tuple[str, ...] = ()


def identical(pool: Pool, progress: Progress = silent) -> Identical:
    """Find equal images: all that share their small picture are compared pixel by pixel.

    Args:
        pool: the images.
        progress: called with stage, done, total.
    """
    first, blank = np.arange(len(pool.names)), np.ones(len(pool.names), bool)
    failed: set[str] = set()
    alike: dict[bytes, list[int]] = defaultdict(list)

    def seen(row: int) -> GreyImage | None:
        try:
            return pool.picture(row)
        except ImageError as error:
            failed.add(str(error))
            return None

    rows = pool.rows.tolist()
    for done, (row, picture) in enumerate(zip(rows, in_order(seen, rows), strict=True), 1):
        if picture is not None and picture.std() >= _BLANK_SPREAD:
            blank[row] = False
            alike[picture.tobytes()].append(row)
        progress("looking at images", done, len(rows))
    for members in alike.values():
        if len(members) > 1:
            _settle(pool, members, first, failed)
    return Identical(first, blank, tuple(sorted(failed)))


def _settle(pool: Pool, members: list[int], first: NDArray[np.int64], failed: set[str]) -> None:
    """Say which of the images with one small picture are equal; those of equal files need not be read."""
    known: list[tuple[int, GreyImage | None]] = []
    by_file: dict[str, int] = {}
    for row in members:
        content = pool.contents[row]
        if content in by_file:
            first[row] = by_file[content]
            continue
        try:
            pixels: GreyImage | None = pool.read(row)
        except ImageError as error:
            failed.add(str(error))
            pixels = None
        same = [other for other, of in known if pixels is not None and of is not None and np.array_equal(of, pixels)]
        first[row] = by_file[content] = same[0] if same else row
        if not same:
            known.append((row, pixels))
