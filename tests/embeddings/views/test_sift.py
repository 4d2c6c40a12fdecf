"""The view `sift` against a plain-loop reading of the papers."""

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.phantoms.slices import phantom
from embeddings.types import GreyImage
from embeddings.views.sift import Encoding, Sift, SiftEmbedder, SiftSettings
from embeddings.views.whitening import MIN_SAMPLE
from indexer.search.faiss_index import kmeans
from tests.helpers.making import noise, slice_of

SMALL = SiftSettings(words=6, dim=16)


def rootsift_with_places(image: GreyImage, settings: SiftSettings) -> list[list[float]]:
    """RootSIFT (Arandjelovic and Zisserman 2012), with the place beside it, one keypoint after the other."""
    height, width = image.shape
    scale = 256 / max(height, width)
    if scale != 1:
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)
    keypoints, descriptors = cv2.SIFT.create(340, contrastThreshold=0.01).detectAndCompute(image, None)
    found = sorted(zip(keypoints, [] if descriptors is None else descriptors.tolist(), strict=True), key=lambda k: -k[0].response)
    points = []
    for keypoint, descriptor in found[: min(340, settings.keypoints)]:
        if np.float32(keypoint.response) * 3 < settings.contrast:
            break
        total = sum(descriptor)
        x = (keypoint.pt[0] - image.shape[1] / 2) / 128
        y = (keypoint.pt[1] - image.shape[0] / 2) / 128
        points.append([math.sqrt(value / total) for value in descriptor] + [settings.position * x, settings.position * y])
    return points


def nearest_word(point: list[float], words: list[list[float]]) -> int:
    return min(range(len(words)), key=lambda word: sum((p - w) ** 2 for p, w in zip(point, words[word], strict=True)))


def vlad(points: list[list[float]], words: list[list[float]]) -> list[float]:
    """Jegou et al. 2010, intra-normalisation of Arandjelovic and Zisserman 2013, signed square root, unit length."""
    out: list[float] = []
    assigned = [nearest_word(point, words) for point in points]
    for number, word in enumerate(words):
        total = [0.0] * len(word)
        for point, nearest in zip(points, assigned, strict=True):
            if nearest == number:
                total = [t + p - w for t, p, w in zip(total, point, word, strict=True)]
        length = math.sqrt(sum(t * t for t in total))
        out += [t / length if length else 0.0 for t in total]
    rooted = [math.copysign(math.sqrt(abs(value)), value) for value in out]
    length = math.sqrt(sum(value * value for value in rooted))
    return [value / length for value in rooted]


def histogram(points: list[list[float]], words: list[list[float]]) -> list[float]:
    counts = [0.0] * len(words)
    for point in points:
        counts[nearest_word(point, words)] += 1
    length = math.sqrt(sum(count * count for count in counts))
    return [count / length for count in counts]


def fitted(settings: SiftSettings, images: list[GreyImage]) -> SiftEmbedder:
    view = Sift(settings, {})
    return view.embedder(view.fit(view.features(images), kmeans))


IMAGES = [phantom(0, 96), phantom(1, 256), noise(1, (60, 130)), noise(2, (200, 70)), noise(3, (700, 900))]


@pytest.mark.parametrize(("encoding", "reference"), [(Encoding.VLAD, vlad), (Encoding.BOW, histogram)])
@pytest.mark.parametrize("position", [0.0, 0.6])
def test_vectors_equal_the_plain_reading(encoding: Encoding, reference: object, position: float) -> None:
    settings = SiftSettings(encoding=encoding, words=6, position=position)
    embedder = fitted(settings, IMAGES)  # too few images to whiten
    assert embedder.whitening is None
    words = embedder.words.tolist()
    assert len(words) == 6
    expected = [reference(rootsift_with_places(image, settings), words) for image in IMAGES]  # type: ignore[operator]
    assert np.allclose(embedder.embed(IMAGES).vectors, expected, atol=2e-5)


def test_whitening_comes_after_vlad() -> None:
    images = [slice_of(seed) for seed in range(MIN_SAMPLE)]
    embedder = fitted(SMALL, images)
    assert embedder.whitening is not None
    raw = np.array([vlad(rootsift_with_places(image, SMALL), embedder.words.tolist()) for image in images[:5]])
    expected = (raw - embedder.whitening.mean) @ embedder.whitening.axes
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(embedder.embed(images[:5]).vectors, expected, atol=1e-4)
    assert embedder.spec.dim == 16


