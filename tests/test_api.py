"""The public API: every name is there, typed, documented, and loaded when it is first used; the notebook runs."""

import inspect
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version

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
