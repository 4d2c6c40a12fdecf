"""Vectors to searchable collections on disk. Read types.py first."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexer.build.build import Settings as Settings
    from indexer.collection import Collection as Collection
    from indexer.collection import CollectionChanged as CollectionChanged
    from indexer.hits import Hit as Hit
    from indexer.hits import Hits as Hits
    from indexer.manifest import CollectionError as CollectionError
    from indexer.open import index as index
    from indexer.open import open_collection as open_collection
    from indexer.open import refit as refit
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
    "IndexSpec": "indexer.types",
    "Neighbours": "indexer.types",
    "Hit": "indexer.hits",
    "Hits": "indexer.hits",
}
__all__ = [
    "Collection",
    "CollectionChanged",
    "CollectionError",
    "Hit",
    "Hits",
    "IndexSpec",
    "Neighbours",
    "Settings",
    "index",
    "open_collection",
    "refit",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
