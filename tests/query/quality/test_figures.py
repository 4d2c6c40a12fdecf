"""Fidelity figures against the papers' formulas by brute force, examples worked by hand, and SciPy's root of a matrix."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from query.quality import figures
from query.quality.figures import Features, FidelityError, Figure, Own, compared, frechet, on_grid

Matrix = NDArray[np.float64]


def prdc_of(real: Matrix, generated: Matrix, k: int) -> dict[Figure, float]:
    one, two = on_grid(real, generated)
    found = compared(Own.of(one, k), Own.of(two, k))
    return {figure: found[figure] for figure in (Figure.PRECISION, Figure.RECALL, Figure.DENSITY, Figure.COVERAGE)}


def kernel_distance(first: Features, second: Features) -> float:
    return compared(Own.of(first, 1), Own.of(second, 1))[Figure.KERNEL]


def slow_prdc(real: Matrix, generated: Matrix, k: int) -> dict[Figure, float]:
    """As the papers say it, one image after the other."""

    def radius(image: int, own: Matrix) -> float:
        return sorted(float(np.linalg.norm(own[image] - other)) for place, other in enumerate(own) if place != image)[k - 1]

    real_radii, generated_radii = ([radius(image, own) for image in range(len(own))] for own in (real, generated))
    inside = [[float(np.linalg.norm(x - y)) <= r for x, r in zip(real, real_radii, strict=True)] for y in generated]
    recalled = [any(np.linalg.norm(x - y) <= r for y, r in zip(generated, generated_radii, strict=True)) for x in real]
    return {
        Figure.PRECISION: float(np.mean([any(row) for row in inside])),
        Figure.RECALL: float(np.mean(recalled)),
        Figure.DENSITY: sum(map(sum, inside)) / (k * len(generated)),
        Figure.COVERAGE: float(np.mean([any(row[image] for row in inside) for image in range(len(real))])),
    }


@pytest.mark.parametrize(("k", "shift"), [(1, 0.0), (5, 0.5), (3, 1.5)])
def test_prdc_equals_the_formulas(k: int, shift: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_PAIRS", 200)  # several tiles
    rng = np.random.default_rng(k)
    real, generated = rng.normal(0, 1, (40, 4)), rng.normal(shift, 0.7, (55, 4))
    assert prdc_of(real, generated, k) == pytest.approx(slow_prdc(real, generated, k))


def test_prdc_by_hand() -> None:
    # on a line, k = 1: real radii 1, 1, 8 (0 to 1, 1 to 0, 9 to 1); generated ones 0.5, 0.5, 19.5
    real, generated = np.array([[0.0], [1], [9]]), np.array([[0.25], [0.75], [30]])
    # 0.25 and 0.75 lie within all but that of 9 (0.25 is 8.75 away, 0.75 is 8.25): 2 + 2 + 0 of 3. 30 reaches 0.75: 29.25
    assert prdc_of(real, generated, 1) == pytest.approx(
        {Figure.PRECISION: 2 / 3, Figure.RECALL: 1.0, Figure.DENSITY: 4 / 3, Figure.COVERAGE: 2 / 3}
    )


def test_copies_lie_on_the_radius_exactly() -> None:
    # each generated image is a copy of the nearest neighbour of a real one: its distance is the radius to the last bit
    rng = np.random.default_rng(0)
    real = rng.normal(0, 30, (64, 300)) + 100
    found = prdc_of(real, real[::-1].copy(), 1)
    assert (found[Figure.PRECISION], found[Figure.RECALL], found[Figure.COVERAGE]) == (1, 1, 1)
    distances = np.linalg.norm(real[:, None] - real[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(axis=1)
    # a copy lies within its own image's radius, and within that of each image that it is the nearest of
    assert found[Figure.DENSITY] == pytest.approx(1 + np.mean(np.bincount(nearest, minlength=64)))


def test_one_set_repeated_is_covered_though_its_radii_are_0() -> None:
    real = np.repeat([[0.0, 1], [2, 3]], 4, axis=0)
    assert set(prdc_of(real, real[:6].copy(), 2).values()) == {1.0, 4 / 2}


def test_too_few_images_are_refused() -> None:
    with pytest.raises(FidelityError, match="5 images of a side are too few for k = 5"):
        prdc_of(np.zeros((5, 2)), np.zeros((9, 2)), 5)


def sqrtm_frechet(first: Matrix, second: Matrix) -> float:
    """The formula as it stands, with SciPy's root of the product."""
    difference = first.mean(axis=0) - second.mean(axis=0)
    one, two = (np.cov(each, rowvar=False) for each in (first, second))
    return float(difference @ difference + np.trace(one + two - 2 * sqrtm(one @ two).real))


