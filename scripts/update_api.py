#!/usr/bin/env python3
"""Write docs/API.md anew, from the docstrings of the public names of embeddings, indexer and query."""

import argparse
import inspect
import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "API.md"
PACKAGES = ("embeddings", "indexer", "query")
HEAD = """# Python API

Everything that stands here can be imported from the root of its package: `from indexer import index`. Back ends (PyTorch, FAISS,
DuckDB) are loaded when they are first used. All errors that a user can mend derive from `embeddings.SynthtraceError`. The text
below is that of the docstrings; `scripts/update_api.py` writes it.
"""


def main() -> int:
    """Write the document, or with --check only compare it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the document is out of date")
    check = parser.parse_args().check
    text = document()
    if check:
        return int(DOCUMENT.read_text(encoding="utf-8") != text)
    DOCUMENT.write_text(text, encoding="utf-8")
    return 0


def document() -> str:
    """The whole document."""
    parts = [HEAD]
    for name in PACKAGES:
        package = import_module(name)
        parts += [f"## {name}", package.__doc__ or ""]
        parts += [entry(package, public) for public in package.__all__]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def entry(package: ModuleType, name: str) -> str:
    """A public name: signature, docstring, and for classes their public methods and properties."""
    thing = getattr(package, name)
    lines = [f"### {package.__name__}.{name}"]
    if not callable(thing):
        return "\n\n".join([*lines, f"`{', '.join(map(str, thing))}`"])
    lines += [code(f"{name}{signature(thing)}"), code(inspect.getdoc(thing) or "", "text")]
    if inspect.isclass(thing) and not issubclass(thing, Exception):
        for member, value in vars(thing).items():
            function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            if member.startswith("_") or not (inspect.isfunction(function) or isinstance(value, property)):
                continue
            call = "" if isinstance(value, property) else signature(function)
            lines += [f"**{name}.{member}**", code(f"{member}{call}"), code(inspect.getdoc(value) or "", "text")]
    return "\n\n".join(lines)


def signature(thing: Any) -> str:
    """Its parameters with defaults, without what Python prints of objects' addresses."""
    try:
        text = str(inspect.signature(thing))
    except (ValueError, TypeError):
        return ""
    return re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"\1", text).replace("pathlib._local.", "pathlib.")


def code(text: str, language: str = "python") -> str:
    """A block of code."""
    return f"```{language}\n{text}\n```"


if __name__ == "__main__":
    sys.exit(main())
