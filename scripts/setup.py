"""Make .venv: PyTorch for this machine, everything else as pinned in constraints.txt, and the command `synthtrace`.

pip installs no file whose SHA-256 is not in constraints.txt, whatever index, mirror or folder it comes from.

Run it through setup.sh (`make setup`). It needs nothing but Python, writes nothing outside the project folder and
ends at once where nothing has changed. Environment variables override what it finds out by itself:

    SYNTHTRACE_SETUP_DEVICE   cpu or gpu
    SYNTHTRACE_SETUP_EXTRAS   extras of pyproject.toml, such as "medical serve", instead of all that development needs
    SYNTHTRACE_TORCH_INDEX    package index that offers torch
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import venv
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".synthtrace"  # written last: a .venv without it is unfinished
CONSTRAINTS = ROOT / "constraints.txt"  # with hashes
VERSIONS = ROOT / "versions.txt"  # without
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
EXTRAS = "medical formats serve distributed dev"
CUDA_PACKAGES = ("nvidia-", "cuda-", "triton")
TORCH_HELP = """\
PyTorch could not be installed (pip's message is above). Without a way to the package index, any of these helps:
    PIP_FIND_LINKS=FOLDER make setup            a folder with the wheel of torch as pinned in constraints.txt
    SYNTHTRACE_TORCH_INDEX=URL make setup       a mirror of PyTorch's package index
    SYNTHTRACE_TORCH_INDEX=https://pypi.org/simple make setup
                                                the build with CUDA, several gigabytes, which runs without a GPU too"""


class SetupError(Exception):
    """The set-up cannot go on; the message tells the person what to do."""


class OtherFile(SetupError):
    """A file is not the one that is pinned."""


def say(line: str) -> None:
    """Print a line of progress."""
    print(f"setup: {line}", flush=True)


def fingerprint() -> str:
    """Digest of all that decides what is in .venv; the folder counts, because a .venv cannot be moved."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    parts = [
        json.dumps([project["build-system"], project["project"], project["tool"]["setuptools"]], sort_keys=True),
        CONSTRAINTS.read_text(encoding="utf-8"),
        VERSIONS.read_text(encoding="utf-8"),
        Path(__file__).read_text(encoding="utf-8"),
        str(ROOT),
        sys.version,
        os.environ.get("SYNTHTRACE_SETUP_DEVICE", ""),
        os.environ.get("SYNTHTRACE_SETUP_EXTRAS", EXTRAS),
        os.environ.get("SYNTHTRACE_TORCH_INDEX", ""),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def find_device() -> str:
    """`gpu` where an NVIDIA driver answers, else `cpu`."""
    device = os.environ.get("SYNTHTRACE_SETUP_DEVICE")
    if device:
        if device not in ("cpu", "gpu"):
            raise SetupError(f"SYNTHTRACE_SETUP_DEVICE must be cpu or gpu, got {device!r}")
        return device
    if shutil.which("nvidia-smi") is None:
        return "cpu"
    answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    return "gpu" if answer.returncode == 0 and "GPU" in answer.stdout else "cpu"


def make_venv() -> None:
    """An empty .venv, whatever was there before.

    Raises:
        SetupError: this Python cannot make one, or .venv is a link: emptying it would empty another environment.
    """
    if importlib.util.find_spec("ensurepip") is None:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        raise SetupError(f"{sys.executable} cannot make virtual environments; on Debian and Ubuntu: sudo apt install {package}")
    if VENV.is_symlink():
        raise SetupError(
            f"{VENV} is a link to {VENV.readlink()}, which would be emptied; remove the link (rm .venv) and try again"
        )
    venv.create(VENV, clear=True, with_pip=True)


def pip(*arguments: str) -> str:
    """Run .venv's pip and give its standard output; its messages go to the terminal.

    Raises:
        OtherFile: a file has another hash than constraints.txt, or a package has none there.
    """
    command = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
    done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True)
    sys.stderr.write(done.stderr)
    if "HASHES" in done.stderr or "--require-hashes" in done.stderr:
        raise OtherFile(
            "refused: a file whose hash is not in constraints.txt (pip's message above names it); nothing of it was installed"
        )
    if done.returncode:
        raise SetupError(f"pip could not install {arguments[-1]} (its message is above)")
    return done.stdout


