"""View `sift` on a GPU: keypoints, descriptors and VLAD by kernels of our own, near to OpenCV's but not equal to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embeddings.gpu.device import by_shape, on, upload
from embeddings.gpu.sift_descriptors import descriptors
from embeddings.gpu.sift_keypoints import Keypoints, keypoints
from embeddings.gpu.sift_pyramid import scale_space
from embeddings.gpu.vlad import vlad
from embeddings.gpu.whitening import filled, on_gpu
from embeddings.types import Embeddings, Features, GreyImage
from embeddings.views.keypoints import CONTRAST, COUNT, SIZE, Detected, resized
from embeddings.views.sift import Encoding, Sift, SiftEmbedder
from embeddings.views.whitening import Whitening, digest, unit_rows

_BATCH = 64  # images whose scale spaces are in memory at a time: about 35 MB each


@dataclass(frozen=True)
class GpuSift(Sift):
    """The view with features of its own kernels; the vocabulary is learned as on the CPU.

    Attributes:
        device: ``cpu``, ``cuda:N`` or ``cuda:all``.
    """

    device: str = "cpu"
    precision = "float32, GPU"

    def features(self, images: Sequence[GreyImage]) -> Features:
        """As `Sift.features`."""
        detected: dict[int, Detected] = {}

        def work(stack: NDArray[np.uint8], places: NDArray[np.intp]) -> None:
            with on(self.device) as where:
                found = local_features(filled(upload(stack, where), _BATCH), COUNT, CONTRAST)
                detected.update(zip(places.tolist(), _by_image(found, _BATCH), strict=False))

        by_shape([resized(image, SIZE) for image in images], _BATCH, work)
        return self.chosen(images, [detected[place] for place in range(len(images))])

    def embedder(self, learned: Mapping[str, NDArray[Any]]) -> SiftEmbedder:
        """The view with its vocabulary."""
        return _Embedder(self, learned["words"], on_gpu(Whitening.from_arrays(learned), self.device), digest(learned))


class _Embedder(SiftEmbedder):
    def finish(self, features: Features) -> Embeddings:
        """As `SiftEmbedder.finish`."""
        settings = self.view.settings
        if settings.encoding is not Encoding.VLAD or not features.values:
            return super().finish(features)
        assert isinstance(self.view, GpuSift)
        vectors = vlad(features.values, self.words, settings.position, self.view.device)
        if self.whitening:
            vectors = self.whitening.apply(vectors)
        return Embeddings(self.spec, unit_rows(vectors), features.blank, features.kept)


@dataclass(frozen=True)
class LocalFeatures:
    """Keypoints of n images and their descriptors: m of them.

    Attributes:
        image: (m,) int64, which image; ascending.
        places: (m, 2) float32, x and y in pixels.
        sizes: (m,) float32, OpenCV's diameter in pixels.
        directions: (m,) float32 degrees, OpenCV's angle.
        responses: (m,) float32 contrast.
        descriptors: (m, 128) uint8.
    """

    image: torch.Tensor
    places: torch.Tensor
    sizes: torch.Tensor
    directions: torch.Tensor
    responses: torch.Tensor
    descriptors: torch.Tensor


def local_features(images: torch.Tensor, most: int, contrast: float) -> LocalFeatures:
    """SIFT of (n, H, W) uint8: at most `most` keypoints an image, the strongest; and those as strong as the last."""
    space = scale_space(images)
    points = keypoints(space, contrast)
    points = points.take(torch.argsort(points.image, stable=True))
    points = points.take(points.response >= _least(points, len(images), most)[points.image])
    pixel = 2.0 ** (points.octave - 1)  # of the octave, in pixels of the image
    places, sizes = torch.stack([points.x, points.y], dim=1) * pixel[:, None], points.scale * 2 * pixel
    turned = (360 - points.direction) % 360
    return LocalFeatures(points.image, places, sizes, turned, points.response, descriptors(points, space))


def _least(points: Keypoints, count: int, most: int) -> torch.Tensor:
    """(count,) response of each image's keypoint number `most`, 0 where it has fewer."""
    least = torch.zeros(count, device=points.image.device)
    for number in (torch.bincount(points.image, minlength=count) > most).nonzero()[:, 0].tolist():
        least[number] = points.response[points.image == number].sort(descending=True).values[most - 1]
    return least


def _by_image(found: LocalFeatures, count: int) -> list[Detected]:
    """What was found in each of `count` images, the strongest first."""
    ends = np.cumsum(torch.bincount(found.image, minlength=count).cpu().numpy())[:-1]
    fields = (found.places, found.responses, found.descriptors)
    places, responses, rows = (np.split(each.cpu().numpy(), ends) for each in fields)
    orders = [np.argsort(-each, kind="stable")[:COUNT] for each in responses]
    return [Detected(*(each[order] for each in of)) for order, *of in zip(orders, places, responses, rows, strict=True)]
