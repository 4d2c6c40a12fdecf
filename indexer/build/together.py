"""Fit the views on several sets of images alike: equally many of each, so that none is seen better than another."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from embeddings.images.find import Source, find
from embeddings.pipeline import in_order
from indexer.build.build import Progress, Settings, fit_sample, in_order_of_rows, sample_of, silent
from indexer.build.files import File, look
from indexer.collection import Collection
from indexer.manifest import CollectionError


def fit_together(
    sets: Sequence[str | Path | Source],
    out: str | Path,
    *,
    settings: Settings | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Collection:
    """Fit the views on equally many images of each set, and make the collection of these images.

    Sets of different generators that are indexed with ``fitted_on`` this collection can be held against each other: whitening and
    vocabularies fitted on one of them would describe that one best.

    Args:
        sets: folders of images, or what was found in them; two or more.
        out: folder of the collection; what was fitted there is fitted anew, with the same result for the same images.
        settings: default `Settings()`; `sample_size` is that of all sets together.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``cuda:all``.
        progress: called with stage, done, total.

    Raises:
        CollectionError: no image of a set could be read.
        NoImages, Locked, FullDisk, NoGpu, IndexProblem, WeightsError, SaltError: see `indexer.build.build.build`.
    """
    chosen, sources = settings or Settings(), [find(each) for each in sets]
    looked = [_files(source, chosen, progress) for source in sources]
    for source, files in zip(sources, looked, strict=True):
        if not files:
            raise CollectionError(f"{source.root}: no image could be read, so there is nothing to fit the views on")
    most = min(-(-chosen.sample_size // len(looked)), *map(len, looked))
    root = os.path.commonpath([source.root for source in sources])
    drawn: list[File] = []
    for source, files in zip(sources, looked, strict=True):
        some = sample_of(files, replace(chosen, sample_size=most))
        drawn += [replace(file, path=os.path.relpath(source.root / file.path, root)) for file in some]
    together = in_order_of_rows({file.key: file for file in drawn}.values())
    source = Source(Path(root), tuple(sorted({file.path for file in together})), (), ())
    return fit_sample(Path(out), source, together, replace(chosen, sample_size=len(together)), device, progress)


def _files(source: Source, settings: Settings, progress: Progress) -> list[File]:
    """Files that can be read, with their hashes, each content once."""
    found: dict[str, File] = {}
    for done, seen in enumerate(in_order(lambda name: look(source.root, name, settings.decoding), source.files), 1):
        found |= {file.key: file for file in seen.files if file.key and file.key not in found}
        progress("hashing", done, len(source.files))
    return list(found.values())
