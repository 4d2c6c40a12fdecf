"""CSV for spreadsheets: nothing in it runs, nothing drives a terminal, and everything can be read back."""

import csv
import io
import random
import re

import pyarrow as pa
import pytest

from embeddings.files.characters import HIDDEN
from embeddings.files.spreadsheet import escaped, unescaped, write_arrow, write_rows

HOSTILE = [
    *("=cmd|' /C calc'!A0", "@SUM(1+1)*cmd|' /C calc'!A0", "+1+1", "-2+3+cmd|' /C calc'!A0", "\t=1", "\r=1", "\n=1", "\t", "\rx"),
    *(" =1", "'=1", '"=1', "''=1", "\u3000@x", "\u00a0-1", "＝1", "＋1", "－1", "＠x", "﹦1", "\u200b=1", "\ufeff=1", "\x00=1"),
    *("a;=1", "a; =1", 'a;"=1', "a;-1", "a,=1", 'a",=1', "a\t=1", "a;b;@x", ";'=1", "a;\t", "x,＝1"),
    *("\x1b[2J", "\x9b2J", "\x7f", "a\u202egpj.exe", "\u2066a\u2069", "a\u200db", "a\u2028b", "a\u2029b", "\ud83d", "\udcff"),
    *(r"\x1b", r"\x5c", r"\\x1b", r"\x5cx1b", r"\u202e", r"\xff.png", r"\U00110000", r"\x9b", r"\u009b", "\\\x1b", r"\x0a"),
]  # fmt: skip
HARMLESS = ["a.png", "b c.png", "ä日本.png", "", "it's", "'quoted'", "a=b", "2-1", "a+b", r"\xff.png", "[1, -2]", "[1,-2]"]


def cells_after_any_split(text: str) -> list[str]:
    """Where a spreadsheet might begin a cell, whatever its locale takes as separator."""
    return [text, *re.split(r";|\t|[\r\n]", text)]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_runs_or_drives_a_terminal_and_all_can_be_read_back(text: str) -> None:
    cell = escaped(text)
    assert not HIDDEN.search(cell)
    assert not [part for part in cells_after_any_split(cell) if re.match(r"[\s\"`]*[=+\-@＝＋－＠﹦]", part)]
    assert not re.search(r",[\s\"`]*[=@＝＠]", cell)
    assert unescaped(cell) == text


@pytest.mark.parametrize("text", ["=1", "+1", "-x", "@x", "\t1", "\rx", " =1", '"=1', "＝1", "＋1", "－1", "＠1"])
def test_a_formula_gets_an_apostrophe(text: str) -> None:
    assert escaped(text) == "'" + text.replace("\t", r"\x09").replace("\r", r"\x0d")


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_harmless_stays(text: str) -> None:
    assert escaped(text) == unescaped(text) == text


def test_any_text_comes_back() -> None:
    rng = random.Random(0)
    alphabet = "=+-@＝;,'\" \\x0195bcuU2e8\t\r\n\x1b\u009b\u202e\u200b\ud800a"
    for _ in range(20_000):
        text = "".join(rng.choices(alphabet, k=rng.randrange(12)))
        cell = escaped(text)
        assert unescaped(cell) == text, (text, cell)
        assert not HIDDEN.search(cell)


def test_rows_are_written_and_numbers_left_alone() -> None:
    file = io.BytesIO()
    write_rows(file, ["=name", "value"], [["=a,b", -1.5], ["\x1b[0m", None], ["-3", -3]])
    text = file.getvalue().decode()
    assert list(csv.reader(io.StringIO(text))) == [["'=name", "value"], ["'=a,b", "-1.5"], [r"\x1b[0m", ""], ["'-3", "-3"]]


def test_an_arrow_table_is_written_whatever_its_types() -> None:
    texts = ["=1", None, "\x1b"]
    table = pa.table({
        "=x": texts, "dictionary": pa.array(texts).dictionary_encode(), "large": pa.array(texts, pa.large_string()),
        "bytes": pa.array([b"=1", None, b"\xff\x1b"]), "number": [-1.5, None, 2.0], "whole": [-1, 0, None],
        "yes": [True, None, False],
    })  # fmt: skip
    file = io.BytesIO()
    write_arrow(file, table)
    first, *rows = csv.reader(io.StringIO(file.getvalue().decode()))
    assert first == ["'=x", "dictionary", "large", "bytes", "number", "whole", "yes"]
    assert rows[0] == ["'=1", "'=1", "'=1", "'=1", "-1.5", "-1", "true"]
    assert rows[2] == [r"\x1b", r"\x1b", r"\x1b", r"\xff\x1b", "2", "", "false"]
