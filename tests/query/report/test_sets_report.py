"""The report on several generated sets: its files, its numbers, and that a set's name cannot write HTML."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from query.comparison.combined import COMBINED
from query.evaluation.resampling import Estimate
from query.leakage.leakage import Figure
from query.leakage.sets import LeakageOfSets, SetFigure, SetSize
from query.membership.set_test import SetTest
from query.report.figures.forest import forest_figure
from query.report.sets import write_sets_report

TEST = SetTest(0.2, 0.0, 30, 30)


def found(names: tuple[str, str] = ("A", "B"), interval: bool = True) -> LeakageOfSets:
    """B stands out by 21 percentage points more, and its ratio is smaller by 0.3."""
    nan = float("nan")

    def estimate(value: float, wide: float) -> Estimate:
        return Estimate(value, value - wide, value + wide) if interval else Estimate(value, nan, nan)

    figures = [
        SetFigure(names[0], COMBINED, Figure.MEMORISED_EXCESS, estimate(0.01, 0.02)),
        SetFigure(names[1], COMBINED, Figure.MEMORISED_EXCESS, estimate(0.22, 0.04), estimate(0.21, 0.05)),
        SetFigure(names[0], "phash", Figure.DCR_5_RATIO, estimate(1, 0.1)),
        SetFigure(names[1], "phash", Figure.DCR_5_RATIO, estimate(0.7, 0.1), estimate(-0.3, 0.12)),
    ]
    sizes = tuple(SetSize(name, 100, TEST) for name in names)
    return LeakageOfSets(sizes, tuple(figures), 100, 10, 60, 60, 60, "memorised_excess", 0.95)


def test_files_say_the_same_and_twice_the_same(tmp_path: Path) -> None:
    files = write_sets_report(found(), tmp_path / "one")
    assert [Path(each).name for each in files] == ["report.html", "report.json", "figures.csv", "differences.png"]
    assert all(Path(each).stat().st_mode & 0o777 == 0o600 for each in files)
    with open(files[2], newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["set"], row["figure"], row["difference"]) for row in rows] == [
        ("A", "memorised_excess", ""),
        ("B", "memorised_excess", "0.21"),
        ("A", "dcr_5_ratio", ""),
        ("B", "dcr_5_ratio", "-0.3"),
    ]
    told = json.loads(Path(files[1]).read_text())
    assert told["figures"][1]["difference_low"] == pytest.approx(0.16)
    sentence = told["answer"][-1]
    assert sentence.startswith("B leaks more than A by 21.0 percentage points (95% 16.0 to 26.0) in memorised_excess (")
    page = Path(files[0]).read_text()
    assert sentence in page
    assert "+21.0 [16.0, 26.0]" in page
    assert page.index(sentence) < page.index("<table")
    again = write_sets_report(found(), tmp_path / "two")
    assert [Path(one).read_bytes() == Path(other).read_bytes() for one, other in zip(files, again, strict=True)] == [True] * 4


def test_a_name_is_no_html(tmp_path: Path) -> None:
    files = write_sets_report(found(("<script>a</script>", "b\u202ec")), tmp_path, ["a <b> warning"])
    page = Path(files[0]).read_text()
    assert not {"<script>", "<b> warning", "\u202e"} & {part for part in ("<script>", "<b> warning", "\u202e") if part in page}
    assert "&lt;script&gt;" in page


def test_more_leakage_is_always_to_the_right() -> None:
    figure = forest_figure(found())
    shares, ratios = figure.axes
    for axes, value in ((shares, 21), (ratios, -0.3)):
        zero, place = (axes.transData.transform((x, 0))[0] for x in (0, value))
        assert place > zero
    assert [axes.get_yticklabels()[0].get_text() for axes in figure.axes] == [
        "memorised_excess, combined (primary)",
        "dcr_5_ratio, phash",
    ]
    assert "percentage points; to the right: leaks more than A" in shares.get_xlabel()


def test_without_intervals_there_is_no_figure(tmp_path: Path) -> None:
    files = write_sets_report(replace(found(interval=False)), tmp_path)
    assert [Path(each).name for each in files] == ["report.html", "report.json", "figures.csv"]
    assert "No difference has an interval" in Path(files[0]).read_text()