@pytest.mark.parametrize(("n", "m"), [(60, 80), (60, 5), (6, 200), (4, 5)], ids=["full rank", "few", "few real", "both few"])
def test_frechet_equals_the_formula_with_scipys_root(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    mix = rng.normal(0, 1, (8, 8))
    first, second = rng.normal(0, 1, (n, 8)) @ mix, rng.normal(0.3, 1.5, (m, 8))
    assert frechet(first, second) == pytest.approx(sqrtm_frechet(first, second), rel=1e-5)
    assert frechet(first, first.copy()) == pytest.approx(0, abs=1e-9)


def test_frechet_of_shifted_and_scaled_sets_by_hand() -> None:
    # equal shapes: |shift|^2, and (a - b)^2 of the total variance 2 for a scale of a against b
    square = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]) * np.sqrt(3) / 2  # variance 1 in either direction
    assert frechet(square, square + np.array([3.0, 4])) == pytest.approx(25)
    assert frechet(square, square * 3) == pytest.approx(2 * (3 - 1) ** 2)


def test_kernel_distance_is_the_mean_over_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_PAIRS", 50)
    rng = np.random.default_rng(5)
    first, second = rng.normal(0, 1, (9, 4)), rng.normal(0.5, 1, (12, 4))

    def kernel(x: Matrix, y: Matrix) -> float:
        return float((x @ y / 4 + 1) ** 3)

    ours = np.mean([kernel(x, y) for i, x in enumerate(first) for j, y in enumerate(first) if i != j])
    theirs = np.mean([kernel(x, y) for i, x in enumerate(second) for j, y in enumerate(second) if i != j])
    between = np.mean([kernel(x, y) for x in first for y in second])
    assert kernel_distance(*on_grid(first, second)) == pytest.approx(ours + theirs - 2 * between, rel=1e-6)


def test_kernel_distance_has_no_bias_where_frechet_has() -> None:
    rng = np.random.default_rng(0)
    kernel, gauss = [], []
    for _ in range(300):
        first, second = on_grid(rng.normal(0, 1, (12, 3)), rng.normal(0, 1, (12, 3)))
        kernel.append(kernel_distance(first, second))
        gauss.append(frechet(first.values, second.values))
    assert abs(np.mean(kernel)) < 3 * np.std(kernel) / np.sqrt(300)
    assert np.mean(gauss) > 0.5


def test_the_grid_keeps_values_and_sums_exactly() -> None:
    rng = np.random.default_rng(1)
    first, second = on_grid(rng.normal(5, 200, (50, 512)).astype(np.float32), rng.normal(0, 1, (20, 512)).astype(np.float32))
    whole = [each.rows.astype(object) for each in (first, second)]  # Python's integers, of any length
    products = np.array([[int(sum(map(lambda a, b: int(a) * int(b), x, y))) for y in whole[1]] for x in whole[0][:3]])
    assert (first.rows[:3] @ second.rows.T).tolist() == products.tolist()
    assert max(int(sum(int(a) ** 2 for a in row)) for row in whole[0]) <= 2**50
