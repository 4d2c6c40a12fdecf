"""Who may import whom: query -> indexer -> embeddings, and each heavy library in one file only."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.places import ROOT

BELOW = {"embeddings": set(), "indexer": {"embeddings"}, "query": {"embeddings", "indexer"}}
PARTS = {"attacks": "attack", "gpu_checks": "gpu_check"}  # folder in scripts/ -> the script that its files are parts of
HOMES = {
    "faiss": {"indexer/search/faiss_gpu.py", "indexer/search/faiss_index.py", "indexer/search/hamming.py"},
    "duckdb": {"query/database/store.py"},
    "torch": {
        "embeddings/gpu/",  # all of the folder
        "embeddings/views/network.py",
        "embeddings/training/trainer.py",
        "query/membership/imageclef2023/cnn.py",
        "query/membership/imageclef2023/imagenet.py",
        "query/membership/imageclef2023/published_relation.py",
        "query/membership/imageclef2023/relation.py",
    },
    "torchvision": {"embeddings/views/network.py"},
    "click": {"query/cli/"},  # all of the folder
    "SimpleITK": {"embeddings/images/readers/volumes.py"},
    "ray": {"indexer/execution/on_ray.py"},
    "fsspec": {"indexer/sharded/store.py"},
}
FAISS = ", ".join(sorted(HOMES["faiss"]))
TORCH = ", ".join(sorted(HOMES["torch"]))
HEAVY = ("faiss", "duckdb", "torch", "torchvision", "cv2", "click")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and top-level name of every absolute import in a file, `import_module("name")` included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module.split(".")[0]
        elif isinstance(node, ast.Call) and called_name(node.func) in ("import_module", "__import__"):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield node.lineno, argument.value.split(".")[0]


def called_name(function: ast.expr) -> str:
    """The last part of what a call names."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def modules(root: Path, folder: str) -> list[str]:
    """Every Python file of a folder, relative to root."""
    return sorted(path.relative_to(root).as_posix() for path in (root / folder).rglob("*.py"))


def package_violations(root: Path) -> list[str]:
    """One line for each import that breaks the direction, or takes a library away from its home."""
    found = []
    for package, below in BELOW.items():
        for module in modules(root, package):
            for line, name in imports(root / module):
                if name in BELOW and name != package and name not in below:
                    found.append(f"{module}:{line}: {package} must not import {name}")
                elif not module.startswith(tuple(HOMES.get(name, {module}))):
                    found.append(f"{module}:{line}: {name} may be imported only in {', '.join(sorted(HOMES[name]))}")
                elif Path(module).name == "__init__.py" and name not in ("typing", "embeddings", package):
                    found.append(f"{module}:{line}: __init__ imports no other package or library")
    return found


def script_violations(root: Path) -> list[str]:
    """One line for each import of a script, by a package or another script."""
    scripts = {"scripts", *PARTS} | {script_of(module) for module in modules(root, "scripts")}
    return [
        f"{module}:{line}: nothing imports a script, and {name} is one"
        for folder in (*BELOW, "scripts")
        for module in modules(root, folder)
        for line, name in imports(root / module)
        if name in scripts and not (folder == "scripts" and PARTS.get(name, name) == script_of(module))
    ]


def script_of(module: str) -> str:
    """The script that a file in scripts/ is, or is a part of."""
    name = Path(module).parts[1].removesuffix(".py")
    return PARTS.get(name, name)


# Reading order: a folder or file of query imports only those before it. What stands in no list may be imported by all.
ORDER = (
    *("text", "terminal", "evaluation", "inputs", "comparison", "membership", "leakage", "database", "report", "duplication"),
    *("quality", "flow", "notebook", "benchmarks", "demo", "service", "cli"),
)
GROUND = ("text", "terminal")


def edges(root: Path) -> dict[str, set[str]]:
    """Module -> modules of ours that it imports when it runs, also within functions; not for type checking alone."""
    known = {module.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for p in BELOW for module in modules(root, p)}
    graph: dict[str, set[str]] = {name: set() for name in known}
    for package in BELOW:
        for module in modules(root, package):
            name = module.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
            tree = ast.parse((root / module).read_text(encoding="utf-8"))
            typing = {id(n) for node in ast.walk(tree) if _for_types(node) for n in ast.walk(node)}
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module and id(node) not in typing:
                    for alias in node.names:
                        full = f"{node.module}.{alias.name}"
                        graph[name] |= {target for target in (full if full in known else node.module,) if target in known}
    return graph


def _for_types(node: ast.AST) -> bool:
    """Whether this is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other, directly or through others."""
    reached = {name: set(targets) for name, targets in graph.items()}
    for middle in graph:
        for name in graph:
            if middle in reached[name]:
                reached[name] |= reached[middle]
    return sorted(name for name in graph if name in reached[name])


def upward(graph: dict[str, set[str]]) -> list[str]:
    """Imports within query against the reading order."""
    rank = {name: place for place, name in enumerate(ORDER)}
    found = []
    for name, targets in graph.items():
        parts = name.split(".")
        if parts[0] != "query" or len(parts) < 2:
            continue
        for target in (each.split(".") for each in targets if each.startswith("query.")):
            if target[1] != parts[1] and target[1] not in GROUND and rank[target[1]] > rank[parts[1]]:
                found.append(f"{name} imports {'.'.join(target)}")
    return sorted(found)


