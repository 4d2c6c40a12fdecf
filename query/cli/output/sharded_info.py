"""Output of `index --shards` and `info`: the content of a sharded collection."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from embeddings.images.find import LeftOut
from embeddings.images.orientation import Orientation
from indexer.sharded.collection import ShardedCollection
from query.cli.output.info import ViewInfo, made_with, source_line, view_infos, views_table
from query.text import many, name

_OF_MANIFEST = ("source", "images", "failed", "ignored", "orientation", "size", "decoding", "sample", "versions", "fingerprint")


@dataclass(frozen=True)
class ShardInfo:
    """A shard; `error` is empty where it was made."""

    name: str
    images: int
    failed: int
    error: str


@dataclass(frozen=True)
class ShardedInfo:
    """A sharded collection in short.

    Attributes:
        collection: its folder.
        source: of the images.
        ignored: files that are not named as images.
        left_out: the same by kind.
        size: images that were asked for in a shard.
        fingerprint: over all shards.
    """

    collection: str
    source: str
    images: int
    failed: int
    ignored: int
    left_out: Sequence[LeftOut]
    orientation: Orientation
    size: int
    decoding: Mapping[str, Any]
    sample: Mapping[str, Any]
    versions: Mapping[str, str]
    fingerprint: str
    views: Sequence[ViewInfo]
    shards: Sequence[ShardInfo]

    def __str__(self) -> str:
        bad = [shard for shard in self.shards if shard.error]
        missing = [f"{shard.name} could not be made, {many(shard.failed, 'file')}: {name(shard.error)}" for shard in bad]
        head = [f"collection {name(self.collection)} in {many(len(self.shards) - len(bad), 'shard')}", source_line(self)]
        return "\n".join(
            [*head, *missing, "", views_table(self.views), "", f"fingerprint {self.fingerprint}", made_with(self.versions)]
        )


def sharded_info(collection: ShardedCollection) -> ShardedInfo:
    """What a sharded collection holds, from its manifest alone."""
    manifest = collection.manifest
    shards = [asdict(shard) for shard in manifest.shards]
    return ShardedInfo(
        collection=str(collection.folder),
        left_out=collection.left_out,
        views=view_infos(manifest.views),
        shards=[ShardInfo(**{key: shard[key] for key in ("name", "images", "failed", "error")}) for shard in shards],
        **{key: getattr(manifest, key) for key in _OF_MANIFEST},
    )
