"""The set-up: pins, packaging, the choice of PyTorch, and what a person sees when something is missing."""

import ast
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.helpers.places import ROOT

PACKAGES = ("embeddings", "indexer", "query")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Not `bench`: its packages ask for other versions and go into an environment of their own.
EXTRAS = {name: packages for name, packages in PROJECT["optional-dependencies"].items() if name != "bench"}


def pins() -> dict[str, str]:
    """Version of each package in versions.txt."""
    lines = (ROOT / "versions.txt").read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines if not line.startswith("#")}


def declared(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for, with these extras."""
    return [Requirement(text) for group in (PROJECT["dependencies"], *(EXTRAS[extra] for extra in extras)) for text in group]


def test_every_declared_package_is_pinned_to_a_version_that_it_allows() -> None:
    for requirement in declared(*EXTRAS):
        assert pins()[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_no_pin_belongs_to_one_build_only() -> None:
    assert all(re.fullmatch(r"[0-9][0-9.]*[0-9]", version) for version in pins().values())


def test_every_pin_has_hashes_and_both_files_pin_the_same() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8").replace("\\\n", "")
    found = {}
    for line in (line for line in text.splitlines() if not line.startswith("#")):
        pin, *hashes = line.split()
        assert hashes, pin
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), pin
        found[canonicalize_name(pin.split("==")[0])] = pin.split("==")[1]
    assert found == pins()


def test_what_the_packages_ask_for_is_pinned_too() -> None:
    waiting, seen = declared(*EXTRAS), set()
    while waiting:
        name = canonicalize_name(waiting.pop().name)
        if name not in seen:
            seen.add(name)
            waiting += needs(name)
    assert sorted(seen - set(pins())) == []


def needs(name: str) -> list[Requirement]:
    """What an installed package asks for on this machine, without its extras; nothing where it is not installed."""
    try:
        requirements = [Requirement(text) for text in requires(name) or []]
    except PackageNotFoundError:
        return []
    return [requirement for requirement in requirements if not requirement.marker or requirement.marker.evaluate({"extra": ""})]


def test_cpu_and_gpu_bring_one_faiss_each() -> None:
    assert [[r.name for r in declared(extra) if r.name.startswith("faiss")] for extra in ("cpu", "gpu")] == [
        ["faiss-cpu"],
        ["faiss-gpu"],
    ]


def test_every_imported_library_is_declared() -> None:
    known = {canonicalize_name(requirement.name) for requirement in declared(*EXTRAS)} | {"setuptools"}
    owners = packages_distributions()
    for path in (path for folder in (*PACKAGES, "scripts", "tests") for path in (ROOT / folder).rglob("*.py")):
        for name in imported(path) - set(sys.stdlib_module_names) - set(PACKAGES):
            distributions = {canonicalize_name(owner) for owner in owners.get(name, [])}
            assert distributions & known or not distributions, f"{path.name} imports {name}; add it to pyproject.toml"


def imported(path: Path) -> set[str]:
    """Top-level names of the absolute imports of a file."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.split(".")[0] for name in names}


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed")
    for name in (*PACKAGES, "pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).exists():  # a copy, so that setuptools leaves nothing in the working tree
            subprocess.run(["cp", "-R", ROOT / name, tmp_path], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", "made", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "made").glob("synthtrace-*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.split("/")[0] in PACKAGES}
    files = {path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()}
    assert held == {name for name in files if "__pycache__" not in name}


def load_script() -> ModuleType:
    """scripts/setup.py as a module."""
    spec = importlib.util.spec_from_file_location("setup_script", ROOT / "scripts" / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/setup.py, working on an empty project whose pip writes down its arguments in `setup.calls`."""
    module = load_script()
    for name in ("pyproject.toml", "constraints.txt", "versions.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for name in ("SYNTHTRACE_SETUP_DEVICE", "SYNTHTRACE_TORCH_INDEX"):
        monkeypatch.delenv(name, raising=False)
    vars(module).update(
        ROOT=tmp_path,
        CONSTRAINTS=tmp_path / "constraints.txt",
        VERSIONS=tmp_path / "versions.txt",
        VENV=tmp_path / ".venv",
        STAMP=tmp_path / ".venv" / ".synthtrace",
        calls=[],
        found=["torch", "sympy"],
        place="https://mirror.example/torch",
        make_venv=lambda: module.VENV.mkdir(exist_ok=True),
        find_device=lambda: "cpu",
    )

    def pip(*arguments: str) -> str:
        module.calls.append(arguments)
        place = {"url": f"{module.place}/torch-2.13.0-cp311-cp311-linux_x86_64.whl"}
        return json.dumps({"install": [{"metadata": {"name": name}, "download_info": place} for name in module.found]})

    vars(module).update(pip=pip)
    return module


def torch_call(setup: ModuleType) -> tuple[str, ...]:
    """The arguments with which torch itself was installed."""
    (call,) = (call for call in setup.calls if call[-2:] == ("--no-deps", "torch"))
    assert call[:3] == ("--require-hashes", "-c", str(setup.CONSTRAINTS))
    return tuple(call[3:])


def test_pip_may_choose_where_it_finds_torch_without_cuda(setup: ModuleType) -> None:
    setup.set_up()
    assert torch_call(setup) == ("--no-deps", "torch")


def test_a_torch_in_a_folder_is_taken_from_there_and_no_index_is_asked(setup: ModuleType) -> None:
    """Else pip takes the one of the index, with CUDA: only links of an index name their hash beforehand."""
    vars(setup).update(place="file:///srv/wheels")
    setup.set_up()
    assert torch_call(setup) == ("--no-index", "--find-links", "file:///srv/wheels", "--no-deps", "torch")


def test_extras_can_be_chosen(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHTRACE_SETUP_EXTRAS", "serve")
    setup.set_up()
    names = [Requirement(text).name for text in setup.calls[-2][3:]]
    assert names == [requirement.name for requirement in declared("cpu", "serve")]
    monkeypatch.setenv("SYNTHTRACE_SETUP_EXTRAS", "medical sevre")
    with pytest.raises(setup.SetupError, match=r"must name extras of pyproject.toml \(cpu, .*\), got 'sevre'"):
        setup.set_up()


@pytest.mark.parametrize("library", ["nvidia-cublas", "cuda-toolkit", "triton"])
def test_pytorchs_cpu_index_is_asked_where_pip_would_take_cuda(setup: ModuleType, library: str) -> None:
    setup.found.append(library)
    setup.set_up()
    assert torch_call(setup)[:2] == ("--index-url", setup.CPU_INDEX)


def test_a_gpu_takes_what_pip_offers(setup: ModuleType) -> None:
    setup.found.append("nvidia-cublas")
    vars(setup).update(find_device=lambda: "gpu")
    setup.set_up()
    assert torch_call(setup) == ("--no-deps", "torch")
    assert "faiss-gpu==1.15.1" in setup.calls[-2]
    assert "faiss-cpu==1.15.1" not in setup.calls[-2]


def test_nothing_is_installed_without_hashes_but_the_project_and_that_from_no_index(setup: ModuleType) -> None:
    setup.set_up()
    *others, last = (call for call in setup.calls if "--dry-run" not in call)
    assert all("--require-hashes" in call for call in others)
    assert {"--no-deps", "--no-index", "--no-build-isolation", "--editable"} <= set(last)
    names = [Requirement(text).name for text in others[-1][3:]]
    assert names == [requirement.name for requirement in declared("cpu", "medical", "formats", "serve", "distributed", "dev")]


def test_an_index_can_be_named(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHTRACE_TORCH_INDEX", "https://mirror.example/cpu")
    setup.set_up()
    assert torch_call(setup)[:2] == ("--index-url", "https://mirror.example/cpu")


def test_nothing_is_done_twice(setup: ModuleType) -> None:
    setup.set_up()
    setup.calls.clear()
    setup.set_up()
    assert setup.calls == []


@pytest.mark.parametrize("name", ["constraints.txt", "versions.txt", "pyproject.toml"])
def test_a_changed_pin_or_dependency_is_installed(setup: ModuleType, name: str) -> None:
    setup.set_up()
    setup.calls.clear()
    path = setup.ROOT / name
    path.write_text(path.read_text(encoding="utf-8").replace("1.15.1", "1.15.2"), encoding="utf-8")
    setup.set_up()
    assert setup.calls


def test_a_changed_style_rule_installs_nothing(setup: ModuleType) -> None:
    setup.set_up()
    setup.calls.clear()
    path = setup.ROOT / "pyproject.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("line-length = 130", "line-length = 100"), encoding="utf-8")
    setup.set_up()
    assert setup.calls == []


def test_a_set_up_that_failed_starts_again_and_says_what_helps(setup: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    working = setup.pip

    def broken(*arguments: str) -> str:
        if arguments[-1] == "torch" and "--no-deps" in arguments:
            raise setup.SetupError("no network")
        return str(working(*arguments))

    vars(setup).update(pip=broken)
    assert setup.main() == 1
    assert "PIP_FIND_LINKS=" in capsys.readouterr().err
    vars(setup).update(pip=working)
    setup.calls.clear()
    assert setup.main() == 0
    assert torch_call(setup)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder with a tiny wheel, thing 1.0."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "thing-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("thing.py", "")
        wheel.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        wheel.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: a test\nTag: py3-none-any\n")
        wheel.writestr("thing-1.0.dist-info/RECORD", "thing.py,,\n")
    return folder


@pytest.mark.parametrize("change", ["nothing", "the wheel", "no hash"])
def test_pip_refuses_a_file_that_is_not_the_pinned_one(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    script = load_script()
    vars(script).update(VENV=tmp_path / "venv", CONSTRAINTS=tmp_path / "constraints.txt")
    (script.VENV / "bin").mkdir(parents=True)
    (script.VENV / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@" --no-index --target {tmp_path}/there\n')
    (script.VENV / "bin" / "python").chmod(0o755)
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    (wheel,) = wheels.iterdir()
    pin = f" --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"
    script.CONSTRAINTS.write_text(f"thing==1.0{'' if change == 'no hash' else pin}\n", encoding="utf-8")
    if change == "the wheel":
        wheel.write_bytes(wheel.read_bytes() + b"\0")
    monkeypatch.setattr(script, "set_up", lambda: script.pinned("thing"))
    assert script.main() == (0 if change == "nothing" else 1)
    assert (tmp_path / "there" / "thing.py").exists() == (change == "nothing")
    note = capsys.readouterr().err.splitlines()
    if change != "nothing":
        assert note[-1].startswith("setup: refused: a file whose hash is not in constraints.txt")


def test_a_torch_of_another_hash_is_not_a_matter_of_the_network(
    setup: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*arguments: str) -> str:
        raise setup.OtherFile("refused")

    monkeypatch.setattr(setup, "pinned", refusing)
    assert setup.main() == 1
    assert capsys.readouterr().err == "setup: refused\n"


def test_a_python_that_cannot_make_environments_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(script.SetupError, match=r"apt install python3\.\d+-venv"):
        script.make_venv()


def test_an_environment_that_is_only_linked_is_not_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script()
    (tmp_path / "another").mkdir()
    (tmp_path / "another" / "kept").write_text("")
    (tmp_path / ".venv").symlink_to("another")
    monkeypatch.setattr(script, "VENV", tmp_path / ".venv")
    with pytest.raises(script.SetupError, match=r"is a link to another.*rm \.venv"):
        script.make_venv()
    assert (tmp_path / "another" / "kept").exists()


def test_an_old_python_is_refused_in_plain_words(tmp_path: Path) -> None:
    old = tmp_path / "python old"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    done = subprocess.run(
        ["sh", ROOT / "scripts" / "setup.sh"], env={"PYTHON": str(old), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"setup: synthtrace needs Python 3.11 to 3.14 and found none under: {old}\n")


def test_an_audit_without_folders_says_what_is_missing() -> None:
    done = subprocess.run(["make", "audit", "REAL=somewhere"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == "say which folders: make audit REAL=dir GENERATED=dir OUT=dir"
