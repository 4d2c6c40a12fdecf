"""Record a comparison in the database: images, neighbours, scores, distances, settings."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from embeddings.types import Metric
from indexer.build.build import Progress, silent
from indexer.build.commit import versions
from indexer.collection import Collection
from indexer.device import Device
from indexer.types import Neighbours
from query.comparison.combined import COMBINED, weights_of
from query.comparison.scores import Score
from query.comparison.search import K, ViewResult, search
from query.database.store import Kept, Run, RunView, Store, code_words
from query.inputs.labels import rows_of
from query.leakage.withheld import decide

MAX_PAIRS = 10_000_000  # real x generated; above, distances are kept as histograms only
_PAIRS = 4_000_000  # rows of table `distances` added at a time


def query(
    store: Store,
    real: Collection,
    generated: Collection,
    *,
    mirrored: Collection | None = None,
    k: int = K,
    device: Device | None = None,
    labels: Mapping[str, bool] | None = None,
    groups: Mapping[str, str] | None = None,
    command: str = "compare",
    progress: Progress = silent,
    finish: Callable[[int, Mapping[str, ViewResult]], None] = lambda number, found: None,
) -> int:
    """Search in both directions, keep everything in the database, and give the number of the run.

    Args:
        store: open for writing.
        real: see `query.comparison.search.search`, as for `generated`, `mirrored`, `k`, `device` and `progress`.
        labels: name of a real image -> whether it was used, where that is known.
        groups: name of a real image -> its patient or series, where that is known.
        command: what the user called, for the table `runs`.
        finish: called with the number of the run and what was found when all is in the database, to add to it before that is
            committed.

    Raises:
        CollectionError: the collections cannot be compared.
        CollectionChanged: a file of them was changed meanwhile; nothing is kept.
        LabelsError: a label names an image that is not among the real ones.
        StoreError: the database refuses.
    """
    labelled = rows_of(real.names, labels or {}, "label")
    rows_of(real.names, groups or {}, "group")
    kept = Kept.ALL if len(real) * len(generated) <= MAX_PAIRS else Kept.HISTOGRAM
    number = store.begin_run(_run(real, generated, mirrored is not None, k, device, command, kept), _views(generated))
    _add_images(store, "generated", generated, 0, {})
    _add_images(store, "real", real, len(generated), groups or {})

    found = search(real, generated, mirrored=mirrored, k=k, device=device, distances=kept is Kept.ALL, progress=progress)
    for view, result in found.items():
        _add_neighbours(store, view, "generated", result.generated, 0, len(generated))
        _add_neighbours(store, view, "real", result.real, len(generated), 0)
        _add_scores(store, view, result.generated_scores, 0)
        _add_scores(store, view, result.real_scores, len(generated))
        edges, counts = result.histogram.edges, result.histogram.counts
        if result.distances is not None:
            _add_distances(store, view, result.distances)
        store.add("histograms", {"view": [view] * len(counts), "low": edges[:-1], "high": edges[1:], "pairs": counts})
    if labels:
        used = [labels[name] for name in labelled]
        ids = np.array(list(labelled.values())) + len(generated)
        store.add("labels", {"image_id": ids, "used": used})
        if kept is Kept.ALL and len(set(used)) == 2:
            of_image = known_groups(store, number)
            decide(store, number, generated, real, dict(zip(ids.tolist(), used, strict=True)), of_image)
    finish(number, found)
    for collection in filter(None, (real, generated, mirrored)):
        collection.check_unchanged()  # all of the run came from them: what changed meanwhile is not kept
    store.finish_run(number)
    return number


def known_groups(store: Store, run: int) -> dict[int, str]:
    """Number of a real image -> its group; an image without one is a group by itself."""
    query = """SELECT image_id, "group" FROM images WHERE run_id = $run AND role = 'real'"""
    rows = store.sql(query, {"run": run}).to_pylist()
    named = {row["image_id"]: row["group"] for row in rows}
    return {image: f"alone: {image}" if group is None else f"group: {group}" for image, group in named.items()}


def _run(real: Collection, generated: Collection, mirror: bool, k: int, device: Device | None, command: str, kept: Kept) -> Run:
    manifest = generated.manifest
    settings = {
        "decoding": dict(manifest.decoding),
        "index": dict(manifest.index),
        "sample": dict(manifest.sample),
        "device": asdict(device) if device else "cpu",
        "weights": weights_of(generated.views),
    }
    return Run(
        command=command,
        k=k,
        mirror=mirror,
        real_source=real.manifest.source,
        generated_source=manifest.source,
        real_images=len(real),
        generated_images=len(generated),
        real_failed=real.manifest.failed,
        generated_failed=manifest.failed,
        distances=kept,
        settings=settings,
        versions=versions(),
    )


def _views(generated: Collection) -> list[RunView]:
    """What each view was, the combined one included."""
    made = []
    for name, entry in generated.manifest.views.items():
        spec = entry.spec
        made.append(RunView(name, spec.dim, str(spec.metric), spec.fingerprint, dict(spec.parameters), entry.notes))
    weights = weights_of(generated.views)
    parts = "".join(view.fingerprint for view in made if view.view in weights)
    note = "weighted root mean square of the views' standardised distances, signs kept; negative means nearer than usual"
    return [*made, RunView(COMBINED, len(weights), "standardised", hashlib.sha256(parts.encode()).hexdigest(), weights, note)]


def _add_images(store: Store, role: str, collection: Collection, first: int, groups: Mapping[str, str]) -> None:
    """Images, failures and codes of one side; ids from `first` on."""
    images = collection.images
    ids = np.arange(first, first + len(images))
    counted = set(weights_of(collection.views))
    blank = [sorted(named) + ([COMBINED] if counted <= set(named) else []) for named in images["blank"].to_pylist()]
    by_row = {row: groups[name] for name, row in rows_of(collection.names, groups, "group").items()}
    columns = {name: images[name] for name in ("path", "name", "frame", "sha256", "width", "height", "mode", "bytes")}
    group = pa.array([by_row.get(row) for row in range(len(images))], pa.string())
    store.add("images", pa.table({"image_id": ids, "role": _repeated(role, len(ids)), **columns, "blank": blank, "group": group}))
    failed = collection.table.filter(pa.compute.is_null(collection.table["row"]))
    if len(failed):
        store.add("failures", pa.table({"role": _repeated(role, len(failed)), "path": failed["path"], "reason": failed["error"]}))
    for view in collection.views:
        if collection.spec(view).metric is Metric.HAMMING:
            words = code_words(collection.vectors(view))
            store.add("codes", {"image_id": ids, "view": _repeated(view, len(ids)), "words": words})


def _add_neighbours(store: Store, view: str, role: str, found: Neighbours, first_query: int, first_neighbour: int) -> None:
    kept = found.rows >= 0
    queries, ranks = np.nonzero(kept)
    rows = {
        "query_id": queries + first_query,
        "query_role": _repeated(role, len(queries)),
        "view": _repeated(view, len(queries)),
        "rank": (ranks + 1).astype(np.int32),
        "neighbour_id": found.rows[kept] + first_neighbour,
        "distance": found.distances[kept].astype(np.float32),
        "mirrored": found.mirrored[kept],
    }
    store.add("neighbours", pa.table(rows))


def _add_distances(store: Store, view: str, distances: NDArray[np.float32]) -> None:
    """All pairs, some real images at a time."""
    step = max(1, _PAIRS // max(1, distances.shape[1]))
    for start in range(0, len(distances), step):
        some = distances[start : start + step]
        rows = {
            "view": _repeated(view, some.size),
            "real_id": np.repeat(np.arange(start, start + len(some)) + distances.shape[1], some.shape[1]),
            "generated_id": np.tile(np.arange(some.shape[1]), len(some)),
            "distance": some.ravel(),
        }
        store.add("distances", pa.table(rows))


def _add_scores(store: Store, view: str, made: Mapping[Score, NDArray[np.float64]], first: int) -> None:
    """Scores that are defined; the others have no row."""
    for name, values in made.items():
        known = np.flatnonzero(np.isfinite(values))
        rows = {"image_id": known + first, "view": [view] * len(known), "score": [str(name)] * len(known), "value": values[known]}
        store.add("scores", rows)


def _repeated(value: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value), count)
