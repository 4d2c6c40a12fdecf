"""Geometric matching of a run: planted copies stand out, budgets hold, what is kept is what was found."""

import importlib.util
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embeddings.images.decoding import flip
from embeddings.phantoms.slices import phantom
from embeddings.views.keypoints import keypoints
from indexer.build.build import Settings, build
from indexer.collection import Collection
from indexer.execution.executor import Executor
from indexer.execution.on_ray import OnRay
from indexer.sharded.build import Sharding, index_shards
from indexer.sharded.joined import Joined
from indexer.types import IndexSpec
from query.comparison.all_pairs import Wanted, all_pairs_of, combined_of_pairs
from query.comparison.batches import growing
from query.comparison.combined import COMBINED
from query.comparison.comparison import Comparison, compare
from query.comparison.controls import controls
from query.comparison.explainer import Explainer
from query.comparison.matching import Budget, Matches, MatchSettings, match
from query.comparison.models import models
from query.comparison.proposals import Proposals, suspicion
from query.comparison.real_keypoints import RealKeypoints
from query.comparison.real_tiles import RealTiles
from query.comparison.search import By, view_vectors
from query.database.record import Results, record
from query.database.store import Store
from query.inputs.groups import Groups
from query.inputs.sides import Sides, sides_of
from tests.helpers.elsewhere import Elsewhere
from tests.helpers.making import flipped_settings, write_image

SIZE = 160
REALS = 12
GENERATED = 10
COPIES = {0: "plain", 1: "mirrored", 2: "rotations", 3: "blend of 3 and 4"}  # generated row: how it was made
SETTINGS = Settings(views={"phash": {}, "pixels": {}, "sift": {"words": 4}}, sample_size=40)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    """12 real slices; 4 generated ones made of them, and 6 that have nothing to do with them."""
    folder = tmp_path_factory.mktemp("matched")
    reals = [phantom(seed, SIZE) for seed in range(REALS)]
    blend = (0.55 * reals[3] + 0.45 * reals[4]).astype(np.uint8)
    made = [reals[0], flip(reals[1]), np.ascontiguousarray(np.rot90(reals[2])), blend]
    made += [phantom(seed, SIZE) for seed in range(100, 106)]
    for name, images in (("real", reals), ("generated", made)):
        (folder / name).mkdir()
        for number, image in enumerate(images):
            write_image(folder / name / f"{number:03d}.png", image)
    generated = build(folder / "g", folder / "generated", settings=SETTINGS)
    real = build(folder / "r", folder / "real", fitted_on=generated)
    flipped = flipped_settings(generated)
    return sides_of(real, generated, build(folder / "m", folder / "real", fitted_on=generated, settings=flipped))


@pytest.fixture(scope="module")
def unkept(sides: Sides, tmp_path_factory: pytest.TempPathFactory) -> Sides:
    """The same, without keypoints in the collections."""
    folder, views = tmp_path_factory.mktemp("unkept"), {**SETTINGS.views, "sift": {"words": 4, "keep": False}}
    settings = replace(SETTINGS, views=views)
    generated = build(folder / "g", Path(sides.generated.stored.manifest.source), settings=settings)
    return sides_of(build(folder / "r", Path(sides.real.stored.manifest.source), fitted_on=generated), generated)


ALONE = Groups(np.arange(REALS), True)


@pytest.fixture(scope="module")
def comparison(sides: Sides) -> Comparison:
    return compare(sides)


@pytest.fixture(scope="module")
def made(comparison: Comparison) -> Matches:
    """All of them, looked at."""
    return match(comparison, ALONE, MatchSettings(Budget(), rotations=True))


