"""The notebooks of docs/notebooks: complete, and what stands below their cells is what these put out."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.loading import script
from tests.helpers.places import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"


def texts(notebook: dict[str, Any]) -> list[str]:
    """What each cell put out as text."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return ["".join(output.get("text") or output["data"]["text/plain"]) for output in outputs]


def words(text: str) -> list[str]:
    """All but the numbers and the widths of columns."""
    return re.sub(r"-{3,}", " ", re.sub(NUMBER, " # ", text)).split()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_whole_and_names_no_place(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert len(texts(notebook)) >= len(code) - 1
    assert not re.search(r"(?:^|[\s'\"(])/(?:tmp|home|root|work|mnt)\b", "\n".join(texts(notebook)))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_still_puts_out_what_it_shows(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with script("run_notebooks") as runner:
        anew = texts(runner.run(path))
    kept = texts(json.loads(path.read_text(encoding="utf-8")))
    assert list(map(words, anew)) == list(map(words, kept)), "run scripts/run_notebooks.py"
    for new, old in zip(anew, kept, strict=True):
        first, second = (np.array(re.findall(NUMBER, text), float) for text in (new, old))
        np.testing.assert_allclose(first, second, rtol=0.05, atol=0.05, err_msg="run scripts/run_notebooks.py")


def test_a_cell_shows_its_last_value_as_a_notebook_does() -> None:
    with script("run_notebooks") as runner:
        left: dict[str, Any] = {}
        assert runner.run_cell("x = 2", "cell", 1, left) == []
        printed, value = runner.run_cell("print('a\\nb')\nx + 1", "cell", 2, left)
        assert printed["text"] == ["a\n", "b\n"]
        assert (value["data"], value["execution_count"]) == ({"text/plain": ["3"]}, 2)
        (page,) = runner.run_cell("type('T', (), {'_repr_html_': lambda self: '<b>t</b>'})()", "cell", 3, left)
        assert page["data"]["text/html"] == ["<b>t</b>"]
        assert runner.run_cell("None", "cell", 4, left) == []
