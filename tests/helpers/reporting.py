"""Runs of every kind for tests of the report, written into a database without a search."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from embeddings.phantoms.slices import copy_of
from embeddings.views.keypoints import keypoints
from indexer.files import sha256_of
from query.comparison.combined import COMBINED
from query.comparison.geometry import match
from query.database.store import Kept, Run, RunView, Store
from tests.helpers.making import slice_of, write_image

REAL, GENERATED, COPIED = 24, 30, 4  # generated image i copies real image i, below COPIED
DECODING = {"axis": 2, "centre": None, "high": 99.5, "low": 0.5, "max_pixels": 100_000_000, "width": None}


@dataclass(frozen=True)
class State:
    """What a run knows.

    Attributes:
        used, unused: real images with labels, used ones first.
        first: the first of them.
        decided: methods judged.
        matched: pairs were matched.
        threshold: of the match value, where images that cannot be copies told one.
        blank: every image is blank to every view.
        failed: sides of which a file could not be read.
        kept: which distances stay.
        mark: stands in every name, path, group and text.
    """

    used: int = 0
    unused: int = 0
    first: int = 0
    decided: bool = False
    matched: bool = False
    threshold: float | None = None
    blank: bool = False
    failed: tuple[str, ...] = ()
    kept: Kept = Kept.ALL
    mark: str = "image"


def make_run(folder: Path, state: State) -> Path:
    """The database of one run, `results.duckdb`, and its images in `real` and `generated`."""
    rng = np.random.default_rng(3)
    named = f"{state.mark} %s %02d.png"
    pixels = [copy_of(slice_of(i), 1, rng) if i < COPIED else slice_of(100 + i) for i in range(GENERATED)]
    pixels += [slice_of(i) for i in range(REAL)]
    roles = ["generated"] * GENERATED + ["real"] * REAL
    places = [*range(GENERATED), *range(REAL)]
    sources = {role: folder / f"{state.mark} {role}" for role in ("generated", "real")}
    for source in sources.values():
        source.mkdir(parents=True)
    names = [named % (role, i) for role, i in zip(roles, places, strict=True)]
    paths = [write_image(sources[role] / name, image) for role, name, image in zip(roles, names, pixels, strict=True)]
    database = folder / "results.duckdb"
    about = Run(
        "compare", 3, False, str(sources["real"]), str(sources["generated"]), REAL, GENERATED,
        int("real" in state.failed), int("generated" in state.failed), state.kept,
        {"decoding": DECODING, "device": {"note": state.mark}, "index": {"factory": state.mark}, "weights": {"phash": 1.0}},
        {"synthtrace": "0.0"},
    )  # fmt: skip
    views = [
        RunView("phash", 256, "hamming", "ab" * 32, {"weights": state.mark}, f"note of {state.mark}"),
        RunView(COMBINED, 1, "standardised", "cd" * 32, {}, "combined"),
    ]
    with Store.open(database) as store:
        number = store.begin_run(about, views)
        count = len(names)
        store.add("images", pa.table({
            "image_id": np.arange(count), "role": roles, "path": names, "name": names, "frame": np.zeros(count, np.int32),
            "sha256": [sha256_of(path) for path in paths], "width": np.full(count, 64), "height": np.full(count, 64),
            "mode": ["L"] * count, "bytes": np.full(count, 9),
            "blank": pa.array([["phash", COMBINED] if state.blank else []] * count, pa.list_(pa.string())),
            "group": [None] * GENERATED + [f"{state.mark} patient {i // 2}" for i in range(REAL)],
        }))  # fmt: skip
        for role in state.failed:
            store.add("failures", {"role": [role], "path": [f"{state.mark} bad.png"], "reason": [f"{state.mark} is torn"]})
        _add_distances(store, state, rng)
        if state.used or state.unused:
            order = np.arange(state.used + state.unused)
            store.add("labels", {"image_id": order + GENERATED + state.first, "used": order < state.used})
        if state.decided:
            _add_decisions(store, state)
        if state.matched:
            pairs = [(GENERATED + i, i) for i in (0, 1, COPIED)]
            found = [match(keypoints(pixels[real]), keypoints(pixels[generated])) for real, generated in pairs]
            measures = ("matches", "inliers", "inlier_ratio", "area", "residual", "correlation", "ssim")
            store.add("matches", {
                "real_id": [real for real, _ in pairs], "generated_id": [generated for _, generated in pairs],
                **{name: np.array([getattr(each, name) for each in found]) for name in measures},
                "value": np.array([each.inliers for each in found], np.float64),
                "quarter_turns": [0] * 3, "mirrored": [False] * 3,
            })  # fmt: skip
        if state.threshold is not None:
            store.add("matching", {
                "generated_images": [3], "pairs": [3], "controls": [50], "control_groups": [50], "level": [0.02],
                "threshold": [state.threshold], "note": [state.mark],
            })  # fmt: skip
        store.finish_run(number)
    return database


def add_filter(database: Path, withheld: int, risk: float | None) -> None:
    """The filter withholds the first generated images, as `filter --db` keeps it; no risk without hold-out images."""
    number = np.arange(GENERATED)
    decisions = np.where(number < withheld, "withhold", "keep")
    with Store.open(database) as store:
        store.replace(1, {"release_decisions": {
            "image_id": number, "decision": decisions, "reason": ["x"] * GENERATED, "view": [COMBINED] * GENERATED,
            "score": np.where(number < withheld, 3.0, 1.0), "threshold": np.full(GENERATED, 2.0), "risk": [risk] * GENERATED,
            "nearest_id": GENERATED + number % REAL, "distance": np.zeros(GENERATED),
        }})  # fmt: skip


def distances() -> dict[str, np.ndarray]:
    """View -> (REAL, GENERATED), copies near."""
    rng = np.random.default_rng(4)
    plain = rng.normal(0, 1, (REAL, GENERATED)).clip(-2.91731, 2.91731)
    plain[range(COPIED), range(COPIED)] -= 8
    return {COMBINED: plain.astype(np.float32), "phash": np.round(120 + 12 * plain).astype(np.float32)}


def _add_distances(store: Store, state: State, rng: np.random.Generator) -> None:
    for view, found in distances().items():
        for role, table, first, other in (("real", found, GENERATED, 0), ("generated", found.T, 0, GENERATED)):
            order = np.argsort(table, axis=1, kind="stable")[:, :3]
            rows = np.repeat(np.arange(len(table)), 3)
            store.add("neighbours", {
                "query_id": rows + first, "query_role": [role] * len(rows), "view": [view] * len(rows),
                "rank": np.tile([1, 2, 3], len(table)), "neighbour_id": order.ravel() + other,
                "distance": np.take_along_axis(table, order, 1).ravel(), "mirrored": np.zeros(len(rows), bool),
            })  # fmt: skip
        edges = np.arange(258.0) if view == "phash" else np.linspace(-15, 5, 201)
        counts = np.histogram(found, edges)[0]
        store.add("histograms", {"view": [view] * len(counts), "low": edges[:-1], "high": edges[1:], "pairs": counts})
        if state.kept is Kept.ALL:
            real, generated = np.divmod(np.arange(found.size), GENERATED)
            kept = {"real_id": real + GENERATED, "generated_id": generated, "distance": found.ravel()}
            store.add("distances", {"view": [view] * found.size, **kept})


def _add_decisions(store: Store, state: State) -> None:
    """Two methods; the primary one calls the patients of copied images used, if there is a reference; two images of a patient."""
    reference, reference_patients = state.unused, 0
    known = np.isin(np.arange(REAL), state.first + np.arange(state.used + state.unused))
    value = -distances()[COMBINED].min(axis=1).astype(np.float64)
    p_values = np.where(value > 4, 0.01, 0.5) if reference else np.full(REAL, np.nan)
    patient = np.arange(REAL) // 2
    called = np.isin(patient, patient[p_values < 0.1])
    answers = np.where(called, "patient used", "no trace found") if reference else np.full(REAL, "undecided")
    role = np.where(known, "cross-fitted", "unlabelled")
    facts = {"primary": True, "fdr": 0.1, "used": state.used, "not_used": reference, "generated": GENERATED, "priors": None}
    if reference:
        unused = state.first + state.used + np.arange(reference)
        reference_patients = len(np.unique(patient[unused]))
        facts |= {"reference": reference, "reference_patients": reference_patients}
    for method, primary in (("fusion", True), ("phash", False)):
        nothing = np.full(REAL, np.nan)
        store.add("decisions", {
            "image_id": np.arange(REAL) + GENERATED, "method": [method] * REAL, "used": value > 4, "value": value,
            "threshold": np.full(REAL, 4.0), "p_value": p_values, "q_value": p_values if primary else nothing,
            "probability": nothing, "probability_low": nothing, "probability_high": nothing,
            "answer": answers.tolist() if primary else [None] * REAL, "role": role,
        })  # fmt: skip
        text = json.dumps({**facts, "primary": primary})
        store.add("methods", {
            "method": [method], "calibrated": [bool(reference)], "needs": ["nothing"], "note": [f"said of {state.mark}"],
            "facts": [text], "detail": ["{}"],
        })  # fmt: skip
    if reference:
        _add_patients(store, state, p_values, role, reference_patients)


def _add_patients(store: Store, state: State, p_values: np.ndarray, role: np.ndarray, reference: int) -> None:
    """Each patient by its unlabelled or by its labelled images, and the test of all unlabelled patients."""
    patient, rows = np.arange(REAL) // 2, []
    for kind in ("unlabelled", "cross-fitted"):
        for one in np.unique(patient[role == kind]):
            own = np.flatnonzero((patient == one) & (role == kind))
            p = float(p_values[own].min())
            named = f"{state.mark} patient {one}", int(own[np.argmin(p_values[own])]) + GENERATED, len(own), kind
            rows.append(("fusion", *named, p, p, "used" if p < 0.1 else "no trace found"))
    names = ("method", "patient", "image_id", "images", "role", "p_value", "q_value", "decision")
    store.add("patient_decisions", dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    asked = [row for row in rows if row[4] == "unlabelled"]
    if asked:
        share = sum(row[-1] == "used" for row in asked) / len(asked)
        whole = {"method": "fusion", "p_value": 0.0005 if share else 0.43, "share_low": share, "patients": len(asked)}
        store.add("set_tests", {name: [each] for name, each in {**whole, "reference_patients": reference}.items()})
