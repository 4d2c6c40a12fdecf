"""What the documents say is so: their Python and SQL run, their commands and files exist, every module is explained."""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click import Command, Group
from PIL import Image

from embeddings.phantoms.slices import copy_of, phantom
from embeddings.views.registry import VIEWS
from query.cli.group import program
from query.comparison.scores import Score
from query.database.store import Store
from query.leakage.leakage import Figure
from query.membership.decisions import Role
from query.membership.methods.fusion import PRIMARY
from query.membership.methods.registry import METHODS
from query.membership.proximity import Nearness
from tests.helpers.loading import script
from tests.helpers.places import ROOT

README, GUIDE, COMMANDS, SQL = (ROOT / name for name in ("README.md", "docs/GUIDE.md", "docs/COMMANDS.md", "docs/SQL.md"))
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
README_LINES = 250
REAL, GENERATED, KNOWN = 30, 24, 20  # of the real images the last are known not to have been used


def blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of a language, without indentation of the fence."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def commands() -> dict[str, Command]:
    """Every command of the program, by name."""
    assert isinstance(program, Group)
    return dict(program.commands)


def shown_commands() -> list[list[str]]:
    """The arguments of every call of synthtrace in shell blocks and in running text."""
    lines = []
    for document in DOCUMENTS:
        lines += [line for block in blocks(document, "sh") for line in block.splitlines()]
        lines += re.findall(r"`(synthtrace [a-z][^`]*)`", document.read_text(encoding="utf-8"))
    return [shlex.split(line.replace("\n", " "))[1:] for line in lines if line.startswith("synthtrace ")]


@pytest.fixture(scope="module")
def run_of_readme(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with small images in which the Python of README and guide has run, and the names it left."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "real").mkdir()
    (folder / "generated").mkdir()
    slices = [phantom(seed, 96) for seed in range(REAL)]
    for number, pixels in enumerate(slices):
        Image.fromarray(pixels).save(folder / "real" / f"real_{number}.png")
    for number in range(1, GENERATED):
        made = copy_of(slices[number % 4], 1 + number % 3, np.random.default_rng(number))
        Image.fromarray(made).save(folder / "generated" / f"generated_{number}.png")
    for name in ("generated/generated_0.png", "suspect.png"):  # byte for byte a real image
        (folder / name).write_bytes((folder / "real" / "real_0.png").read_bytes())
    labels = "".join(f"real_{number}.png,0\n" for number in range(REAL - KNOWN, REAL))
    (folder / "labels.csv").write_text("image,used\n" + labels)
    block = "\n".join([*blocks(README, "python"), *blocks(GUIDE, "python")])
    named = ("generated.collection", "real.collection", "generated/", "real/", "results.duckdb", "suspect.png", "labels.csv")
    for name in named:
        assert f'"{name}"' in block
        block = block.replace(f'"{name}"', repr(str(folder / name)))
    assert "patient(" in block
    block = block.replace("patient(", "real_(")
    left: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), left)
    withheld = {"image_id": [0], "decision": ["withhold"], "reason": ["above the threshold"], "view": ["combined"]}
    with Store.open(folder / "results.duckdb") as store:  # the filter takes labels of both kinds, and the example has one
        run = store.known_run()
        store.replace(run, {"release_decisions": {**withheld, "score": [3.0], "threshold": [2.0], "nearest_id": [GENERATED]}})
    return folder, left


def test_readme_python_does_what_it_says(run_of_readme: tuple[Path, dict[str, Any]]) -> None:
    _, left = run_of_readme
    hits, frame, closest, vectors = (left[name] for name in ("hits", "nearest", "closest", "vectors"))
    assert hits[["rank", "name", "distance"]].to_numpy()[0].tolist() == [1, "generated_0.png", 0]
    assert len(hits) == 3
    assert set(frame["view"]) == {*VIEWS, "combined"}
    assert list(closest["distance"]) == sorted(closest["distance"])
    assert len(closest) == 10
    assert len(vectors) == GENERATED
    assert (len(left["predictions"].names), left["fusion"].method) == (REAL, "fusion")
    assert left["matches"].looked == min(20, GENERATED)


@pytest.mark.parametrize("recipe", blocks(SQL, "sql"), ids=range(len(blocks(SQL, "sql"))))
def test_sql_recipes_run(run_of_readme: tuple[Path, dict[str, Any]], recipe: str) -> None:
    with Store.open(run_of_readme[0] / "results.duckdb", read_only=True) as store:
        rows = store.sql(recipe).to_pylist()
    assert rows
    if "again" in rows[0]:
        assert all(row["distance"] == row["again"] for row in rows)
    if "generated_file" in rows[0]:
        assert rows == [{"generated_file": "generated_0.png", "real_file": "real_0.png"}]


def test_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= README_LINES


@pytest.mark.parametrize("document", [README, GUIDE, COMMANDS, SQL], ids=lambda path: path.name)
def test_shell_blocks_hold_commands_of_ours(document: Path) -> None:
    lines = [line.split() for block in blocks(document, "sh") for line in block.splitlines()]
    assert lines
    assert {line[0] for line in lines} <= {"make", "synthtrace"}


def test_the_reference_has_every_command_and_option() -> None:
    parts = sections(COMMANDS, "###")
    every = parts.pop("Options of every command")
    assert set(parts) == set(commands())
    for name, command in commands().items():
        told = " ".join(re.findall(r"^\| `(-[^`]+)`", parts[name] + every, re.MULTILINE))
        options = {option for param in command.params if param.param_type_name == "option" for option in param.opts}
        assert options <= set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", told)), name


