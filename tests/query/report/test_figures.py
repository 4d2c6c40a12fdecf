"""Pictures: the same bytes each time, readable for their owner only, every number and name in them."""

import re
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from query.report.distributions import ALL_PAIRS, GENERATED, Nearest, ViewSummary
from query.report.figures.figures import Pair, contact_sheet, lookup_figure, pair_picture
from query.report.histograms import Histogram, counted, joined
from query.report.outputs import write_plots
from query.report.text.units import shortened, unit

RNG = np.random.default_rng(2)
DARK, LIGHT = np.full((40, 60), 50, np.uint8), np.full((80, 120), 200, np.uint8)
STRANGE = "図 $x^2$ \n\x1b[31m.png"


EDGES = np.arange(258.0)
SERIES = {"used": np.array([10.0, 12]), "not used": np.array([60.0]), GENERATED: RNG.integers(40, 90, 500).astype(float)}


def view_summary(note: str = "", series: Mapping[str, np.ndarray] = SERIES) -> ViewSummary:
    """5,000 pairs, and these distances of nearest images."""
    edges, pairs = joined(EDGES, np.histogram(RNG.integers(90, 160, 5000) // 2 * 2, EDGES)[0], series.values())
    histogram = {ALL_PAIRS: Histogram(edges.tolist(), pairs.tolist())}
    histogram |= {name: Histogram(edges.tolist(), counted(values, edges).tolist()) for name, values in series.items()}
    nearest = [Nearest(name, 0.0, len(values), median=float(np.median(values))) for name, values in series.items()]
    return ViewSummary(
        "phash", "hamming", 256, unit("phash", "hamming", 256), note, "ab", {}, 5000, nearest, histogram, None, None
    )  # fmt: skip


def pair(name: str = "a.png") -> Pair:
    return Pair(name, "b.png", DARK, LIGHT, {"combined": -3.412, "phash": 52, "sift": 0.4567})


def written(folder: Path, view: ViewSummary) -> str:
    """All text of a plot."""
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        write_plots([view], folder)
    svg = (folder / f"distances_{view.view}.svg").read_text()
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def share(path: Path, grey: int) -> float:
    """Share of a picture's pixels that are exactly of this grey."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    return float((pixels == grey).all(axis=2).mean())


def test_a_plot_says_what_it_shows(tmp_path: Path) -> None:
    text = written(tmp_path, view_summary("random weights: not trained"))
    for note in (
        "View phash", "random weights: not trained", "bits of 256", "all pairs (5,000)", "(500, median ",
        "real, used, to nearest (2, median 11 bits)", "real, not used, to nearest (1, median 60 bits)", "(%)",
    ):  # fmt: skip
        assert note in text, note


def test_without_labels_there_is_one_curve_of_real_images(tmp_path: Path) -> None:
    text = written(tmp_path, view_summary(series={"unlabelled": np.array([10.0, 12, 60])}))
    assert "no label, to nearest (3, median 12 bits)" in text
    assert "used" not in text


def test_a_view_that_saw_nothing_has_a_plot(tmp_path: Path) -> None:
    assert "nearest" not in written(tmp_path, view_summary(series={}))


def test_no_pair_is_lost_between_bins() -> None:
    pairs = np.histogram(RNG.integers(90, 160, 5000) // 2 * 2, EDGES)[0]
    edges, counts = joined(EDGES, pairs, SERIES.values())
    assert counts.sum() == pairs.sum()
    assert edges[0] <= 10
    assert np.histogram(SERIES[GENERATED], edges)[0].sum() == 500
    assert np.allclose(np.diff(edges), edges[1] - edges[0])
    assert (edges[1] - edges[0]) % 2 == 0  # hashes differ in even numbers of bits: an odd width shows a comb


def test_pictures_repeat_to_the_byte_and_belong_to_their_owner(tmp_path: Path) -> None:
    made, shown = [], view_summary()
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        write_plots([shown], folder)
        pair_picture(folder / "pair.png", pair())
        contact_sheet(folder / "sheet.png", [pair(), pair("c.png"), pair("d.png")], "three")
        lookup_figure(folder / "lookup.svg", DARK, [("a.png", LIGHT, "phash", 3.0)])
        made.append({path.name: path.read_bytes() for path in folder.iterdir()})
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert made[0] == made[1]
    assert len(made[0]) == 5


def test_a_pair_shows_both_images_and_their_difference(tmp_path: Path) -> None:
    pair_picture(tmp_path / "pair.png", pair())
    assert share(tmp_path / "pair.png", 50) > 0.1  # the generated one has another size
    assert share(tmp_path / "pair.png", 200) > 0.1
    same = Pair("a.png", "b.png", LIGHT, LIGHT, {"phash": 0.0})
    pair_picture(tmp_path / "same.png", same)
    assert share(tmp_path / "same.png", 200) > 0.2
    assert share(tmp_path / "same.png", 50) < 0.001  # letters


def test_a_sheet_has_room_for_every_pair(tmp_path: Path) -> None:
    heights = []
    for count in (1, 2, 3, 12):
        contact_sheet(tmp_path / "sheet.png", [pair()] * count)
        heights.append(size(tmp_path / "sheet.png")[1])
        assert share(tmp_path / "sheet.png", 50) * heights[-1] == pytest.approx(count * share_of_one(tmp_path), rel=0.05)
    assert heights[0] == heights[1] < heights[2] < heights[3]


def share_of_one(folder: Path) -> float:
    contact_sheet(folder / "one.png", [pair()])
    return share(folder / "one.png", 50) * size(folder / "one.png")[1]


def test_a_lookup_has_a_row_for_each_view(tmp_path: Path) -> None:
    hits = [("a.png", LIGHT, view, 0.5) for view in ("phash", "phash", "sift")]
    lookup_figure(tmp_path / "two.png", DARK, hits)
    lookup_figure(tmp_path / "one.png", DARK, hits[:2])
    sizes = [size(tmp_path / name) for name in ("one.png", "two.png")]
    assert sizes[0][0] == sizes[1][0]
    assert sizes[1][1] > 1.9 * sizes[0][1]
    lookup_figure(tmp_path / "none.png", DARK, [])  # nothing found: the image alone
    assert share(tmp_path / "none.png", 50) > 0.3


def test_strange_names_are_shown_as_they_are(tmp_path: Path) -> None:
    """No formula, no warning for a sign that the font lacks, no line end, no control character."""
    pair_picture(tmp_path / "pair.png", pair(STRANGE))
    contact_sheet(tmp_path / "sheet.png", [pair(STRANGE)])
    lookup_figure(tmp_path / "lookup.png", DARK, [(STRANGE, LIGHT, "phash", 3.0)])
    assert shortened(STRANGE, 60) == "図 $x^2$ \\n\\x1b[31m.png"


def test_long_names_lose_their_middle() -> None:
    for length in (9, 10):
        short = shortened("beginning-middle-ending", length)
        assert len(short) == length
        assert short.startswith("beg")
        assert short.endswith("ing")
    assert shortened("fits.png", 8) == "fits.png"


def test_pyplot_is_never_imported() -> None:
    program = "import sys, query.report.figures.figures; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_metadata_of_figures_names_nothing(tmp_path: Path) -> None:
    write_plots([view_summary("of patient Smith")], tmp_path)
    pair_picture(tmp_path / "pair.png", pair("Smith.png"), "Smith")
    found = list(tmp_path.rglob("*.png"))
    assert found
    for path in found:
        with Image.open(path) as image:
            assert set(image.info) <= {"dpi"}
