"""From images to the database: planted copies are found in both directions, and SQL agrees with FAISS and brute force."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.phantoms.slices import copy_of, phantom
from indexer.build.build import Settings, build
from indexer.collection import Collection
from indexer.manifest import CollectionError
from indexer.search import brute_force
from indexer.types import Neighbours
from query.comparison.combined import COMBINED, COMBINED_LOOKUP
from query.comparison.lookup import lookup, read_images
from query.comparison.mirrored import merge_mirrored
from query.comparison.search import search
from query.database.store import Store, StoreError
from query.inputs.labels import LabelsError
from query.inputs.sides import sides_of
from tests.helpers.making import flipped_settings, write_image
from tests.helpers.runs import add_run

Three = tuple[Collection, Collection, Collection]

REALS, COPIES = 12, 4
SETTINGS = Settings(views={"phash": {}, "sift": {"words": 16}, "resnet": {"size": 64}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 real slices; 60 generated ones, of which the first 4 copy real ones, the fifth a flipped one, and one is blank."""
    folder = tmp_path_factory.mktemp("search")
    rng = np.random.default_rng(0)
    for role in ("real", "generated"):
        (folder / role).mkdir()
    for i in range(REALS):
        write_image(folder / "real" / f"real_{i:02d}.png", phantom(i, 128))
    for i in range(60):
        image = copy_of(phantom(i, 128), 1, rng) if i < COPIES else phantom(1000 + i, 128)
        image = copy_of(np.ascontiguousarray(phantom(9, 128)[:, ::-1]), 1, rng) if i == COPIES else image
        write_image(folder / "generated" / f"generated_{i:02d}.png", image if i < 59 else np.zeros((128, 128), np.uint8))
    return folder


@pytest.fixture(scope="module")
def sides(folder: Path) -> Three:
    """Collections: generated, real, mirrored."""
    generated = build(folder / "g", folder / "generated", settings=SETTINGS, device="cpu")
    real = build(folder / "r", folder / "real", fitted_on=generated, device="cpu")
    return (
        generated,
        real,
        build(folder / "m", folder / "real", fitted_on=generated, settings=flipped_settings(generated), device="cpu"),
    )


@pytest.fixture(scope="module")
def database(folder: Path, sides: Three) -> Path:
    """A database with a plain and a mirrored run."""
    generated, real, mirrored = sides
    labels = {name: i < COPIES for i, name in enumerate(real.names)}
    with Store.open(folder / "runs.duckdb") as store:
        assert add_run(store, (real, generated), labels, {"real_00": "a", "real_01.png": "a"}) == 1
        assert add_run(store, sides_of(real, generated, mirrored)) == 2
    return folder / "runs.duckdb"


def test_planted_copies_are_found_in_both_directions(sides: Three) -> None:
    generated, real, _ = sides
    for view, result in search(sides_of(real, generated)).items():
        assert result.real.rows[:COPIES, 0].tolist() == list(range(COPIES)), view
        assert result.generated.rows[:COPIES, 0].tolist() == list(range(COPIES)), view


def test_flipped_copies_are_found_only_when_asked_for(sides: Three) -> None:
    generated, real, mirrored = sides
    with_mirror = search(sides_of(real, generated, mirrored))
    for view in ("sift", "resnet", COMBINED):
        assert with_mirror[view].generated.rows[COPIES, 0] == 9, view
        assert with_mirror[view].generated.mirrored[COPIES, 0], view
        assert with_mirror[view].real.rows[9, 0] == COPIES, view
        assert with_mirror[view].real.mirrored[9, 0], view
        assert not with_mirror[view].real.mirrored[:COPIES, 0].any(), view
    without = search(sides_of(real, generated))["sift"]
    assert without.generated.distances[COPIES, 0] > with_mirror["sift"].generated.distances[COPIES, 0]
    assert not without.generated.mirrored.any()


def test_search_equals_brute_force(sides: Three) -> None:
    generated, real, _ = sides
    found = search(sides_of(real, generated), k=7)
    for view in generated.views:
        metric = generated.spec(view).metric
        for got, queries, vectors in (
            (found[view].real, real.vectors(view), generated.vectors(view)),
            (found[view].generated, generated.vectors(view), real.vectors(view)),
        ):
            truth = brute_force.neighbours(metric, queries, vectors, 7)
            np.testing.assert_allclose(got.distances, truth.distances, atol=1e-5)


def test_merging_keeps_each_row_once_and_is_exact() -> None:
    rng = np.random.default_rng(1)
    plain, flipped = rng.integers(0, 40, (2, 6, 30)).astype(np.int32)

    def nearest(d: NDArray[np.int32]) -> Neighbours:
        order = np.argsort(d, axis=1, kind="stable")[:, :8]
        return Neighbours(order.astype(np.int64), np.take_along_axis(d, order, 1), np.zeros(order.shape, bool))

    merged = merge_mirrored(nearest(plain), nearest(flipped))
    best = np.minimum(plain, flipped)
    np.testing.assert_array_equal(merged.distances, np.sort(best, axis=1)[:, :8])
    for i in range(6):
        assert len(set(merged.rows[i].tolist())) == 8
        np.testing.assert_array_equal(best[i, merged.rows[i]], merged.distances[i])
        np.testing.assert_array_equal(merged.mirrored[i], flipped[i, merged.rows[i]] < plain[i, merged.rows[i]])


