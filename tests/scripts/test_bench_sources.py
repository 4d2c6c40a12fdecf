"""What scripts/bench/sources.py counts as found, on truths and neighbours written by hand."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.views.registry import VIEWS
from indexer.types import Neighbours
from query.benchmarks.benchmark import BenchmarkSettings, write_benchmark
from query.comparison.reductions.histogram import Histogram
from query.comparison.scores import Score
from query.comparison.search import ViewResult
from tests.helpers import loading

NONE = np.zeros(0)


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """scripts/bench/sources.py as a module."""
    with loading.script("bench/sources") as module:
        yield module


def write_truth(folder: Path, groups: str, generated: list[tuple[str, int, str]]) -> None:
    """Real images a, b, c ... of the groups given; generated ones by kind, strength and sources."""
    reals = [f"{chr(97 + i)},{int(i % 2 == 0)},0,{chr(97 + i)},{group}" for i, group in enumerate(groups)]
    (folder / "truth_real.csv").write_text("\n".join(["real,used,descendants,source,group", *reals]) + "\n")
    made = [f"g{i:02d},{kind},{strength},{sources}" for i, (kind, strength, sources) in enumerate(generated)]
    (folder / "truth_generated.csv").write_text("\n".join(["generated,kind,strength,sources", *made]) + "\n")


def found(nearest: list[str]) -> ViewResult:
    """Each generated image's neighbours as letters."""
    rows = np.array([[ord(letter) - 97 for letter in letters] for letters in nearest])
    neighbours = Neighbours(rows, np.sort(np.random.default_rng(0).random(rows.shape)).astype(np.float32), rows < 0)
    return ViewResult(neighbours, neighbours, Histogram(NONE, NONE.astype(int)), {}, {})


def shares(rows: list[tuple[str, NDArray[np.bool_], NDArray[np.bool_]]]) -> dict[str, float]:
    return {name: float(right[counted].mean()) for name, right, counted in rows if counted.any()}


def test_sources_found_first_within_five_and_by_rank_of_naming(tmp_path: Path, script: ModuleType) -> None:
    generated = [
        ("warp", 2, "a"),
        ("warp", 2, "b"),
        ("regions", 1, "a|b|c"),
        ("regions", 2, "c|a"),
        ("regions", 2, "-|a"),
        ("regions", 2, "-|-"),
        ("texture", 1, "a|b"),
        ("three", 1, "a|b|c"),
        ("blend", 1, "a|b"),
        ("eigen", 0, ""),
    ]
    write_truth(tmp_path, "uvwxyz", generated)
    nearest = ["abcdef", "acdefb", "acebdf", "abdefc", "abcdef", "abcdef", "bacdef", "defcba", "deabcf", "abcdef"]
    assert shares(script.rows_of_sources(script.read_truth(tmp_path), found(nearest))) == {
        "warp 2": 0.5,
        "blend": 0,
        "blend, all within 5": 1,
        "regions": 1,  # of three: both sources of the fourth are hidden
        "regions, all within 5": pytest.approx(2 / 3),  # c is sixth for the second
        "regions, first named": 0.5,  # the first of the third is hidden
        "texture": 1,
        "texture, first named": 0,
        "three": 0,
        "three, all within 5": 0,
    }


def test_sources_come_before_their_siblings(tmp_path: Path, script: ModuleType) -> None:
    generated = [
        ("warp", 1, "a"),  # nearer than b: right
        ("warp", 1, "a"),  # farther: wrong
        ("warp", 1, "a"),  # as near: wrong
        ("warp", 1, "a"),  # blank, all infinite: wrong
        ("warp", 1, "e"),  # no mate: does not count
        ("warp", 1, "-"),  # hidden: does not count
        ("blend", 1, "c|d"),  # mates are sources, too: does not count
        ("blend", 1, "a|c"),  # a before b, c not before d
        ("blend", 1, "a|e"),
    ]
    write_truth(tmp_path, "ppqqr", generated)
    distances = np.full((5, 9), 9, np.float32)
    distances[:2] = [[1, 2, 2, np.inf, 0, 0, 0, 1, 1], [2, 1, 2, np.inf, 0, 0, 0, 2, 2]]
    distances[2:4, 7] = [3, 2]
    rows = shares(script.rows_of_siblings(script.read_truth(tmp_path), distances))
    assert rows == {"warp 1, source before its sibling": 0.25, "blend, source before its sibling": 0.5}


def test_no_row_of_siblings_without_mates(tmp_path: Path, script: ModuleType) -> None:
    write_truth(tmp_path, "pq", [("warp", 1, "a"), ("warp", 1, "b")])
    assert shares(script.rows_of_siblings(script.read_truth(tmp_path), np.zeros((2, 2), np.float32))) == {}


@pytest.mark.slow
@pytest.mark.parametrize("mirror", [False, True])
def test_distances_are_those_of_the_search(tmp_path: Path, script: ModuleType, mirror: bool) -> None:
    write_benchmark(tmp_path / "made", BenchmarkSettings(generated=12, used=6, unused=4), workers=1)
    searched = script.search_benchmark(tmp_path / "made", tmp_path / "work", mirror)
    assert set(searched.distances) == {*VIEWS, "combined"}
    for view, result in searched.found.items():
        near = result.generated
        generated, rank = np.nonzero(near.rows >= 0)
        mine = searched.distances[view][near.rows[generated, rank], generated]
        np.testing.assert_allclose(mine, near.distances[generated, rank], atol=1e-5)
        assert np.isinf(searched.distances[view]).all(axis=0).tolist() == np.isnan(result.generated_scores[Score.D1]).tolist()
    assert "AUROC of d1" in script.first_hits(searched)
