"""Files to index: image files, and what files of many pictures hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from embeddings.images.containers.members import Member
from embeddings.images.containers.names import split
from embeddings.images.decode import members
from embeddings.images.decoding import ArrayFrame, Decoding
from embeddings.images.errors import ImageError
from indexer.build.sources import content_key
from indexer.files import hashed


@dataclass(frozen=True, slots=True)
class File:
    """What is indexed as one: an image file, an image file in an archive or a table, or a frame of an array.

    Attributes:
        path: relative to the source, as the system has it (see `embeddings.images.errors.printable`): of an image in an archive,
            ``archive.zip/member.png``; of a frame, of its array.
        key: what decides the vectors, see `content_key`; empty where it cannot be read.
        size: in bytes.
        error: why it cannot be read.
        frame: which frame of an array.
        frames: of the array.
    """

    path: str
    key: str
    size: int
    error: str = ""
    frame: ArrayFrame | None = None
    frames: int = 1

    @property
    def sha256(self) -> str:
        """SHA-256 (hex) of the content, the first 64 characters of its key."""
        return self.key[:64]

    def reason(self, errors: Mapping[str, str]) -> str:
        """Why the file has no vectors: its own error, or that of its content."""
        return self.error or errors.get(self.key, "")


@dataclass(frozen=True)
class Look:
    """What a file proved to hold.

    Attributes:
        files: to index.
        ignored: names of what is left aside in it.
    """

    files: tuple[File, ...]
    ignored: tuple[str, ...] = ()


def look(root: Path, name: str, decoding: Decoding) -> Look:
    """A file that was found, or the members of one of many pictures, with their hashes."""
    inside = split(str(root / name))
    if inside is not None:
        return _look_inside(Path(inside[0]), name, inside[1], decoding)
    try:
        sha256, size = hashed(root / name)
        return Look((File(name, content_key(sha256, name), size),))
    except (OSError, ImageError) as error:
        return Look((File(name, "", 0, (error.strerror if isinstance(error, OSError) else "") or str(error)),))


def _look_inside(path: Path, name: str, wanted: str, decoding: Decoding) -> Look:
    """The members of a file of this name; one of them, where it alone was named."""
    files: list[File] = []
    ignored: list[str] = []
    try:
        for member in members(path, decoding):
            inside = name if wanted or not member.name else f"{name}/{member.name}"
            if wanted and member.name != wanted:
                continue
            if member.ignored:
                ignored.append(inside)
            else:
                files.append(_file(inside, member))
    except ImageError as error:
        files.append(File(name, "", 0, str(error)))
    if not files:
        files.append(File(name, "", 0, "it holds no image"))
    return Look(tuple(files), tuple(ignored))


def _file(path: str, member: Member) -> File:
    if not member.sha256:
        return File(path, "", 0, member.error)
    if member.frame is None:
        return File(path, content_key(member.sha256, path), member.size)
    frame = ArrayFrame(member.frame, member.reading)
    return File(path, content_key(member.sha256, path, member.reading), member.size, "", frame, member.frames)
