"""View `sift`: RootSIFT features, aggregated over a vocabulary of visual words into one vector (VLAD or bag of words)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.pipeline import in_order
from embeddings.types import Embeddings, EmbeddingSpec, Features, GreyImage, KMeans, Metric
from embeddings.views.keypoints import LAYERS, SIZE, Detected, detected, recorded, resized, root_sift, selected, shape_at
from embeddings.views.whitening import Whitening, digest, fit_whitening, unit_rows

LEAST = 1e-4  # length of a word's sum that is set to unit length; a shorter one is rounding, of points whose mean the word is
_DESCRIPTOR = 128
_VOCABULARY_IMAGES = 1000  # of the sample; more of them did not change the words' quality


class Encoding(StrEnum):
    """How an image's local features become one vector."""

    VLAD = "vlad"  # sums of differences to the nearest word (Jegou et al., CVPR 2010)
    BOW = "bow"  # histogram of words (Sivic and Zisserman, ICCV 2003)


@dataclass(frozen=True)
class SiftSettings:
    """Settings of the view; the values were chosen on benchmarks from seeds 101 to 105 (docs/METHODS.md).

    Attributes:
        encoding: VLAD or bag of words.
        words: size of the vocabulary.
        keypoints: at most so many in an image, strongest first; the detection gives 340.
        contrast: SIFT's contrast threshold (Lowe, IJCV 2004).
        position: weight of a keypoint's place, in half image sides, beside its unit descriptor; 0 leaves places out.
        dim: components after whitening (VLAD only).
        power: exponent of the whitening, 1 = full.
        seed: of the vocabulary.
        keep: what matching needs of the keypoints is kept in the collection. It decides no vector, so the spec leaves it out.

    Raises:
        ValueError: a value out of range.
    """

    encoding: Encoding = Encoding.VLAD
    words: int = 128
    keypoints: int = 256
    contrast: float = 0.04
    position: float = 0.6
    dim: int = 256
    power: float = 0.5
    seed: int = 0
    keep: bool = True

    def __post_init__(self) -> None:
        if min(self.words, self.keypoints, self.dim) <= 0:
            raise ValueError("sift: words, keypoints and dim must be positive")
        if self.position < 0 or not 0 <= self.power <= 1:
            raise ValueError(f"sift: position must not be negative and power lie in 0..1, got {self.position} and {self.power}")


