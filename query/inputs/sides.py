"""Sides: the collections that are compared."""

from dataclasses import dataclass

from indexer.collection import Collection


@dataclass(frozen=True)
class Sides:
    """The collections of a run."""

    real: Collection
    generated: Collection
    mirrored: Collection | None
