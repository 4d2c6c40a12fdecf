"""Manifest of a sharded collection: its shards in order, what all of them have in common, and one fingerprint."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from embeddings.files.reading import parse_json
from embeddings.files.writing import write_text
from indexer.manifest import CollectionError, Provenance, checksum

FORMAT = 1
NAME = "shards.json"
FITTED = "fitted"  # folder of the sample that views learned from, a collection of its own


@dataclass(frozen=True)
class Shard:
    """One shard, as the manifest knows it.

    Attributes:
        name: of its folder, ``shard-00000``.
        start: path and frame of the first file that belongs into it; what sorts before the next one's start belongs here too.
        images: images (frames) with vectors; 0 where it failed.
        failed: files without.
        manifest: SHA-256 (hex) of its ``manifest.json``, which has those of its files; empty where it failed.
        error: why there is none, in one line; empty where all is well.

    Raises:
        ValueError: a value is of another kind, or the name would lead out of the folder.
    """

    name: str
    start: tuple[str, int]
    images: int
    failed: int
    manifest: str
    error: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", tuple(self.start))
        kinds = [type(value) for value in (self.name, *self.start, self.images, self.failed, self.manifest, self.error)]
        if kinds != [str, str, int, int, int, str, str]:
            raise ValueError("a shard is damaged")
        if not self.name.startswith("shard-") or not self.name.removeprefix("shard-").isdigit():
            raise ValueError(f"{self.name!r} is no name of a shard")
        if bool(self.error) == bool(self.manifest) or (self.error and self.images):
            raise ValueError(f"{self.name} must have either a manifest or an error")


@dataclass(frozen=True)
class ShardedManifest(Provenance):
    """All that is known of a sharded collection but its images; the recall of a view's index is the lowest of all shards.

    Attributes:
        size: images that were asked for in a shard.
        fitted: SHA-256 (hex) of ``fitted/manifest.json``.
        shards: in the order of their rows.
    """

    size: int
    fitted: str
    shards: tuple[Shard, ...]

    @cached_property
    def whole(self) -> tuple[Shard, ...]:
        """The shards that did not fail."""
        return tuple(shard for shard in self.shards if not shard.error)

    @property
    def images(self) -> int:
        """Images (frames) with vectors, of all shards."""
        return sum(shard.images for shard in self.shards)

    @property
    def failed(self) -> int:
        """Files without vectors, of all shards; those of a shard that failed as a whole are among them."""
        return sum(shard.failed for shard in self.shards)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over all shards: two sharded collections with the same one hold the same bytes."""
        return checksum([[shard.name, shard.manifest] for shard in self.shards])

    def write(self, folder: Path) -> None:
        """Write `shards.json` into the folder."""
        write_text(folder / NAME, self.as_text())

    def as_text(self) -> str:
        """What `write` writes."""
        values = {"format_version": FORMAT, **self.as_dict(), "fingerprint": self.fingerprint}
        values["checksum"] = checksum(values)
        return json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, folder: Path) -> "ShardedManifest":
        """The manifest of a finished sharded collection.

        Raises:
            CollectionError: there is none, it is damaged, or another version of synthtrace wrote it.
        """
        try:
            return cls.of_text((folder / NAME).read_text(encoding="utf-8"), str(folder / NAME))
        except FileNotFoundError as error:
            mend = "run synthtrace index with --shards to make or finish it"
            raise CollectionError(f"{folder} is no finished collection in shards (it has no {NAME}); {mend}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise CollectionError(f"{folder / NAME} cannot be read ({error}); run synthtrace index again") from error

    @classmethod
    def of_text(cls, text: str, place: str) -> "ShardedManifest":
        """What `as_text` wrote.

        Args:
            text: the content of the file.
            place: the file, for messages.

        Raises:
            CollectionError: see `read`.
        """
        mend = "run synthtrace index again"
        try:
            values = parse_json(text)
            told, version = values.pop("checksum"), values.pop("format_version")
            if version != FORMAT:
                raise CollectionError(f"{place} has format {version}, this synthtrace reads format {FORMAT}; {mend}")
            if told != checksum({"format_version": version, **values}):
                raise CollectionError(f"{place} has changed since it was written; {mend}")
            del values["fingerprint"]
            return cls.from_dict({**values, "shards": tuple(Shard(**shard) for shard in values["shards"])})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CollectionError(f"{place} is damaged ({error}); {mend}") from error
