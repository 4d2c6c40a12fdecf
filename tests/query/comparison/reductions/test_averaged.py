"""The average of the generated images in which a real one takes the largest part, held against whole matrices."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.types import EmbeddingSpec, Metric
from query.comparison.reductions.averaged import Averaged
from query.comparison.reductions.driver import reduce
from query.comparison.reductions.rivals import Rivals
from query.comparison.reductions.sides import ViewVectors, real_side, shards
from query.comparison.reductions.weights import Weights
from tests.helpers.sides import at_random
from tests.helpers.slow_measures import averaged, weights_of

GROUPS = np.append(np.arange(22), [0, 1, 1])


def reduced(views: dict[str, ViewVectors], rivals: Rivals, view: str, size: int) -> NDArray[np.float64]:
    """Chosen by the first view, explained in `view`."""
    real = real_side(views)
    weights = {name: Weights(name, real[name], rivals) for name in views}
    parts = [Averaged(weights[next(iter(views))], weights[view]) for _ in range(2)]
    for number, shard in enumerate(shards(views, size)):
        reduce(real, [shard], [parts[number % 2]])
    parts[1].merge(parts[0])
    return parts[1].result()


@pytest.mark.parametrize("mirrored", [False, True], ids=["plain", "flipped"])
@pytest.mark.parametrize("name", ["phash", "sift"])
def test_the_average_is_explained_like_a_generated_image(name: str, mirrored: bool) -> None:
    view = at_random(np.random.default_rng(3), 25, 40, mirrored)[name]
    blank = (np.arange(25) == 7, np.arange(40) % 9 == 1)
    view = replace(view, real_blank=blank[0], generated_blank=blank[1])
    rivals = Rivals.of(GROUPS, view.real)
    expected = averaged(view, rivals, weights_of(view, rivals))
    found = reduced({name: view}, rivals, name, 40)
    np.testing.assert_allclose(found, expected, atol=1e-5)  # float32 in another order: 2.3e-6 with AVX2
    assert reduced({name: view}, rivals, name, 11).tobytes() == found.tobytes()
    order = np.random.default_rng(1).permutation(40)
    turned = replace(view, generated=view.generated[order], generated_blank=view.generated_blank[order])
    np.testing.assert_allclose(reduced({name: turned}, rivals, name, 40), found, atol=1e-9)


def test_variations_of_an_image_average_to_it_and_not_to_one_that_resembles_it() -> None:
    """Half of the real images are remembered, the others resemble one that is remembered and not shown."""
    rng = np.random.default_rng(5)
    remembered = rng.normal(size=(40, 60))
    real = remembered.copy()
    real[20:] += 0.8 * rng.normal(size=(20, 60))
    made = np.repeat(remembered, 15, axis=0) + 1.2 * rng.normal(size=(600, 60))
    unit = [(each / np.linalg.norm(each, axis=1, keepdims=True)).astype(np.float32) for each in (real, made)]
    flags = np.zeros(40, bool), np.zeros(600, bool)
    view = ViewVectors(EmbeddingSpec("sift", 60, Metric.COSINE), unit[0], None, unit[1], *flags)
    value = reduced({"sift": view}, Rivals.of(np.arange(40), unit[0]), "sift", 600)
    assert np.mean(value[:20, None] > value[20:]) > 0.98


def test_one_view_chooses_and_another_explains() -> None:
    """A real image that resembles in the choosing view alone gets no part in the other; one that resembles in both keeps it."""
    rng = np.random.default_rng(6)
    sides = {}
    for name in ("pixels", "resnet"):
        real = rng.normal(size=(30, 40))
        made = np.repeat(real[:10], 6, axis=0) + 0.5 * rng.normal(size=(60, 40))
        if name == "resnet":
            made[:30] = rng.normal(size=(30, 40))
        unit = [(each / np.linalg.norm(each, axis=1, keepdims=True)).astype(np.float32) for each in (real, made)]
        flags = np.zeros(30, bool), np.zeros(60, bool)
        sides[name] = ViewVectors(EmbeddingSpec(name, 40, Metric.COSINE), unit[0], None, unit[1], *flags)
    rivals = Rivals.of(np.arange(30), sides["pixels"].real)
    chosen, both = reduced(sides, rivals, "pixels", 60), reduced(sides, rivals, "resnet", 60)
    assert chosen[:10].min() > 0.5
    assert both[5:10].min() > 0.5 > both[:5].max()