def test_copies_are_above_the_threshold_and_ranked_first(comparison: Comparison, made: Matches, tmp_path: Path) -> None:
    assert (made.looked, made.of) == (GENERATED, GENERATED)
    threshold = made.reference.threshold
    assert threshold is not None
    above = {(int(r), int(g)) for r, g in zip(made.real, made.generated, strict=True) if value(made, r, g) > threshold}
    assert {(0, 0), (1, 1), (2, 2), (3, 3), (4, 3)} <= above
    assert len({generated for _, generated in above} - set(COPIES)) <= 1  # of 6 without a source
    shown = {(int(made.real[n]), int(made.generated[n])): match for n, match in made.shown.items()}
    assert [shown[i, i].mirrored for i in range(3)] == [False, True, False]
    assert [shown[i, i].quarter_turns for i in range(3)] == [0, 0, 1]
    with Store.open(tmp_path / "a.duckdb") as store:
        run = record(store, Results(comparison, matches=made))
        first = store.sql("SELECT * FROM neighbours WHERE view = 'matched' AND rank = 1 AND query_role = 'generated'")
        nearest = dict(zip(first["query_id"].to_pylist(), first["neighbour_id"].to_pylist(), strict=True))
        assert [nearest[row] - GENERATED for row in range(3)] == [0, 1, 2]
        assert nearest[3] - GENERATED in (3, 4)
        kept = store.sql("SELECT real_id - 10 AS r, generated_id AS g, value, inliers, mirrored FROM matches").to_pylist()
        assert {(row["r"], row["g"]) for row in kept} == set(shown)
        assert all(row["value"] == value(made, row["r"], row["g"]) for row in kept)
        best = store.sql("SELECT max(value) AS v FROM scores WHERE view = 'matched' AND score = 'match' AND image_id = 3")
        assert best["v"].to_pylist() == [max(value(made, r, 3) for r in made.real[made.generated == 3])]
        note = store.sql("SELECT * EXCLUDE (note) FROM matching").to_pylist()
        counts = {"run_id": run, "generated_images": GENERATED, "pairs": len(made.values), "controls": REALS}
        assert note == [{**counts, "control_groups": REALS, "level": 1 / (REALS + 1), "threshold": threshold}]


def value(made: Matches, real: int, generated: int) -> float:
    (found,) = made.values[(made.real == real) & (made.generated == generated)]
    return float(found)


def test_flipped_copies_are_looked_for_only_where_that_was_asked(sides: Sides, made: Matches) -> None:
    plain = replace(sides, flipped=None)
    few = match(compare(plain), ALONE, rows=np.array([0, 1]))
    assert value(few, 0, 0) > 10
    assert few.values[few.generated == 1].max() < value(made, 1, 1) / 2


def test_two_runs_agree_and_a_number_of_images_takes_the_most_suspicious(
    sides: Sides, comparison: Comparison, made: Matches
) -> None:
    some = match(comparison, ALONE, MatchSettings(Budget(images=3), rotations=True))
    assert set(some.generated.tolist()) == set(suspicion(comparison.views)[:3].tolist())
    taken = np.isin(made.generated, some.generated)
    for name in ("real", "generated", "values", "distances"):
        assert np.array_equal(getattr(some, name), getattr(made, name)[taken])
    assert np.array_equal(some.reference.values, made.reference.values)


def test_a_time_that_is_over_stops_after_the_first_images(comparison: Comparison) -> None:
    made = match(comparison, ALONE, MatchSettings(Budget(seconds=1e-9)))
    assert 0 < made.looked < GENERATED


def sharded(sides: Sides, folder: Path) -> Sides:
    """The same, the generated images in shards of three."""
    flipped = sides.flipped.stored if sides.flipped else None
    settings = Settings.of(sides.generated.stored.manifest)
    shards = index_shards(sides.generated.stored.manifest.source, folder, settings=settings, sharding=Sharding(size=3))
    return sides_of(sides.real.stored, Joined(shards), flipped)


