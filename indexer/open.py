"""Make a collection, fit it anew, or open one: `index`, `refit`, `open_collection`."""

from collections.abc import Sequence
from pathlib import Path

from embeddings.images.find import several
from indexer.build import build
from indexer.build.build import Progress, Settings
from indexer.collection import Collection
from indexer.notebook import in_cells
from indexer.sharded.collection import ShardedCollection, is_sharded


def index(
    images: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    fitted_on: Collection | None = None,
    settings: Settings | None = None,
    device: str = "auto",
    progress: Progress = in_cells,
) -> Collection:
    """Index images into a collection on disk, or bring it up to date: only images that came or changed are embedded.

    Args:
        images: a folder, a file, ``@LIST`` for a file that lists paths, or several of these.
        out: folder of the collection.
        fitted_on: a collection whose fitted views embed these images too; needed for whatever is to be compared with it.
        settings: views and indexes, where nothing is fitted yet; default all views, exact indexes.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``cuda:all``.
        progress: called with stage, done, total; by default a bar in notebooks.

    Raises:
        CollectionError, NoImages, Locked, FullDisk, NoGpu, IndexProblem, WeightsError: see `indexer.build.build.build`.
    """
    return build.build(out, *several(images), fitted_on=fitted_on, settings=settings, device=device, progress=progress)


def refit(
    images: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    settings: Settings | None = None,
    device: str = "auto",
    progress: Progress = in_cells,
) -> Collection:
    """Index images with views that are fitted anew, and with other settings, into a collection that may exist already.

    Args:
        images, out, device, progress: see `index`.
        settings: views and indexes; default those of the collection that is there.

    Raises:
        CollectionError, NoImages, Locked, FullDisk, NoGpu, IndexProblem, WeightsError: see `indexer.build.build.build`.
    """
    return build.refit(out, *several(images), settings=settings, device=device, progress=progress)


def open_collection(folder: str | Path) -> Collection | ShardedCollection:
    """Open a finished collection, in one piece or in shards.

    Raises:
        CollectionError: it is unfinished, damaged or of another version.
    """
    return ShardedCollection(folder) if is_sharded(folder) else Collection(folder)
