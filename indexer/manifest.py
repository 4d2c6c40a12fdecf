"""Manifest of a collection: source, settings, versions, and checksums of its files."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any, Self

from embeddings.errors import SynthtraceError
from embeddings.files.reading import parse_json
from embeddings.files.writing import PlantedLink, write_text
from embeddings.files.writing import make_folder as make_private
from embeddings.images.orientation import Orientation
from embeddings.types import EmbeddingSpec
from indexer.files import sha256_of

FORMAT = 4
NAME = "manifest.json"


class CollectionError(SynthtraceError):
    """A folder is no usable collection, or not one that fits; the message names it and the mend."""


@dataclass(frozen=True)
class ViewEntry:
    """One view of a collection.

    Attributes:
        spec: what its vectors are.
        options: as given to `embeddings.views.registry.make_view`.
        note: what a reader of results must know of the view.
        precision: arithmetic that made the vectors.
        factory: FAISS factory string of the index.
        recall: measured share of the 10 exact neighbours the index finds, 1 for an exhaustive one, None for an empty one.
    """

    spec: EmbeddingSpec
    options: Mapping[str, Any]
    note: str
    precision: str
    factory: str
    recall: float | None

    @property
    def notes(self) -> str:
        """All that a reader of results must know: the note, and that an index is approximate; empty where there is nothing."""
        approximate = "" if self.recall in (1, None) else f"approximate index {self.factory}, measured recall {self.recall}"
        return "; ".join(filter(None, [self.note, approximate]))

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values, the fingerprint beside them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**values, "spec": self.spec.as_dict(), "fingerprint": self.spec.fingerprint}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ViewEntry":
        """What `as_dict` wrote."""
        fields = {name: value for name, value in values.items() if name != "fingerprint"}
        return cls(**{**fields, "spec": EmbeddingSpec.from_dict(values["spec"])})


def spec_in(views: Mapping[str, ViewEntry], view: str, folder: Path) -> EmbeddingSpec:
    """What the vectors of a view are, in the collection in `folder`.

    Raises:
        CollectionError: no such view there.
    """
    if view not in views:
        raise CollectionError(f"{folder} has no view {view!r}; it has {', '.join(views)}")
    return views[view].spec


@dataclass(frozen=True)
class Provenance:
    """How images became vectors: what a collection and one in shards say alike.

    Attributes:
        source: absolute path of the folder that image paths are relative to.
        ignored: files left aside because they are no images by name.
        left_out: of those, for each kind of name: kind, count, one example; see `embeddings.images.find.LeftOut`.
        orientation: how the images were turned or flipped before they were embedded.
        salt: fingerprint of the salt that patients were hashed with, see `indexer.salt`; empty where no file names one.
        decoding: how pixels were decoded.
        sample: size and seed of the sample the views learned from.
        index: how indexes were asked for.
        views: by name.
        versions: of the format's writer and the libraries.
    """

    source: str
    ignored: int
    left_out: Sequence[Mapping[str, Any]]
    orientation: Orientation
    salt: str
    decoding: Mapping[str, Any]
    sample: Mapping[str, int]
    index: Mapping[str, Any]
    views: Mapping[str, ViewEntry]
    versions: Mapping[str, str]

    @property
    def provenance(self) -> dict[str, Any]:
        """These fields alone, by name."""
        return {field.name: getattr(self, field.name) for field in fields(Provenance)}

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values of all fields."""
        return {**asdict(self), "views": {name: view.as_dict() for name, view in self.views.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `as_dict` made. Whoever wrote it also computed its checksum, so that alone does not make it one of ours.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: a value is missing or of another kind.
        """
        views = {name: ViewEntry.from_dict(view) for name, view in values["views"].items()}
        read = cls(**{**values, "views": views, "orientation": Orientation(values["orientation"])})
        kinds: dict[str, type] = {"source": str, "ignored": int, "salt": str, "left_out": list}
        kinds |= dict.fromkeys(("decoding", "sample", "index", "versions"), dict)
        for name, kind in kinds.items():
            if type(getattr(read, name)) is not kind:
                raise ValueError(f"{name} is no {kind.__name__}")
        for each in read.left_out:
            if {name: type(value) for name, value in each.items()} != {"kind": str, "count": int, "example": str}:
                raise ValueError("left_out is no list of kinds")
        return read


@dataclass(frozen=True)
class Manifest(Provenance):
    """All that is known of a collection but its images.

    Attributes:
        images: images (frames) with vectors.
        failed: files without.
        files: path -> SHA-256 (hex) of every other file of the collection.
        base: folder in source that names are relative to, see `embeddings.images.find.Source`.
    """

    images: int
    failed: int
    files: Mapping[str, str]
    base: str = ""

    def write(self, folder: Path) -> None:
        """Write `manifest.json` into the folder."""
        values = {"format_version": FORMAT, **self.as_dict()}
        values["checksum"] = checksum(values)
        write_text(folder / NAME, json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest of a finished collection.

        Raises:
            CollectionError: there is none, it is damaged, or another version of synthtrace wrote it.
        """
        try:
            values = parse_json((folder / NAME).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            if (folder / "shards.json").exists():
                raise CollectionError(
                    f"{folder} is a collection in shards; this needs one in one piece, such as a shard"
                ) from error
            unfinished = (folder / "parts").is_dir()
            mend = "run synthtrace index again to finish it" if unfinished else "make one with synthtrace index"
            state = "an unfinished collection" if unfinished else "no collection (it has no manifest.json)"
            raise CollectionError(f"{folder} is {state}; {mend}") from error
        except (OSError, ValueError) as error:
            raise CollectionError(f"{folder / NAME} cannot be read ({error}); build the collection again") from error
        told = values.pop("checksum", None) if isinstance(values, dict) else None
        intact = told == checksum(values)
        version = values.pop("format_version", None) if isinstance(values, dict) else None
        if version != FORMAT:
            mend = "build the collection again"
            raise CollectionError(f"{folder} has format {version}, this synthtrace reads format {FORMAT}; {mend}")
        if not intact:
            raise CollectionError(f"{folder / NAME} has changed since it was written; build the collection again")
        try:
            return cls.from_dict(values)._sound()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CollectionError(f"{folder / NAME} is damaged ({error}); build the collection again") from error

    def _sound(self) -> "Manifest":
        """Itself.

        Raises:
            ValueError: a value is of another kind, or a file would lie outside the collection.
        """
        for name, kind in {"base": str, "images": int, "failed": int, "files": dict}.items():
            if type(getattr(self, name)) is not kind:
                raise ValueError(f"{name} is no {kind.__name__}")
        for path in self.files:
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\0" in path:
                raise ValueError(f"{path!r} lies outside the collection")
        return self


def checksum(values: Any) -> str:
    """SHA-256 (hex) of JSON-able values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def make_folder(folder: Path) -> list[str]:
    """Make the folder for its owner only, where it is missing; gives the sorted names of what it holds.

    Raises:
        CollectionError: something else is in the way.
    """
    try:
        make_private(folder)
    except PlantedLink as error:
        raise CollectionError(str(error)) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise CollectionError(f"{folder} is no folder and lies in none; name a new folder") from error
    return sorted(path.name for path in folder.iterdir())


def check(folder: Path, manifest: Manifest, names: list[str] | None = None) -> list[str]:
    """One line for each file (all, or those named) that is missing or whose bytes are not those that were written."""
    problems = []
    for name in sorted(manifest.files if names is None else names):
        try:
            if sha256_of(folder / name) != manifest.files.get(name):
                problems.append(f"{folder / name}: its bytes have changed since it was written")
        except OSError as error:
            problems.append(f"{folder / name}: {error.strerror or error}")
    return problems