def assert_equal(one: Matches, other: Matches) -> None:
    """To the byte."""
    for name in ("real", "generated", "values", "distances"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
    assert measures(one) == measures(other)
    assert one.reference.values.tobytes() == other.reference.values.tobytes()
    assert (one.looked, one.of, one.failed) == (other.looked, other.of, other.failed)


def measures(found: Matches) -> dict[int, list[bytes]]:
    return {pair: [np.asarray(each).tobytes() for each in vars(match).values()] for pair, match in found.shown.items()}


@pytest.mark.parametrize("executor", [None, Elsewhere()], ids=["here", "elsewhere"])
def test_over_shards_and_elsewhere_the_answer_is_the_same(
    sides: Sides, made: Matches, executor: Executor | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("query.comparison.batches._MANY", 4)  # batches of two
    over = compare(sharded(sides, tmp_path / "c"))
    assert_equal(match(over, ALONE, MatchSettings(Budget(), rotations=True), by=By(executor=executor)), made)


def test_little_travels(sides: Sides) -> None:
    elsewhere = Elsewhere()
    match(compare(sides), ALONE, MatchSettings(Budget()), by=By(executor=elsewhere))
    assert elsewhere.sent < 4000 * GENERATED
    assert elsewhere.back < 16_000 * GENERATED


def test_a_time_that_suffices_changes_nothing_and_opens_a_shard_once_for_a_piece(
    sides: Sides, made: Matches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = compare(sharded(sides, tmp_path / "c"))
    opened: list[Path] = []
    monkeypatch.setattr("indexer.sharded.joined.OPEN", 1)
    monkeypatch.setattr("query.comparison.matching._FIRST", 5)  # two pieces of five
    monkeypatch.setattr("embeddings.pipeline._cores", lambda: 1)

    class Noted(Collection):
        def __init__(self, folder: Path) -> None:
            super().__init__(folder)
            opened.append(folder)

    monkeypatch.setattr("indexer.sharded.collection.Collection", Noted)
    assert_equal(match(over, ALONE, MatchSettings(Budget(seconds=1e6), rotations=True)), made)
    shards = len(over.sides.generated.stored.parts)  # type: ignore[attr-defined]
    assert len([each for each in opened if each.name.startswith("shard")]) <= 3 * shards  # at the end all are checked


def test_pieces_grow_and_the_first_half_is_always_complete() -> None:
    rows = np.random.default_rng(0).permutation(1000)
    pieces = list(growing(rows, 30))
    assert np.array_equal(np.concatenate(pieces), rows)
    assert [len(piece) for piece in pieces] == [30, 30, 60, 120, 240, 480, 40]


@pytest.mark.slow
def test_on_ray_the_answer_is_the_same_and_names_stay_out_of_its_files(sides: Sides, tmp_path: Path) -> None:
    """Without keypoints in the collection, so that files are read there, and one of them is gone."""
    if importlib.util.find_spec("ray") is None:  # not by importing it: its settings come first
        pytest.skip("Ray is not installed: synthtrace[distributed]")
    name, views = "Mustermann^Erika", {**SETTINGS.views, "sift": {"words": 4, "keep": False}}
    shutil.copytree(sides.generated.stored.manifest.source, tmp_path / name)
    settings = replace(SETTINGS, views=views)
    shards = index_shards(tmp_path / name, tmp_path / "g", settings=settings, sharding=Sharding(size=4))
    real = build(tmp_path / "r", Path(sides.real.stored.manifest.source), fitted_on=shards.fitted)
    (tmp_path / name / "007.png").unlink()
    over = compare(sides_of(real, Joined(shards)))
    asked = MatchSettings(Budget(), rotations=True)
    with OnRay() as ray:
        found = match(over, ALONE, asked, by=By(executor=ray))
        import ray as library
        from ray._private.worker import global_worker

        assert library.cluster_resources()["CPU"] >= 1
        assert global_worker.node is not None
        files = [path for path in Path(global_worker.node.get_session_dir_path()).rglob("*") if path.is_file()]
        assert len(files) > 10
        assert [path for path in files if name.encode() in path.read_bytes()] == []
    assert_equal(found, match(over, ALONE, asked))
    (reason,) = found.failed
    assert "007.png" in reason


def explainer_of(sides: Sides, panel: Sequence[int] = ()) -> Explainer:
    keypoints = RealKeypoints.of(sides.real)
    return Explainer(keypoints, RealTiles.of(keypoints, np.arange(REALS)), panel)


def test_what_remains_proposes_the_second_source(sides: Sides) -> None:
    explainer = explainer_of(sides, [0, 1, 5, 6, 7])
    blend = sides.generated.keypoints(3)
    found = explainer.explain(blend, [3])  # nobody proposes 4
    values = dict(zip(found.rows.tolist(), found.values.tolist(), strict=True))
    assert sorted(values, key=values.__getitem__)[-2:] in ([3, 4], [4, 3])
    assert values[4] > 2 * max(value for row, value in values.items() if row not in (3, 4))
    match = explainer.measured(found, found.rows.tolist().index(4))
    assert match.inliers == found.inliers[found.rows == 4]
    panel = [sides.real.keypoints(row) for row in (0, 1, 5, 6, 7)]
    own = [model.inliers for model in models(panel, blend)]
    assert found.usual == np.quantile(own, 0.75)
    assert values[4] == match.inliers / (found.usual + 3)
    assert match.correlation > 0.3


def test_excluded_images_are_never_compared(sides: Sides) -> None:
    excluded = np.isin(np.arange(REALS), [3, 5])
    found = explainer_of(sides).explain(sides.generated.keypoints(3), [3, 5, 4], excluded)
    assert 4 in found.rows
    assert not excluded[found.rows].any()


@pytest.mark.parametrize("candidates", [[], [0, 1]])
def test_a_blank_image_is_explained_by_nothing(sides: Sides, candidates: list[int]) -> None:
    found = explainer_of(sides).explain(keypoints(np.zeros((90, 120), np.uint8)), candidates)
    assert found.rows.tolist() == candidates
    assert not found.inliers.any()
    assert np.isnan(found.values).all()  # nobody to compare it with


def test_combined_distances_of_pairs_are_those_of_the_search(sides: Sides) -> None:
    views = view_vectors(sides)
    pairs = all_pairs_of(views, Wanted(1, distances=True))
    real, generated = np.indices((REALS, GENERATED)).reshape(2, -1)
    combined = combined_of_pairs(views, pairs.scales, real, generated)
    np.testing.assert_allclose(combined, pairs.distances[COMBINED].ravel(), atol=1e-5)


def test_every_view_proposes_and_real_images_propose_too(comparison: Comparison) -> None:
    found = Proposals.of(comparison.views)
    proposed = [found[row] for row in range(GENERATED)]
    for view, result in comparison.views.items():
        for row in range(GENERATED):
            assert result.generated.rows[row, 0] in proposed[row], view
        for real in range(REALS):
            assert real in proposed[result.real.rows[real, 0]], view
    assert all(len(rows) == len(set(rows)) >= 10 for rows in proposed)


def test_keypoints_of_the_collection_give_what_pixels_give(sides: Sides, unkept: Sides, tmp_path: Path) -> None:
    assert sides.real.stored.spec("sift") == unkept.real.stored.spec("sift")
    assert unkept.real.stored.records is None
    gone = dict.fromkeys([*sides.real.names, *sides.generated.names], tmp_path / "gone.png")
    nowhere = sides_of(sides.real.stored, sides.generated.stored, real_paths=gone, generated_paths=gone)
    one, other = (match(compare(each), ALONE) for each in (nowhere, unkept))
    assert (one.looked, list(one.failed)) == (GENERATED, [])
    for name in ("real", "generated", "values", "distances"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
    assert [found.ssim for found in one.shown.values()] == [found.ssim for found in other.shown.values()]


def test_a_changed_file_is_named_and_nothing_else_is_lost(unkept: Sides, tmp_path: Path) -> None:
    gone = sides_of(unkept.real.stored, unkept.generated.stored, generated_paths={"005.png": tmp_path / "gone.png"})
    made = match(compare(gone), ALONE, rows=np.array([4, 5]))
    assert set(made.generated.tolist()) == {4}
    (reason,) = made.failed
    assert "gone.png" in reason


@pytest.mark.parametrize(
    ("text", "budget"),
    [("all", Budget()), ("0", Budget(images=0)), ("250", Budget(images=250)), ("90s", Budget(90.0)), ("1.5m", Budget(90.0))],
)
def test_budgets_are_read(text: str, budget: Budget) -> None:
    assert Budget.parse(text) == budget


@pytest.mark.parametrize("text", ["", "some", "-3", "2h", "s", "1e3"])
def test_other_budgets_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected all, a number"):
        Budget.parse(text)


def test_controls_are_of_as_many_groups_as_there_are() -> None:
    digests = [f"{n:03}" for n in range(300)]
    groups = np.repeat(np.arange(150), 2)
    rows = controls(groups, digests)
    assert len(rows) == 200
    assert sorted(groups[rows[:150]]) == list(range(150))
    assert [digests[row] for row in rows] == [digests[row] for row in [*range(0, 300, 2), *range(1, 101, 2)]]


def test_an_approximate_index_that_finds_fewer_is_no_obstacle(tmp_path: Path, sides: Sides) -> None:
    settings = replace(SETTINGS, index=IndexSpec(factory="IVF4,Flat", binary_factory="BIVF4"))
    source = Path(sides.generated.stored.manifest.source)
    generated = build(tmp_path / "g", source, settings=settings)
    real = build(tmp_path / "r", Path(sides.real.stored.manifest.source), fitted_on=generated)
    made = match(compare(sides_of(real, generated)), ALONE, rows=np.array([0]))
    assert value(made, 0, 0) > 10
    assert len(made.reference.values) == REALS


def test_a_run_whose_files_are_all_gone_is_kept_all_the_same(unkept: Sides, tmp_path: Path) -> None:
    gone = dict.fromkeys([*unkept.real.names, *unkept.generated.names], tmp_path / "gone.png")
    nowhere = sides_of(unkept.real.stored, unkept.generated.stored, real_paths=gone, generated_paths=gone)
    comparison = compare(nowhere)
    made = match(comparison, ALONE, MatchSettings(Budget()))
    assert len(made.failed) == 1
    assert made.reference.threshold is None
    with Store.open(tmp_path / "a.duckdb") as store:
        record(store, Results(comparison, matches=made))
        assert store.sql("SELECT generated_images, pairs, threshold FROM matching").to_pylist() == [
            {"generated_images": GENERATED, "pairs": 0, "threshold": None}
        ]
