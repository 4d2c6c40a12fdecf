"""Image files as they are seen before they are indexed: names, contents, patients and thumbnails."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.images.containers.names import is_nested
from embeddings.images.decode import decode
from embeddings.images.decoding import Decoding, frame_name
from embeddings.images.errors import ImageError
from embeddings.images.find import Source
from embeddings.pipeline import in_order
from indexer.build.build import Progress, Settings, silent
from indexer.build.files import File, look
from indexer.collection import Collection
from indexer.manifest import CollectionError, Manifest
from indexer.salt import Salt
from query.inputs.images import Images, images_of
from query.inputs.near_duplicates import thumbnail

_STAGE = "looking at images"


@dataclass(frozen=True, eq=False)
class Seen:
    """What tells images apart, of n images.

    Attributes:
        names: as in the collection that will be made of them.
        paths: of their files.
        digests: see `indexer.collection.Collection.digests`.
        patients: hashed with `salt`, see `indexer.collection.Collection.patients`.
        thumbnails: (n, 64, 64) uint8.
        salt: what patients and folders are hashed with.
    """

    names: Sequence[str]
    paths: Sequence[Path]
    digests: Sequence[str]
    patients: Sequence[str]
    thumbnails: NDArray[np.uint8]
    salt: Salt

    def __len__(self) -> int:
        return len(self.names)

    def path(self, row: int) -> Path:
        """The file of an image."""
        return self.paths[row]


def see_files(source: Source, decoding: Decoding, salt: Salt, progress: Progress = silent) -> Seen:
    """Read every file of a source. One that cannot be read is left out here: indexing names it and says why."""
    names: list[str] = []
    paths: list[Path] = []
    digests: list[str] = []
    patients: list[str] = []
    thumbnails: list[NDArray[np.uint8]] = []
    files = files_of(source, decoding)
    for done, (file, frames) in enumerate(zip(files, in_order(partial(_frames, source, decoding), files), strict=True), 1):
        for number, (picture, patient) in enumerate(frames):
            names.append(
                frame_name(source.name(file.path), file.frame.number if file.frame else number, max(file.frames, len(frames)))
            )
            patients.append(salt.of_patient(patient))
            thumbnails.append(picture)
        paths += [source.root / file.path] * len(frames)
        digests += [digest_of(file)] * len(frames)
        progress(_STAGE, done, len(files))
    return Seen(names, paths, digests, patients, _stacked(thumbnails), salt)


def see_collection(collection: Collection, progress: Progress = silent) -> Seen:
    """The images of a collection, read again from their files.

    Raises:
        CollectionError: one is not there any more, or not what it was.
    """
    return see_images(images_of(collection), progress)


def see_images(images: Images, progress: Progress = silent) -> Seen:
    """As `see_collection`."""
    thumbnails = []
    try:
        for done, picture in enumerate(in_order(lambda row: thumbnail(images.read(row)), range(len(images))), 1):
            thumbnails.append(picture)
            progress(_STAGE, done, len(images))
    except ImageError as error:
        raise CollectionError(f"an image changed since it was indexed ({error}); index it again") from error
    paths = [images.path(row) for row in range(len(images))]
    return Seen(images.names, paths, images.digests, images.patients, _stacked(thumbnails), images.salt)


def files_of(source: Source, decoding: Decoding) -> list[File]:
    """What a source holds and can be read, with its hash; nothing is decoded."""
    looks = in_order(lambda name: look(source.root, name, decoding), source.files)
    return [file for found in looks for file in found.files if file.key]


def digest_of(file: File) -> str:
    """As `indexer.collection.Collection.digests` has it."""
    return f"{file.sha256}#{file.frame.number}" if file.frame and is_nested(file.path) else file.sha256


def decoding_in(folder: Path, asked: Settings | None = None) -> Decoding:
    """How a build into this folder will decode: as the collection that is there, else as asked, else as by default."""
    try:
        return Decoding(**Manifest.read(folder).decoding)
    except CollectionError:
        return (asked or Settings()).decoding


def _frames(source: Source, decoding: Decoding, file: File) -> list[tuple[NDArray[np.uint8], str]]:
    """Thumbnail and patient of each frame; none where the file is bad."""
    try:
        frames = decode(source.root / file.path, decoding, file.sha256, frame=file.frame)
        return [(thumbnail(frame.pixels), frame.patient) for frame in frames]
    except ImageError:
        return []


def _stacked(thumbnails: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.stack(thumbnails) if thumbnails else np.zeros((0, 64, 64), np.uint8)