@pytest.mark.parametrize("count", [5, MIN_SAMPLE])
@pytest.mark.parametrize("encoding", Encoding)
def test_a_blank_image_is_defined_and_flagged(encoding: Encoding, count: int) -> None:
    embedder = fitted(SiftSettings(encoding=encoding, words=6), [slice_of(seed) for seed in range(count)])
    made = embedder.embed([np.zeros((50, 50), np.uint8), slice_of(99), np.full((3, 400), 9, np.uint8)])
    assert made.blank.tolist() == [True, False, True]
    assert np.allclose(np.linalg.norm(made.vectors, axis=1), 1, atol=1e-5)
    assert np.array_equal(made.vectors[0], made.vectors[2])


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize(
    "images",
    [
        [],
        [np.zeros((64, 64), np.uint8)],
        [np.zeros((64, 64), np.uint8)] * MIN_SAMPLE,
        [noise(1, (30, 30))],
        [np.zeros((64, 64), np.uint8)] * MIN_SAMPLE + [noise(1, (30, 30))],
        [slice_of(0)] * MIN_SAMPLE,
    ],
    ids=["none", "one blank", "all blank", "one", "one among blanks", "all the same"],
)
def test_a_collection_with_few_keypoints_can_be_learned_from(encoding: Encoding, images: list[GreyImage]) -> None:
    settings = SiftSettings(encoding=encoding, words=20)
    embedder = fitted(settings, images)
    made = embedder.embed([*images, slice_of(5)])
    assert made.vectors.shape == (len(images) + 1, embedder.spec.dim)
    points = sum(len(rootsift_with_places(image, settings)) for image in images)
    assert len(embedder.words) == min(20, max(1, points // 10))


def test_companions_and_order_do_not_matter() -> None:
    images = [slice_of(seed) for seed in range(MIN_SAMPLE)] + [np.zeros((9, 9), np.uint8)]
    embedder = fitted(SMALL, images)
    together = embedder.embed(images)
    order = np.random.default_rng(0).permutation(len(images))[:37]
    shuffled = embedder.embed([images[i] for i in order])
    assert np.array_equal(shuffled.vectors, together.vectors[order])
    assert np.array_equal(shuffled.blank, together.blank[order])
    assert np.array_equal(embedder.embed(images[7:8]).vectors, together.vectors[7:8])
    assert embedder.embed([]).vectors.shape == (0, embedder.spec.dim)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (4, 4), (1, 3000), (3000, 1), (2, 800), (3, 500), (500, 3), (1500, 2200)])
def test_any_size_of_image_can_be_seen(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    made = fitted(SMALL, [slice_of(seed) for seed in range(3)]).embed([image])
    assert len(made) == 1
    assert made.blank[0] == (len(rootsift_with_places(image, SMALL)) == 0)


def test_features_and_finish_make_embed() -> None:
    embedder = fitted(SMALL, IMAGES)
    features = embedder.features(IMAGES)
    assert [len(value) for value in features.values] == [len(rootsift_with_places(image, SMALL)) for image in IMAGES]
    assert np.array_equal(embedder.finish(features).vectors, embedder.embed(IMAGES).vectors)


def test_learning_twice_gives_the_same_and_the_seed_counts() -> None:
    one, two, other = (fitted(SiftSettings(words=6, seed=seed), IMAGES) for seed in (0, 0, 1))
    assert one.spec.fingerprint == two.spec.fingerprint
    assert np.array_equal(one.words, two.words)
    assert one.spec.fingerprint != other.spec.fingerprint
    assert not np.array_equal(one.words, other.words)


def test_every_setting_is_in_the_fingerprint() -> None:
    changed: list[dict[str, object]] = [{}, {"words": 5}, {"keypoints": 10}, {"contrast": 0.05}, {"position": 0.0}]
    changed += [{"encoding": Encoding.BOW}, {"dim": 20}, {"power": 1.0}]
    words = {"words": np.zeros((6, 130), np.float32)}
    specs = [Sift(SiftSettings(**settings), {}).embedder(words).spec for settings in changed]  # type: ignore[arg-type]
    specs.append(Sift(SiftSettings(), {}).embedder({"words": np.ones((6, 130), np.float32)}).spec)
    specs.append(Sift(SiftSettings(), {"low": 1.0}).embedder(words).spec)
    assert len({spec.fingerprint for spec in specs}) == len(specs)
    unkept = Sift(SiftSettings(keep=False), {}).embedder(words).spec  # decides no vector
    assert unkept.fingerprint == specs[0].fingerprint


@pytest.mark.parametrize("wrong", [{"words": 0}, {"keypoints": 0}, {"dim": 0}, {"position": -0.1}, {"power": 1.1}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="sift"):
        SiftSettings(**wrong)  # type: ignore[arg-type]


def test_a_vocabulary_is_the_means_of_its_points() -> None:
    """k-means has converged where each word is the mean of the points nearest to it: checked on well separated clumps."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 10)) * 20
    points: NDArray[np.float32] = (centres[np.arange(500) % 5] + rng.normal(size=(500, 10))).astype(np.float32)
    words = kmeans(points, 5, 0)
    for centre in centres:
        own = words[np.linalg.norm(words - centre, axis=1).argmin()]
        assert np.linalg.norm(own - centre) < 0.5 * np.linalg.norm(centres[0] - centres[1])
    assert np.array_equal(words, kmeans(points, 5, 0))
