"""Step record: the results of a comparison become a run in the database. Nothing else writes a run."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from embeddings.types import Metric
from indexer.build.commit import versions
from indexer.collection import Collection
from indexer.salt import is_hashed
from indexer.types import Neighbours
from query.comparison.combined import COMBINED, weights_of
from query.comparison.comparison import Comparison
from query.comparison.copies import Copies
from query.comparison.matching import Matches
from query.comparison.scores import Score
from query.comparison.subsets import SubsetVotes
from query.database.record_attacks import rows_of_attacks
from query.database.record_copies import rows_of_copies
from query.database.record_duplicates import rows_of_duplicates
from query.database.record_matches import rows_of_matches
from query.database.record_memorisation import rows_of_memorisation
from query.database.record_predictions import rows_of_predictions
from query.database.record_quality import SETTING as QUALITY
from query.database.record_quality import rows_of_fidelity
from query.database.record_release import rows_of_release
from query.database.record_sets import SETTING as SET
from query.database.record_sets import RecordedSet, rows_of_set
from query.database.record_subsets import rows_of_subsets
from query.database.store import Kept, Rows, Run, RunView, Store, code_words
from query.inputs.contamination import SETTING
from query.inputs.patients import PATIENTS, PatientCounts, count_patients
from query.leakage.decision import ReleaseDecisions
from query.membership.predict import Predictions
from query.membership.reference_verdict import REFERENCE
from query.text import many

if TYPE_CHECKING:
    from query.quality.quality import Quality

_ROWS = 1_000_000  # of a large table, added at a time
_IMAGES = 100_000  # whose rows of tables images and codes are added at a time
_TEXTS = pa.list_(pa.string())


@dataclass(frozen=True)
class Results:
    """What a run is made of.

    Attributes:
        comparison: of step compare.
        labels: row of a real image -> whether it was used, where that is known.
        groups: row of a real image -> its patient or series, where that is known.
        matches: of step match, where pairs were matched.
        predictions: of step predict, where methods predicted.
        release: of `query.leakage.decision`, where the filter decided.
        copies: exact and near-exact ones, where they were looked for.
        near_duplicates: of the reference among other real images, where the user went on with them.
        of_set: figures of this generated set beside those of others, where several were compared.
        subsets: of step attribute, where subsets of the real images were given.
        quality: how good the generated images are, where that was measured.
    """

    comparison: Comparison
    labels: Mapping[int, bool] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)
    matches: Matches | None = None
    predictions: Predictions | None = None
    release: ReleaseDecisions | None = None
    copies: Copies | None = None
    near_duplicates: int = 0
    of_set: RecordedSet | None = None
    subsets: SubsetVotes | None = None
    quality: "Quality | None" = None


def record(store: Store, results: Results, *, command: str = "compare") -> int:
    """Write the results as one run, whole or not at all; its number.

    Args:
        store: open for writing.
        results: of all steps.
        command: what the user called, for table `runs`.

    Raises:
        CollectionChanged: a file of the collections was changed meanwhile; nothing is recorded.
        StoreError: the database refuses.
    """
    sides = results.comparison.sides
    real, generated = sides.real.stored, sides.generated.stored
    number = store.begin_run(_run(results, real, generated, command), _views(generated))
    for table, columns in _rows(results, real, generated):
        store.add(table, columns)
    if results.quality:
        store.add_search(rows_of_duplicates(results.quality.duplicates))
    reference = results.predictions and results.predictions.reference
    if results.predictions and not (reference and reference.effective):  # p-values of single scores know no weights
        store.calibrate(number)
    sides.check_unchanged()  # all of the run came from them: what changed meanwhile is not recorded
    store.finish_run(number)
    return number


def _rows(results: Results, real: Collection, generated: Collection) -> Iterator[Rows]:
    """Everything but table `runs`, a piece at a time."""
    first = len(generated)  # ids: generated images come first
    yield from _images("generated", generated, 0, {})
    yield from _images("real", real, first, results.groups)
    yield from _comparison(results.comparison)
    if results.labels:
        yield "labels", {"image_id": np.array(list(results.labels)) + first, "used": list(results.labels.values())}
    if results.release:
        yield from rows_of_release(results.release)
        if results.release.attacks:
            yield from rows_of_attacks(results.release.attacks)
    if results.of_set:
        yield from rows_of_set(results.of_set)
    if results.predictions:
        yield from rows_of_predictions(results.predictions, first, results.groups)
    if results.matches:
        yield from rows_of_matches(results.matches)
    if results.copies:
        yield from rows_of_copies(results.copies, first)
    if results.subsets:
        yield from rows_of_subsets(results.subsets)
    yield from rows_of_memorisation(results.copies, results.matches, first)
    if results.quality:
        yield from rows_of_fidelity(results.quality)


def known_groups(store: Store, run: int) -> dict[int, str]:
    """Number of a real image -> its group; an image without one is a group by itself.

    Hashed groups are numbered as they first appear: with another salt they sort otherwise, which must not decide what is drawn.
    """
    query = """SELECT image_id, "group" FROM images WHERE run_id = $run AND role = 'real' ORDER BY image_id"""
    numbers: dict[str, str] = {}
    groups: dict[int, str] = {}
    for row in store.sql(query, {"run": run}).to_pylist():
        group = row["group"]
        if group is not None and is_hashed(group):
            group = numbers.setdefault(group, f"{group.split()[0]} {len(numbers):09}")
        groups[row["image_id"]] = f"alone: {row['image_id']}" if group is None else f"group: {group}"
    return groups


def _run(results: Results, real: Collection, generated: Collection, command: str) -> Run:
    comparison, manifest = results.comparison, generated.manifest
    reference = results.predictions and results.predictions.reference
    device, patients = comparison.device, count_patients(real, generated, results.labels, results.groups)
    settings = {
        "decoding": dict(manifest.decoding),
        "index": dict(manifest.index),
        "sample": dict(manifest.sample),
        "device": asdict(device) if device else "cpu",
        "weights": weights_of(generated.views),
        "orientation": comparison.orientation.as_dict(),
        "k_of_generated": comparison.views[COMBINED].generated.k,
        **({PATIENTS: patients.as_dict()} if patients != PatientCounts() else {}),
        **({SETTING: results.near_duplicates} if results.near_duplicates else {}),
        **({REFERENCE: reference.as_dict()} if reference else {}),
        **({SET: results.of_set.settings()} if results.of_set else {}),
        **({"subsets": results.subsets.terms} if results.subsets else {}),
        **({QUALITY: results.quality.settings()} if results.quality else {}),
    }
    return Run(
        command=command,
        k=comparison.k,
        mirror=comparison.sides.flipped is not None,
        real_source=real.manifest.source,
        generated_source=manifest.source,
        real_images=len(real),
        generated_images=len(generated),
        real_failed=real.manifest.failed,
        generated_failed=manifest.failed,
        distances=Kept.ALL if comparison.complete else Kept.HISTOGRAM,
        settings=settings,
        versions=versions(),
    )


def _views(generated: Collection) -> list[RunView]:
    """What each view was, the combined one included."""
    views = []
    for name, entry in generated.manifest.views.items():
        spec = entry.spec
        views.append(RunView(name, spec.dim, str(spec.metric), spec.fingerprint, dict(spec.parameters), entry.notes))
    weights = weights_of(generated.views)
    parts = "".join(view.fingerprint for view in views if view.view in weights)
    note = "weighted root mean square of standardised distances, signs kept; negative: nearer than usual; -30: no difference"
    return [*views, RunView(COMBINED, len(weights), "standardised", hashlib.sha256(parts.encode()).hexdigest(), weights, note)]


def _images(role: str, collection: Collection, first: int, groups: Mapping[int, str]) -> Iterator[Rows]:
    """Images, failures and codes of one side; ids from `first` on."""
    counted = set(weights_of(collection.views))
    for start in range(0, len(collection), _IMAGES):
        images = collection.images.slice(start, _IMAGES)
        rows = range(start, start + len(images))
        blank = [sorted(named) + ([COMBINED] if counted <= set(named) else []) for named in images["blank"].to_pylist()]
        columns = {name: images[name] for name in ("path", "name", "frame", "sha256", "width", "height", "mode", "bytes")}
        about = {"blank": pa.array(blank, _TEXTS), "group": pa.array([groups.get(row) for row in rows], pa.string())}
        ids = {"image_id": np.array(rows) + first, "role": _repeated(role, len(rows))}
        yield "images", pa.table({**ids, **columns, **about})
    failed = collection.table.filter(pa.compute.is_null(collection.table["row"]))
    if len(failed):
        yield "failures", pa.table({"role": _repeated(role, len(failed)), "path": failed["path"], "reason": failed["error"]})
    if aside := collection.left_out:
        reasons = [f"left out: {many(kind.count, 'file')} of kind {kind.kind}, by name no image" for kind in aside]
        examples, counts = [kind.example for kind in aside], [kind.count for kind in aside]
        table = {"role": _repeated(role, len(aside)), "path": examples, "reason": reasons, "left_out": counts}
        yield "failures", pa.table(table)
    for view in collection.views:
        if collection.spec(view).metric is Metric.HAMMING:
            vectors = collection.vectors(view)
            for start in range(0, len(collection), _IMAGES):
                words = code_words(vectors[start : start + _IMAGES])
                same = _repeated(view, len(words))
                yield "codes", {"image_id": np.arange(start, start + len(words)) + first, "view": same, "words": words}


def _comparison(comparison: Comparison) -> Iterator[Rows]:
    """Distances, neighbours, scores and histograms of every view."""
    first = len(comparison.sides.generated)
    for view, result in comparison.views.items():
        if result.distances is not None:
            yield from _distances(view, result.distances)
        yield from _neighbours(view, "generated", result.generated, 0, first)
        yield from _neighbours(view, "real", result.real, first, 0)
        yield from _scores(view, result.generated_scores, 0)
        yield from _scores(view, result.real_scores, first)
        edges, counts = result.histogram.edges, result.histogram.counts
        yield "histograms", {"view": [view] * len(counts), "low": edges[:-1], "high": edges[1:], "pairs": counts}


def _distances(view: str, distances: NDArray[np.float32]) -> Iterator[Rows]:
    """All pairs, in blocks of real images so that no copy of the whole table is in memory."""
    reals, generateds = distances.shape
    step = max(1, _ROWS // max(1, generateds))
    for start in range(0, reals, step):
        block = distances[start : start + step]
        rows = {
            "view": _repeated(view, block.size),
            "real_id": np.repeat(np.arange(start, start + len(block)) + generateds, generateds),
            "generated_id": np.tile(np.arange(generateds), len(block)),
            "distance": block.ravel(),
        }
        yield "distances", pa.table(rows)


def _neighbours(view: str, role: str, neighbours: Neighbours, first_query: int, first_neighbour: int) -> Iterator[Rows]:
    """All neighbours, in blocks of queries, as the distances."""
    step = max(1, _ROWS // max(1, neighbours.k))
    for start in range(0, len(neighbours.rows), step):
        here = slice(start, start + step)
        near, known = neighbours.rows[here], neighbours.rows[here] >= 0
        queries, ranks = np.nonzero(known)
        rows = {
            "query_id": queries + start + first_query,
            "query_role": _repeated(role, len(queries)),
            "view": _repeated(view, len(queries)),
            "rank": (ranks + 1).astype(np.int32),
            "neighbour_id": near[known] + first_neighbour,
            "distance": neighbours.distances[here][known].astype(np.float32),
            "mirrored": neighbours.mirrored[here][known],
        }
        yield "neighbours", pa.table(rows)


def _scores(view: str, scores: Mapping[Score, NDArray[np.float64]], first: int) -> Iterator[Rows]:
    """Scores that are defined; the others have no row."""
    for name, values in scores.items():
        finite = np.flatnonzero(np.isfinite(values))
        for start in range(0, len(finite), _ROWS):
            known = finite[start : start + _ROWS]
            names = {"view": _repeated(view, len(known)), "score": _repeated(str(name), len(known))}
            yield "scores", pa.table({"image_id": known + first, **names, "value": values[known]})


def _repeated(value: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value), count)
