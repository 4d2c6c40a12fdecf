#!/usr/bin/env python3
"""Write the generated parts of docs/ anew: public names, tables of files, commands, named analyses."""

import argparse
import ast
import inspect
import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from query.cli.group import program
from query.database.store import Store

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = tuple(ROOT / "docs" / name for name in ("API.md", "ARCHITECTURE.md", "COMMANDS.md", "SQL.md"))
PACKAGES = ("embeddings", "indexer", "query")
_PARTS = re.compile(
    r"<!-- (files of \w+|names|commands|analyses) -->\n.*?<!-- end of (?:files|names|commands|analyses) -->", re.DOTALL
)
_WIDE = 10_000  # columns: no line of a help text is wrapped


def main() -> int:
    """Write the documents, or with --check only compare them; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a document is out of date")
    check = parser.parse_args().check
    stale = False
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        new = updated(text, ROOT)
        stale |= new != text
        if not check:
            document.write_text(new, encoding="utf-8")
    return int(check and stale)


def updated(text: str, root: Path) -> str:
    """The document with today's tables."""
    return _PARTS.sub(lambda part: _part(part[1], root), text)


def _part(name: str, root: Path) -> str:
    """One generated part, by the name in its comment."""
    generated = {"names": names, "commands": commands, "analyses": analyses}
    return generated[name]() if name in generated else tables(root, name.removeprefix("files of "))


def tables(root: Path, top: str) -> str:
    """A table for each folder of a package: the folder's docstring above it, a row for each file."""
    lines = [f"<!-- files of {top} -->"]
    for folder in sorted({path.parent for path in root.joinpath(top).rglob("*.py")}):
        name = folder.relative_to(root).as_posix()
        if folder != root / top:
            lines += ["", f"**{name}/**: {_sentence(folder / '__init__.py')}".rstrip(": ")]
        files = [path for path in sorted(folder.iterdir()) if path.suffix in (".py", ".sh") and path.name != "__init__.py"]
        lines += ["", "| file | what it does |", "|---|---|"]
        lines += [f"| `{path.relative_to(root).as_posix()}` | {_sentence(path)} |" for path in files]
    return "\n".join([*lines, "", "<!-- end of files -->"])


def names() -> str:
    """A section for each public name of the packages, from its docstring."""
    parts = ["<!-- names -->"]
    for package in map(import_module, PACKAGES):
        parts += [f"## {package.__name__}", (package.__doc__ or "").strip()]
        parts += [_entry(package, name) for name in package.__all__]
    return "\n\n".join([*parts, "<!-- end of names -->"])


def commands() -> str:
    """A section for each command, from its help: usage, what it does, an example, its options by group."""
    assert isinstance(program, click.Group)
    helps = {name: _help(name, command) for name, command in program.commands.items()}
    shared = set.intersection(*({row for rows in groups.values() for row in rows} for _, groups in helps.values()))
    lines = ["<!-- commands -->"]
    for name in program.list_commands(click.Context(program)):
        about, groups = helps[name]
        lines += ["", f"### {name}", "", *about]
        for title, all_rows in groups.items():
            rows = [row for row in all_rows if row not in shared]
            if rows:
                lines += ["", f"| {title.lower()} | |", "|---|---|", *(_row(f"`{option}`", told) for option, told in rows)]
    every = next(iter(helps.values()))[1]
    lines += ["", "### Options of every command", "", "| option | |", "|---|---|"]
    lines += [_row(f"`{option}`", told) for rows in every.values() for option, told in rows if (option, told) in shared]
    return "\n".join([*lines, "", "<!-- end of commands -->"])


def analyses() -> str:
    """A table of the named analyses: name, question, parameters with their defaults."""
    lines = ["<!-- analyses -->", "", "| analysis | question | parameters |", "|---|---|---|"]
    for name, analysis in Store.analyses().items():
        defaults = {parameter: "latest" if value is None else value for parameter, value in analysis.parameters.items()}
        parameters = ", ".join(f"`{parameter}={default}`" for parameter, default in defaults.items())
        lines.append(f"| `{name}` | {analysis.question} | {parameters} |")
    return "\n".join([*lines, "", "<!-- end of analyses -->"])


def _help(name: str, command: click.Command) -> tuple[list[str], dict[str, list[tuple[str, str]]]]:
    """Markdown of what a command is, and its options with their help, by the group that --help shows them in."""
    settings = {**program.context_settings, "terminal_width": _WIDE, "max_content_width": _WIDE}
    above = click.Context(program, info_name="synthtrace", **settings)
    context = click.Context(command, parent=above, info_name=name)
    usage, *rest = command.get_help(context).splitlines()
    about, groups = ["```", usage.removeprefix("Usage: "), "```"], dict[str, list[tuple[str, str]]]()
    for line in rest:
        option = re.match(r"  (-.+?)(?:  +(.+))?$", line)
        if re.match(r"\S.*:$", line):
            groups[line[:-1]] = []
        elif not groups:
            example = line.strip().startswith("synthtrace ")
            about += ["```sh", line.strip(), "```"] if example else [line.strip()] if line.strip() != "Example:" else []
        elif option:
            groups[list(groups)[-1]].append((option[1], option[2] or ""))
        elif line.strip():
            group = groups[list(groups)[-1]]
            group[-1] = (group[-1][0], f"{group[-1][1]} {line.strip()}".strip())
    return "\n".join(about).strip().splitlines(), groups


def _entry(package: ModuleType, name: str) -> str:
    """A public name: signature, docstring, and for classes their public methods and properties."""
    thing = getattr(package, name)
    lines = [f"### {package.__name__}.{name}"]
    if not callable(thing):
        return "\n\n".join([*lines, f"`{', '.join(map(str, thing))}`"])
    lines += [_code(f"{name}{_signature(thing)}"), _code(inspect.getdoc(thing) or "", "text")]
    if inspect.isclass(thing) and not issubclass(thing, Exception):
        for member, value in vars(thing).items():
            function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            if member.startswith("_") or not (inspect.isfunction(function) or isinstance(value, property)):
                continue
            call = "" if isinstance(value, property) else _signature(function)
            lines += [f"**{name}.{member}**", _code(f"{member}{call}"), _code(inspect.getdoc(value) or "", "text")]
    return "\n\n".join(lines)


def _signature(thing: Any) -> str:
    """Its parameters with defaults, without what Python prints of objects' addresses."""
    try:
        text = str(inspect.signature(thing))
    except (ValueError, TypeError):
        return ""
    return re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"\1", text).replace("pathlib._local.", "pathlib.")


def _code(text: str, language: str = "python") -> str:
    """A block of code."""
    return f"```{language}\n{text}\n```"


def _row(*cells: str) -> str:
    """A row of a table."""
    return "| " + " | ".join(re.sub("  +", " ", cell).replace("|", "\\|") for cell in cells) + " |"


def _sentence(path: Path) -> str:
    """The first line of a file's docstring, or of a shell script's comment, without its full stop."""
    if not path.exists():
        return ""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".sh":
        first = next((line.lstrip("# ") for line in text.splitlines()[1:] if line.startswith("# ")), "")
    else:
        first = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    return first.rstrip(".").replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
