"""Does colour find copies that grey levels miss? Copies of colour images, looked up by luma and by all three channels.

Each copy shows one source or a blend of two, bent, toned and with noise as in `scripts/make_benchmark.py`; with `--stain`, each
channel also gets a gain of its own, as another stain or scanner does. Luma is what synthtrace uses (ITU-R 601). Colour puts the
features of the three channels, each of norm 1, one after the other before they are whitened. Both are whitened by the copies, to
as many numbers as the view has. `combined luma` is the answer of synthtrace: all four views of luma together. A hit is right
when the nearest real image is a source.

    .venv/bin/python scripts/bench/colour.py FOLDER --copies 2000 --seed 7
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from result_file import write_results

from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import make_folder, write_atomic
from embeddings.images.decoding import Decoding
from embeddings.images.find import find
from embeddings.phantoms.slices import copy_of
from embeddings.types import GreyImage
from embeddings.views.registry import make_view, with_defaults
from embeddings.views.whitening import fit_whitening, unit_rows
from indexer.build.build import build
from query.benchmarks.benchmark import Kind, compose
from query.comparison.combined import COMBINED
from query.comparison.search import search
from query.evaluation.resampling import grouped_interval
from query.inputs.sides import sides_of

SIZE = 256  # pixels of a side
VIEWS = {"pixels": 400, "resnet": 256}
POWER = 0.5
STAIN = 0.12  # standard deviation of the logarithm of a channel's gain

Colour = NDArray[np.uint8]  # (256, 256, 3)
Matrix = NDArray[np.float32]


def read(folder: Path) -> list[Colour]:
    """All images of the folder, (256, 256, 3) uint8."""
    source = find(folder)
    return [np.asarray(Image.open(source.root / name).convert("RGB").resize((SIZE, SIZE))) for name in source.files]


def copied(sources: Sequence[Colour], strength: int, rng: np.random.Generator, stain: bool) -> Colour:
    """A copy of one source or a blend of two; the three channels are bent alike."""
    kind, seed = Kind.WARP if len(sources) == 1 else Kind.BLEND, rng.integers(1 << 31)
    channels = []
    for number in range(3):
        same = np.random.default_rng(seed)
        stack = np.stack([source[:, :, number] for source in sources])
        channels.append(copy_of(compose(kind, stack, same), strength, same))
    pixels = np.stack(channels, axis=2).astype(np.float64)
    gains = np.exp(rng.normal(0, STAIN, 3)) if stain else np.ones(3)
    return np.asarray(np.clip(np.rint(pixels * gains), 0, 255), np.uint8)


def luma(image: Colour) -> GreyImage:
    """What synthtrace makes of a colour image."""
    return np.asarray(Image.fromarray(image).convert("L"))


def rows_of(view: Any, images: Sequence[Colour], colour: bool) -> Matrix:
    """(n, d) features before whitening."""
    if not colour:
        return unit_rows(view.rows(view.features([luma(image) for image in images])))
    channels = [view.features([np.ascontiguousarray(image[:, :, number]) for image in images]) for number in range(3)]
    return np.hstack([unit_rows(view.rows(each)) for each in channels])


def in_batches(view: Any, images: Sequence[Colour], colour: bool) -> Matrix:
    """The same, 64 images at a time."""
    return np.vstack([rows_of(view, images[start : start + 64], colour) for start in range(0, len(images), 64)])


def first_hits(real: Matrix, generated: Matrix, dim: int) -> NDArray[np.int64]:
    """(ng,) the nearest real image of each copy."""
    whitening = fit_whitening(generated, dim, POWER)
    assert whitening is not None
    return np.asarray((whitening.apply(generated) @ whitening.apply(real).T).argmax(axis=1))


def combined_hits(real: Sequence[Colour], copies: Sequence[Colour]) -> list[int]:
    """The nearest real image of each copy by all views of luma together, as `synthtrace compare` finds it."""
    with temporary_folder() as folder:
        for side, images in (("generated", copies), ("real", real)):
            make_folder(folder / side)
            for number, image in enumerate(images):
                picture = Image.fromarray(image)
                write_atomic(folder / side / f"{number:05d}.png", partial(picture.save, format="png"))
        generated = build(folder / "g", folder / "generated")
        sides = sides_of(build(folder / "r", folder / "real", fitted_on=generated), generated)
        return [int(row) for row in search(sides)[COMBINED].generated.rows[:, 0]]


def main() -> None:
    """Print and write the shares of right first hits, with 95% intervals by source."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--copies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--stain", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rng, real = np.random.default_rng(asked.seed), read(asked.folder)
    sources = [rng.choice(len(real), int(rng.integers(1, 3)), replace=False) for _ in range(asked.copies)]
    strengths = rng.integers(1, 6, asked.copies)
    copies = [copied([real[i] for i in s], int(n), rng, asked.stain) for s, n in zip(sources, strengths, strict=True)]
    right: dict[str, NDArray[np.bool_]] = {}
    defaults = with_defaults({name: {} for name in VIEWS})
    for name, dim in VIEWS.items():
        view = make_view(name, defaults[name], Decoding(), "cpu")
        for colour in (False, True):
            nearest = first_hits(in_batches(view, real, colour), in_batches(view, copies, colour), dim)
            label = f"{name} {'colour' if colour else 'luma'}"
            right[label] = np.array([hit in s for hit, s in zip(nearest.tolist(), sources, strict=True)])
        right[f"{name} colour - luma"] = right[f"{name} colour"].astype(int) - right[f"{name} luma"]
    right["combined luma"] = np.array([hit in s for hit, s in zip(combined_hits(real, copies), sources, strict=True)])
    kinds = {"all": strengths > 0, "blends": np.array([len(s) == 2 for s in sources])}
    kinds |= {f"one source, strength {n}": (strengths == n) & ~kinds["blends"] for n in range(1, 6)}
    first = np.array([s[0] for s in sources])
    figures = {
        kind: {label: interval(values[rows].astype(float), first[rows]) for label, values in right.items()}
        for kind, rows in kinds.items()
    }
    for kind, of_kind in figures.items():
        print(
            kind, *(f"{label} {value:.3f} [{low:.3f}, {high:.3f}]" for label, (value, low, high) in of_kind.items()), sep="\n  "
        )
    if asked.json:
        write_results(asked.json, figures)


def interval(values: NDArray[np.float64], groups: NDArray[np.int64]) -> tuple[float, float, float]:
    """Mean and 95% bootstrap interval by source."""
    estimate = grouped_interval(lambda rows: float(values[rows].mean()), groups)
    return tuple(round(end, 4) for end in estimate.ends)  # type: ignore[return-value]


if __name__ == "__main__":
    main()
