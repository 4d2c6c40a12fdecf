"""Pixels of a collection's images, read again from their files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from embeddings.find import find
from embeddings.images import Decoding, ImageError, decode, printable
from embeddings.types import GreyImage
from indexer.collection import Collection


class Pictures:
    """The images of a collection as they were decoded for it.

    Args:
        collection: whose images.
        paths: name in the collection -> file, where a name alone does not lead back to it; see `paths_of`.
    """

    def __init__(self, collection: Collection, paths: Mapping[str, Path] | None = None) -> None:
        self._collection = collection
        self._paths = paths or {}

    def read(self, row: int) -> GreyImage:
        """The image of a row, (H, W) uint8.

        Raises:
            ImageError: the file is not there any more, or not what it was.
        """
        entry = self._collection.images.slice(row, 1).to_pylist()[0]
        path = self._paths.get(entry["path"], self._collection.path(row))
        try:
            for number, frame in enumerate(decode(path, Decoding(**self._collection.manifest.decoding))):
                if number == entry["frame"]:
                    return frame.pixels
        except ImageError as error:
            raise ImageError(f"{printable(str(path))}: {error}") from error
        raise ImageError(f"{printable(str(path))} has no frame {entry['frame']} any more")


def paths_of(inputs: Sequence[str | Path]) -> dict[str, Path]:
    """Name in a collection -> file: a name that is not valid UTF-8 cannot be turned back."""
    source = find(*inputs)
    return {printable(name): source.root / name for name in source.files}
