"""Pictures of predictions: every number and name in them, the same bytes each time, readable for their owner only."""

import re
import stat
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy.cluster.hierarchy import linkage

from query.evaluation.reliability import Bin
from query.evaluation.resampling import Estimate
from query.report.figures import figures
from query.report.figures.charts import Heading, reliability_figure, roc_figure, value_figure
from query.report.figures.dendrogram import dendrogram_figure
from query.report.figures.figures import save, style
from query.report.histograms import of_values
from query.report.predictions import Range, Reliability, RocCurve

RNG = np.random.default_rng(1)
AREA = Estimate(0.81, 0.72, 0.9, 20)
NOT_KNOWN = Estimate(1.0, np.nan, np.nan, 1)
VALUES = {"used": RNG.normal(1, 1, 30), "not used": RNG.normal(0, 1, 40), "reference": RNG.normal(0, 1, 50)}
POINTS = RNG.normal(size=(90, 3))
LEAVES = ["used"] * 40 + ["not used"] * 30 + ["generated"] * 20
TREE = linkage(POINTS, "ward")
BINS = [Bin(0, 0.1, 12, 0.05, Estimate(0.1, 0.0, 0.3, 12)), Bin(0.9, 1, 1, 0.95, NOT_KNOWN)]
CURVE = RocCurve("svm", None, [0, 0, 1.0], [0, 0.6, 1], AREA)
MEDIANS = {name: float(np.median(values)) for name, values in VALUES.items()}
FIGURES: dict[str, Callable[[], Figure]] = {
    "roc": lambda: roc_figure([CURVE] * 20),
    "values": lambda: value_figure("cnn", of_values(VALUES), Range(0.5, 0.5), MEDIANS, Heading("Method cnn", "not trained")),
    "reliability": lambda: reliability_figure(Reliability("fu/sion", BINS), Heading("Reliability of fu/sion")),
    "dendrogram": lambda: dendrogram_figure("clusters", TREE, LEAVES, 0.734),
}
TEXTS = {
    "roc": ("svm 0.81 [0.72, 0.90]", "chance", "share of used images found"),
    "values": ("used (30, median", "not used (40, ", "reference (50, ", "threshold of the", "Method cnn", "not trained"),
    "reliability": ("Reliability of fu/sion", "12"),
    "dendrogram": ("cophenetic correlation 0.734", "Clusters of clusters"),
}


@pytest.fixture(autouse=True)
def fine_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """As users get them: other tests draw coarse ones."""
    monkeypatch.setattr(figures, "_DPI", 130)


def saved(folder: Path, draw: Callable[[], Figure]) -> list[Path]:
    """The figure as PNG and SVG, its text as text."""
    with matplotlib.rc_context({"svg.fonttype": "none"}), style():
        return [save(draw(), folder / f"figure.{suffix}") for suffix in ("png", "svg")]


def text_of(path: Path) -> str:
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text()))


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_says_what_it_shows_and_is_the_same_each_time(name: str, tmp_path: Path) -> None:
    written = saved(tmp_path, FIGURES[name])
    before = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in saved(tmp_path, FIGURES[name])] == before
    text = text_of(written[1])
    assert [note for note in TEXTS[name] if note not in text] == []
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    with Image.open(written[0]) as picture:
        assert min(picture.size) > 400


def test_the_ends_of_a_dendrogram_hold_every_leaf_once(tmp_path: Path) -> None:
    text = text_of(saved(tmp_path, lambda: dendrogram_figure("clusters", TREE, LEAVES))[1])
    for kind in ("used", "not used", "generated"):
        counts = re.findall(rf"(\d+){kind[0]}\b", text)
        assert sum(map(int, counts)) == LEAVES.count(kind)
    with pytest.raises(ValueError, match="89 links join 90 leaves, 3 are given"):
        dendrogram_figure("clusters", TREE, LEAVES[:3])


@pytest.mark.parametrize("values", [{}, {"used": np.ones(3)}, {"used": np.empty(0), "not used": np.zeros(1)}])
def test_few_values_have_a_figure(values: dict[str, np.ndarray], tmp_path: Path) -> None:
    assert saved(tmp_path, lambda: value_figure("cnn", of_values(values), None))[0].exists()


def test_a_figure_without_anything_to_show_can_be_made(tmp_path: Path) -> None:
    assert saved(tmp_path, lambda: roc_figure([]))[0].exists()
    assert saved(tmp_path, lambda: reliability_figure(Reliability("cnn", [])))[0].exists()
