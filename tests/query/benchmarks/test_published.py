"""Published figures: what follows from counts, what does not, and what counts could be behind them."""

from decimal import Decimal
from pathlib import Path

import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from query.benchmarks.published import Fit, RecomputeError, Row, read_published, recompute
from query.evaluation.classification import Measure

SHIPPED = {row.name.split()[0]: recompute(row) for row in read_published()}


def row(tables: str = "", totals: tuple[int, int] | None = (100, 100), **figures: str) -> Row:
    counts = tuple(map(int, tables.split())) or None
    return Row("planted", {Measure(name): Decimal(text) for name, text in figures.items()}, counts, totals)  # type: ignore[arg-type]


def labels(tp: int, tn: int, fp: int, fn: int) -> tuple[list[int], list[int]]:
    """As labels and decisions."""
    return [1] * tp + [0] * tn + [0] * fp + [1] * fn, [1] * tp + [0] * tn + [1] * fp + [0] * fn


def test_accuracy_and_specificity_of_s3_do_not_follow_from_its_counts() -> None:
    found = SHIPPED["S3"]
    wrong = {cell.figure: round(cell.recomputed, 3) for cell in found.cells if cell.fit is Fit.WRONG}
    assert wrong == {Measure.ACCURACY: 0.51, Measure.SPECIFICITY: 0.62}
    assert found.consistent is False
    assert "accuracy 0.61 (the counts give 0.510)" in found.note
    assert [cell.figure for cell in found.cells if cell.fit is Fit.CUT] == [Measure.PRECISION]  # 40 / 78 = 0.5128, printed 0.512


def test_the_other_published_rows_can_be_so() -> None:
    assert {name: found.consistent for name, found in SHIPPED.items()} == {
        "S2": True, "S3": False, "S4": True, "S5": True, "S6": True, "VCMI": True,
    }  # fmt: skip
    assert all(cell.fit is Fit.ROUNDED for cell in SHIPPED["S2"].cells)
    assert SHIPPED["S4"].tables == ((79, 22, 78, 21),)
    assert SHIPPED["VCMI"].tables == ((77, 85, 15, 23),)


@pytest.mark.parametrize("name", ["S4", "S5", "S6", "VCMI"])
def test_counts_that_were_found_give_the_figures(name: str) -> None:
    found = SHIPPED[name]
    assert found.tables
    for table in found.tables:
        used, note = labels(*table)
        values = {
            Measure.ACCURACY: accuracy_score(used, note),
            Measure.PRECISION: precision_score(used, note),
            Measure.RECALL: recall_score(used, note),
            Measure.SPECIFICITY: recall_score(used, note, pos_label=0),
            Measure.F1: f1_score(used, note),
        }
        for figure, printed in found.row.figures.items():
            assert abs(values[figure] - float(printed)) < 10.0 ** int(printed.as_tuple().exponent)


def test_no_planted_table_is_missed() -> None:
    """Rounded to two digits, every table of 7 + 9 images is among those found for it."""
    for tp in range(8):
        for tn in range(1, 10):
            used, note = labels(tp, tn, 9 - tn, 7 - tp)
            figures = {"accuracy": f"{accuracy_score(used, note):.2f}", "f1": f"{f1_score(used, note, zero_division=0):.2f}"}
            assert (tp, tn, 9 - tn, 7 - tp) in (recompute(row(totals=(7, 9), **figures)).tables or ())


def test_a_planted_fault_is_found_and_named() -> None:
    found = recompute(row(recall="0.40", specificity="0.62", accuracy="0.61"))
    assert (found.consistent, found.tables) == (False, ())
    assert set(found.culprits) == {Measure.RECALL, Measure.SPECIFICITY, Measure.ACCURACY}
    found = recompute(row(recall="0.405", f1="0.444"))  # no half images
    assert found.culprits == (Measure.RECALL,)
    assert "some would without recall" in found.note
    assert recompute(row("40 62 38 60", (100, 101), recall="0.40")).consistent is False


def test_what_cannot_be_checked_is_said_to_be_so() -> None:
    for unknown in (row(totals=None, f1="0.5"), row(), row(totals=(10**6, 10**6), f1="0.5")):
        found = recompute(unknown)
        assert found.consistent is None
        assert found.note.startswith("cannot be checked")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,colour\na,1\n", "unknown column 'colour'"),
        ("tp,tn\n1,2\n", "no column 'name'"),
        ("name,tp,tn,fp,fn\na,1,2,3,\n", "line 2: tp, tn, fp, fn must all be whole numbers"),
        ("name,f1\na,much\n", "line 2: f1 must be a number"),
        ("name,f1\na,61\n", "line 2: f1 must be between 0 and 1"),
        ("name,f1\na,1,2\n", "line 2: 3 fields under a header of 2"),
        ("name,f1\n", "no rows"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(RecomputeError, match=r"p\.csv") as error:
        read_published(tmp_path / "p.csv")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(RecomputeError, match="No such file"):
        read_published(tmp_path / "none.csv")
