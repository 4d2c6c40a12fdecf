"""A benchmark in memory, and figures on it, against counting by hand."""

from pathlib import Path

import numpy as np
import pytest

from embeddings.files.spreadsheet import read_rows
from embeddings.views.resnet import ResNet
from embeddings.views.resnet_settings import ResNetSettings
from query.benchmarks.benchmark import BenchmarkSettings, Kind, Slice, write_benchmark
from query.benchmarks.source_finding import Benchmark, before_siblings, figures, first_hits, gain, likeness, read_benchmark
from tests.helpers.making import noise


def toy() -> Benchmark:
    """Four generated images and four real ones in two groups; the third has no source here, the second two in both groups."""
    sources = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]], bool)
    mates = np.array([[0, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]], bool)
    kinds = np.array(["warp 1", "blend", "eigen", "warp 5"])
    used = np.array([True, True, False, False])
    return Benchmark([], [], kinds, sources, mates, used, np.array(["a", "a", "", "b"]))


ALIKE = np.array([[0.9, 0.8, 0.1, 0.0], [0.5, 0.2, 0.7, 0.6], [0.1, 0.1, 0.3, 0.1], [0.2, 0.1, 0.6, 0.4]], np.float32)


def test_figures_of_a_toy() -> None:
    assert first_hits(toy(), ALIKE).tolist() == [True, True, False, False]
    # d1 orders the real images 0.9, 0.8, 0.7, 0.6: both used ones come first
    expected = {"blend": 1.0, "warp 1": 1.0, "warp 5": 0.0, "before its sibling": 1.0, "AUROC of d1": 1.0}
    assert figures(toy(), ALIKE) == expected
    swapped = ALIKE[:, [1, 0, 2, 3]]
    assert before_siblings(toy(), swapped) == {"before its sibling": 0.0}


def truth(path: Path) -> list[dict[str, str]]:
    return list(read_rows(path.read_text().splitlines()))


def test_a_benchmark_is_read_as_it_was_written(tmp_path: Path) -> None:
    pictures = [noise(n, (256, 256)) for n in range(12)]
    slices = [Slice(f"{n:02d}", f"group{n // 3}", pictures[n].copy) for n in range(12)]
    write_benchmark(
        tmp_path, BenchmarkSettings(generated=40, used=3, unused=3, hidden=3, kinds=tuple(Kind), seed=1), slices=slices, workers=1
    )
    made = read_benchmark(tmp_path)
    reals, rows = (truth(tmp_path / f"truth_{side}.csv") for side in ("real", "generated"))
    number = {real["source"]: int(real["source"]) for real in reals}
    for column, real in enumerate(reals):
        assert np.array_equal(made.real[column], pictures[number[real["source"]]])
        assert made.used[column] == (real["used"] == "1")
    for i, row in enumerate(rows):
        named = [name for name in row["sources"].split("|") if name not in ("", "-")]
        assert [reals[j]["real"] for j in np.flatnonzero(made.sources[i])] == [r["real"] for r in reals if r["real"] in named]
        groups = {real["real"]: real["group"] for real in reals}
        assert made.groups[i] == (groups[named[0]] if named else "")
        mates = [r["real"] for r in reals if r["real"] not in named and r["group"] in {groups[name] for name in named}]
        assert [reals[j]["real"] for j in np.flatnonzero(made.mates[i])] == mates
        assert made.kinds[i] == (f"warp {row['strength']}" if row["kind"] == "warp" else row["kind"])
    assert made.mates.any()
    assert (made.groups == "").any()


def test_likeness_is_the_cosine_of_the_vectors() -> None:
    generated, real = ([noise(n, (40, 40)) for n in numbers] for numbers in (range(70), range(80, 90)))
    view = ResNet(ResNetSettings(weights="random:0", size=32), {})
    features = view.features(generated)
    embedder = view.embedder(view.fit(features, lambda *_: np.empty((0, 0), np.float32)))
    expected = embedder.embed(generated).vectors @ embedder.embed(real).vectors.T
    names, flags = np.empty(0, np.str_), np.empty(0, np.bool_)
    made = likeness(view, Benchmark(generated, real, names, flags, flags, flags, names))
    assert np.allclose(made, expected, atol=1e-6)


# The paired change


def test_the_interval_of_a_change_by_hand() -> None:
    """Two groups that changed by 1/2 and by 0: resamples give 0, 1/4, 1/4, 1/2, each as often."""
    found = gain([True, False, True, False], [True, True, True, False], ["a", "a", "b", "b"])
    assert (found.value, found.low, found.high, found.n) == (0.25, 0.0, 0.5, 2)


def test_the_change_is_paired() -> None:
    """One hit more in each group is certain, however much the groups differ."""
    before = [[True] * n + [False] * (9 - n) for n in range(8)]
    after = [[True] * (n + 1) + [False] * (8 - n) for n in range(8)]
    found = gain(np.ravel(before), np.ravel(after), np.repeat(np.arange(8), 9))
    assert (found.value, found.low, found.high) == pytest.approx((1 / 9, 1 / 9, 1 / 9))
    lost = gain(np.ravel(after), np.ravel(before), np.repeat(np.arange(8), 9))
    assert (lost.low, lost.high) == pytest.approx((-1 / 9, -1 / 9))


def test_one_group_has_no_interval() -> None:
    found = gain([False, False], [True, True], ["a", "a"])
    assert found.value == 1
    assert np.isnan(found.low)
