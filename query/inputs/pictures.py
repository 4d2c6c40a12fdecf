"""Read the pixels of a collection's images again from their files.

A file that does not hold the bytes any more that were indexed is refused: its picture would stand under an old name and distance.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from embeddings.images.containers.names import array_of, split
from embeddings.images.decode import decode
from embeddings.images.decoding import ArrayFrame, Decoding
from embeddings.images.errors import ImageError, Missing, MissingFolder, Unreadable, printable
from embeddings.types import GreyImage
from indexer.collection import Collection

if TYPE_CHECKING:
    from embeddings.views.keypoints import Keypoints

_AHEAD = 64_000_000  # pixels of one file that are kept for who reads its frames one after the other


class Pictures:
    """The images of a collection as they were decoded, turned or flipped for it. Safe from several threads.

    Args:
        collection: whose images.
        paths: name in the collection -> file, where a name alone does not lead back to it.
    """

    def __init__(self, collection: Collection, paths: Mapping[str, Path] | None = None) -> None:
        self._collection = collection
        self._paths = paths or {}
        self._frames = Frames(Decoding(**collection.manifest.decoding))
        self._orientation = collection.manifest.orientation

    def read(self, row: int) -> GreyImage:
        """The image of a row, (H, W) uint8.

        Raises:
            MissingFolder, Missing: the folder of all images, or the file, is not there any more.
            ImageError: it is not what it was.
        """
        entry = self._collection.images.slice(row, 1).to_pylist()[0]
        path = self._paths.get(entry["path"], self._collection.path(row))
        try:
            return self._orientation.apply(self._frames.read(path, entry))
        except Unreadable as error:
            raise told(Path(self._collection.manifest.source), path, error) from error


def told(root: Path, path: Path, error: Unreadable) -> ImageError:
    """What to say of a picture that cannot be read: that the folder of all images is gone, that the file is, or the error."""
    if not root.is_dir():
        mend = "if it was moved, say where it is by synthtrace relocate"
        return MissingFolder(f"the folder of the images is not there: {printable(str(root))}; {mend}")
    return error if path.exists() or split(str(path)) else Missing(str(error))


def keypoints_of(collection: Collection | None, read: Callable[[int], GreyImage], row: int) -> "Keypoints":
    """What matching needs of an image: from the collection where that keeps it, else from its pixels.

    Raises:
        ImageError: the pixels are needed and `read` cannot give them.
    """
    from embeddings.views.keypoints import kept, keypoints  # OpenCV takes longer to load than a look-up

    records = None if collection is None else collection.records
    return keypoints(read(row)) if records is None else kept(records[row])


def picture_of(collection: Collection | None, read: Callable[[int], GreyImage], row: int) -> GreyImage:
    """(64, 64) the image made small, whatever its shape: from the collection where that keeps it, else from its pixels.

    Raises:
        ImageError: the pixels are needed and `read` cannot give them.
    """
    records = None if collection is None else collection.records
    if records is not None:
        picture: GreyImage = records[row]["picture"]
        return picture
    from embeddings.views.keypoints import SIDE  # OpenCV takes longer to load than a look-up
    from embeddings.views.pixels import resized

    return resized(read(row), SIDE)


class Frames:
    """Single frames of files. Of one file with several the next ones are kept, or each would cost all that come before it."""

    def __init__(self, decoding: Decoding) -> None:
        self._decoding = decoding
        self._lock = Lock()
        self._file: tuple[Path, str] | None = None
        self._kept: dict[int, GreyImage] = {}

    def read(self, path: Path, entry: Mapping[str, Any]) -> GreyImage:
        """A frame of a file.

        Args:
            path: of the file.
            entry: how it stands in the collection: ``path``, ``name``, ``frame``, ``sha256``, ``mode``.

        Raises:
            ImageError: the file is not there any more, not what it was, or has no such frame; the text names it.
        """
        number, sha256 = entry["frame"], entry["sha256"]
        if array_of(str(path)):
            return self._read_alone(path, ArrayFrame(number, entry["mode"]), sha256)
        if entry["path"].endswith(entry["name"]):  # the file has one frame: no number stands behind the name
            return self._read_on(path, number, sha256)[number]
        with self._lock:
            if self._file != (path, sha256) or number not in self._kept:
                self._kept = self._read_on(path, number, sha256)
                self._file = path, sha256
            return self._kept[number].copy()

    def patient(self, path: Path, entry: Mapping[str, Any]) -> str:
        """Who the file says it is of, see `embeddings.images.decoding.Frame`; not to be stored or logged.

        Raises:
            ImageError: see `read`.
        """
        try:
            return next(iter(decode(path, self._decoding, entry["sha256"]))).patient
        except ImageError as error:
            raise type(error)(f"{printable(str(path))}: {error}") from error

    def _read_alone(self, path: Path, frame: ArrayFrame, sha256: str) -> GreyImage:
        """The frame of an array."""
        try:
            (found,) = decode(path, self._decoding, sha256, frame=frame)
        except ImageError as error:
            raise type(error)(f"{printable(str(path))}: {error}") from error
        return found.pixels

    def _read_on(self, path: Path, number: int, sha256: str) -> dict[int, GreyImage]:
        """The frame and those after it, up to so many pixels."""
        read_frames: dict[int, GreyImage] = {}
        pixels = 0
        try:
            for at, frame in enumerate(decode(path, self._decoding, sha256)):
                if at >= number:
                    read_frames[at] = frame.pixels
                    pixels += frame.pixels.size
                    if pixels > _AHEAD:
                        break
        except ImageError as error:
            raise type(error)(f"{printable(str(path))}: {error}") from error
        if not read_frames:
            raise ImageError(f"{printable(str(path))} has no frame {number} any more")
        return read_frames
