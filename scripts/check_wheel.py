"""Build the sdist and from it the wheel, install that beside nothing but what it declares, and use it from another folder.

The environment is new. As links into the one that runs this, it holds the distributions that the wheel asks for, and those that
they ask for. So no package index is needed, and what is imported without being declared, or is not packaged, is missed here as at
a user's.
"""

import argparse
import os
import subprocess
import sys
import venv
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import make_folder

ROOT = Path(__file__).resolve().parent.parent
PACKED = ("embeddings", "indexer", "query", "pyproject.toml", "README.md", "LICENSE")
SDIST = "from setuptools import build_meta; print(build_meta.build_sdist(r'{}'))"
IMAGES = """
from pathlib import Path
from PIL import Image
from embeddings.phantoms.slices import phantom
for side, seeds in (("real", range(6)), ("generated", range(4, 14))):
    Path(side).mkdir()
    for seed in seeds:
        Image.fromarray(phantom(seed, 96)).save(f"{side}/{seed:02d}.png")
"""
USED = (
    "index generated --out g.collection",
    "lookup real/04.png g.collection --view phash --k 1",
    "lookup real/04.png g.collection --k 1",
    "audit real generated --out report",
    "sql --db report/synthtrace.duckdb most-copied",
    "doctor",
)


def declared(names: Iterable[str]) -> set[str]:
    """Installed distributions that these requirements ask for, directly or not."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        asked = waiting.pop()
        for extra in ("", *asked.extras):
            key = canonicalize_name(asked.name), extra
            if key in found:
                continue
            found.add(key)
            further = [Requirement(text) for text in distribution(asked.name).requires or []]
            waiting += [each for each in further if each.marker is None or each.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}


def link(names: Iterable[str], site: Path) -> None:
    """Put links to the installed files of distributions into an environment's folder of packages."""
    for name in names:
        files = distribution(name).files or []
        for top in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
            target = Path(str(distribution(name).locate_file(top)))
            if target.exists() and not (site / top).exists():
                (site / top).symlink_to(target)


def run(command: list[str | Path], folder: Path) -> str:
    """Standard output of a command in a folder, without this process's ways to find packages.

    Raises:
        SystemExit: it fails; its messages are shown.
    """
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([str(word) for word in command], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{done.stdout}{done.stderr}\nwheel: this failed: {' '.join(map(str, command))}")
    return done.stdout


def main() -> int:
    """Build, install, use."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="also keep the sdist and the wheel in this folder")
    out = parser.parse_args().out
    with temporary_folder() as folder:
        built, empty = out or folder / "dist", folder / "empty"
        clean = folder / "clean"  # beside an older egg-info setuptools would pack what that lists
        make_folder(clean)
        run(["cp", "-R", *(ROOT / name for name in PACKED), clean], ROOT)
        run([sys.executable, "-c", SDIST.format(built.resolve())], clean)
        sdist = max(built.resolve().glob("synthtrace-*.tar.gz"), key=lambda path: path.stat().st_mtime)
        pip: list[str | Path] = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
        run([*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", built.resolve(), sdist], folder)
        wheel = max(built.resolve().glob("synthtrace-*.whl"), key=lambda path: path.stat().st_mtime)
        venv.create(empty, with_pip=False)
        (site,) = empty.glob("lib/python*/site-packages")
        python = empty / "bin" / "python"
        link(declared(["synthtrace[cpu]"]) - {"synthtrace"}, site)
        run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], folder)
        run([*pip, "--python", python, "check"], folder)
        where = run([python, "-c", "import query; print(query.__file__)"], folder)
        if not Path(where.strip()).is_relative_to(site):
            raise SystemExit(f"wheel: {where.strip()} is not the installed package")
        run([python, "-c", IMAGES], folder)
        for command in USED:
            shown = run([empty / "bin" / "synthtrace", *command.split()], folder)
            if command.startswith("lookup") and "04.png" not in shown.split("distance", 1)[1]:
                raise SystemExit(f"{shown}\nwheel: {command}: the copy was not found")
        print(f"wheel: {wheel.name} works with what it declares, on Python {sys.version.split()[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
