"""Keypoints of all real images in one array: found once, read by all threads, and sent to other machines."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embeddings.images.errors import ImageError
from embeddings.pipeline import in_order
from embeddings.views.keypoints import RECORD, Keypoints, kept, recorded
from query.inputs.images import Images


@dataclass(frozen=True)
class RealKeypoints:
    """What matching needs of real images, 16 kB each.

    Attributes:
        records: (nr,) `embeddings.views.keypoints.RECORD`; zeros where an image cannot be read.
        errors: row -> why it cannot be read.
    """

    records: NDArray[np.void]
    errors: Mapping[int, str]

    @classmethod
    def of(cls, images: Images) -> Self:
        """Those that a collection keeps, or else found anew in all images."""
        stored = None if images.collection is None else images.collection.records
        if stored is not None:
            return cls(np.asarray(stored), {})
        records, errors = np.zeros(len(images), RECORD), {}
        for row, found in enumerate(in_order(partial(_found, images), range(len(images)))):
            if isinstance(found, str):
                errors[row] = found
            else:
                records[row] = found
        return cls(records, errors)

    def __len__(self) -> int:
        return len(self.records)

    def keypoints(self, row: int) -> Keypoints:
        """Of one image.

        Raises:
            ImageError: it could not be read.
        """
        if row in self.errors:
            raise ImageError(self.errors[row])
        return kept(self.records[row])


def _found(images: Images, row: int) -> np.void | str:
    """The record of an image, or why it cannot be read."""
    try:
        record: np.void = recorded([images.keypoints(row)]).view(RECORD)[0, 0]
        return record
    except ImageError as error:
        return str(error)
