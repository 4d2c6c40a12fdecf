"""Attack: swap image files by renaming while they are indexed."""

import shutil
import threading
from pathlib import Path

import pyarrow.parquet

from attacks.tally import Tally
from attacks.target import Target, last_line, until


def swapped(target: Target, tally: Tally) -> str:
    """Pairs of files change their names all the time; and pictures change after they were indexed."""
    folder, slices = target.room("swaps"), sorted(target.generated.iterdir())
    images = folder / "images"
    images.mkdir()
    copies = 2 if target.quick else 12
    for number in range(copies):
        for path in slices:
            _variant(path, images / f"{path.stem}-{number}.png", number)
    truth = _codes(target, images, folder / "truth", tally)
    files = sorted(images.iterdir())
    done, rounds = threading.Event(), 0

    def swap() -> None:
        nonlocal rounds
        spare = folder / "spare"
        while not done.is_set():
            for first, second in zip(files[::2], files[1::2], strict=False):
                first.rename(spare)
                second.rename(first)
                spare.rename(second)
            rounds += 1

    for attempt in range(1 if target.quick else 4):
        swapping = threading.Thread(target=swap, daemon=True)
        done.clear()
        swapping.start()
        found = _codes(target, images, folder / f"c{attempt}", tally)
        done.set()
        swapping.join()
        wrong = [sha for sha, code in found.items() if truth.get(sha, code) != code]
        tally.check(not wrong, f"{len(wrong)} of {len(found)} rows have the hash of one image and the code of another")
        tally.count("rows", len(found))
    tally.figures["rounds_of_swaps"] = rounds
    _shown(target, folder, tally)
    return f"{len(files)} files that change their names during index, and pictures that change after it"


def _codes(target: Target, images: Path, collection: Path, tally: Tally) -> dict[str, bytes]:
    """SHA-256 -> perceptual code of every row; `index` may leave images out with a reason."""
    import numpy as np

    done = target.run("index", images, "--out", collection, "--view", "phash", timeout=300)
    if not tally.check(done.returncode in (0, 3), f"index ends with {done.returncode}: {last_line(done)}"):
        return {}
    rows = pyarrow.parquet.ParquetFile(collection / "images.parquet", pre_buffer=False).read(use_threads=False).to_pylist()
    tally.count("error_rows", sum(row["row"] is None for row in rows))
    vectors = np.load(collection / "phash" / "vectors.npy")
    return {row["sha256"]: vectors[row["row"]].tobytes() for row in rows if row["row"] is not None}


def _variant(source: Path, to: Path, number: int) -> None:
    """The image rotations, mirrored and shifted, so that each file has a code of its own."""
    import numpy as np
    from PIL import Image

    pixels = np.rot90(np.array(Image.open(source)), number % 4)
    Image.fromarray(np.roll(pixels, 17 * number, axis=1)).save(to)


def _shown(target: Target, folder: Path, tally: Tally) -> None:
    """A picture that is another one now is not shown under the old name and distance."""
    images, collection, figure = folder / "own", folder / "own.c", folder / "figure.png"
    shutil.copytree(target.generated, images)
    target.run("index", images, "--out", collection, "--view", "phash")
    files = sorted(images.iterdir())
    question = shutil.copy(files[0], folder / "question.png")
    for path in files:
        shutil.copy(sorted(target.real.iterdir())[0], path)
    done = target.run("lookup", question, collection, "--figure", figure)
    told = "not what it was" in done.stderr.decode() or "changed" in done.stderr.decode()
    tally.check(told, f"lookup --figure shows pictures that are others now, and says {last_line(done)!r}")
    tally.check(not (figure.exists() and done.returncode == 0 and not told), "lookup --figure drew changed pictures")
    database = shutil.copy(target.database, folder / "r.duckdb")
    run = folder / "run.duckdb"
    shutil.copytree(target.generated, images, dirs_exist_ok=True)
    made = target.run("compare", target.real, collection, "--db", run)
    tally.check(made.returncode == 0, f"query: {last_line(made)}")
    for path in files:
        shutil.copy(sorted(target.real.iterdir())[0], path)
    with target.serving(collection, run if made.returncode == 0 else Path(database)) as service:
        pictures = [
            image["id"] for image in (service.ask("/v1/images?role=generated&limit=5").json() or {"images": []})["images"]
        ]
        for image in pictures:
            status = service.ask(f"/v1/images/{image}/picture").status
            tally.check(status != 200, f"the service shows a changed picture as image {image}")
        places = service.ask("/v1/search?k=3&match=true", Path(question).read_bytes())
        tally.check(places.status != 200, "an upload is laid over pictures that are others now, without a word")
        tally.check(until(service.lives, 5), "the service does not live")
