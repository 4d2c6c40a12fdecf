"""Small collections and image files for tests."""

import stat
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from embeddings.images.orientation import Orientation
from embeddings.phantoms.slices import phantom
from embeddings.types import GreyImage
from indexer.build.build import Settings
from indexer.collection import Collection

SIZE = 64  # pixels of test images: small, for speed
QUICK = Settings(views={"phash": {}, "sift": {"words": 4}}, sample_size=80)  # two views without a network


def flipped_settings(collection: Collection) -> Settings:
    """Of the real images flipped left to right, to be compared with this collection."""
    return Settings.of(collection.manifest, Orientation.FLIP_LEFT_RIGHT)


@lru_cache(maxsize=1000)
def slice_of(seed: int) -> GreyImage:
    """A small procedural slice; do not write into it."""
    return phantom(seed, SIZE)


def write_images(folder: Path, seeds: Iterable[int]) -> list[Path]:
    """`SEED.png` with the slice of each seed."""
    folder.mkdir(parents=True, exist_ok=True)
    return [write_image(folder / f"{seed:03d}.png", slice_of(seed)) for seed in seeds]


def write_image(path: Path, pixels: GreyImage) -> Path:
    """Pixels as a file of the format that the suffix names."""
    Image.fromarray(pixels).save(path)
    return path


def write_frames(path: Path, frames: list[GreyImage]) -> Path:
    """A TIFF of several pages."""
    first, *rest = map(Image.fromarray, frames)
    first.save(path, save_all=True, append_images=rest)
    return path


def noise(seed: int, shape: tuple[int, int] = (40, 50)) -> GreyImage:
    """Smooth noise of any shape."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 7), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC))


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Permissions and bytes of everything in a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        content = b"" if path.is_dir() else path.read_bytes()
        found[path.relative_to(folder).as_posix()] = (stat.S_IMODE(path.stat().st_mode), content)
    return found
