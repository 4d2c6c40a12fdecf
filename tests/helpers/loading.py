"""Scripts as modules: nothing imports them but their tests."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from tests.helpers.places import SCRIPTS


@contextmanager
def beside_scripts() -> Iterator[None]:
    """Import parts of scripts inside, as the scripts do."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        yield
    finally:
        sys.path.remove(str(SCRIPTS))


@contextmanager
def script(name: str) -> Iterator[ModuleType]:
    """scripts/NAME.py as a module, for as long as it is needed."""
    spec = importlib.util.spec_from_file_location(f"{name.replace('/', '_')}_script", SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str((SCRIPTS / name).parent)  # where Python looks when it runs the script
    sys.path.insert(0, folder)
    sys.modules[spec.name] = module  # dataclasses and processes look their module up there
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(folder)
        del sys.modules[spec.name]
