#!/usr/bin/env python3
"""Write the tables of files in docs/ARCHITECTURE.md anew, from the first line of each file's docstring."""

import argparse
import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "ARCHITECTURE.md"
FOLDERS = ("embeddings", "indexer", "query", "scripts")
_TABLES = re.compile(r"<!-- files of (\w+) -->\n.*?<!-- end of files -->", re.DOTALL)


def main() -> int:
    """Write the document, or with --check only compare it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the document is out of date")
    check = parser.parse_args().check
    text = DOCUMENT.read_text(encoding="utf-8")
    new = updated(text, ROOT)
    if check:
        return int(new != text)
    DOCUMENT.write_text(new, encoding="utf-8")
    return 0


def updated(text: str, root: Path) -> str:
    """The document with today's tables."""
    return _TABLES.sub(lambda found: tables(root, found[1]), text)


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
