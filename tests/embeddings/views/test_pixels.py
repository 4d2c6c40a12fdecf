"""The view `pixels`: whole images, small, without brightness and contrast."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.images.decoding import Decoding
from embeddings.phantoms.slices import copy_of
from embeddings.types import GreyImage, Metric
from embeddings.views.pixels import PixelEmbedder, Pixels, PixelSettings
from embeddings.views.registry import make_view
from query.membership.case import Values
from tests.helpers.making import SIZE, noise, slice_of

SETTINGS = PixelSettings(size=16, dim=30)
VIEW = Pixels(SETTINGS, {})
SAMPLE = [slice_of(seed) for seed in range(100)]


def no_kmeans(*arguments: object) -> NDArray[np.float32]:
    raise AssertionError("this view has no vocabulary")


def learned() -> PixelEmbedder:
    return VIEW.embedder(VIEW.fit(VIEW.features(SAMPLE), no_kmeans))


def by_blocks(image: GreyImage, side: int) -> Values:
    """Means of whole blocks of pixels, centred, of length 1."""
    step = image.shape[0] // side
    means = np.rint(image.reshape(side, step, side, step).mean(axis=(1, 3))).ravel()
    centred = means - means.mean()
    return np.asarray(centred / np.linalg.norm(centred), np.float64)


def test_features_are_means_of_blocks_centred_and_of_length_one() -> None:
    rows = VIEW.rows(VIEW.features(SAMPLE[:20]))
    assert rows.dtype == np.float32
    expected = np.array([by_blocks(image, 16) for image in SAMPLE[:20]])
    assert np.abs(rows - expected).max() < 2e-3  # a mean of exactly one half may round either way
    assert np.allclose(rows.sum(axis=1), 0, atol=1e-4)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (16, 16), (15, 17), (300, 40)])
def test_any_shape_of_image_has_a_vector(shape: tuple[int, int]) -> None:
    found = learned().embed([noise(3, shape)])
    assert found.vectors.shape == (1, 30)
    assert np.linalg.norm(found.vectors) == pytest.approx(1, abs=1e-5)


def test_brightness_and_contrast_do_not_count() -> None:
    image = (slice_of(3) // 2).astype(np.uint8)
    brighter, harder = image + np.uint8(90), image * np.uint8(2)
    vectors = learned().embed([image, brighter, harder, slice_of(4)]).vectors
    cosines = vectors @ vectors[0]
    assert cosines[1] > 0.999
    assert cosines[2] > 0.99
    assert cosines[3] < 0.9


@pytest.mark.parametrize("whitened", [True, False])
def test_companions_and_order_do_not_matter(whitened: bool) -> None:
    embedder = learned() if whitened else VIEW.embedder({})
    together = embedder.embed(SAMPLE[:30])
    assert together.spec.metric is Metric.COSINE
    assert together.vectors.dtype == np.float32
    assert together.vectors.shape == (30, together.spec.dim) == (30, 30 if whitened else 256)
    for row in (0, 7, 29):
        assert np.array_equal(embedder.embed([SAMPLE[row]]).vectors[0], together.vectors[row])
    backwards = embedder.embed(SAMPLE[:30][::-1])
    assert np.array_equal(backwards.vectors[::-1], together.vectors)


def test_blank_is_what_is_of_one_grey() -> None:
    flat = np.full((SIZE, SIZE), 90, np.uint8)
    grain = flat + (np.indices(flat.shape).sum(axis=0) % 2).astype(np.uint8)  # gone when it is shrunk
    half = flat.copy()
    half[:32] = 94
    found = learned().embed([flat, grain, half, slice_of(1)])
    assert found.blank.tolist() == [True, True, False, False]
    assert np.isfinite(found.vectors).all()


def test_copies_are_nearer_than_other_images() -> None:
    rng = np.random.default_rng(0)
    embedder = learned()
    real = embedder.embed(SAMPLE[:40]).vectors
    copied = embedder.embed([copy_of(image, 1, rng) for image in SAMPLE[:40]]).vectors
    assert np.mean((copied @ real.T).argmax(axis=1) == np.arange(40)) > 0.9


def test_a_sample_too_small_is_not_whitened() -> None:
    few = VIEW.fit(VIEW.features(SAMPLE[:20]), no_kmeans)
    embedder = VIEW.embedder(few)
    assert embedder.whitening is None
    assert np.array_equal(embedder.embed(SAMPLE[:3]).vectors, VIEW.rows(VIEW.features(SAMPLE[:3])))


def test_the_fingerprint_knows_all_that_decides_a_vector() -> None:
    prints = [learned().spec.fingerprint, VIEW.embedder({}).spec.fingerprint]
    for view in (
        Pixels(replace(SETTINGS, size=20), {}),
        Pixels(replace(SETTINGS, dim=31), {}),
        Pixels(replace(SETTINGS, power=1.0), {}),
        Pixels(SETTINGS, {"low": 0}),
    ):
        prints.append(view.embedder(view.fit(view.features(SAMPLE), no_kmeans)).spec.fingerprint)
    assert len(set(prints)) == len(prints)
    assert learned().spec.fingerprint == prints[0]


@pytest.mark.parametrize("wrong", [{"size": 7}, {"dim": 0}, {"power": 1.1}, {"power": -0.1}])
def test_settings_without_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"^pixels: size >= 8, dim > 0, power in 0\.\.1; got "):
        PixelSettings(**wrong)  # type: ignore[arg-type]


def test_the_view_has_its_name() -> None:
    view = make_view("pixels", {"size": 24}, Decoding(), "cpu")
    assert view.name == "pixels"
    assert len(view.features([slice_of(0)]).values[0][0]) == 24 * 24
