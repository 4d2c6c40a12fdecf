"""Features that tell the kind of an image: each answers to what it is named after."""

import io

import numpy as np
import pytest
from PIL import Image

from embeddings.types import GreyImage
from query.inputs.images import Images
from query.membership.reference_features import MEASURED, features_of, measured
from tests.helpers.making import slice_of


def value(image: GreyImage, name: str) -> float:
    names = [feature.name for feature in MEASURED]
    return float(measured(image)[names.index(name)])


@pytest.fixture(scope="module")
def picture() -> GreyImage:
    return slice_of(3)


def jpeg(image: GreyImage) -> GreyImage:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=30)
    return np.asarray(Image.open(buffer), np.uint8)


def test_size_and_grey_levels_are_what_numpy_says(picture: GreyImage) -> None:
    wide = picture[:40]
    found = dict(zip([feature.name for feature in MEASURED], measured(wide), strict=True))
    assert (found["height"], found["width"], found["width / height"]) == (40, 64, 1.6)
    assert found["mean grey level"] == pytest.approx(wide.mean())
    assert found["standard deviation of grey levels"] == pytest.approx(wide.std())
    for share in (5, 25, 50, 75, 95):
        assert found[f"{share}% quantile of grey levels"] == np.percentile(wide, share, method="inverted_cdf")
    assert found["share of black pixels"] == np.mean(wide == 0)
    assert found["number of grey levels"] == len(np.unique(wide))
    uniform = np.repeat(np.arange(4, dtype=np.uint8), 16).reshape(8, 8)
    assert value(uniform, "entropy of grey levels in bits") == 2


def test_borders_corners_and_centres(picture: GreyImage) -> None:
    framed = np.pad(picture, 12)
    assert value(framed, "share of empty rows and columns at the border") >= 24 / 120
    assert value(framed, "mean grey level of the corners") < value(picture, "mean grey level of the corners")
    left = np.zeros((10, 10), np.uint8)
    left[:2, :5] = 200
    assert value(left, "centre of brightness, share of the width") == pytest.approx(0.25)
    assert value(left, "centre of brightness, share of the height") == pytest.approx(0.1)


def test_blur_noise_and_jpeg_move_the_features_named_after_them(picture: GreyImage) -> None:
    grey = Image.fromarray(picture)
    blurred = np.asarray(grey.resize((24, 24), Image.Resampling.BILINEAR).resize(grey.size, Image.Resampling.BILINEAR))
    noise = np.random.default_rng(0).normal(0, 10, picture.shape)
    noisy = np.clip(picture + noise, 0, 255).astype(np.uint8)
    finest = "log contrast of details of 1-2 pixels"
    assert value(blurred, finest) < value(picture, finest) < value(noisy, finest)
    assert value(blurred, "share of edge pixels") <= value(picture, "share of edge pixels")
    blocks = "steps between blocks of 8 pixels"
    assert value(jpeg(noisy), blocks) > value(noisy, blocks) + 0.3


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 2)])
@pytest.mark.parametrize("level", [0, 255])
def test_flat_and_tiny_pictures_have_finite_features(shape: tuple[int, int], level: int) -> None:
    assert np.isfinite(measured(np.full(shape, level, np.uint8))).all()


def test_formats_and_layout_are_features_too_and_order_changes_nothing(picture: GreyImage) -> None:
    shown = [picture, picture.T, picture[::-1], picture[:, ::-1]]
    names = ["a.png", "b.jpg", "c.png", "d.png"]
    features = features_of(Images(names, {}, {}, {}, shown.__getitem__))
    told = [feature.name for feature in features.what]
    assert features.values[:, told.index("share of files with suffix .jpg")].tolist() == [0, 1, 0, 0]
    order = [2, 0, 3, 1]
    moved = features_of(Images([names[row] for row in order], {}, {}, {}, [shown[row] for row in order].__getitem__))
    assert [feature.name for feature in moved.what] == told
    assert np.allclose(moved.values, features.values[order])