@dataclass(frozen=True)
class Sift:
    """The view before it has a vocabulary."""

    settings: SiftSettings
    decoding: Mapping[str, Any]
    name = "sift"
    note = ""
    precision = "float32"
    weights = ""

    def features(self, images: Sequence[GreyImage]) -> Features:
        """For each image (m, 136) uint8: m SIFT descriptors of 128 bytes, each followed by its x and y.

        x and y are float32, in half image sides from the centre. Blank where an image has no keypoint.
        """
        found = [detected(resized(image, SIZE)) for image in images]
        return self.chosen(images, found)

    def chosen(self, images: Sequence[GreyImage], found: Sequence[Detected]) -> Features:
        """What the view takes of what was detected, and what it keeps."""
        values = [_local_features(image, each, self.settings) for image, each in zip(images, found, strict=True)]
        return Features(values, np.array([len(v) == 0 for v in values], bool), self._kept(images, found))

    def _kept(self, images: Sequence[GreyImage], found: Sequence[Detected]) -> NDArray[np.uint8] | None:
        """(n, 16384) uint8, see `embeddings.views.keypoints.recorded`; None where nothing is to be kept."""
        if not self.settings.keep:
            return None
        return recorded([selected(image, each) for image, each in zip(images, found, strict=True)])

    def fit(self, features: Features, kmeans: KMeans) -> dict[str, NDArray[Any]]:
        """Vocabulary, and for VLAD mean and axes of the whitening.

        Images with few features are enough for few words: no more words are learned than a tenth of the features.
        """
        settings = self.settings
        no_points = np.zeros((0, _DESCRIPTOR + 2), np.float32)
        points = np.concatenate([no_points, *(_points(v, settings.position) for v in features.values[:_VOCABULARY_IMAGES])])
        if len(points) == 0:
            return {"words": np.zeros((1, _DESCRIPTOR + 2), np.float32)}
        words = kmeans(points, max(1, min(settings.words, len(points) // 10)), settings.seed)
        if settings.encoding is Encoding.BOW:
            return {"words": words}
        raw = np.empty((len(features.values), words.size), np.float32)
        for row, encoded in zip(
            raw, in_order(lambda v: _vlad(_points(v, settings.position), words), features.values), strict=True
        ):
            row[:] = encoded
        whitening = fit_whitening(raw, settings.dim, settings.power)
        return {"words": words, **(whitening.arrays() if whitening else {})}

    def embedder(self, learned: Mapping[str, NDArray[Any]]) -> "SiftEmbedder":
        """The view with its vocabulary."""
        return SiftEmbedder(self, learned["words"], Whitening.from_arrays(learned), digest(learned))


@dataclass(frozen=True)
class SiftEmbedder:
    """The view with its vocabulary (words, 130) float32 and, for VLAD on enough images, whitening."""

    view: Sift
    words: NDArray[np.float32]
    whitening: Whitening | None
    learned: str

    @property
    def spec(self) -> EmbeddingSpec:
        """Cosine of VLAD or bag-of-words vectors."""
        settings = self.view.settings
        if settings.encoding is Encoding.BOW:
            dim = len(self.words)
        else:
            dim = self.whitening.dim if self.whitening else self.words.size
        parameters = {**asdict(settings), "encoding": str(settings.encoding), "size": SIZE, "learned": self.learned}
        del parameters["keep"]
        return EmbeddingSpec("sift", dim, Metric.COSINE, {**parameters, "decoding": dict(self.view.decoding)})

    def features(self, images: Sequence[GreyImage]) -> Features:
        """As `Sift.features`."""
        return self.view.features(images)

    def finish(self, features: Features) -> Embeddings:
        """Local features to (n, dim) float32 unit rows. An image without features gets the vector of an empty sum."""
        settings = self.view.settings
        encode = _bag_of_words if settings.encoding is Encoding.BOW else _vlad
        raw = [encode(_points(v, settings.position), self.words) for v in features.values]
        vectors = np.array(raw, np.float32).reshape(len(raw), -1 if raw else self.spec.dim)
        if raw and self.whitening:
            vectors = self.whitening.apply(vectors)
        return Embeddings(self.spec, unit_rows(vectors), features.blank, features.kept)

    def embed(self, images: Sequence[GreyImage]) -> Embeddings:
        """Vectors of the images."""
        return self.finish(self.features(images))


def _local_features(image: GreyImage, found: Detected, settings: SiftSettings) -> NDArray[np.uint8]:
    """(m, 136) uint8, see `Sift.features`."""
    clear = np.flatnonzero(found.responses * LAYERS >= settings.contrast)[: settings.keypoints]
    height, width = shape_at(image.shape, SIZE)
    places = (found.places[clear] - np.array([width, height], np.float32) / 2) / (SIZE / 2)
    return np.hstack([found.descriptors[clear], np.ascontiguousarray(places, np.float32).view(np.uint8)])


def _points(features: NDArray[np.uint8], position: float) -> NDArray[np.float32]:
    """(m, 136) uint8 -> (m, 130) float32: RootSIFT and the weighted place."""
    points = np.empty((len(features), _DESCRIPTOR + 2), np.float32)
    points[:, :_DESCRIPTOR] = root_sift(features[:, :_DESCRIPTOR])
    points[:, _DESCRIPTOR:] = np.ascontiguousarray(features[:, _DESCRIPTOR:]).view(np.float32) * position
    return points


def _nearest_words(points: NDArray[np.float32], words: NDArray[np.float32]) -> NDArray[np.intp]:
    """Row of the nearest word for each point."""
    return np.asarray((points @ words.T - (words * words).sum(axis=1) / 2).argmax(axis=1))


def _vlad(points: NDArray[np.float32], words: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum of differences to each word, every word's part normalised (Arandjelovic and Zisserman, CVPR 2013), signed square root,
    unit length: (words * 130,) float32."""
    nearest = _nearest_words(points, words)
    member = np.zeros((len(words), len(points)), np.float32)
    member[nearest, np.arange(len(points))] = 1
    sums = member @ points - member.sum(axis=1, keepdims=True) * words
    sums /= np.maximum(np.sqrt((sums * sums).sum(axis=1, keepdims=True)), LEAST)
    flat = sums.ravel()
    flat = np.sign(flat) * np.sqrt(np.abs(flat))
    return np.asarray(flat / max(float(np.sqrt((flat * flat).sum())), 1e-9), np.float32)


def _bag_of_words(points: NDArray[np.float32], words: NDArray[np.float32]) -> NDArray[np.float32]:
    """How many points fall on each word: (words,) float32."""
    return np.bincount(_nearest_words(points, words), minlength=len(words)).astype(np.float32)
