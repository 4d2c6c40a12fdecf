"""Files made to take memory or time, or to crash a decoder: uploaded, and in a folder that is indexed."""

import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attack.bombs import bombs
from attack.tally import Tally
from attack.target import Memory, Target, copied, end, last_line, untidy

TOGETHER = 2
SERVICE, INDEX = 1_500_000_000, 4_000_000_000  # bytes of memory that all processes of one may take together
STOP = 5_000_000_000  # where they are killed
SECONDS, LATEST = 90.0, 300.0  # for one upload, and for a folder


def uploaded(target: Target, tally: Tally) -> str:
    """Bombs are sent to the service: each is answered with a reason, in little memory, and the service lives."""
    chosen = list(bombs())[:: 6 if target.quick else 1]
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
            if not tally.check(service.lives(), f"{told} ends the service: {service.said()[-200:]}"):
                break
            tally.count(f"answered_{answer.status}")
        tally.check(service.ask("/v1/search?k=1", right).status == 200, "afterwards an image is not looked up")
        tally.check(service.bugs() == 0, f"{service.bugs()} are counted as 500")
        tally.check("Traceback" not in service.said(), "a traceback in the log")
    return f"{len(chosen)} bombs uploaded, one after the other"


def indexed(target: Target, tally: Tally) -> str:
    """The same files lie among images: each is a row with its reason, and the images are indexed as without them."""
    folder = target.room("bombs-indexed")
    images = folder / "images"
    shutil.copytree(target.generated, images)
    good = len(list(images.iterdir()))
    chosen = list(bombs())[:: 6 if target.quick else 1]
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
            rows = pyarrow.parquet.ParquetFile(file).read(use_threads=False).to_pylist()
        read = {row["path"] for row in rows if row["row"] is not None and not row["path"].startswith("bomb_")}
        tally.check(len(read) == good, f"{len(read)} of {good} images are in the collection")
        reasons = [row["error"] for row in rows if row["row"] is None]
        tally.figures["rows_with_a_reason"] = len(reasons)
        tally.check(all(reasons), "a row has no reason")
    return f"{len(chosen)} bombs among {good} images"


_DECODE = """
import collections, json, sys
from pathlib import Path
from embeddings.images import Decoding, ImageError, decode
decoding, seen = Decoding(max_pixels=4_000_000), collections.Counter()
for name in json.load(sys.stdin):
    try:
        for number, frame in enumerate(decode(Path(name), decoding)):
            if number == 20:
                break
        seen["decoded"] += 1
    except ImageError as error:
        seen[type(error).__name__] += 1
    except Exception as error:
        print(name, type(error).__name__, error, file=sys.stderr)
        seen["other errors"] += 1
print(json.dumps(seen))
"""


def fuzzed(target: Target, tally: Tally) -> str:
    """Images of every format with bytes changed, cut, repeated: nothing but a typed error comes out, and the process lives."""
    many, at_once = (400, 200) if target.quick else (20_000, 1_000)
    seeds = _seeds(target)

    def some(number: int) -> None:
        folder = target.room(f"fuzz-{number}")
        chance = random.Random(f"{target.seed} {number}")
        names = []
        for each in range(at_once):
            suffix, content = chance.choice(seeds)
            path = folder / f"{each}{suffix}"
            path.write_bytes(_mutated(content, chance))
            names.append(str(path))
        done = subprocess.run(
            [sys.executable, "-P", "-c", _DECODE], input=json.dumps(names).encode(), env=target.environment(),
            capture_output=True, timeout=600,
        )  # fmt: skip
        if tally.check(done.returncode == 0, f"files {number}: the process ends with {done.returncode}: {done.stderr[-200:]!r}"):
            for name, count in Counter(json.loads(done.stdout)).items():
                tally.count(name, count)
            tally.check(b"other errors" not in done.stdout, f"files {number}: {done.stderr[:200]!r}")
        shutil.rmtree(folder)

    with ThreadPoolExecutor(TOGETHER) as pool:
        list(pool.map(some, range(many // at_once)))
    return f"{many:,} mutated files of {len(seeds)} images"


def _seeds(target: Target) -> list[tuple[str, bytes]]:
    """Small whole images of every format, and the small bombs."""
    import io

    from PIL import Image

    small = [Image.open(path).resize((48, 40)) for path in sorted(target.generated.iterdir())[:3]]
    found = []
    ways = {".png": [{}], ".jpg": [{}, {"progressive": True}], ".gif": [{}], ".bmp": [{}], ".webp": [{}, {"lossless": True}]}
    ways[".tif"] = [{"compression": name} for name in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")]
    kinds = {suffix: {".jpg": "JPEG", ".tif": "TIFF"}.get(suffix, suffix[1:].upper()) for suffix in ways}
    for suffix, options in ways.items():
        for option in options:
            file = io.BytesIO()
            small[0].save(file, kinds[suffix], **option)
            found.append((suffix, file.getvalue()))
        if suffix in (".gif", ".webp", ".tif", ".png"):
            file = io.BytesIO()
            small[0].save(file, kinds[suffix], save_all=True, append_images=small[1:])
            found.append((suffix, file.getvalue()))
    return found + [("".join(Path(name).suffixes), content) for name, content in bombs() if len(content) < 10_000]


def _mutated(content: bytes, chance: random.Random) -> bytes:
    """Some bytes changed; sometimes cut, a part repeated, a number made huge."""
    body = bytearray(content)
    for _ in range(chance.randrange(1, 8)):
        at = chance.randrange(len(body))
        way = chance.randrange(5)
        if way == 0:
            body[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), b"\0\0\xff\xff"))
        elif way == 1:
            body[at:at] = body[at : at + chance.randrange(1, 200)]
        elif way == 2 and len(body) > 20 and chance.random() < 0.3:
            del body[at:]
            body = body or bytearray(b"\0")
        else:
            body[at] ^= 1 << chance.randrange(8)
    return bytes(body)
