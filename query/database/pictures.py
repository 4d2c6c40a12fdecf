"""Read the pixels of a run's images again from their files."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from embeddings.files.reading import parse_json
from embeddings.images.containers.names import split
from embeddings.images.decoding import Decoding
from embeddings.images.errors import ImageError, NoImages, Unreadable
from embeddings.images.find import find
from embeddings.images.orientation import Orientation
from embeddings.types import GreyImage
from query.database.store import Store, StoreError
from query.inputs.pictures import Frames, told

Found = TypeVar("Found")


class RunPictures:
    """The images of a run as they were decoded for it, by their ids; a file with other contents than it had is refused.

    Safe from several threads, as long as the store is read-only.

    Args:
        store: holds the run.
        run: its number.

    Raises:
        StoreError: the run does not say how its images were decoded.
    """

    def __init__(self, store: Store, run: int) -> None:
        self._store, self._run = store, run
        described = store.sql(
            """SELECT real_source, generated_source, settings->'decoding' AS decoding,
                settings->'orientation'->>'applied' AS orientation FROM runs WHERE run_id = $run""",
            {"run": run},
        ).to_pylist()[0]
        if described["decoding"] is None:
            raise StoreError(f"{store.path}: run {run} does not say how its images were decoded; make it again")
        self._frames = Frames(Decoding(**parse_json(described["decoding"])))
        self._orientation = Orientation(described["orientation"] or Orientation.AS_IS)  # of the real images
        self._sources = {role: described[f"{role}_source"] for role in ("real", "generated")}

    def read(self, image_id: int) -> GreyImage:
        """The image, (H, W) uint8.

        Raises:
            MissingFolder, Missing: the folder of all images, or the file, is not there any more.
            ImageError: the run has no such image, or the file is not what it was.
        """
        entry = self._entry(image_id)
        pixels = self._from_file(entry, self._frames.read)
        return self._orientation.apply(pixels) if entry["role"] == "real" else pixels

    def patient(self, image_id: int) -> str:
        """Who its file says the image is of: ``patient:`` or ``series:`` and the identifier, empty where it does not say.

        It is for who asks on purpose: nothing of it may be stored or logged.

        Raises:
            ImageError: see `read`.
        """
        return self._from_file(self._entry(image_id), self._frames.patient)

    def _entry(self, image_id: int) -> dict[str, Any]:
        query = "SELECT role, path, name, frame, sha256, mode FROM images WHERE run_id = $run AND image_id = $id"
        rows: list[dict[str, Any]] = self._store.sql(query, {"run": self._run, "id": image_id}).to_pylist()
        if not rows:
            raise ImageError(f"run {self._run} has no image {image_id}")
        return rows[0]

    def _from_file(self, entry: Mapping[str, Any], read: Callable[[Path, Mapping[str, Any]], Found]) -> Found:
        """What is read of an image's file."""
        source = self._sources[entry["role"]]
        path = Path(source, entry["path"])
        if not path.exists() and not split(str(path)):  # perhaps its name is not valid UTF-8
            path = _paths_in(source).get(entry["path"], path)
        try:
            return read(path, entry)
        except Unreadable as error:
            raise told(Path(source), path, error) from error


@lru_cache(maxsize=8)
def _paths_in(source: str) -> dict[str, Path]:
    try:
        return find(source).paths if Path(source).is_dir() else {}
    except NoImages:  # the folder is empty now
        return {}
