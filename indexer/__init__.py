"""Vectors to searchable collections on disk. Read types.py first."""

from typing import TYPE_CHECKING

from embeddings.lazy import lazily

if TYPE_CHECKING:
    from indexer.build.build import Settings as Settings
    from indexer.build.together import fit_together as fit_together
    from indexer.collection import Collection as Collection
    from indexer.collection import CollectionChanged as CollectionChanged
    from indexer.execution.executor import Executor as Executor
    from indexer.execution.on_ray import executor as executor
    from indexer.hits import Hit as Hit
    from indexer.hits import Hits as Hits
    from indexer.manifest import CollectionError as CollectionError
    from indexer.open import index as index
    from indexer.open import open_collection as open_collection
    from indexer.open import refit as refit
    from indexer.sharded.build import Sharding as Sharding
    from indexer.sharded.build import index_shards as index_shards
    from indexer.sharded.build import refit_shards as refit_shards
    from indexer.sharded.collection import ShardedCollection as ShardedCollection
    from indexer.types import IndexSpec as IndexSpec
    from indexer.types import Neighbours as Neighbours

__version__ = "0.1.0"
_HOMES = {  # imported when they are first used: start-up stays fast
    "index": "indexer.open",
    "open_collection": "indexer.open",
    "refit": "indexer.open",
    "Collection": "indexer.collection",
    "CollectionChanged": "indexer.collection",
    "CollectionError": "indexer.manifest",
    "Settings": "indexer.build.build",
    "fit_together": "indexer.build.together",
    "Executor": "indexer.execution.executor",
    "executor": "indexer.execution.on_ray",
    "index_shards": "indexer.sharded.build",
    "refit_shards": "indexer.sharded.build",
    "Sharding": "indexer.sharded.build",
    "ShardedCollection": "indexer.sharded.collection",
    "IndexSpec": "indexer.types",
    "Neighbours": "indexer.types",
    "Hit": "indexer.hits",
    "Hits": "indexer.hits",
}
__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazily(__name__, _HOMES)
