"""Every named analysis and view, held against NumPy on a small synthetic run."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from embeddings.views.registry import VIEWS
from query.comparison.combined import COMBINED
from query.database.store import SQL, Kept, Run, RunView, Store, StoreError, code_words

GENERATED, REAL, K = 30, 8, 3
LEVELS = (0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1)
COLUMNS = ("minimum", "q01", "q05", "q25", "median", "q75", "q95", "q99", "maximum")
BLANK = 4  # this generated image is blank in phash
LABELS = {0: True, 1: True, 2: True, 3: False, 4: False}  # real number -> used; the others are unlabelled
GROUPS = ["p0", "p0", "p1", "p1", "p2", "p2", None, None]


def generated_name(number: int) -> str:
    return f"g{number:02}.png"


def real_name(number: int) -> str:
    return f"r{number}.png"


def membership(number: int) -> str:
    return {True: "used", False: "not used", None: "unlabelled"}[LABELS.get(number)]


@dataclass
class Truth:
    """Codes and (REAL, GENERATED) float32 distances, by view; flipped says where the flipped real image was nearer."""

    codes: NDArray[np.uint8]
    distances: dict[str, NDArray[np.float32]]
    flipped: NDArray[np.bool_]

    def sources(self, view: str) -> NDArray[np.int64]:
        return np.asarray(np.argmin(self.distances[view], axis=0), np.int64)


def make_truth() -> Truth:
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2, (REAL, 256), dtype=np.uint8)
    copies = bits[rng.integers(0, REAL, GENERATED)] ^ (rng.random((GENERATED, 256)) < rng.uniform(0, 0.35, (GENERATED, 1)))
    copies[::5] = copies[::5, ::-1]  # mirrored copies: their source's reversed code is the nearer one
    plain = (bits[:, None] != copies[None]).sum(2)
    mirrored = (bits[:, None, ::-1] != copies[None]).sum(2)
    vectors = rng.normal(size=(REAL + GENERATED, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = 1 - vectors[:REAL] @ vectors[REAL:].T
    return Truth(
        np.packbits(np.concatenate([copies, bits]).astype(np.uint8), axis=1),
        {"phash": np.minimum(plain, mirrored).astype(np.float32), "resnet": cosine.astype(np.float32)},
        mirrored < plain,
    )


def neighbours(truth: Truth, view: str) -> dict[str, NDArray[Any]]:
    rows = []
    distances = truth.distances[view]
    flipped = truth.flipped if view == "phash" else np.zeros_like(truth.flipped)
    for role, table, flips in (("real", distances, flipped), ("generated", distances.T, flipped.T)):
        own, other = (GENERATED, 0) if role == "real" else (0, GENERATED)
        for query, row in enumerate(table):
            for rank, near in enumerate(np.argsort(row, kind="stable")[:K]):
                rows.append((query + own, role, view, rank + 1, near + other, row[near], flips[query, near]))
    names = ("query_id", "query_role", "view", "rank", "neighbour_id", "distance", "mirrored")
    return {name: np.array(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


def histogram(distances: NDArray[np.float32], edges: NDArray[np.float64]) -> dict[str, NDArray[np.generic]]:
    return {"low": edges[:-1], "high": edges[1:], "pairs": np.histogram(distances, edges)[0]}


def write_run(store: Store, truth: Truth, kept: Kept) -> int:
    run = Run(
        "synthtrace compare", K, True, "real", "generated", REAL, GENERATED, 1, 0, kept, {"seed": 0}, {"numpy": np.__version__}
    )
    number = store.begin_run(
        run, [RunView("phash", 256, "hamming", "f1"), RunView("resnet", 16, "cosine", "f2", note="no weights")]
    )
    n = GENERATED + REAL
    names = [generated_name(i) for i in range(GENERATED)] + [real_name(i) for i in range(REAL)]
    roles = ["generated"] * GENERATED + ["real"] * REAL
    store.add(
        "images",
        {
            "image_id": np.arange(n), "role": roles, "path": [f"/data/{name}" for name in names], "name": names,
            "sha256": [f"{i:064x}" for i in range(n)], "width": np.full(n, 256), "height": np.full(n, 256), "mode": ["L"] * n,
            "bytes": np.full(n, 1000), "blank": [["phash"] if i == BLANK else [] for i in range(n)],
            "group": [None] * GENERATED + GROUPS,
        },
    )  # fmt: skip
    store.add("failures", {"role": ["real"], "path": ["bad.png"], "reason": ["the file is empty"]})
    store.add("codes", {"image_id": np.arange(n), "view": ["phash"] * n, "words": code_words(truth.codes)})
    for view, edges in (("phash", np.arange(258.0)), ("resnet", np.linspace(0, 2, 201))):
        distances = truth.distances[view]
        store.add("neighbours", neighbours(truth, view))
        store.add("histograms", {"view": [view] * (len(edges) - 1), **histogram(distances, edges)})
        if kept is Kept.ALL:
            real, generated = np.indices(distances.shape).reshape(2, -1)
            columns = {"real_id": real + GENERATED, "generated_id": generated, "distance": distances.ravel()}
            store.add("distances", {"view": [view] * distances.size, **columns})
    labels = np.array([(number + GENERATED, used) for number, used in LABELS.items()])
    store.add("labels", {"image_id": labels[:, 0], "used": labels[:, 1].astype(bool)})
    real = np.arange(REAL) + GENERATED
    used = [True, False, None, True, False, True, False, None]
    decided = {"image_id": real, "used": used, "value": np.arange(REAL) / 10, "role": ["cross-fitted"] * REAL}
    store.add("decisions", {"method": ["nearest"] * REAL, **decided})
    store.add("decisions", {"method": ["fitted"] * REAL, **decided, "role": ["seen"] * REAL})  # says nothing about the method
    tested = {"image_id": real[:2], "patient": ["p0", "p1"], "images": [2, 1], "role": ["unlabelled"] * 2, "p_value": [0.01, 0.5]}
    answers = {"q_value": [0.02, 0.5], "decision": ["used", "no trace found"]}
    store.add("patient_decisions", {"method": ["nearest"] * 2, **tested, **answers})
    whole = {"method": ["nearest"], "p_value": [0.0005], "share_low": [0.29], "patients": [100], "reference_patients": [80]}
    store.add("set_tests", whole)
    p_values = [0.01, None, *[0.5] * (REAL - 2)]
    store.add(
        "scores", {"image_id": real, "view": ["phash"] * REAL, "score": ["margin"] * REAL, "value": -real, "p_value": p_values}
    )
    withheld = {"image_id": [0, 1, 2], "decision": ["withhold", "withhold", "keep"], "reason": ["above", "blank", "below"]}
    scores = {"score": [3.5, None, 1.0], "threshold": [2.0] * 3, "nearest_id": [GENERATED, None, GENERATED + 1]}
    store.add("release_decisions", {**withheld, **scores, "view": ["combined"] * 3, "distance": [-4.0, None, -1.0]})
    store.add("subset_members", {"image_id": real, "subset": ["s1", "s2"] * (REAL // 2)})
    store.add("subset_probabilities", {"image_id": [0, 0], "subset": ["s1", "s2"], "probability": [0.75, 0.25]})
    voted = {"subset": ["s1"], "probability": [0.75], "answer": ["undecided"], "calibrated": [False], "label": [None]}
    store.add("subset_decisions", {"image_id": [0], **voted, "without_best": ["s2"], "real_id": [GENERATED + 2]})
    store.add("metrics", {"method": ["nearest"], "metric": ["f1"], "value": [0.5], "low": [0.25], "high": [0.75]})
    store.add("fidelity", {"figure": ["recall"], "images": [4], "value": [0.5], "low": [0.25], "high": [0.75]})
    store.add_search(searched())
    store.finish_run(number)
    return number


def searched(source: str = "generated") -> list[tuple[str, dict[str, Any]]]:
    """A search: the files of images 0 and 1 are equal, 2 is nearly like 0; 3 and 4 are near duplicates."""
    about = {"source": source, "images": 30, "repeated": 3, "blank": 1, "failed": 0, "mirror": False, "threshold": 40.0}
    chance = {"compared": 90, "usual": 12.0, "expected": 0.25, "by_patient": False, "seed": 0}
    groups, like = [1, 1, 1, 2, 2], [None, *map(generated_name, (0, 0)), None, generated_name(3)]
    member = {"group_id": groups, "image": [generated_name(i) for i in range(5)], "keep": [each is None for each in like]}
    pairs = {"image": [generated_name(i) for i in (1, 2, 4)], "like_image": [each for each in like if each]}
    measures = {
        "kind": ["file", "near", "near"],
        "inliers": [None, 50, 41],
        "correlation": [1.0, 0.9, 0.8],
        "mirrored": [False] * 3,
    }
    distances = {"view": ["phash", "resnet", "phash"], "distance": [0.0, 0.25, 8.0]}
    diverse = {
        "figure": ["vendi"],
        "view": ["resnet"],
        "whole": [9.5],
        "images": [15],
        "value": [7.0],
        "low": [6.0],
        "high": [8.0],
    }
    return [
        ("duplicate_searches", {name: [value] for name, value in {**about, **chance}.items()}),
        ("duplicate_members", {**member, "like_image": like}),
        ("duplicate_pairs", {**pairs, **measures}),
        ("duplicate_distances", {**pairs, **distances}),
        ("diversity", diverse),
    ]


@pytest.fixture(scope="module")
def truth() -> Truth:
    return make_truth()


@pytest.fixture(scope="module")
def store(truth: Truth) -> Iterator[Store]:
    """Run 1 keeps all pairs, run 2, the latest, only histograms."""
    with Store.open(":memory:") as store:
        assert [write_run(store, truth, Kept.ALL), write_run(store, truth, Kept.HISTOGRAM)] == [1, 2]
        yield store


def by(table: pa.Table, *keys: str) -> dict[tuple[object, ...], dict[str, Any]]:
    rows = table.to_pylist()
    found = {tuple(row[key] for key in keys): row for row in rows}
    assert len(found) == len(rows)
    return found


def test_every_analysis_is_explained_and_runs(store: Store) -> None:
    analyses = Store.analyses()
    assert {path.stem for path in (SQL / "analyses").iterdir()} == analyses.keys()
    wanted = (
        "nearest-source source-map nearest-generated distance-histogram distance-quantiles distance-quantiles-by-group "
        "within-distance agreement shared-source most-copied failures runs scores hamming-check"
    )
    assert set(wanted.split()) <= analyses.keys()
    for analysis in analyses.values():
        assert "?" in analysis.question, analysis.name
        for run in (1, 2) if "run" in analysis.parameters else (None,):
            result = store.analyse(analysis.name, **({"run": run} if run else {}))
            assert (len(result) > 0) == (analysis.name != "sets"), analysis.name  # these runs are of no set among several
            assert not [name for name in result.column_names if "(" in name], f"{analysis.name}: a column has no readable name"


def test_duplicates_of_a_search_and_of_a_run() -> None:
    with Store.open(":memory:") as own:
        with pytest.raises(StoreError, match="holds no search for duplicates; `synthtrace duplicates --db` adds one"):
            own.analyse("duplicates")
        run = write_run(own, make_truth(), Kept.HISTOGRAM)
        assert own.add_search(searched("alone")) == 2
        rows = own.analyse("duplicates", search=1).to_pylist()
        named = [(row["group_id"], row["size"], row["image"], row["keep"], row["kind"], row["inliers"]) for row in rows]
        assert named == [
            (1, 3, "g00.png", True, None, None), (1, 3, "g01.png", False, "file", None), (1, 3, "g02.png", False, "near", 50),
            (2, 2, "g03.png", True, None, None), (2, 2, "g04.png", False, "near", 41),
        ]  # fmt: skip
        assert [row["phash_distance"] for row in rows] == [None, 0, None, None, 8]
        assert [row["resnet_distance"] for row in rows] == [None, None, 0.25, None, None]
        searches = own.analyse("searches").to_pylist()
        assert [(each["search"], each["run"], each["source"], each["groups"]) for each in searches] == [
            (1, run, "generated", 2), (2, None, "alone", 2),
        ]  # fmt: skip
        quality = own.analyse("quality").to_pylist()
        assert [(row["question"], row["figure"], row["value"]) for row in quality] == [
            ("fidelity", "recall", 0.5), ("diversity", "vendi", 7.0),
        ]  # fmt: skip
        assert own.analyse("diversity")["value"].to_pylist() == [7.0]
        with pytest.raises(StoreError, match="holds no search 9; it holds 1, 2"):
            own.analyse("duplicates", search=9)
        assert own.sql("SELECT run_id FROM latest_run")["run_id"].to_pylist() == [run]  # a search is no run


def test_a_search_is_written_whole_or_not_at_all() -> None:
    broken = [*searched()[:2], ("duplicate_pairs", {**searched()[2][1], "kind": ["file", "near", "alike"]})]
    with Store.open(":memory:") as own:
        with pytest.raises(StoreError, match='Constraint Error: CHECK constraint failed on table "duplicate_pairs"'):
            own.add_search(broken)
        with pytest.raises(ValueError, match=r"diversity: columns .* missing: \['view', 'images'\]"):
            own.add_search([*searched()[:1], ("diversity", {"figure": ["vendi"]})])
        for table in ("duplicate_searches", "duplicate_members", "duplicate_pairs"):
            assert len(own.sql(f"SELECT * FROM {table}")) == 0
        assert own.add_search(searched()) == 1
        assert len(own.sql("SELECT * FROM duplicate_pairs")) == 3


def test_patients_and_the_set(store: Store) -> None:
    one, other = store.analyse("patients", run=1).to_pylist()
    assert (one["patient"], one["nearest_image"], one["decision"], one["q_value"]) == ("p0", real_name(0), "used", 0.02)
    assert (other["patient"], other["nearest_image"]) == ("p1", real_name(1))
    (whole,) = store.analyse("set", run=1).to_pylist()
    assert (whole["used_low"], whole["patients"], whole["p_value"]) == (29, 100, 0.0005)


def test_withheld_images_by_the_patient_of_the_nearest(store: Store) -> None:
    found = store.analyse("withheld-patients", run=1).to_pylist()
    columns = ("patient", "generated_images", "best_score", "best_generated", "best_nearest_used")
    assert [tuple(row) for row in found] == [columns] * 2
    seen = ("p0", 1, 3.5, generated_name(0), real_name(0))
    assert [tuple(row.values()) for row in found] == [seen, (None, 1, None, None, None)]  # the blank one is near nobody
    many = {"image_id": [0, 1, 2, 3], "decision": ["withhold", "withhold", "keep", "withhold"], "reason": ["above"] * 4}
    near = {"nearest_id": [GENERATED, GENERATED + 1, GENERATED + 2, GENERATED + 6], "score": [2.5, 4.5, 1.0, 5.5]}
    with Store.open(":memory:") as own:
        run = write_run(own, make_truth(), Kept.HISTOGRAM)
        own.replace(
            run, {"release_decisions": {**many, **near, "threshold": [2.0] * 4, "view": ["combined"] * 4, "distance": [0.0] * 4}}
        )
        found = own.analyse("withheld-patients").to_pylist()
    alone = (real_name(6), 1, 5.5, generated_name(3), real_name(6))
    assert [tuple(row.values()) for row in found] == [alone, ("p0", 2, 4.5, generated_name(1), real_name(1))]


def test_every_run_analysis_answers_for_the_latest_run(store: Store) -> None:
    for name, analysis in Store.analyses().items():
        latest = {"run", "search"} & analysis.parameters.keys()
        assert name in ("runs", "searches") or [analysis.parameters[each] for each in latest] == [None]
    assert set(store.analyse("distance-quantiles")["from"].to_pylist()) == {"histogram"}
    assert set(store.analyse("distance-quantiles", run=1)["from"].to_pylist()) == {"all pairs"}


def test_nearest_source_and_nearest_generated(store: Store, truth: Truth) -> None:
    sources = by(store.analyse("nearest-source"), "view", "generated_image")
    nearest = by(store.analyse("nearest-generated"), "view", "real_image")
    assert len(sources) == 2 * GENERATED
    assert len(nearest) == 2 * REAL
    for view, distances in truth.distances.items():
        for number, source in enumerate(np.argmin(distances, axis=0)):
            row = sources[view, generated_name(number)]
            assert (row["source"], row["distance"]) == (real_name(source), distances[source, number])
            assert row["mirrored"] == (view == "phash" and truth.flipped[source, number])
            assert row["blank"] == (view == "phash" and number == BLANK)
        for number, near in enumerate(np.argmin(distances, axis=1)):
            row = nearest[view, real_name(number)]
            assert (row["generated_image"], row["distance"]) == (generated_name(near), distances[number, near])
            assert row["membership"] == membership(number)


def test_source_map(store: Store, truth: Truth) -> None:
    threshold = float(np.median(truth.distances["phash"].min(axis=0)))  # a distance that occurs: at the threshold is within
    rows = by(store.analyse("source-map", threshold=threshold), "generated_image")
    assert len(rows) == GENERATED
    sources = truth.sources("phash")
    for number, source in enumerate(sources):
        within = truth.distances["phash"][source, number] <= threshold and number != BLANK
        assert rows[(generated_name(number),)]["source"] == (real_name(source) if within else None)
        assert rows[(generated_name(number),)]["nearest_real_image"] == real_name(source)
    wide = by(store.sql("SELECT * FROM source_map WHERE run_id = 1"), "generated_image")
    for number in range(GENERATED):
        row = wide[(generated_name(number),)]
        assert row["phash_source"] == real_name(sources[number])
        assert row["resnet_source"] == real_name(truth.sources("resnet")[number])
        assert row["resnet_distance"] == truth.distances["resnet"][:, number].min()
        assert row["sift_source"] is None


def test_the_source_map_has_every_view() -> None:
    views = (*VIEWS, COMBINED)
    with Store.open(":memory:") as store:
        run = store.begin_run(Run("compare", 1, False, "r", "g", 9, 1, 0, 0, Kept.HISTOGRAM, {}, {}), [])
        for role, first, count in (("generated", 0, 1), ("real", 1, len(views))):
            ids = np.arange(first, first + count)
            named = {name: [f"{role} {i}" for i in ids] for name in ("path", "name", "sha256")}
            sizes = dict.fromkeys(("width", "height", "bytes"), ids)
            about = {"mode": ["L"] * count, "blank": [[]] * count, "frame": ids * 0}
            store.add("images", {"image_id": ids, "role": [role] * count, **named, **sizes, **about})
        for number, view in enumerate(views):  # another source in each view
            near = {"query_id": [0], "query_role": ["generated"], "view": [view], "rank": [1], "mirrored": [False]}
            store.add("neighbours", {**near, "neighbour_id": [number + 1], "distance": [number / 2]})
        store.finish_run(run)
        (row,) = store.sql("SELECT * FROM source_map").to_pylist()
    for number, view in enumerate(views):
        assert (row[f"{view}_source"], row[f"{view}_distance"]) == (f"real {number + 1}", number / 2)
    assert len(row) == 2 + 2 * len(views)


def test_distance_histogram_of_whole_numbers_is_the_same_in_both_kinds_of_run(store: Store, truth: Truth) -> None:
    distances = truth.distances["phash"]
    low, high = distances.min(), distances.max() + 1
    width = np.ceil((high - low) / 10)
    edges = low + width * np.arange(int(np.ceil((high - low) / width)) + 1)
    for run, kind in ((1, "all pairs"), (2, "histogram")):
        table = store.analyse("distance-histogram", run=run, bins=10)
        np.testing.assert_array_equal(table["low"], edges[:-1])
        np.testing.assert_array_equal(table["high"], edges[1:])
        np.testing.assert_array_equal(table["pairs"], np.histogram(distances, edges)[0])
        np.testing.assert_allclose(table["share"], np.histogram(distances, edges)[0] / distances.size)
        assert set(table["from"].to_pylist()) == {kind}


def test_distance_histogram_of_cosine(store: Store, truth: Truth) -> None:
    distances = truth.distances["resnet"].astype(np.float64)
    table = store.analyse("distance-histogram", run=1, view="resnet", bins=7)
    counts, edges = np.histogram(distances, 7)
    np.testing.assert_array_equal(table["pairs"], counts)
    np.testing.assert_allclose(table["low"], edges[:-1])
    np.testing.assert_allclose(table["high"], edges[1:])

    merged = store.analyse("distance-histogram", run=2, view="resnet", bins=7)
    assert len(merged) <= 7
    edges = np.round([*merged["low"].to_pylist(), merged["high"][-1].as_py()], 2)  # kept bins are 0.01 wide: no bin is cut
    np.testing.assert_allclose(merged["low"], edges[:-1], atol=1e-9)
    np.testing.assert_array_equal(merged["pairs"], np.histogram(distances, edges)[0])


@pytest.mark.parametrize("view", ["phash", "resnet"])
def test_distance_histogram_by_group(store: Store, truth: Truth, view: str) -> None:
    distances = truth.distances[view].astype(np.float64)
    low, high = distances.min(), distances.max()
    width = np.ceil((high - low + 1) / 6) if view == "phash" else (high - low) / 6
    found = store.analyse("distance-histogram-by-group", run=1, view=view, bins=6).to_pylist()
    names = {membership(n) for n in range(REAL)} | {f"group {name}" for name in GROUPS if name}
    assert {row["real_images"] for row in found} == names
    for name in names:
        members = [n for n in range(REAL) if name in (membership(n), f"group {GROUPS[n]}")]
        expected = Counter(np.minimum((distances[members].ravel() - low) // width, 5).astype(int).tolist())
        mine = [row for row in found if row["real_images"] == name]
        assert {round((row["low"] - low) / width): row["pairs"] for row in mine} == expected
        assert sum(row["share"] for row in mine) == pytest.approx(1)
    kept = store.analyse("distance-histogram-by-group", run=2, view=view).to_pylist()
    assert {(row["real_images"], row["from"]) for row in kept} == {("all", "histogram")}
    assert sum(row["pairs"] for row in kept) == distances.size


def test_kept_bins_are_merged_whole(store: Store, truth: Truth) -> None:
    counts = np.histogram(truth.distances["resnet"], np.linspace(0, 2, 201))[0]
    first, last = np.flatnonzero(counts)[[0, -1]]
    counts = counts[first : last + 1]
    for bins in range(1, 80):
        merged = store.analyse("distance-histogram", run=2, view="resnet", bins=bins)
        expected = np.add.reduceat(counts, np.arange(0, len(counts), -(-len(counts) // bins)))
        np.testing.assert_array_equal(merged["pairs"], expected)


def test_distance_histogram_of_equal_distances() -> None:
    with Store.open(":memory:") as store:
        number = store.begin_run(Run("test", 1, False, "r", "g", 1, 3), [RunView("resnet", 2, "cosine", "f")])
        one = {"view": ["resnet"] * 3, "real_id": [3] * 3, "generated_id": [0, 1, 2], "distance": [0.5] * 3}
        roles = ["generated"] * 3 + ["real"]
        facts = {"path": ["p"] * 4, "sha256": ["s"] * 4, "width": [1] * 4, "height": [1] * 4, "mode": ["L"] * 4, "bytes": [1] * 4}
        store.add("images", {"image_id": range(4), "role": roles, "name": ["a", "b", "c", "d"], **facts})
        store.add("distances", one)
        store.finish_run(number)
        assert store.analyse("distance-histogram", view="resnet").drop_columns(["share", "from"]).to_pylist() == [
            {"low": 0.5, "high": 0.5, "pairs": 3}
        ]


def test_distance_histogram_view_counts_every_pair(store: Store, truth: Truth) -> None:
    for run in (1, 2):
        table = store.sql("SELECT * FROM distance_histogram WHERE run_id = $run AND view = 'resnet' ORDER BY low", {"run": run})
        counts = np.histogram(truth.distances["resnet"], np.linspace(0, 2, 201))[0]
        np.testing.assert_array_equal(table["pairs"], counts)
        np.testing.assert_allclose(table["cumulative_share"], np.cumsum(counts) / counts.sum())


def quantiles(row: dict[str, Any]) -> NDArray[np.float64]:
    return np.array([row[name] for name in COLUMNS], np.float64)


def test_distance_quantiles_over_all_pairs(store: Store, truth: Truth) -> None:
    rows = by(store.analyse("distance-quantiles", run=1), "view", "real_images")
    assert len(rows) == 2 * 4
    for (view, members), row in rows.items():
        chosen = [number for number in range(REAL) if members in ("all", membership(number))]
        distances = truth.distances[str(view)][chosen].astype(np.float64)
        assert row["pairs"] == distances.size
        np.testing.assert_allclose(quantiles(row), np.quantile(distances, LEVELS))
    whole = by(store.sql("SELECT * FROM distance_quantiles WHERE run_id = 1"), "view")
    for (view,), row in whole.items():
        np.testing.assert_allclose(quantiles(row), np.quantile(truth.distances[str(view)].astype(np.float64), LEVELS))


def test_distance_quantiles_from_histograms(store: Store, truth: Truth) -> None:
    rows = by(store.analyse("distance-quantiles", run=2), "view", "real_images")
    assert rows.keys() == {("phash", "all"), ("resnet", "all")}
    phash = np.quantile(truth.distances["phash"], LEVELS, method="lower")
    np.testing.assert_array_equal(quantiles(rows["phash", "all"]), phash)
    resnet = np.quantile(truth.distances["resnet"], LEVELS, method="lower")
    np.testing.assert_allclose(quantiles(rows["resnet", "all"]), resnet, atol=0.01)
    assert store.sql("SELECT pairs FROM distance_quantiles WHERE run_id = 2")["pairs"].to_pylist() == [REAL * GENERATED] * 2


def test_distance_quantiles_by_group(store: Store, truth: Truth) -> None:
    rows = by(store.analyse("distance-quantiles-by-group", run=1), "view", "group")
    assert {group for _, group in rows} == {"p0", "p1", "p2", "(no group)"}
    for (view, group), row in rows.items():
        chosen = [number for number, name in enumerate(GROUPS) if (name or "(no group)") == group]
        np.testing.assert_allclose(quantiles(row), np.quantile(truth.distances[str(view)][chosen].astype(np.float64), LEVELS))
    assert by(store.analyse("distance-quantiles-by-group"), "view", "group").keys() == {
        ("phash", "(all groups)"),
        ("resnet", "(all groups)"),
    }


def test_nearest_quantiles_leave_out_blank_images(store: Store, truth: Truth) -> None:
    rows = by(store.analyse("nearest-quantiles"), "view", "real_images")
    for (view, members), row in rows.items():
        distances = truth.distances[str(view)]
        chosen = [
            number
            for number in range(REAL)
            if membership(number) == members and not (view == "phash" and distances[number].argmin() == BLANK)
        ]
        assert row["images"] == len(chosen)
        np.testing.assert_allclose(quantiles(row), np.quantile(distances[chosen].min(axis=1).astype(np.float64), LEVELS))


def test_within_distance(store: Store, truth: Truth) -> None:
    for view, limit in (("phash", 100.0), ("resnet", 0.9)):
        distances = truth.distances[view]
        expected = {(generated_name(g), real_name(r)) for r, g in np.argwhere(distances <= np.float32(limit))}
        rows = by(store.analyse("within-distance", run=1, view=view, distance=limit), "generated_image", "real_image")
        assert rows.keys() == expected
        assert all(distances[int(str(r)[1]), int(str(g)[1:3])] == row["distance"] for (g, r), row in rows.items())
        near = set()
        for number in range(GENERATED):
            near |= {(generated_name(number), real_name(r)) for r in np.argsort(distances[:, number], kind="stable")[:K]}
        for number in range(REAL):
            near |= {(generated_name(g), real_name(number)) for g in np.argsort(distances[number], kind="stable")[:K]}
        kept = store.analyse("within-distance", run=2, view=view, distance=limit)
        assert by(kept, "generated_image", "real_image").keys() == near & expected
        assert set(kept["from"].to_pylist()) == {"k nearest"}


def test_a_pair_at_the_limit_is_within_although_stored_in_single_precision(store: Store, truth: Truth) -> None:
    rounded_up = next(d for d in truth.distances["resnet"].ravel() if float(d) > float(str(d)))
    table = store.analyse("within-distance", run=1, view="resnet", distance=str(rounded_up))
    assert rounded_up in table["distance"].to_numpy()


def test_agreement_is_a_symmetric_matrix(store: Store, truth: Truth) -> None:
    rows = by(store.analyse("agreement"), "view", "other_view")
    same = truth.sources("phash") == truth.sources("resnet")
    seen = np.arange(GENERATED) != BLANK
    assert rows.keys() == {(a, b) for a in truth.distances for b in truth.distances}
    for pair in (("phash", "resnet"), ("resnet", "phash")):
        assert rows[pair]["generated_images"] == seen.sum()
        assert rows[pair]["same_source"] == (same & seen).sum()
        assert rows[pair]["share"] == pytest.approx((same & seen).sum() / seen.sum())
    assert rows["resnet", "resnet"]["same_source"] == GENERATED
    assert rows["phash", "phash"]["share"] == 1


def test_shared_source_and_most_copied(store: Store, truth: Truth) -> None:
    distances, sources = truth.distances["phash"], truth.sources("phash")
    copies: dict[str, list[int]] = {}
    for number, source in enumerate(sources):
        if number != BLANK:
            copies.setdefault(real_name(source), []).append(number)
    close = {source: {generated_name(n) for n in numbers if distances[sources[n], n] <= 60} for source, numbers in copies.items()}
    rows = by(store.analyse("shared-source", threshold=60), "source")
    assert {key[0]: set(row["names"]) for key, row in rows.items()} == {s: names for s, names in close.items() if len(names) >= 2}
    assert all(row["generated_images"] == len(row["names"]) for row in rows.values())

    table = store.analyse("most-copied", limit=3)
    assert Counter(table["view"].to_pylist()) == {"phash": 3, "resnet": 3}
    found = [row for row in table.to_pylist() if row["view"] == "phash"]
    assert [row["generated_images"] for row in found] == sorted(map(len, copies.values()), reverse=True)[:3]
    for row in found:
        numbers = copies[row["real_image"]]
        assert row["generated_images"] == len(numbers)
        assert row["median_distance"] == np.median([distances[sources[n], n] for n in numbers])
        assert row["membership"] == membership(int(row["real_image"][1]))


def test_hamming_check_finds_a_planted_difference(truth: Truth) -> None:
    with Store.open(":memory:") as store:
        write_run(store, truth, Kept.ALL)
        mirrored = int(neighbours(truth, "phash")["mirrored"].sum())
        pairs = K * (REAL + GENERATED)
        right = {"view": "phash", "pairs": pairs, "without_code": 0, "mirrored": mirrored, "differing": 0}
        assert 0 < mirrored < pairs
        assert store.analyse("hamming-check").to_pylist() == [right]
        store._execute("UPDATE neighbours SET distance = distance + 1 WHERE view = 'phash' AND rank = 1 AND NOT mirrored")
        planted = int(((d := neighbours(truth, "phash"))["rank"] == 1)[~d["mirrored"]].sum())
        assert store.analyse("hamming-check")["differing"].to_pylist() == [planted]
        store._execute("DELETE FROM codes WHERE image_id = 0")
        assert store.analyse("hamming-check")["without_code"][0].as_py() > 0


def test_hamming_macro_equals_numpy() -> None:
    rng = np.random.default_rng(1)
    for width in (8, 32, 33):  # 33 bytes: the last word is filled up
        codes = rng.integers(0, 256, (20, width), dtype=np.uint8)
        codes[0], codes[1] = 0, 255
        words = code_words(codes)
        assert words.shape == (20, -(-width // 8))
        expected = np.unpackbits(codes[:, None] ^ codes[None], axis=2).sum(2)
        with Store.open(":memory:") as store:
            store.begin_run(Run("test", 1, False, "r", "g", 0, 0), [])
            store.add("codes", {"image_id": np.arange(20), "view": ["v"] * 20, "words": words})
            table = store.sql("SELECT hamming(a.words, b.words) AS d FROM codes a, codes b ORDER BY a.image_id, b.image_id")
            np.testing.assert_array_equal(table["d"].to_numpy().reshape(20, 20), expected)
            assert store.sql("SELECT hamming([1::UBIGINT], [1::UBIGINT, 2]) AS d")["d"].to_pylist() == [None]


def test_failures_runs_scores_decisions_confusion_metrics(store: Store) -> None:
    failure = {"role": "real", "path": "bad.png", "reason": "the file is empty", "left_out": None}
    assert store.analyse("failures").to_pylist() == [failure]
    runs = store.analyse("runs").to_pylist()
    assert [(row["run_id"], row["distances"], row["views"]) for row in runs] == [
        (1, "all", ["phash", "resnet"]),
        (2, "histogram", ["phash", "resnet"]),
    ]
    scores = store.analyse("scores").to_pylist()
    assert [row["name"] for row in scores] == [real_name(i) for i in range(REAL)]
    assert [row["p_value"] for row in scores] == [0.01, None, *[0.5] * (REAL - 2)]
    decided = [row["decided_used"] for row in store.analyse("decisions").to_pylist() if row["method"] == "nearest"]
    assert decided[:4] == [True, False, None, True]
    expected = {"true_positives": 1, "false_negatives": 1, "undecided": 1, "false_positives": 1, "true_negatives": 1}
    assert store.analyse("confusion").to_pylist() == [{"method": "nearest", **expected}]
    assert store.analyse("metrics").to_pylist() == [
        {"method": "nearest", "metric": "f1", "value": 0.5, "low": 0.25, "high": 0.75}
    ]
    latest = store.sql("SELECT run_id, settings, versions FROM latest_run").to_pylist()
    assert [row["run_id"] for row in latest] == [2]
    assert json.loads(latest[0]["settings"]) == {"seed": 0}


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("nope", {}, "no analysis 'nope'; there are agreement, "),
        ("agreement", {"run": 9}, "holds no run 9; it holds 1, 2"),
        ("agreement", {"bins": 9}, "agreement has no parameter 'bins'; it has run"),
        ("within-distance", {"view": "sift"}, "run 2 has no view 'sift'; it has phash, resnet"),
        ("within-distance", {"distance": "near"}, "distance must be a number, got 'near'"),
        ("distance-histogram", {"bins": 2.5}, "bins must be a whole number, got 2.5"),
        ("distance-histogram", {"bins": "0"}, "bins must be at least 1, got '0'"),
        ("runs", {"run": 1}, "runs has no parameter 'run'; it has none"),
    ],
)
def test_a_wrong_analysis_is_one_line(store: Store, name: str, parameters: dict[str, object], message: str) -> None:
    with pytest.raises(StoreError) as error:
        store.analyse(name, **parameters)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_parameters_may_come_as_text(store: Store) -> None:
    as_text = store.analyse("within-distance", run="1", view="phash", distance="60")
    assert as_text.equals(store.analyse("within-distance", run=1, view="phash", distance=60.0))
    assert len(as_text) > 0


def test_an_empty_file_has_no_latest_run() -> None:
    with Store.open(":memory:") as store:
        with pytest.raises(StoreError, match="holds no run yet"):
            store.analyse("agreement")
        assert len(store.analyse("runs")) == 0


def test_withheld_images_are_named_the_surest_first(store: Store) -> None:
    rows = [(row["generated_image"], row["score"], row["nearest_used"]) for row in store.analyse("withheld").to_pylist()]
    assert rows == [(generated_name(0), 3.5, real_name(0)), (generated_name(1), None, None)]


def test_subsets_names_the_answer_and_the_best_real_image(store: Store) -> None:
    (row,) = store.analyse("subsets").to_pylist()
    assert row == {
        "generated_image": generated_name(0),
        "answer": "undecided",
        "subset": "s1",
        "probability": 0.75,
        "calibrated": False,
        "label": None,
        "without_best": "s2",
        "best_real_image": real_name(2),
    }
