"""What a report for everybody and a model file tell of single images."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attack.tally import Tally
from attack.target import Target, last_line

FEWEST = 10  # images of a kind below which no figure may stand
FIGURES = ("auroc", "roc", "tpr_at_0.05", "f1", "recall", "specificity", "average_precision", "brier", "p_value", "rank")


def public(target: Target, tally: Tally) -> str:
    """A report for everybody on few labelled images: nothing of single ones in it, nor in models."""
    few = {"used": 3, "not used": FEWEST - 1}
    folder, known = target.room("public"), _labels(target)
    chosen = [name for name, used in known if used][: few["used"]] + [name for name, used in known if not used][: few["not used"]]
    used = {name for name, was in known if was}
    rows = [f"{name},{int(name in used)}" for name in chosen]
    (folder / "labels.csv").write_text("\n".join(["image,used", *rows]) + "\n")
    line = [
        "decide",
        target.audit / "real",
        target.audit / "generated",
        "--db",
        folder / "r.duckdb",
        "--labels",
        folder / "labels.csv",
    ]
    done = target.run(*line, "--method", "hubness", "--method", "svm", timeout=300)
    tally.check(done.returncode == 0, f"decide: {last_line(done)}")
    judged = target.run("evaluate", "--db", folder / "r.duckdb", "--labels", folder / "labels.csv", "--out", folder / "judged")
    tally.check(judged.returncode == 0, f"evaluate: {last_line(judged)}")
    written = target.run("report", folder / "r.duckdb", "--public", "--out", folder / "public.html")
    tally.check(written.returncode == 0, f"report --public: {last_line(written)}")
    _nothing_of_few(folder, tally)
    _nothing_of_one(target, folder, tally)
    for model in sorted(folder.glob("r.models/*")):
        tally.count("models")
        _no_digests(target, model, tally)
    return f"a report for everybody on {few['used']} used and {few['not used']} unused images, and the models"


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
