"""Coarse pictures: drawing and compressing them is most of the work of a small audit. Small sets with duplicates and leaks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embeddings.phantoms.slices import copy_of
from indexer.build.build import build
from indexer.collection import Collection
from query.report.figures import figures
from tests.helpers.making import flipped_settings, slice_of, write_image, write_images
from tests.helpers.toy import TOY

BLANK = np.full((64, 64), 90, np.uint8)


@pytest.fixture(scope="session", autouse=True)
def coarse_pictures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "_DPI", 50)
        yield


@pytest.fixture(scope="session")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 slices, copies of some of them, and two equal blank images."""
    folder = tmp_path_factory.mktemp("repeated") / "images"
    write_images(folder, range(14))
    (folder / "file.png").write_bytes((folder / "000.png").read_bytes())
    Image.fromarray(slice_of(1)).save(folder / "pixels.tif")
    write_image(folder / "tone.png", np.asarray(slice_of(2) * 0.9, np.uint8))
    for number in (1, 2, 3):
        write_image(folder / f"warp{number}.png", copy_of(slice_of(3), number, np.random.default_rng(number)))
    write_image(folder / "flipped.png", np.ascontiguousarray(slice_of(10)[:, ::-1]))
    write_image(folder / "blank1.png", BLANK)
    write_image(folder / "blank2.png", BLANK)
    return folder


@pytest.fixture(scope="session")
def repeated_collection(repeated: Path) -> Collection:
    return build(repeated.parent / "collection", repeated, settings=TOY)


@pytest.fixture(scope="session")
def repeated_flipped(repeated: Path, repeated_collection: Collection) -> Collection:
    settings = flipped_settings(repeated_collection)
    return build(repeated.parent / "flipped", repeated, settings=settings, fitted_on=repeated_collection)


@pytest.fixture(scope="session")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training and test images: slices 0 to 9, and 20 to 24 with an equal file of 1 and a distorted copy of 2."""
    folder = tmp_path_factory.mktemp("splits")
    write_images(folder / "train", range(10))
    write_images(folder / "test", range(20, 25))
    (folder / "test" / "equal.png").write_bytes((folder / "train" / "001.png").read_bytes())
    write_image(folder / "test" / "warp.png", copy_of(slice_of(2), 2, np.random.default_rng(0)))
    return folder


@pytest.fixture(scope="session")
def split_collections(splits: Path) -> dict[str, Collection]:
    train = build(splits / "train.collection", splits / "train", settings=TOY)
    return {"train": train, "test": build(splits / "test.collection", splits / "test", fitted_on=train)}
