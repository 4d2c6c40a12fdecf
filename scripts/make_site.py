"""Make the documentation site: pages from the documents and notebooks of the repository, then MkDocs with its theme Material.

The documents are written to be read on a forge. Here each section of the guide becomes a page of its own, notebooks become pages
with their outputs, and links lead to these pages. MkDocs sees a folder of plain Markdown: another generator can replace it.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS, GUIDE = ROOT / "docs", ROOT / "docs" / "GUIDE.md"
PAGES, SITE = ROOT / "build" / "pages", ROOT / "build" / "site"
FENCED = re.compile(r"^( *)(```+|~~~+)[^\n]*\n.*?^\1\2[`~]* *(?:\n|\Z)", re.MULTILINE | re.DOTALL)
TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")


def anchor(heading: str) -> str:
    """The anchor that a forge gives a heading; mkdocs.yml has the site give the same."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def lines_of(text: str) -> Iterator[tuple[str, int | None]]:
    """Each line; of those in a fenced block, fences included, with the block's indentation."""
    at = 0
    for block in FENCED.finditer(text):
        yield from ((line, None) for line in text[at : block.start()].splitlines())
        yield from ((line, len(block[1])) for line in block[0].splitlines())
        at = block.end()
    yield from ((line, None) for line in text[at:].splitlines())


def guide_sections() -> dict[str, str]:
    """Path of a page -> text, for the guide: its introduction, and each section with its headings one level higher."""
    parts: dict[str, list[str]] = {"guide/index.md": []}
    lines = parts["guide/index.md"]
    for line, code in lines_of(GUIDE.read_text(encoding="utf-8")):
        if code is None and line.startswith("## "):
            lines = parts[f"guide/{anchor(line[3:])}.md"] = []
        lines.append(line[1:] if code is None and line.startswith("##") else line)
    return {page: "\n".join(lines) + "\n" for page, lines in parts.items()}


def headings(text: str) -> set[str]:
    """Anchors of a text's headings."""
    return {anchor(line.lstrip("#").strip()) for line, code in lines_of(text) if code is None and line.startswith("#")}


def notebook(path: Path) -> str:
    """A notebook as Markdown: its text, its code, and what each cell put out."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [shown(output) for output in cell.get("outputs", [])]
    return "\n\n".join([*parts, f"[This page as a notebook]({path.name})"]) + "\n"


def shown(output: Mapping[str, Any]) -> str:
    """One output of a cell: a picture, HTML, or text."""
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "image/png" in data:
        return f'<img alt="output of the cell above" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    if "text/html" in data:
        return f'<div class="output">{"".join(data["text/html"])}</div>'
    return f"```text\n{''.join(data['text/plain']).rstrip()}\n```"


def sources() -> dict[str, tuple[Path, str]]:
    """Path of a page -> the file that it is from, and its text."""
    found = {"index.md" if name == "README.md" else name: (ROOT / name) for name in TOP}
    found |= {"documents.md": DOCS / "README.md", "benchmarks/index.md": DOCS / "benchmarks" / "README.md"}
    found |= {path.name: path for path in DOCS.glob("*.md") if path.name not in ("README.md", "GUIDE.md")}
    texts = {page: (path, path.read_text(encoding="utf-8")) for page, path in found.items()}
    licence = ROOT / "LICENSE"
    texts["LICENSE.md"] = licence, f"# Licence\n\n```text\n{licence.read_text(encoding='utf-8')}```\n"
    texts |= {page: (GUIDE, text) for page, text in guide_sections().items()}
    notebooks = sorted((DOCS / "notebooks").glob("*.ipynb"))
    return texts | {f"notebooks/{path.stem}.md": (path, notebook(path)) for path in notebooks}


def linked(pages: Mapping[str, tuple[Path, str]], page: str, target: str) -> str:
    """A link of a page as it is on the site; an address elsewhere stays.

    Raises:
        SystemExit: the link leads to a file of the repository that the site does not have.
    """
    if re.match(r"[a-z]+:", target):
        return target
    name, _, heading = target.partition("#")
    source = pages[page][0]
    path = (source.parent / name).resolve() if name else source
    able = [each for each, (file, _) in pages.items() if file == path]
    if path.is_relative_to(DOCS) and not able:
        able, heading = [path.relative_to(DOCS).as_posix()], ""
    elif len(able) > 1:  # the guide
        holding = [each for each in able if heading in headings(pages[each][1])] or able
        able, heading = holding[:1], "" if f"guide/{heading}.md" == holding[0] else heading
    if not able:
        raise SystemExit(f"{source.relative_to(ROOT)}: the site has no page for {target}")
    there = "" if able[0] == page else os.path.relpath(able[0], Path(page).parent)
    return f"{there}#{heading}" if heading else there or Path(page).name


def page_text(pages: Mapping[str, tuple[Path, str]], page: str) -> str:
    """A page's Markdown: links of the site, and lists indented by four spaces, as Python's Markdown wants them."""
    lines: list[str] = []
    for line, code in lines_of(pages[page][1]):
        indent = len(line) - len(line.lstrip()) if code is None else code
        if indent in (2, 3) and line:
            line = " " * (4 - indent) + line
        if code is None:
            line = re.sub(r"\]\(([^)\s]+)\)", lambda match: f"]({linked(pages, page, match[1])})", line)
            if re.match(r"(?:[-*]|\d+\.) ", line) and lines and lines[-1].startswith("    "):
                lines.append("")  # else it belongs to the paragraph above
        lines.append(line)
    return "\n".join(lines) + "\n"


def write_pages() -> None:
    """Write PAGES anew."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(DOCS, PAGES, ignore=shutil.ignore_patterns("*.md"))
    pages = sources()
    for page in pages:
        (PAGES / page).parent.mkdir(parents=True, exist_ok=True)
        (PAGES / page).write_text(page_text(pages, page), encoding="utf-8")


def main() -> int:
    """Write the pages and build the site; MkDocs' exit code."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    write_pages()
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean", "-f", str(ROOT / "mkdocs.yml")]
    code = subprocess.run(command, env=quiet).returncode
    if code == 0:
        print(f"site: {(SITE / 'index.html').as_uri()}")
    return code


if __name__ == "__main__":
    sys.exit(main())
