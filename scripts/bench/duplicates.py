#!/usr/bin/env python3
"""Measure hashing a folder of images beside imagededup and fastdup.

Each tool has a process of its own and the same folder. Its libraries are loaded before the clock starts. The tools take turns.

synthtrace   a whole collection by view `phash`: find, hash, decode, 256-bit pHash, index, checksums, written to disk.
imagededup   `PHash().encode_images`: 64-bit pHash of every image, in memory; decodes on all cores.
fastdup      `fastdup.run(run_mode=1)`: the features of its own small network, which it has instead of a pHash, written to disk.
             Its features of one image cost more than a hash, so it gets fewer images (`--few`), and times are for an image.

Both need other versions of libraries than synthtrace has. Install them into an environment of their own, as pinned by the extra
`bench` of pyproject.toml, and name its Python:

    python -m venv rivals && rivals/bin/pip install imagededup==0.3.3.post2 fastdup==2.54
    scripts/bench/duplicates.py IMAGES --python rivals/bin/python

A tool that does not run there is said and left out.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from common.command import Parser, run
from result_file import write_results

from embeddings.errors import SynthtraceError
from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import make_folder
from embeddings.images.find import find
from embeddings.pipeline import workers

_IMPORTS = """import pyarrow.parquet, scipy.fftpack, indexer.search.faiss_index
from indexer.build.build import Settings, build"""
_CLOCK = "import json, sys, time; images, out = sys.argv[1:]\n{before}\nstart = time.perf_counter()\n{work}\n" + (
    "print('SECONDS', json.dumps(time.perf_counter() - start))"
)
TOOLS = {
    "synthtrace": _CLOCK.format(
        before=_IMPORTS,
        work="build(out, images, settings=Settings(views={'phash': {}}), device='cpu')",
    ),
    "imagededup": _CLOCK.format(
        before="from imagededup.methods import PHash", work="PHash(verbose=False).encode_images(image_dir=images)"
    ),
    "fastdup": _CLOCK.format(
        before="import fastdup", work="assert not fastdup.run(images, work_dir=out, run_mode=1, verbose=False)"
    ),
}


class DoesNotRun(SynthtraceError):
    """A tool ended without a result; the message has its last line."""


def seconds_of(tool: str, python: str, images: Path, out: Path, limit: float) -> float:
    """Wall time of one tool.

    Raises:
        DoesNotRun: it ended without a result, or took longer than `limit` seconds.
    """
    path = str(Path(__file__).parents[2]) if tool == "synthtrace" else ""
    command = [python, "-c", TOOLS[tool], str(images), str(out)]
    try:
        environment = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=limit, check=False)
    except subprocess.TimeoutExpired as error:
        raise DoesNotRun(f"{tool} took longer than {limit:g} seconds") from error
    line = next((line for line in done.stdout.splitlines() if line.startswith("SECONDS ")), None)
    if line is None:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise DoesNotRun(f"{tool}: {lines[-1]}")
    return float(json.loads(line.removeprefix("SECONDS ")))


def linked(source: Path, names: list[str], folder: Path) -> int:
    """A flat folder of links to these images, which all tools can read; gives their number."""
    make_folder(folder)
    for number, name in enumerate(names):
        os.symlink(source / name, folder / f"{number:07d}{Path(name).suffix}")
    return len(names)


def main() -> int:
    parser = Parser(prog="bench/duplicates.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="IMAGES")
    parser.add_argument("--python", default=sys.executable, help="interpreter of an environment with the extra bench")
    parser.add_argument("--count", type=int, default=10_000, metavar="N", help="images at most; default: %(default)s")
    parser.add_argument("--few", type=int, default=500, metavar="N", help="images for fastdup; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--limit", type=float, default=600, metavar="S", help="seconds for one tool; default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too, with commit and machine")
    asked = parser.parse_args()
    source = find(asked.folder)
    each: dict[str, list[float]] = {tool: [] for tool in TOOLS}
    with temporary_folder() as name:
        many, few = (Path(name) / kind for kind in ("many", "few"))
        counts = {many: linked(source.root, list(source.files[: asked.count]), many)}
        counts[few] = linked(source.root, list(source.files[: asked.few]), few)
        for turn in range(asked.rounds):
            for tool in list(each):
                images = few if tool == "fastdup" else many
                python = sys.executable if tool == "synthtrace" else asked.python
                try:
                    seconds = seconds_of(tool, python, images, Path(name) / f"{tool}{turn}", asked.limit)
                    each[tool].append(seconds / counts[images] * 1000)
                except DoesNotRun as error:
                    print(f"left out: {error}", flush=True)
                    del each[tool]
    figures: dict[str, Any] = {tool: float(np.median(times)) for tool, times in each.items()}
    print(f"{counts[many]:,} images ({counts[few]:,} for fastdup), {workers()} cores, medians of {asked.rounds}, ms an image:")
    for tool, times in each.items():
        ratios = np.array(times) / np.array(each.get("synthtrace", times))
        print(f"  {tool} {figures[tool]:.3f}, {np.median(ratios):.2f} times as long as synthtrace")
    if asked.json:
        write_results(asked.json, figures)
    return 0


if __name__ == "__main__":
    run("bench/duplicates.py", main)
