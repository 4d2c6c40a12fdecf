"""What reaches a terminal or a table: one place writes each, and hostile names come through neither raw."""

import ast
import json
import logging
from pathlib import Path

import pyarrow as pa
import pytest

from embeddings.files.characters import HIDDEN
from query import terminal
from query.comparison.source_map import Link, write_csv
from query.database.store import write_table
from query.inputs.groups import groups_from_csv
from query.inputs.labels import read_labels
from query.report.imageclef import SubmissionError, expected, write_submission
from query.text import as_json
from tests.helpers.places import ROOT

NAME = "=a\x1b[2J\u202e\u009b\n.png"
HOMES = {  # what a module may do that no other may
    "embeddings/files/spreadsheet.py": {"csv.writer", "csv.DictWriter", "to_csv", "write_csv"},
    "query/terminal.py": {"print", "sys.stdout", "sys.stderr"},
    "query/service/backend/sql/process.py": {"sys.stdout"},  # a pipe to the service
    "query/cli/progress.py": {"rich", "print"},  # rich's own, above the bars
}
CALLS = {"print", "echo", "secho", "print_exception", "print_exc", "showwarning", "basicConfig"} | {
    *("to_csv", "csv.writer", "csv.DictWriter")
}
LOOKS = {"isatty", "fileno", "flush"}  # which write nothing


def offences(path: Path, module: str) -> set[str]:
    """What a module writes to a terminal or as CSV beside the one place for each."""
    found = set()
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    looked_at = {id(node.value) for node in nodes if isinstance(node, ast.Attribute) and node.attr in LOOKS}
    for node in nodes:
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            last = name.rpartition(".")[2]
            found |= {name, last} & CALLS | ({"write_csv"} if name.endswith("csv.write_csv") else set())
        elif isinstance(node, ast.Attribute) and id(node) not in looked_at:
            found |= {ast.unparse(node).replace("__", "")} & {"sys.stdout", "sys.stderr"}
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found |= {name.split(".")[0] for name in names} & {"rich"}
    return found - HOMES.get(module, set())


def test_one_place_writes_to_the_terminal_and_one_writes_csv() -> None:
    modules = [path for package in ("embeddings", "indexer", "query") for path in (ROOT / package).rglob("*.py")]
    wrong = {name: offences(path, name) for path in modules for name in [path.relative_to(ROOT).as_posix()]}
    assert {name: found for name, found in wrong.items() if found} == {}


@pytest.mark.parametrize(
    "text",
    [
        *("print(1)", "click.echo(1)", "sys.stdout.write('a')", "print(1, file=sys.stderr)", "import rich"),
        *("csv.writer(f)", "frame.to_csv(p)", "pa.csv.write_csv(t, p)", "from rich.console import Console"),
        *("traceback.print_exception(e)", "echo(1)", "x = sys.stdout"),
    ],
)
def test_a_planted_offence_is_found(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.py").write_text(text)
    assert offences(tmp_path / "m.py", "query/m.py")


def test_what_is_written_shows_hidden_characters(capfd: pytest.CaptureFixture[str]) -> None:
    terminal.out(f"{NAME}\x7f")
    terminal.say(NAME)
    try:
        raise RuntimeError(NAME)
    except RuntimeError as error:
        terminal.say_traceback(error)
    record = logging.LogRecord("x", logging.ERROR, "p", 1, NAME, None, None)
    terminal.say(terminal.Visible().format(record))
    for text in capfd.readouterr():
        assert "=a\\x1b[2J\\u202e\\x9b" in text
        assert not HIDDEN.search(text.replace("\n", ""))


def test_json_is_the_same_and_shows_hidden_characters(tmp_path: Path) -> None:
    texts = [NAME, "\x7f\U000e0001\u2028ä"]
    write_table(pa.table({"name": texts}), tmp_path / "a.json")
    for text in (as_json({"name": texts}), (tmp_path / "a.json").read_text(encoding="utf-8")):
        assert not HIDDEN.search(text.replace("\n", ""))
        assert "ä" in text
    assert json.loads(as_json(texts)) == texts
    assert [row["name"] for row in json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))] == texts


def test_tables_hold_no_formula_and_are_read_back(tmp_path: Path) -> None:
    names = [NAME, "@SUM(1)", "+1.png", "-1.png", "plain.png", r"\x1b.png", "a;=1.png"]
    write_table(pa.table({"image": names, "used": [1, 0] * 3 + [1], "group": names}), tmp_path / "a.csv")
    text = (tmp_path / "a.csv").read_text(encoding="utf-8")
    assert not HIDDEN.search(text.replace("\n", ""))
    assert not [line for line in text.splitlines() if line.lstrip('"').startswith(("=", "+", "-", "@"))]
    assert list(read_labels(tmp_path / "a.csv")) == names
    assert groups_from_csv(tmp_path / "a.csv") == dict(zip(names, names, strict=True))
    write_csv([Link(NAME, None, NAME, -1.5, False)], tmp_path / "map.csv")
    text = (tmp_path / "map.csv").read_text(encoding="utf-8")
    assert text.splitlines()[1] == r"'=a\x1b[2J\u202e\u009b\x0a.png,,'=a\x1b[2J\u202e\u009b\x0a.png,-1.5,False"


@pytest.mark.parametrize("name", ["=1", "@a", "a,b", 'a"b', "a\x1b", "a\nb", "a\u202eb", ""])
def test_a_submission_is_never_escaped_but_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SubmissionError, match="cannot be handed in"):
        write_submission(tmp_path / "run.csv", {"real_unknown_0001": True, name: False})
    assert not (tmp_path / "run.csv").exists()


def test_expected_ids_are_read_from_an_escaped_table(tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text("'-1.png,1\nb.png,0\n")
    assert expected(tmp_path / "ids.csv").ids == ["-1", "b"]
