"""Run the notebooks of docs/notebooks and keep what their cells put out, so that a reader sees it without running them.

Without Jupyter: the value of a cell's last expression is shown as a notebook would show it. Two runs give the same bytes.
"""

import argparse
import ast
import base64
import io
import json
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from embeddings.files.temporary import temporary_folder

NOTEBOOKS = Path(__file__).resolve().parent.parent / "docs" / "notebooks"


def run(path: Path) -> dict[str, Any]:
    """The notebook with fresh outputs.

    Raises:
        Exception: whatever a cell raises, with the cell's number in its traceback.
    """
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    left: dict[str, Any] = {"__name__": "__notebook__"}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, start=1):
        cell["outputs"] = run_cell("".join(cell["source"]), f"{path.name}, cell {number}", number, left)
        cell["execution_count"] = number
    return notebook


def run_cell(source: str, where: str, number: int, left: dict[str, Any]) -> list[dict[str, Any]]:
    """What a cell puts out; `left` are the names that the cells above left, and it adds its own."""
    tree = ast.parse(source, where)
    end = tree.body[-1] if tree.body else None
    last = ast.Expression(end.value) if isinstance(end, ast.Expr) else None
    if last:
        tree.body.pop()
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(tree, where, "exec"), left)
        value = eval(compile(last, where, "eval"), left) if last else None
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": lines(printed.getvalue())})
    if value is not None:
        outputs.append({"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": shown(value)})
    return outputs


def shown(value: Any) -> dict[str, Any]:
    """A value in the forms that a notebook can show."""
    if hasattr(value, "savefig"):
        picture = io.BytesIO()
        value.savefig(picture, format="png", bbox_inches="tight", metadata={"Software": None})
        return {"image/png": base64.b64encode(picture.getvalue()).decode(), "text/plain": ["<Figure>"]}
    plain = {"text/plain": lines(repr(value))}
    page = value._repr_html_() if hasattr(value, "_repr_html_") else None
    return {"text/html": lines(page), **plain} if page else plain


def lines(text: str) -> list[str]:
    """Text as notebooks hold it."""
    return text.splitlines(keepends=True)


def main() -> int:
    """Write each notebook anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted(NOTEBOOKS.glob("*.ipynb")))
    with temporary_folder() as folder:
        tempfile.tempdir = str(folder)  # of all that cells make
        for path in parser.parse_args().notebooks:
            path.write_text(json.dumps(run(path), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            print(path.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
