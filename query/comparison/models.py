"""Models: the similarity that lays each of many real images over one generated image, from matches of their keypoints.

Descriptors are compared by products of matrices, and all real images are fitted at once. Descriptors are matched twice: near the
same place, since medical images show the same part of the body in the same pose and repeat themselves elsewhere, and, of the
strongest ones, anywhere. Together they go into one model (a similarity: shift, turn, scale). A copy that a generator bent obeys
it within a few pixels; unrelated images seldom have more than a handful of points that agree. Nothing is drawn at random.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.views.keypoints import COUNT, UNIT, WIDTH, Keypoints

# Chosen on benchmarks from seeds 101 and 102 (docs/METHODS.md). Similarities are products of descriptors, ONE for equal ones.
_ONE = UNIT * UNIT
_RATIO = 0.7  # of 1 - similarity, of the best match and the second best (Lowe, IJCV 2004), each less what its distance costs
_ANYWHERE = 100  # strongest keypoints that are also matched without regard to places
_ANYWHERE_RATIO = 0.64
_TOLERANCE = 5.25  # pixels by which an inlier may miss its place: generators bend
_FEWEST = 4  # matches from which a model is looked for
_PROPOSERS = 12  # most alike matches, each two of which propose a model
_APART = 20.0  # pixels that these two are apart at least
_SCALES = 0.4, 2.5  # of a model
_ROUNDS = 2  # of least squares

Complex = NDArray[np.complex64]


@dataclass(frozen=True)
class Model:
    """A similarity between two resized images, before anything is measured by it.

    Attributes:
        matches: how many there were.
        real, generated: (inliers, 2) float32 places.
        transform: (2, 3) float64 from places of the real image to those of the generated one; None where there is none.
    """

    matches: int
    real: NDArray[np.float32]
    generated: NDArray[np.float32]
    transform: NDArray[np.float64] | None

    @property
    def inliers(self) -> int:
        """How many matches the model explains."""
        return len(self.real)


@dataclass(frozen=True)
class _Matches:
    """Of c real images the matches with one generated image, the most alike first, at most m.

    Attributes:
        real, generated: (c, m) places as x + iy.
        there: (c, m) bool, whether this is a match, or only fills the array.
    """

    real: Complex
    generated: Complex
    there: NDArray[np.bool_]


def models(reals: Sequence[Keypoints], generated: Keypoints, device: str = "cpu") -> list[Model]:
    """The similarity that most matches agree on, for each real image; a real image's does not depend on the others.

    Each two of the 12 most alike matches propose one. The one with most inliers is fitted to them by least squares.

    Args:
        reals, generated: keypoints.
        device: where descriptors are compared: ``cpu``, ``cuda:N`` or ``cuda:all``; the answer is the same.
    """
    if not reals or len(generated) < _FEWEST:
        return [_nothing(0) for _ in reals]
    matches = _matches(reals, generated, device)
    scale, shift, inside = _fitted(matches, *_proposed(matches))
    return [
        _model(int(there.sum()), real[found], put[found], complex(a), complex(b))
        for there, real, put, found, a, b in zip(
            matches.there, matches.real, matches.generated, inside, scale, shift, strict=True
        )
    ]


def _nothing(matches: int) -> Model:
    return Model(matches, np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32), None)


def _model(matches: int, real: Complex, generated: Complex, a: complex, b: complex) -> Model:
    if len(real) < 2:
        return _nothing(matches)
    transform = np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]], np.float64)
    return Model(matches, _places(real), _places(generated), transform)


def _places(points: Complex) -> NDArray[np.float32]:
    """(n, 2) x and y."""
    return np.stack([points.real, points.imag], axis=1)


def _matches(reals: Sequence[Keypoints], generated: Keypoints, device: str) -> _Matches:
    """Descriptors that are each other's most alike and clearly so, near the same place or anywhere."""
    count = len(reals)
    near = _mutual([real.placed for real in reals], COUNT, _less_distance(generated.placed), _RATIO, device)
    few = [real.placed[:_ANYWHERE, :WIDTH] for real in reals]
    anywhere = _mutual(few, _ANYWHERE, generated.placed[:_ANYWHERE, :WIDTH], _ANYWHERE_RATIO, device)
    known = (near.alike[:, :_ANYWHERE] > -_ONE) & (near.column[:, :_ANYWHERE] == anywhere.column)
    alike = np.hstack([near.alike, np.where(known, np.float32(-_ONE), anywhere.alike)])
    column = np.hstack([near.column, anywhere.column])
    most = int((alike > -_ONE).sum(axis=1).max(initial=2))  # two, so that there is a pair to propose by
    order = np.argsort(-alike, axis=1, kind="stable")[:, :most]
    points = np.zeros((count, COUNT), np.complex64)
    for row, real in zip(points, reals, strict=True):
        row[: len(real)] = real.points
    points = np.hstack([points, points[:, :_ANYWHERE]])
    return _Matches(
        np.take_along_axis(points, order, axis=1),
        generated.points[np.take_along_axis(column, order, axis=1)],
        np.take_along_axis(alike, order, axis=1) > -_ONE,
    )


@dataclass(frozen=True)
class _Mutual:
    """Of c real images' keypoints the most alike of the generated image's.

    Attributes:
        alike: (c, count) float32 similarity; -ONE where the match is not mutual or not clear.
        column: (c, count) which it is.
    """

    alike: NDArray[np.float32]
    column: NDArray[np.intp]


