"""View `phash` in batches against imagehash itself."""

import numpy as np
import pytest

from embeddings.gpu.phash import GpuPHash
from embeddings.types import GreyImage
from embeddings.views.phash import PHash
from tests.embeddings.views.test_phash import many_images


@pytest.mark.parametrize("bits", [64, 256])
def test_codes_are_those_of_the_cpu_bit_for_bit(bits: int) -> None:
    images = many_images()
    made, truth = GpuPHash(bits, {}).embed(images), PHash(bits, {}).embed(images)
    assert np.array_equal(made.vectors, truth.vectors)
    assert np.array_equal(made.blank, truth.blank)


def test_few_images_need_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in which rounding could decide a bit: symmetrical ones, not pictures."""
    asked: list[int] = []
    plain = PHash.features

    def noted(self: PHash, images: list[GreyImage]) -> object:
        asked.append(len(images))
        return plain(self, images)

    monkeypatch.setattr(PHash, "features", noted)
    random = np.random.default_rng(0).integers(0, 256, (20, 256, 256), dtype=np.uint8)
    GpuPHash(256, {}).features(list(random))
    assert asked == []
    GpuPHash(256, {}).features([random[0], np.repeat(random[0][:1], 256, axis=0)])
    assert asked == [1]
