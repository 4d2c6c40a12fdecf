"""Which subset a generated image came from: found for copies, open for images from elsewhere, never decided by own labels."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from embeddings.phantoms.slices import copy_of
from indexer.build.build import build
from query.comparison.subsets import UNDECIDED, Prior
from query.database.database import Database
from query.notebook import Run, compare
from tests.helpers.making import slice_of, write_image, write_images
from tests.helpers.toy import TOY

SIZES = {"large": range(100, 116), "middle": range(200, 206), "small": range(300, 303)}
COPIES = 8  # of each subset
ELSEWHERE = range(500, 520)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Real slices of three subsets of unequal size; generated ones are faint copies of each, and slices of nobody."""
    folder = tmp_path_factory.mktemp("subsets")
    for subset, seeds in SIZES.items():
        write_images(folder / "real" / subset, seeds)
        (folder / "made" / subset).mkdir(parents=True)
        for number in range(COPIES):
            copy = copy_of(slice_of(seeds[number % len(seeds)]), 1, np.random.default_rng(number))
            write_image(folder / "made" / subset / f"{number}.png", copy)
    write_images(folder / "made" / "elsewhere", ELSEWHERE)
    generated = build(folder / "g", folder / "made", settings=TOY)
    return compare(build(folder / "r", folder / "real", fitted_on=generated), generated, groups=r"(\d+)\.png")


def labels_of(run: Run) -> dict[str, str]:
    """Of the copies."""
    parts = {name: name.split("/")[0] for name in run.comparison.sides.generated.names}
    return {name: subset for name, subset in parts.items() if subset in SIZES}


def test_copies_are_attributed_and_others_are_left_undecided(run: Run) -> None:
    votes = run.attribute("folder")
    assert not votes.calibrated
    assert votes.evaluation is None
    assert votes.probability.sum(axis=1) == pytest.approx(1)
    for row in votes.rows():
        subset = str(row["generated_image"]).split("/")[0]
        if subset in SIZES:
            assert row["subset"] == subset
        assert row["answer"] in (row["subset"], UNDECIDED)
    elsewhere = [not name.startswith(tuple(SIZES)) for name in votes.generated]
    mean = votes.probability[elsewhere].mean(axis=0)
    assert mean.max() < 0.5  # the subsets have 64%, 24% and 12% of the patients
    assert sum(votes.answers[row] == UNDECIDED for row in np.flatnonzero(elsewhere)) >= 15  # of 20


def test_the_prior_by_patients_multiplies_the_odds_by_their_numbers(run: Run) -> None:
    equal, sized = (run.attribute("folder", prior=prior).probability for prior in Prior)
    patients = np.array([len(SIZES[name]) for name in sorted(SIZES)])
    again = equal * patients
    assert sized == pytest.approx(again / again.sum(axis=1, keepdims=True))


def test_no_image_is_judged_by_labels_of_its_own_group(run: Run) -> None:
    labels = labels_of(run)
    votes = run.attribute("folder", labels)
    assert votes.calibrated
    assert votes.evaluation
    assert votes.evaluation.confusion.trace() == len(labels) == 3 * COPIES
    group = run.groups.of_row[votes.best]
    asked = next(iter(votes.known))
    own = [votes.generated[row] for row in votes.known if group[row] == group[asked]]
    other: Mapping[str, str] = {**labels, **{name: "small" if labels[name] != "small" else "large" for name in own}}
    assert (run.attribute("folder", other).probability[asked] == votes.probability[asked]).all()


def test_labels_at_random_make_probabilities_flatter(run: Run) -> None:
    labels = labels_of(run)
    shuffled = dict(zip(labels, np.random.default_rng(1).permutation(list(labels.values())), strict=True))
    votes = run.attribute("folder", shuffled)
    assert votes.sharpness < run.attribute("folder", labels).sharpness
    assert votes.probability.max() < 0.8


def test_too_few_labels_calibrate_nothing(run: Run) -> None:
    (name,) = list(labels_of(run))[:1]
    assert not run.attribute("folder", {name: labels_of(run)[name]}).calibrated


def test_subsets_that_look_alike_are_not_said_to_differ_and_others_are(run: Run, tmp_path: Path) -> None:
    look = run.attribute("folder").controls.look
    assert look
    assert not look.tells
    for subset, seeds in SIZES.items():
        (tmp_path / "real" / subset).mkdir(parents=True)
        for seed in seeds:  # a mark that all images of a subset have
            pixels = slice_of(seed).copy()
            pixels[:16, 16 * sorted(SIZES).index(subset) :][:, :16] = 255
            write_image(tmp_path / "real" / subset / f"{seed}.png", pixels)
    write_images(tmp_path / "made", range(600, 610))
    generated = build(tmp_path / "g", tmp_path / "made", settings=TOY)
    marked = compare(build(tmp_path / "r", tmp_path / "real", fitted_on=generated), generated, groups=r"(\d+)\.png")
    look = marked.attribute("folder").controls.look
    assert look
    assert look.tells
    assert look.right > look.by_chance


def test_the_same_seed_gives_the_same_result_and_the_database_has_it(run: Run, tmp_path: Path) -> None:
    votes, again = (run.attribute("folder", labels_of(run), seed=3) for _ in range(2))
    assert votes.as_dict() == again.as_dict()
    with Database(tmp_path / "r.duckdb") as database:
        database.save(run, subsets=votes)
        rows = database.analyse("subsets").to_pylist()
        sums = database.sql("SELECT sum(probability) AS one FROM subset_probabilities GROUP BY image_id")["one"].to_pylist()
        kappa = database.sql("SELECT value FROM metrics WHERE method = 'subsets' AND metric = 'kappa'")["value"].to_pylist()
    assert sums == pytest.approx([1] * len(rows))
    assert kappa == [1.0]
    for row, recorded in zip(votes.rows(), rows, strict=True):
        assert {
            key: recorded[key] for key in ("generated_image", "subset", "answer", "label", "without_best", "best_real_image")
        } == {key: row[key] for key in ("generated_image", "subset", "answer", "label", "without_best", "best_real_image")}
