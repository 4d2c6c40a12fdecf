"""Whitening against a plain singular value decomposition in double precision."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.views.whitening import MIN_SAMPLE, Whitening, digest, fit_whitening, unit_rows

SHAPES = [(300, 40), (80, 200)]  # more vectors than components, and fewer
RANK = 20


def correlated(n: int, d: int, seed: int = 0) -> NDArray[np.float32]:
    """Vectors away from the origin that vary in `RANK` directions, 30 times as much in the first as in the last."""
    basis = np.linalg.qr(np.random.default_rng(d).normal(size=(d, RANK)))[0]
    amounts = np.random.default_rng(seed).normal(size=(n, RANK)) * np.geomspace(1, 1 / 30, RANK)
    return np.asarray(amounts @ basis.T + 1, np.float32)


def by_svd(sample: NDArray[np.float32], queries: NDArray[np.float32], dim: int, power: float) -> NDArray[np.float64]:
    mean = sample.astype(np.float64).mean(axis=0)
    _, singular, axes = np.linalg.svd(sample - mean, full_matrices=False)
    rank = min(dim, RANK)
    spread = singular[:rank] / np.sqrt(len(sample) - 1)
    out = (queries - mean) @ axes[:rank].T / spread**power
    return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True), np.float64)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("dim", [10, 1000])
@pytest.mark.parametrize("shape", SHAPES)
def test_cosines_equal_those_after_svd(shape: tuple[int, int], dim: int, power: float) -> None:
    sample, queries = correlated(*shape), correlated(50, shape[1], seed=1)
    whitening = fit_whitening(sample, dim, power)
    assert whitening is not None
    expected = by_svd(sample, queries, dim, power)
    got = whitening.apply(queries)
    assert got.dtype == np.float32
    assert got.shape == expected.shape
    # axes are defined up to their sign: cosines, and absolute components, are what counts
    assert np.allclose(got @ got.T, expected @ expected.T, atol=2e-3)
    assert np.allclose(np.abs(got[:, :5]), np.abs(expected[:, :5]), atol=2e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_whitened_sample_has_the_identity_for_covariance(shape: tuple[int, int]) -> None:
    sample = correlated(*shape)
    whitening = fit_whitening(sample, 1000, 1.0)
    assert whitening is not None
    white = (sample - whitening.mean) @ whitening.axes
    assert np.allclose(np.cov(white.T), np.eye(RANK), atol=1e-3)


def test_a_row_does_not_depend_on_the_others() -> None:
    whitening = fit_whitening(correlated(200, 300), 20, 0.5)
    assert whitening is not None
    queries = correlated(101, 300, seed=2)
    together = whitening.apply(queries)
    order = np.random.default_rng(0).permutation(101)
    assert np.array_equal(whitening.apply(queries[order]), together[order])
    assert np.array_equal(np.vstack([whitening.apply(query[None]) for query in queries]), together)
    assert whitening.apply(queries[:0]).shape == (0, 20)


def test_too_small_and_constant_samples_teach_nothing() -> None:
    sample = correlated(MIN_SAMPLE, 40)
    assert fit_whitening(sample, 10, 1.0) is not None
    assert fit_whitening(sample[:-1], 10, 1.0) is None
    assert fit_whitening(sample[:0], 10, 1.0) is None
    for constant in (0.0, 1.0, 0.1):
        assert fit_whitening(np.full((100, 40), constant, np.float32), 10, 1.0) is None


def test_copies_of_few_vectors_give_finite_unit_rows() -> None:
    sample = correlated(3, 40)[np.arange(90) % 3]  # rank 2
    whitening = fit_whitening(sample, 10, 1.0)
    assert whitening is not None
    assert whitening.dim == 2
    vectors = whitening.apply(correlated(20, 40, seed=1))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_mean_itself_gets_a_defined_direction() -> None:
    whitening = fit_whitening(correlated(100, 40), 10, 0.5)
    assert whitening is not None
    assert whitening.apply(whitening.mean[None])[0].tolist() == [1.0] + [0.0] * 9


def test_unit_rows_leave_their_input_alone_and_define_zero() -> None:
    vectors = np.array([[3, 4], [0, 0], [1e-20, 0], [1e20, 1e20]], np.float32)
    before = vectors.copy()
    assert np.allclose(unit_rows(vectors), np.array([[0.6, 0.8], [1, 0], [1, 0], [0.5**0.5] * 2]))
    assert np.array_equal(vectors, before)


def test_arrays_bring_it_back() -> None:
    whitening = fit_whitening(correlated(100, 40), 10, 0.5)
    assert whitening is not None
    again = Whitening.from_arrays(dict(whitening.arrays()))
    assert again is not None
    assert np.array_equal(again.apply(correlated(9, 40)), whitening.apply(correlated(9, 40)))
    assert Whitening.from_arrays({}) is None


def test_the_digest_sees_names_types_shapes_and_values() -> None:
    array = np.arange(6, dtype=np.float32)
    variants: list[dict[str, NDArray[Any]]] = [
        {"a": array},
        {"b": array},
        {"a": array.astype(np.int32)},
        {"a": array.reshape(2, 3)},
        {"a": array + 1},
        {},
    ]
    assert len({digest(arrays) for arrays in variants}) == len(variants)
    assert digest({"a": array, "b": array}) == digest({"b": array.copy(), "a": array[::1]})
    assert digest({"a": np.ones((3, 4))[:, ::2]}) == digest({"a": np.ones((3, 2))})
