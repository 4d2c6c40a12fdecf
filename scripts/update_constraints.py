"""Resolves every extra for CPU and GPU anew and writes constraints.txt. Run it on Linux with .venv/bin/python."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# Exact versions of everything the set-up installs, CPU and GPU, so that two machines install the same.
# Versions carry no local tag (torch 2.13.0, not 2.13.0+cpu): they hold for every build of a release.
# Written by scripts/update_constraints.py; to keep a package at a version, pin it in pyproject.toml.
"""


def resolve(device: str) -> dict[str, str]:
    """Name and version of each package that PyPI offers for a device, the project left out."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    extras = f"{ROOT}[{device},medical,serve,dev]"
    # The person's own pip settings could offer builds that no other machine has.
    environment = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    done = subprocess.run([*command, "pip", "setuptools", extras], env=environment, check=True, stdout=subprocess.PIPE)
    packages = [item["metadata"] for item in json.loads(done.stdout)["install"]]
    return {package["name"].lower(): package["version"].split("+")[0] for package in packages if package["name"] != "synthtrace"}


def main() -> None:
    """Write the union of both resolutions."""
    versions = resolve("cpu") | resolve("gpu")
    lines = [f"{name}=={version}\n" for name, version in sorted(versions.items())]
    (ROOT / "constraints.txt").write_text(HEADER + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
