#!/usr/bin/env python3
"""Measure which features tell fidelity and diversity: sets of known quality, made from real images, by features whitened and not.

Half of the patients are the reference; of the others images are taken as they are, blurred, noisy, few of them again and again,
or replaced by copies of the reference. Figures should be those of real images for the first, and worse in the right figure for
the others. With --generated a generator's images are compared too, shrunk to their size on both sides.

    .venv/bin/python scripts/bench/fidelity.py FOLDER --groups CSV --seed 0
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from result_file import write_results

from embeddings.images.find import find
from embeddings.types import GreyImage
from embeddings.views.pixels import Pixels, PixelSettings
from embeddings.views.resnet import ResNet
from embeddings.views.resnet_settings import ResNetSettings
from embeddings.views.whitening import fit_whitening, unit_rows
from query.duplication.diversity import vendi
from query.inputs.groups import groups_from_csv
from query.quality.figures import Figure, Own, compared, frechet, on_grid

OF_ONE = 6  # images of a patient, at most
Matrix = NDArray[np.float32]
Pictures = list[GreyImage]


def read(path: Path) -> GreyImage:
    """Grey levels of an image."""
    return np.asarray(Image.open(path).convert("L"))


def warped(image: GreyImage, rng: np.random.Generator) -> GreyImage:
    """Turned by up to 8 degrees, scaled by up to 5%, shifted by up to 8 pixels."""
    height, width = image.shape
    centre, angle, scale = (width / 2, height / 2), rng.uniform(-8, 8), rng.uniform(0.95, 1.05)
    turn: NDArray[np.float64] = np.asarray(cv2.getRotationMatrix2D(centre, angle, scale), np.float64)
    turn[:, 2] += rng.uniform(-8, 8, 2)
    return np.asarray(cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def noisy(image: GreyImage, spread: float, rng: np.random.Generator) -> GreyImage:
    """With normal noise of so many grey levels."""
    return np.clip(image + rng.normal(0, spread, image.shape), 0, 255).astype(np.uint8)


def sets(reference: Pictures, others: Pictures, rng: np.random.Generator) -> Iterator[tuple[str, Pictures]]:
    """Sets of known quality."""
    yield "real images of other patients", others
    yield "blurred by 2 pixels", [np.asarray(cv2.GaussianBlur(each, (0, 0), 2), np.uint8) for each in others]
    yield "noise of 25 grey levels", [noisy(each, 25, rng) for each in others]
    for few in (100, 30):
        yield f"{few} of them, again and again, warped", [warped(others[i % few], rng) for i in range(len(others))]
    yield "half copies of the reference", reference[::2] + others[1::2]


def figures(reference: Matrix, others: Matrix) -> dict[str, float]:
    """All figures by their names."""
    one, two = on_grid(reference, others)
    values = compared(Own.of(one), Own.of(two)) | {Figure.FRECHET: frechet(one.values, two.values)}
    found = {str(figure): values[figure] for figure in Figure}
    return found | {"vendi": vendi(unit_rows(others)), "vendi less the mean": vendi(unit_rows(others - reference.mean(axis=0)))}


def by_features(reference: Matrix, others: Matrix, dim: int, power: float) -> Iterator[tuple[str, dict[str, float]]]:
    """Figures by features as they are, and whitened on the generated images, as collections hold them."""
    yield "as they are", figures(reference, others)
    whitening = fit_whitening(others, dim, power)
    if whitening:
        yield "whitened on the set", figures(whitening.apply(reference), whitening.apply(others))


def shrunk(images: Pictures, shape: tuple[int, ...]) -> Pictures:
    """The images at another size."""
    return [np.asarray(cv2.resize(each, shape[::-1], interpolation=cv2.INTER_AREA), np.uint8) for each in images]


def main() -> None:
    """Print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--groups", type=Path, help="CSV of image,group; without it each image is a group")
    parser.add_argument("--generated", type=Path, help="folder or array of a generator's images")
    parser.add_argument("--images", type=int, default=300, help="of either side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rng, source = np.random.default_rng(asked.seed), find(asked.folder)
    named = groups_from_csv(asked.groups) if asked.groups else {}
    patients: dict[str, list[str]] = {}
    for name in rng.permutation(source.files).tolist():
        patients.setdefault(named.get(name, name), []).append(name)
    names = rng.permutation(sorted(patients)).tolist()
    halves = names[: len(names) // 2], names[len(names) // 2 :]
    reference, others = (
        [read(source.root / name) for patient in half for name in patients[patient][:OF_ONE]][: asked.images] for half in halves
    )
    pairs = [(name, reference, made) for name, made in sets(reference, others, rng)]
    if asked.generated:
        made = list(np.load(asked.generated)["generated"][: asked.images]) if asked.generated.suffix == ".npz" else []
        made = made or [read(asked.generated / name) for name in find(asked.generated).files[: asked.images]]
        small = [shrunk(each, made[0].shape) for each in (reference, others)]
        pairs += [("real images, shrunk", small[0], small[1]), ("the generator's images", small[0], made)]
    resnet, pixels = ResNetSettings(), PixelSettings()
    views: dict[str, tuple[Callable[[Pictures], Matrix], int, float]] = {
        "resnet": (lambda images: _features(ResNet(resnet, {}), images), resnet.dim, resnet.power),
        "pixels": (lambda images: _features(Pixels(pixels, {}), images), pixels.dim, pixels.power),
    }
    found = {}
    for view, (see, dim, power) in views.items():
        for name, first, second in pairs:
            for how, values in by_features(see(first), see(second), dim, power):
                print(f"{view}, {how}, {name}: " + ", ".join(f"{key} {value:.3g}" for key, value in values.items()), flush=True)
                found[f"{view}, {how}, {name}"] = values
    if asked.json:
        write_results(asked.json, found)


def _features(view: ResNet | Pixels, images: Pictures) -> Matrix:
    """(n, d) features of a view before whitening."""
    parts = [np.concatenate(view.features(images[start : start + 32]).values) for start in range(0, len(images), 32)]
    return np.concatenate(parts).astype(np.float32)


if __name__ == "__main__":
    main()
