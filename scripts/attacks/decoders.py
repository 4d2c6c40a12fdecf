"""Attack: decompression bombs and mutated images, uploaded and indexed."""

import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attacks.tally import Tally
from attacks.target import ROOT, Memory, Target, copied, end, last_line, untidy

TOGETHER = 2
SERVICE, INDEX = 1_500_000_000, 4_000_000_000  # bytes of memory that all processes of one may take together
STOP = 5_000_000_000  # where they are killed
SECONDS, LATEST = 90.0, 300.0  # for one upload, and for a folder


def uploaded(target: Target, tally: Tally) -> str:
    """Bombs are sent to the service: each is answered with a reason, in little memory, and the service lives."""
    chosen = _bombs(target)
    right = sorted(target.generated.iterdir())[0].read_bytes()
    database = copied(target.database, target.room("bombs") / "r.duckdb")
    with target.serving(target.audit / "generated", database) as service:
        tally.check(service.ask("/v1/search?k=1", right).status == 200, "an image is not looked up")
        for name, content in chosen:
            started = time.monotonic()
            with Memory(service.process.pid, most=STOP) as memory:
                before = memory.look()
                answer = service.ask("/v1/search?k=1", content, timeout=SECONDS)
                seconds = time.monotonic() - started
            tally.figures["peak_mb"] = max(int(tally.figures.get("peak_mb", 0)), memory.peak // 1_000_000)
            tally.figures["slowest_s"] = max(float(tally.figures.get("slowest_s", 0.0)), round(seconds, 1))
            told = f"{name} of {len(content):,} bytes"
            tally.check(memory.peak < SERVICE, f"{told} takes {(memory.peak - before) / 1e9:.1f} GB more")
            tally.check(answer.status in (200, 413, 422), f"{told} is answered {answer.status} after {seconds:.0f} s")
            if not tally.check(service.lives(), f"{told} ends the service: {service.note()[-200:]}"):
                break
            tally.count(f"answered_{answer.status}")
        tally.check(service.ask("/v1/search?k=1", right).status == 200, "afterwards an image is not looked up")
        tally.check(service.bugs() == 0, f"{service.bugs()} are counted as 500")
        tally.check("Traceback" not in service.note(), "a traceback in the log")
    return f"{len(chosen)} bombs uploaded, one after the other"


def indexed(target: Target, tally: Tally) -> str:
    """The same files lie among images: each is a row with its reason, and the images are indexed as without them."""
    folder = target.room("bombs-indexed")
    images = folder / "images"
    shutil.copytree(target.generated, images)
    good = len(list(images.iterdir()))
    chosen = _bombs(target)
    for name, content in chosen:
        (images / f"bomb_{name}").write_bytes(content)
    process = target.start("index", images, "--out", folder / "c", "--view", "phash", "--view", "pixels")
    started = time.monotonic()
    with Memory(process.pid, most=STOP) as memory:
        try:
            out, err = process.communicate(timeout=LATEST)
        except subprocess.TimeoutExpired:
            out, err = b"", b"it did not end"
        finally:
            end(process)
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    tally.figures |= {"peak_mb": memory.peak // 1_000_000, "took_s": round(time.monotonic() - started, 1)}
    tally.check(done.returncode == 3, f"index ends with {done.returncode}: {last_line(done)}")
    tally.check(not untidy(done), untidy(done))
    tally.check(memory.peak < INDEX, f"index takes {memory.peak / 1e9:.1f} GB")
    if (folder / "c" / "images.parquet").exists():
        import pyarrow.parquet

        with open(folder / "c" / "images.parquet", "rb") as file:
            rows = pyarrow.parquet.ParquetFile(file, pre_buffer=False).read(use_threads=False).to_pylist()
        read = {row["path"] for row in rows if row["row"] is not None and not row["path"].startswith("bomb_")}
        tally.check(len(read) == good, f"{len(read)} of {good} images are in the collection")
        reasons = [row["error"] for row in rows if row["row"] is None]
        tally.figures["rows_with_a_reason"] = len(reasons)
        tally.check(all(reasons), "a row has no reason")
    return f"{len(chosen)} bombs among {good} images"


_DECODE = """
import collections, json, sys
from pathlib import Path
from tests.helpers import bombs
from embeddings.images.decoding import Decoding
from embeddings.images.errors import ImageError
from tests.helpers.pictures import every_frame
folder, count, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
decoding, seen = Decoding(max_pixels=1_000_000), collections.Counter()
for name, content in bombs.mutated(count, seed):
    path = folder / name
    path.write_bytes(content)
    try:
        for frame in every_frame(path, decoding):
            pass
        seen["decoded"] += 1
    except ImageError as error:
        seen[type(error).__name__] += 1
    path.unlink()
print(json.dumps(seen))
"""


def fuzzed(target: Target, tally: Tally) -> str:
    """Images of every format with bytes changed, cut, repeated: nothing but a typed error comes out, and the process lives."""
    many, at_once = (400, 200) if target.quick else (20_000, 1_000)

    def some(number: int) -> None:
        line: list[str | Path] = [
            sys.executable,
            "-P",
            "-c",
            _DECODE,
            target.room(f"fuzz-{number}"),
            str(at_once),
            str(1000 * target.seed + number),
        ]
        done = subprocess.run(line, env=target.environment(), capture_output=True, timeout=LATEST)
        if tally.check(done.returncode == 0, f"round {number}: the process ends with {done.returncode}: {done.stderr[-200:]!r}"):
            for name, count in json.loads(done.stdout).items():
                tally.count(name, count)

    with ThreadPoolExecutor(TOGETHER) as pool:
        list(pool.map(some, range(many // at_once)))
    return f"{many:,} files, mutated from sound ones of every format"


def _bombs(target: Target) -> list[tuple[str, bytes]]:
    """Name and content of each; they are those of the tests."""
    sys.path.append(str(ROOT))
    from tests.helpers.bombs import bombs

    sys.path.remove(str(ROOT))
    return list(bombs().items())[:: 6 if target.quick else 1]