def test_the_index_names_every_document() -> None:
    linked = {
        target.partition("#")[0]
        for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / "docs" / "README.md").read_text(encoding="utf-8"))
    }
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"} <= linked
    assert {f"../{path.name}" for path in ROOT.glob("*.md")} <= linked


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_document_calls_a_result_safe(document: Path) -> None:
    sentences = re.split(r"(?<=[.!?:|])\s", " ".join(document.read_text(encoding="utf-8").split()))
    claims = [sentence for sentence in sentences if re.search(r"\bsafe to (?:release|publish|share)\b", sentence)]
    assert [claim for claim in claims if not re.search(r"\b(?:not|never|no|nor)\b", claim.partition("safe to")[0])] == []


@pytest.mark.parametrize("arguments", shown_commands(), ids=" ".join)
def test_shown_commands_exist(arguments: list[str]) -> None:
    name, *rest = arguments
    if name == "COMMAND":
        return
    command = commands()[name]
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)} | {"--help"}
    assert {word for word in rest if re.fullmatch(r"-{1,2}[a-z][a-z-]*", word)} <= known
    if name == "sql":
        words = [word for word in rest[rest.index("--db") + 2 :] if not word.startswith("-")] if "--db" in rest else rest
        assert not words or words[0] in Store.analyses() or words[0] == "..."


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), target
        assert path.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(path), target


def anchors(document: Path) -> set[str]:
    """Anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def mentioned(document: Path) -> set[str]:
    """Every word in backticks or in a picture that looks like a file of ours."""
    return set(re.findall(r"[\w/]+\.(?:py|sh|sql)\b", document.read_text(encoding="utf-8")))


def sections(document: Path, level: str = "##") -> dict[str, str]:
    """Text below each heading of a level."""
    parts = re.split(rf"^{level} (.+)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_generated_parts_are_up_to_date() -> None:
    with script("update_documents") as generator:
        assert COMMANDS in generator.DOCUMENTS
        for document in generator.DOCUMENTS:
            text = document.read_text(encoding="utf-8")
            assert generator.updated(text, ROOT) == text, f"{document.name}: run scripts/update_documents.py"


@pytest.mark.parametrize("folder", ["embeddings", "indexer", "query", "scripts"])
def test_every_module_says_what_it_does_in_one_line(folder: str, tmp_path: Path) -> None:
    with script("update_documents") as generator:
        rows = re.findall(r"^\| `([\w/.]+)` \| (.+) \|$", generator.tables(ROOT, folder), re.MULTILINE)
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "silent.py").write_text("x = 1\n")
        assert "| `" + folder + "/silent.py` |  |" in generator.tables(tmp_path, folder)
    there = [path for pattern in ("*.py", "*.sh") for path in (ROOT / folder).rglob(pattern) if path.name != "__init__.py"]
    assert {name for name, _ in rows} == {path.relative_to(ROOT).as_posix() for path in there}
    assert [name for name, told in rows if len(told) < 10] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_named_files_exist(document: Path) -> None:
    ours = ("embeddings/", "indexer/", "query/", "scripts/", "tests/")
    assert [name for name in sorted(mentioned(document)) if name.startswith(ours) and not (ROOT / name).exists()] == []


def test_every_table_and_column_is_named() -> None:
    rows = {
        match[1]: match[2] for match in re.finditer(r"^\| `(\w+)` \| [^|]+ \| (.+) \|$", sections(SQL)["Tables"], re.MULTILINE)
    }
    with Store.open(":memory:") as store:
        columns = store.sql(
            """SELECT c.table_name, c.column_name FROM duckdb_columns() AS c JOIN duckdb_tables() AS t USING (table_name)
            WHERE NOT t.internal"""
        ).to_pylist()
        views = {row["view_name"] for row in store.sql("SELECT view_name FROM duckdb_views() WHERE NOT internal").to_pylist()}
    tables: dict[str, set[str]] = {}
    for row in columns:
        tables.setdefault(row["table_name"], set()).add(row["column_name"])
    without_remarks = {name: re.sub(r"\([^)]*\)", "", told) for name, told in rows.items()}
    assert {name: set(re.findall(r"\w+", told)) for name, told in without_remarks.items()} == tables
    assert views <= set(re.findall(r"`(\w+)`", sections(SQL)["Views"]))


def test_documents_name_the_views_and_scores() -> None:
    methods = (ROOT / "docs" / "METHODS.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in methods for name in [*VIEWS, "combined", *Score])


@pytest.mark.parametrize("names", [METHODS, Nearness, Role, Figure], ids=["methods", "nearness", "roles", "leakage"])
def test_membership_is_explained(names: Iterable[str]) -> None:
    text = (ROOT / "docs" / "MEMBERSHIP.md").read_text(encoding="utf-8")
    assert [str(name) for name in names if f"`{name}`" not in text] == []


def test_membership_says_what_the_primary_score_is_made_of() -> None:
    told = re.findall(r"`([\w ]+)` of `(\w+)` \((?:w = )?(\d)\)", (ROOT / "docs" / "MEMBERSHIP.md").read_text(encoding="utf-8"))
    assert {(view, score): float(weight) for score, view, weight in told} == {(v, str(s)): w for (v, s), w in PRIMARY.items()}
