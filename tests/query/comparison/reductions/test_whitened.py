"""Full whitening, held against NumPy."""

import numpy as np
import pytest

from embeddings.types import EmbeddingSpec, Metric
from query.comparison.reductions.attribution import Attribution
from query.comparison.reductions.driver import reduce
from query.comparison.reductions.ridge import floats
from query.comparison.reductions.rivals import Rivals
from query.comparison.reductions.sides import ViewVectors, real_side, shards
from query.comparison.reductions.weights import Weights
from query.comparison.reductions.whitened import SHARE, Whitened, factors_of, whitened_real

RNG = np.random.default_rng(4)
SPREAD = np.linspace(3, 0.2, 8)


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


REAL, GENERATED = unit(RNG.normal(size=(30, 8)) * SPREAD), unit(RNG.normal(size=(70, 8)) * SPREAD)
SEEN = np.arange(70) % 7 != 0


def test_factors_are_one_over_the_spread_of_the_axes_that_differ_most() -> None:
    factors = factors_of(GENERATED, ~SEEN, Metric.COSINE)
    spread = GENERATED[SEEN].astype(float).std(axis=0)
    assert SEEN.sum() // SHARE > 8
    np.testing.assert_allclose(factors, 1 / spread, rtol=1e-5)
    few = factors_of(GENERATED[:20], np.zeros(20, bool), Metric.COSINE)
    assert np.flatnonzero(few).tolist() == sorted(np.argsort(-GENERATED[:20].std(axis=0))[: 20 // SHARE].tolist())


def test_an_axis_along_which_nothing_differs_is_left_out() -> None:
    flat = GENERATED.copy()
    flat[:, 2] = 0.5
    assert np.flatnonzero(factors_of(flat, ~SEEN, Metric.COSINE) == 0).tolist() == [2]
    assert not factors_of(flat[:0], SEEN[:0], Metric.COSINE).any()


def test_codes_are_whitened_as_their_bits() -> None:
    codes = RNG.integers(0, 256, (40, 4), dtype=np.uint8)
    factors = factors_of(codes, np.zeros(40, bool), Metric.HAMMING)
    kept = factors > 0
    assert kept.sum() == 40 // SHARE
    np.testing.assert_allclose(factors[kept], 1 / floats(codes, Metric.HAMMING).std(axis=0)[kept], rtol=1e-5)


@pytest.mark.parametrize("size", [7, 70])
def test_what_is_reduced_is_reduced_of_vectors_over_their_spread(size: int) -> None:
    spec = EmbeddingSpec("sift", 8, Metric.COSINE, {})
    rivals, blank = Rivals.of(np.arange(30), REAL), (np.zeros(30, bool), ~SEEN)
    view = ViewVectors(spec, REAL, None, GENERATED, *blank)
    factors = factors_of(GENERATED, ~SEEN, Metric.COSINE)
    real = real_side({"sift": view})
    white = whitened_real(real["sift"], factors)
    found = Whitened("sift", white, factors, Attribution(Weights("sift", white, rivals)))
    reduce(real, shards({"sift": view}, size), [found])
    spread = GENERATED[SEEN].std(axis=0)
    by_hand = ViewVectors(spec, unit(REAL / spread), None, unit(GENERATED / spread), *blank)
    expected = Attribution(Weights("sift", real_side({"sift": by_hand})["sift"], rivals))
    reduce(real_side({"sift": by_hand}), shards({"sift": by_hand}, 70), [expected])
    np.testing.assert_allclose(found.result(), expected.result(), atol=1e-5)
    assert np.abs(found.result() - _plain(view, rivals)).max() > 0.01


def _plain(view: ViewVectors, rivals: Rivals) -> np.ndarray:
    plain = Attribution(Weights("sift", real_side({"sift": view})["sift"], rivals))
    reduce(real_side({"sift": view}), shards({"sift": view}, 70), [plain])
    return np.asarray(plain.result())