def _mutual(
    reals: Sequence[NDArray[np.float32]], count: int, generated: NDArray[np.float32], ratio: float, device: str
) -> _Mutual:
    """Rows of c real images, (up to count, width) each, and of (n, width) that are each other's most alike, and clearly so."""
    stack = np.zeros((len(reals), count, generated.shape[1]), np.float32)  # rows of zeros are like nothing
    for each, real in zip(stack, reals, strict=True):
        each[: len(real)] = real
    first, column, second, back = most_alike(stack, generated) if device == "cpu" else _on_gpu(stack, generated, device)
    kept = (first > 0) & (np.take_along_axis(back, column, axis=1) == first)
    kept &= _ONE - first < ratio * (_ONE - second)
    return _Mutual(np.where(kept, first, np.float32(-_ONE)), column)


Alike = tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]


def most_alike(reals: NDArray[np.float32], generated: NDArray[np.float32]) -> Alike:
    """For each row of (c, m, width), of those of (n, width): similarity of the most alike, which it is (of equal ones the first),
    similarity of the second, all (c, m). And (c, n): similarity of each generated row to the most alike of each real image."""
    count, height = reals.shape[:2]
    first, second = np.empty((2, count, height), np.float32)
    column, back = np.empty((count, height), np.intp), np.empty((count, len(generated)), np.float32)
    alike, others, rows = np.empty((height, len(generated)), np.float32), np.ascontiguousarray(generated.T), np.arange(height)
    for number, real in enumerate(reals):  # one after the other: a product stays in the cache while it is looked at
        np.matmul(real, others, out=alike)
        alike.argmax(axis=1, out=column[number])
        alike.max(axis=0, out=back[number])
        first[number] = alike[rows, column[number]]
        alike[rows, column[number]] = -np.inf
        alike.max(axis=1, out=second[number])
    return first, column, second, back


def _on_gpu(reals: NDArray[np.float32], generated: NDArray[np.float32], device: str) -> Alike:
    from embeddings.gpu import alike

    return alike.most_alike(reals, generated, device)


def _less_distance(placed: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 36) whose products with `placed` ones of another image are similarities less squared distances of places."""
    d, place, square, one = np.split(placed, [WIDTH, WIDTH + 2, WIDTH + 3], axis=1)
    return np.hstack([d, 2 * place, one, square])


def _proposed(matches: _Matches) -> tuple[Complex, Complex]:
    """Scale-and-turn and shift (c,) of the proposal with most inliers: w = scale z + shift; 0 where there is none."""
    count = matches.real.shape[1]
    first, second = np.triu_indices(min(_PROPOSERS, count), 1)
    z, w = matches.real, matches.generated
    apart = z[:, first] - z[:, second]
    enough = matches.there.sum(axis=1, keepdims=True) >= _FEWEST
    good = (np.abs(apart) > _APART) & matches.there[:, second] & enough  # the first is there where the second is
    scale = np.divide(w[:, first] - w[:, second], apart, out=np.zeros_like(apart), where=good)
    good &= (np.abs(scale) > _SCALES[0]) & (np.abs(scale) < _SCALES[1])
    shift = w[:, first] - scale * z[:, first]
    inliers = _inside(matches, scale, shift).sum(axis=2)
    best = np.where(good, inliers, 0).argmax(axis=1)[:, None]
    found = np.take_along_axis(good, best, axis=1)
    scale, shift = (np.where(found, np.take_along_axis(each, best, axis=1), 0)[:, 0] for each in (scale, shift))
    return scale, shift


def _inside(matches: _Matches, scale: Complex, shift: Complex) -> NDArray[np.bool_]:
    """Which matches (c, p, m) each of p models (c, p) explains."""
    missed = matches.generated[:, None] - scale[..., None] * matches.real[:, None] - shift[..., None]
    return matches.there[:, None] & (missed.real**2 + missed.imag**2 < _TOLERANCE**2)


def _fitted(matches: _Matches, scale: Complex, shift: Complex) -> tuple[Complex, Complex, NDArray[np.bool_]]:
    """The models fitted to their inliers by least squares, as long as that loses none, and their inliers (c, m)."""
    z, w = matches.real, matches.generated
    inside = _inside(matches, scale[:, None], shift[:, None])[:, 0] & (scale != 0)[:, None]
    for _ in range(_ROUNDS):
        total = np.maximum(inside.sum(axis=1), 1)
        centre, target = (_total(inside * each) / total for each in (z, w))
        from_centre = inside * (z - centre[:, None])
        spread = np.maximum(_total(from_centre.real**2 + from_centre.imag**2), 1e-3)
        turned = (_total(np.conj(from_centre) * (w - target[:, None])) / spread).astype(np.complex64)
        moved = (target - turned * centre).astype(np.complex64)
        explained = _inside(matches, turned[:, None], moved[:, None])[:, 0]
        better = (explained.sum(axis=1) >= inside.sum(axis=1)) & (total > 1)
        scale, shift = np.where(better, turned, scale), np.where(better, moved, shift)
        inside = np.where(better[:, None], explained, inside)
    return scale, shift, inside


def _total(values: NDArray[Any]) -> NDArray[Any]:
    """(c,) sums of (c, m), one after the other: `sum` adds in an order that depends on m, and so on the other real images."""
    return values.cumsum(axis=1)[:, -1]
