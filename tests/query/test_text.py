import json
from decimal import Decimal

import numpy as np
import pytest

from query.text import as_json, many, name, number, shown, table


def test_a_table_pads_and_aligns() -> None:
    text = table(["view", "bits", "x"], [["phash", 3, None], ["a", 12, 0.25]])
    assert text.splitlines() == ["view   bits     x", "-----  ----  ----", "phash     3", "a        12  0.25"]


def test_a_table_without_rows_has_its_header() -> None:
    assert table(["a", "bc"], []).splitlines() == ["a  bc", "-  --"]


def test_cells_are_one_printable_line() -> None:
    text = table(["x"], [["a\nb\x1b[0m"], [["q", 1]], [{"k": None}]])
    assert text.splitlines()[2:] == [r"a\nb\x1b[0m", '["q", 1]', '{"k": null}']


def test_sums_are_numbers_too() -> None:
    assert table(["n"], [[Decimal(5)], [Decimal(123)]]).splitlines()[2:] == ["  5", "123"]


def test_names_with_control_characters_are_harmless() -> None:
    assert shown("ä\n\x1b\t\u202e") == "ä\n\\x1b\\t\\u202e"
    assert name("a\nb c.png") == "a\\nb c.png"


@pytest.mark.parametrize(("distance", "text"), [(0, "0"), (52.0, "52"), (0.12345, "0.1235"), (-2.5, "-2.5"), (1e-7, "1e-07")])
def test_numbers(distance: float, text: str) -> None:
    assert number(distance) == text


def test_json_is_json() -> None:
    assert json.loads(as_json({"ä": [1, None]})) == {"ä": [1, None]}
    assert json.loads(as_json({"a": float("nan"), "b": [float("inf")], "c": np.float64("nan")})) == {
        "a": None,
        "b": [None],
        "c": None,
    }


def test_one_is_not_many() -> None:
    assert [many(count, "real image") for count in (0, 1, 2, 1000)] == [
        "0 real images",
        "1 real image",
        "2 real images",
        "1,000 real images",
    ]
    assert [many(count, "copy", "copies") for count in (1, 2)] == ["1 copy", "2 copies"]
    assert many(None, "image") == "some images"