def pinned(*arguments: str) -> str:
    """As `pip`, but installing nothing except files whose hashes constraints.txt has."""
    return pip("--require-hashes", "-c", str(CONSTRAINTS), *arguments)


def dependencies(device: str) -> list[str]:
    """What pyproject.toml asks for on this device, by name: the project itself has no hash."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras, wanted = project["optional-dependencies"], os.environ.get("SYNTHTRACE_SETUP_EXTRAS", EXTRAS).split()
    if unknown := [name for name in wanted if name not in extras]:
        raise SetupError(f"SYNTHTRACE_SETUP_EXTRAS must name extras of pyproject.toml ({', '.join(extras)}), got {unknown[0]!r}")
    return [*project["dependencies"], *(text for extra in (device, *wanted) for text in extras[extra])]


def install_pip() -> None:
    """pip and setuptools; the pip that Python brings along may be too old for hashes in a file of constraints."""
    blocks = re.findall(r"^(?:pip|setuptools)==(?:.*\\\n)*.*\n", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)
    first = VENV / "first.txt"
    first.write_text("".join(blocks), encoding="utf-8")
    pip("--require-hashes", "-r", str(first))


def brings_cuda(packages: Iterable[str]) -> bool:
    """Whether libraries of CUDA are among the packages that a PyTorch build asks for."""
    return any(package.lower().startswith(CUDA_PACKAGES) for package in packages)


def torch_source(device: str) -> list[str]:
    """The pip options that say where PyTorch comes from, empty where pip finds the right build by itself."""
    index = os.environ.get("SYNTHTRACE_TORCH_INDEX")
    if index:
        say(f"PyTorch comes from {index}, as SYNTHTRACE_TORCH_INDEX says")
        return ["--index-url", index]
    if device == "gpu":
        return []
    # With hashes pip would fetch the gigabytes to look; this installs nothing.
    report = json.loads(pip("--dry-run", "--only-binary", ":all:", "--report", "-", "-c", str(VERSIONS), "torch"))
    if not brings_cuda(package["metadata"]["name"] for package in report["install"]):
        say("pip finds a PyTorch without CUDA by itself")
        place = next(item["download_info"]["url"] for item in report["install"] if item["metadata"]["name"] == "torch")
        # With hashes pip would prefer the package index, whose links name theirs, to a folder.
        return ["--no-index", "--find-links", place.rpartition("/")[0]] if place.startswith("file:") else []
    say(f"pip would take a PyTorch with gigabytes of CUDA; the CPU build comes from {CPU_INDEX}")
    return ["--index-url", CPU_INDEX, "--retries", "1"]


def install_torch(device: str) -> None:
    """Torch alone: what is installed after it finds it in place and leaves it."""
    source = torch_source(device)
    say("installing PyTorch")
    try:
        pinned(*source, "--no-deps", "torch")
    except OtherFile:
        raise
    except SetupError as error:
        raise SetupError(TORCH_HELP) from error


def set_up() -> None:
    """Make .venv what it should be.

    Raises:
        SetupError: with what to do about it.
    """
    wanted = fingerprint()
    if STAMP.exists() and STAMP.read_text(encoding="utf-8") == wanted:
        return
    started = time.monotonic()
    device = find_device()
    found = "an NVIDIA GPU: CUDA builds, several gigabytes" if device == "gpu" else "no NVIDIA GPU: CPU builds"
    say(f"making .venv with Python {sys.version.split()[0]}; {found}")
    make_venv()
    install_pip()
    install_torch(device)
    say("installing everything else")
    pinned(*dependencies(device))
    pip("--no-deps", "--no-index", "--no-build-isolation", "--editable", ".")
    STAMP.write_text(wanted, encoding="utf-8")
    say(f"done in {time.monotonic() - started:.0f} s; the command is .venv/bin/synthtrace")


def main() -> int:
    """Exit code 0 when .venv is ready, 1 with a message when it cannot be made so."""
    try:
        set_up()
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
