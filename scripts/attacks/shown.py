"""Attack: find single images in public reports and model files."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attacks.tally import Tally
from attacks.target import Target, last_line

USED, UNUSED = 3, 9  # images: too few of either kind for a figure that anybody may see
LEARNERS = ("--method", "hubness", "--method", "phash-calibrated", "--method", "fusion-learned")
FIGURES = ("auroc", "roc", "tpr_at_0.05", "f1", "recall", "specificity", "average_precision", "brier", "p_value", "rank")


def public(target: Target, tally: Tally) -> str:
    """A report for everybody on few labelled images: nothing of single ones in it, nor in models."""
    folder, known = target.room("public"), _labels(target)
    chosen = [*[name for name, used in known if used][:USED], *[name for name, used in known if not used][:UNUSED]]
    labels = folder / "labels.csv"
    labels.write_text("image,used\n" + "".join(f"{name},{int(dict(known)[name])}\n" for name in chosen))
    database, sides = folder / "r.duckdb", [target.audit / "real", target.audit / "generated"]
    lines: list[list[object]] = [
        ["predict", *sides, "--db", database, "--labels", labels, "--method", "hubness", "--method", "phash"],
        ["evaluate", "--db", database, "--labels", labels, "--out", folder / "judged"],
        ["report", database, "--public", "--out", folder / "public.html"],
        ["predict", *sides, "--db", folder / "m.duckdb", "--labels", target.labels, *LEARNERS],
    ]
    for line in lines:
        done = target.run(*line, timeout=300)
        tally.check(done.returncode == 0, f"{line[0]}: {last_line(done)}")
    _nothing_of_few(folder, tally)
    _nothing_of_one(target, folder, tally)
    for model in [*folder.glob("*.models/*"), *(target.audit / "models").glob("*")]:
        tally.count("models")
        _no_digests(target, model, tally)
    return f"a report for everybody on {USED} used and {UNUSED} unused images, and the models"


def _nothing_of_few(folder: Path, tally: Tally) -> None:
    """No figure that compares used and unused images."""
    for path, value in _leaves(json.loads((folder / "public.json").read_text())):
        tally.count("values_looked_at")
        named = [figure for figure in FIGURES if figure in path]
        is_figure = isinstance(value, int | float) and not isinstance(value, bool) and value is not None
        tally.check(not (named and is_figure), f"{'.'.join(path)} = {value} stands on few images")


def _nothing_of_one(target: Target, folder: Path, tally: Tally) -> None:
    """No name, no path, no picture of a scan."""
    for name in ("public.html", "public.json"):
        text = (folder / name).read_text()
        for image in [*target.real.iterdir(), *target.generated.iterdir()]:
            tally.check(image.stem not in text, f"{name} names {image.name}")
        tally.check(str(target.folder) not in text, f"{name} names a folder")
        tally.check("data:image/png" not in text and "data:image/jpeg" not in text, f"{name} holds a picture")


def _no_digests(target: Target, model: Path, tally: Tally) -> None:
    """Whoever has an image and a model does not learn that the one was seen for the other: no digest of the image is in it."""
    import numpy as np
    from PIL import Image

    content = model.read_bytes()
    for path in target.real.iterdir():
        pixels = np.array(Image.open(path))
        for text in (path.read_bytes(), pixels.tobytes(), repr(pixels.shape).encode() + pixels.tobytes()):
            digest = hashlib.sha256(text)
            tally.check(
                digest.hexdigest().encode() not in content and digest.digest() not in content,
                f"{model.name} holds a hash of {path.name}",
            )


def _labels(target: Target) -> list[tuple[str, bool]]:
    rows = [line.split(",") for line in target.labels.read_text().splitlines()[1:]]
    return [(row[0], row[1] == "1") for row in rows]


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value of a JSON with the way to it; what stands in a list has the list's name."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, path)
    else:
        yield path, value
