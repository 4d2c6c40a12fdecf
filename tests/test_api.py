"""The public API: every name is there, typed, documented, and loaded when it is first used; the notebook runs."""

import inspect
import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from embeddings import SynthtraceError
from tests.helpers.places import ROOT

PACKAGES = ("embeddings", "indexer", "query")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there_and_documented(package: str) -> None:
    root = import_module(package)
    assert root.__version__ == version("synthtrace")
    assert (ROOT / package / "py.typed").exists()
    assert set(root.__all__) <= set(dir(root))
    for name in root.__all__:
        thing = getattr(root, name)
        assert not callable(thing) or len(inspect.getdoc(thing) or "") > 20, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = root.nothing


def test_errors_have_one_base() -> None:
    for package in PACKAGES:
        root = import_module(package)
        for name in root.__all__:
            thing = getattr(root, name)
            if inspect.isclass(thing) and issubclass(thing, Exception) and not issubclass(thing, Warning):
                assert issubclass(thing, SynthtraceError), name


def test_a_root_loads_nothing_before_it_is_used() -> None:
    program = "import sys, embeddings, indexer, query; print([name for name in sys.modules if name.startswith('query.')])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_the_example_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    cells = json.loads((ROOT / "docs" / "example.ipynb").read_text(encoding="utf-8"))["cells"]
    left: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []  # what was printed depends on versions
            exec(compile("".join(cell["source"]), f"example.ipynb, {cell['id']}", "exec"), left)
    assert len(left["nearest"]) > 0
    assert left["predictions"].labels == {left["real"].names.index(name): used for name, used in left["truth"].items()}