def test_no_import_runs_up_and_none_in_a_circle() -> None:
    graph = edges(ROOT)
    assert len(graph) > 150
    assert upward(graph) == []
    assert circles(graph) == []


def test_a_circle_and_an_import_that_runs_up_are_found(tmp_path: Path) -> None:
    plant(tmp_path, "query/comparison/a.py", "from query.comparison import b\nfrom query.database.store import Store")
    plant(tmp_path, "query/comparison/b.py", "def f():\n    from query.comparison.a import g")
    plant(tmp_path, "query/database/store.py", "")
    graph = edges(tmp_path)
    assert circles(graph) == ["query.comparison.a", "query.comparison.b"]
    assert upward(graph) == ["query.comparison.a imports query.database.store"]


def test_imports_go_one_way() -> None:
    assert package_violations(ROOT) == []


def test_the_import_rules_are_told_as_they_are() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^  - `(\w+)`: (.*?)(?=\n  - |\n\n)", text, re.MULTILINE | re.DOTALL))
    assert {library: set(re.findall(r"`([\w/.]+)`", homes)) for library, homes in told.items()} == HOMES


def test_simpleitk_is_loaded_in_decoding_processes_only() -> None:
    """Its wrappers and those of FAISS, both by SWIG, take each other's types in one process."""
    importers = {name for name, targets in edges(ROOT).items() if "embeddings.images.readers.volumes" in targets}
    assert importers == {"embeddings.images.worker"}
    assert not any("embeddings.images.worker" in targets for targets in edges(ROOT).values())
    others = [module for folder in ("scripts", "tests") for module in modules(ROOT, folder)]
    assert [module for module in others if "SimpleITK" in {name for _, name in imports(ROOT / module)}] == []


def test_nothing_imports_a_script() -> None:
    assert script_violations(ROOT) == []


@pytest.mark.parametrize("package", BELOW)
def test_importing_a_package_loads_no_heavy_library(package: str) -> None:
    program = f"import sys, {package}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize(
    ("module", "text", "complaint"),
    [
        ("embeddings/views/phash.py", "import indexer.types", "embeddings must not import indexer"),
        ("embeddings/views/phash.py", "from query import store", "embeddings must not import query"),
        (
            "indexer/search/brute_force.py",
            "def f():\n    from query.database.store import Store",
            "indexer must not import query",
        ),
        ("indexer/search/brute_force.py", "import faiss", f"faiss may be imported only in {FAISS}"),
        (
            "query/comparison/scores.py",
            "import importlib as i\ni.import_module('duckdb')",
            "duckdb may be imported only in query/database/store.py",
        ),
        ("query/membership/knn.py", "import torch.nn as nn", f"torch may be imported only in {TORCH}"),
        ("query/report.py", "import numpy, duckdb", "duckdb may be imported only in query/database/store.py"),
        ("query/__init__.py", "import numpy", "__init__ imports no other package or library"),
    ],
)
def test_a_planted_import_is_found(tmp_path: Path, module: str, text: str, complaint: str) -> None:
    plant(tmp_path, module, text)
    assert [line.split(": ", 1)[1] for line in package_violations(tmp_path)] == [complaint]


@pytest.mark.parametrize("importer", ["query/cli/main.py", "scripts/other.py", "scripts/other/part.py"])
@pytest.mark.parametrize("text", ["import scripts.train", "from train import main"])
def test_a_planted_import_of_a_script_is_found(tmp_path: Path, importer: str, text: str) -> None:
    plant(tmp_path, "scripts/train.py", "")
    plant(tmp_path, importer, text)
    assert len(script_violations(tmp_path)) == 1


def test_what_is_allowed_is_not_reported(tmp_path: Path) -> None:
    plant(tmp_path, "scripts/attack.py", "from attacks.kills import index")
    plant(tmp_path, "scripts/attacks/kills.py", "import signal\nfrom attacks.target import Target")
    plant(tmp_path, "embeddings/views/network.py", "import torch\nimport torchvision")
    plant(tmp_path, "indexer/search/faiss_index.py", "import faiss\nfrom embeddings.types import Embeddings")
    plant(
        tmp_path,
        "query/database/store.py",
        "import duckdb\nfrom . import scores\nfrom indexer import types\nimport embeddings.types",
    )
    plant(tmp_path, "query/cli/main.py", "import click")
    plant(tmp_path, "query/__init__.py", '"""A docstring."""')
    assert package_violations(tmp_path) + script_violations(tmp_path) == []


def plant(root: Path, module: str, text: str) -> None:
    """Write a module into a made-up tree."""
    (root / module).parent.mkdir(parents=True, exist_ok=True)
    (root / module).write_text(text, encoding="utf-8")


def test_functions_take_at_most_six_parameters() -> None:
    """Commands of click apart: their parameters are the options that users may give."""
    longer = {}
    for module in (module for package in BELOW for module in modules(ROOT, package) if "/commands/" not in module):
        for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                count = len([parameter for parameter in parameters if parameter.arg not in ("self", "cls")])
                if count > 6:
                    longer[f"{module}:{node.name}"] = count
    assert longer == {}