def test_sql_recomputes_hamming_and_cosine(database: Path, sides: Three) -> None:
    generated, real, _ = sides
    with Store.open(database, read_only=True) as store:
        assert store.analyse("hamming-check", run=1)["differing"].to_pylist() == [0]
        assert store.analyse("hamming-check", run=1)["pairs"].to_pylist()[0] > 0
        for view in ("resnet", "sift"):
            rows = store.sql("SELECT real_id, generated_id, distance FROM distances WHERE run_id = 1 AND view = ?", [view])
            r, g, d = (rows[name].to_numpy() for name in ("real_id", "generated_id", "distance"))
            assert len(d) == len(real) * len(generated)
            a, b = real.vectors(view)[r - len(generated)], generated.vectors(view)[g]
            np.testing.assert_allclose(d, 1 - np.einsum("ij,ij->i", a.astype(float), b.astype(float)), atol=1e-5)


def test_neighbours_are_the_smallest_distances_in_sql(database: Path) -> None:
    with Store.open(database, read_only=True) as store:
        wrong = store.sql("""
            SELECT count(*) AS n FROM neighbours AS n
            JOIN (SELECT run_id, view, real_id, min(distance) AS d FROM distances GROUP BY ALL) AS m
              ON (m.run_id, m.view, m.real_id) = (n.run_id, n.view, n.query_id)
            WHERE n.query_role = 'real' AND n.rank = 1 AND abs(n.distance - m.d) > 1e-5""")
        assert wrong["n"].to_pylist() == [0]
        counted = store.sql("SELECT view, count(*) AS n FROM neighbours WHERE run_id = 1 AND query_role = 'real' GROUP BY view")
        assert set(counted["view"].to_pylist()) == {"phash", "sift", "resnet", COMBINED}
        assert set(counted["n"].to_pylist()) == {REALS * 50}


def test_labels_groups_and_blank_images_are_kept(database: Path) -> None:
    with Store.open(database, read_only=True) as store:
        assert store.sql("SELECT sum(used::INT) AS n FROM labels")["n"].to_pylist() == [COPIES]
        assert store.sql("SELECT name FROM images WHERE \"group\" = 'a' AND run_id = 1 ORDER BY name")["name"].to_pylist() == [
            "real_00.png",
            "real_01.png",
        ]
        blank = store.sql("SELECT name, blank FROM images WHERE run_id = 1 AND len(blank) > 0").to_pylist()
        assert blank == [{"name": "generated_59.png", "blank": ["phash", "resnet", "sift", COMBINED]}]
        assert store.sql("SELECT count(*) AS n FROM scores WHERE run_id = 1 AND image_id = 59")["n"].to_pylist() == [0]


def test_a_label_for_no_image_leaves_no_run(folder: Path, sides: Three) -> None:
    generated, real, _ = sides
    with Store.open(folder / "other.duckdb") as store:
        with pytest.raises(LabelsError, match=r"nobody\.png"):
            add_run(store, (real, generated), {"nobody.png": True})
        assert store.sql("SELECT count(*) AS n FROM runs")["n"].to_pylist() == [0]


def test_beyond_the_limit_histograms_are_kept(folder: Path, sides: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    generated, real, _ = sides
    monkeypatch.setattr("query.comparison.comparison.MAX_PAIRS", 10)
    with Store.open(folder / "large.duckdb") as store:
        add_run(store, (real, generated))
        assert store.sql("SELECT count(*) AS n FROM distances")["n"].to_pylist() == [0]
        total = store.sql("SELECT sum(pairs) AS n FROM histograms GROUP BY view")["n"].to_pylist()
        assert [int(n) for n in total] == [len(real) * len(generated)] * 4


def test_collections_made_differently_are_refused(folder: Path, sides: Three) -> None:
    generated, _, _ = sides
    other = build(folder / "other", folder / "real", settings=Settings(views={"phash": {"bits": 64}}), device="cpu")
    with pytest.raises(CollectionError, match="phash dim: 256 here, 64 there"):
        search(sides_of(other, generated))
    with pytest.raises(CollectionError, match="has no view 'resnet'"):
        generated.comparable(other, ["resnet"])


def test_a_mirrored_collection_must_belong_to_the_real_one(sides: Three) -> None:
    generated, real, _ = sides
    with pytest.raises(CollectionError, match="flipped"):
        search(sides_of(real, generated, real))


def test_lookup_finds_the_copy(folder: Path, sides: Three) -> None:
    generated, _, _ = sides
    read, failed = read_images(generated, [folder / "real" / "real_02.png", folder / "nothing.png"])
    hits = lookup(generated, read, k=3)
    first = {hit.view: hit for hit in hits if hit.rank == 1}
    assert set(first) == {"phash", "resnet", "sift", COMBINED_LOOKUP}
    assert {hit.name for hit in first.values()} == {"generated_02.png"}
    assert list(failed) == [folder / "nothing.png"]


def test_lookup_of_one_view_and_of_flipped_images(folder: Path, sides: Three) -> None:
    generated, _, _ = sides
    read, _ = read_images(generated, [folder / "real" / "real_09.png"])
    hits = lookup(generated, read, views=["sift"], k=1)
    assert {hit.view for hit in hits} == {"sift"}
    (plain,) = hits
    (flipped,) = lookup(generated, read, views=["sift"], k=1, mirror=True)
    assert flipped.name == f"generated_{COPIES:02d}.png"
    assert flipped.mirrored
    assert flipped.distance < plain.distance


def test_a_database_that_is_open_elsewhere_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "x.duckdb").write_text("no database")
    with pytest.raises(StoreError):
        Store.open(tmp_path / "x.duckdb")
