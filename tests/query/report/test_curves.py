"""Pictures of predictions: every number and name in them, the same bytes each time, readable for their owner only."""

import re
import stat
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image
from scipy.cluster.hierarchy import linkage

from query.evaluation.reliability import Bin
from query.evaluation.resampling import Estimate
from query.report.figures.curves import Curve, dendrogram_plot, distribution_plot, reliability_plot, roc_plot

RNG = np.random.default_rng(1)
AREA = Estimate(0.81, 0.72, 0.9, 20)
NOT_KNOWN = Estimate(1.0, np.nan, np.nan, 1)
VALUES = {"used": RNG.normal(1, 1, 30), "not used": RNG.normal(0, 1, 40), "reference": RNG.normal(0, 1, 50)}
POINTS = RNG.normal(size=(90, 3))
LEAVES = ["used"] * 40 + ["not used"] * 30 + ["generated"] * 20
TREE = linkage(POINTS, "ward")
BINS = [Bin(0, 0.1, 12, 0.05, Estimate(0.1, 0.0, 0.3, 12)), Bin(0.9, 1, 1, 0.95, NOT_KNOWN)]
PLOTS: dict[str, Callable[[Path], list[Path]]] = {
    "roc": lambda folder: roc_plot(folder, [Curve("svm", np.array([0, 0, 1.0]), np.array([0, 0.6, 1]), AREA)] * 20),
    "distribution_cnn": lambda folder: distribution_plot(folder, "cnn", VALUES, 0.5),
    "reliability_fu_sion": lambda folder: reliability_plot(folder, "fu/sion", BINS, AREA),
    "dendrogram_clusters": lambda folder: dendrogram_plot(folder, "clusters", TREE, LEAVES, 0.734),
}
SAID = {
    "roc": ("svm 0.81 [0.72, 0.90]", "chance", "false positive rate"),
    "distribution_cnn": ("used (30, median", "not used (40, ", "reference (50, ", "threshold 0.5", "Method cnn"),
    "reliability_fu_sion": ("Reliability of fu/sion", "Brier score 0.810 [0.720, 0.900]", "12"),
    "dendrogram_clusters": ("cophenetic correlation 0.734", "Clusters of clusters"),
}


def text_of(path: Path) -> str:
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text()))


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_says_what_it_shows_and_is_the_same_each_time(name: str, tmp_path: Path) -> None:
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        written = PLOTS[name](tmp_path)
        assert [path.name for path in written] == [f"{name}.png", f"{name}.svg"]
        before = [path.read_bytes() for path in written]
        assert [path.read_bytes() for path in PLOTS[name](tmp_path)] == before
    text = text_of(written[1])
    assert [note for note in SAID[name] if note not in text] == []
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    with Image.open(written[0]) as picture:
        assert min(picture.size) > 400


def test_the_ends_of_a_dendrogram_hold_every_leaf_once(tmp_path: Path) -> None:
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        text = text_of(dendrogram_plot(tmp_path, "clusters", TREE, LEAVES)[1])
    for kind in ("used", "not used", "generated"):
        counts = re.findall(rf"(\d+){kind[0]}\b", text)
        assert sum(map(int, counts)) == LEAVES.count(kind)
    with pytest.raises(ValueError, match="89 links join 90 leaves, 3 are given"):
        dendrogram_plot(tmp_path, "clusters", TREE, LEAVES[:3])


@pytest.mark.parametrize("values", [{}, {"used": np.ones(3)}, {"used": np.empty(0), "not used": np.zeros(1)}])
def test_few_values_have_a_plot(values: dict[str, np.ndarray], tmp_path: Path) -> None:
    assert distribution_plot(tmp_path, "cnn", values, None)[0].exists()


def test_a_plot_without_anything_to_show_can_be_made(tmp_path: Path) -> None:
    assert roc_plot(tmp_path, [])[0].exists()
    assert reliability_plot(tmp_path, "cnn", [], AREA)[0].exists()
