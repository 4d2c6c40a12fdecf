"""Resolve every extra for CPU and GPU again, and write versions.txt and constraints.txt. Run it with .venv/bin/python.

With --keep the versions in versions.txt stay, and only what is not there yet comes along.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.error import URLError
from urllib.parse import unquote

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

ROOT = Path(__file__).resolve().parent.parent
INDEX = "https://pypi.org/simple"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"  # as in setup.py
VERSIONS = """\
# Exact versions of everything the set-up installs, CPU and GPU, so that two machines install the same.
# Versions carry no local tag (torch 2.13.0, not 2.13.0+cpu): they hold for every build of a release.
# Written by scripts/update_constraints.py; to keep a package at a version, pin it in pyproject.toml.
"""
CONSTRAINTS = """\
# The versions of versions.txt, each with the SHA-256 of every file that PyPI has of it: the set-up installs no other file.
# torch has in addition those of PyTorch's index of CPU builds, for Linux and Python 3.11 to 3.14. Any other build of it (of
# another CUDA, or one's own) is refused until a line with its hash is added here.
# Written by scripts/update_constraints.py.
"""


def resolve(device: str, keep: list[str]) -> dict[str, str]:
    """Name and version of each package that PyPI offers for a device, the project left out; `keep`: further options of pip."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    extras = f"{ROOT}[{device},medical,formats,serve,distributed,dev,docs]"
    # The person's own pip settings could offer builds that no other machine has.
    environment = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    done = subprocess.run([*command, *keep, "pip", "setuptools", extras], env=environment, check=True, stdout=subprocess.PIPE)
    packages = [item["metadata"] for item in json.loads(done.stdout)["install"]]
    return {package["name"].lower(): package["version"].split("+")[0] for package in packages if package["name"] != "synthtrace"}


def page(address: str) -> str:
    """What a package index says of one package, as JSON (PEP 691) where it can."""
    request = urllib.request.Request(address, headers={"Accept": "application/vnd.pypi.simple.v1+json, text/html;q=0.1"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(answer.read().decode())


def version_of(file: str) -> str:
    """The version that a file on an index is of; empty for a file of an old kind that pip does not install any more."""
    for parse in (parse_wheel_filename, parse_sdist_filename):
        try:
            return str(parse(file)[1])
        except (InvalidWheelFilename, InvalidSdistFilename):
            continue
    return ""


def published(name: str, version: str) -> set[str]:
    """SHA-256 of each file that PyPI has of a version."""
    files = json.loads(page(f"{INDEX}/{name.replace('_', '-')}/"))["files"]
    found = {file["hashes"]["sha256"] for file in files if version_of(file["filename"]) == version}
    if not found:
        raise SystemExit(f"PyPI has no file of {name} {version}")
    return found


def cpu_builds(version: str, known: str, elsewhere: set[str]) -> set[str]:
    """SHA-256 of PyTorch's own CPU builds; where its index cannot be reached, those that are pinned for this version already."""
    try:
        links = re.findall(r"/([^/\"]+\.whl)#sha256=([0-9a-f]{64})", page(f"{CPU_INDEX}/torch/"))
    except URLError as error:
        pinned = re.search(rf"^torch=={re.escape(version)} ((?:.*\\\n)*.*)", known, re.MULTILINE)
        if pinned is None:
            raise SystemExit(f"{CPU_INDEX}: {error.reason}; no hashes of torch {version} for CPUs without it") from error
        return set(re.findall("[0-9a-f]{64}", pinned[1])) - elsewhere
    usual = re.compile(rf"torch-{re.escape(version)}\+cpu-cp31[1-4]-cp31[1-4]-manylinux")
    return {digest for file, digest in links if usual.match(unquote(file))}


def main() -> None:
    """Write the union of both resolutions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_const", const=["-c", str(ROOT / "versions.txt")], default=[])
    keep = parser.parse_args().keep
    versions = resolve("cpu", keep) | resolve("gpu", keep)
    constraints, known = ROOT / "constraints.txt", (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pins = []
    for name, version in sorted(versions.items()):
        hashes = published(name, version)
        if name == "torch":
            hashes |= cpu_builds(version, known, hashes)
        pins.append(" \\\n".join([f"{name}=={version}", *(f"    --hash=sha256:{digest}" for digest in sorted(hashes))]) + "\n")
    lines = [f"{name}=={version}\n" for name, version in sorted(versions.items())]
    (ROOT / "versions.txt").write_text(VERSIONS + "".join(lines), encoding="utf-8")
    constraints.write_text(CONSTRAINTS + "".join(pins), encoding="utf-8")


if __name__ == "__main__":
    main()
