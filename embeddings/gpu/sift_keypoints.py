"""Keypoints of SIFT in the scale space of many images, with OpenCV's conventions (sift.simd.hpp; Lowe, IJCV 2004)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch

from embeddings.gpu.sift_pyramid import BORDER, LAYERS, SIGMA, Octave

_STEPS = 5  # of the refinement at most
_EDGE = 10.0  # ratio of principal curvatures beyond which an extremum lies on an edge
_BINS = 36  # of the histogram of directions
_PEAK = 0.8  # of the highest peak, from which a further direction counts
_STEP = 4  # pixels between the sizes of surroundings
_CHUNK = 2048  # keypoints whose surroundings are in memory at a time


@dataclass(frozen=True)
class Keypoints:
    """Of one octave: m of them.

    Attributes:
        image, layer, row, column: (m,) int64, the pixel they were found at.
        x, y: (m,) float32 place in pixels of the octave.
        scale: (m,) float32 blur in pixels of the octave.
        response: (m,) float32 contrast.
        direction: (m,) float32 degrees, as OpenCV turns descriptors by it.
    """

    image: torch.Tensor
    layer: torch.Tensor
    row: torch.Tensor
    column: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    scale: torch.Tensor
    response: torch.Tensor
    direction: torch.Tensor

    def take(self, which: torch.Tensor) -> "Keypoints":
        """Some of them, by row or by mask."""
        return Keypoints(*(getattr(self, field.name)[which] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.image)


def keypoints(octave: Octave, contrast: float) -> Keypoints:
    """All keypoints of an octave whose contrast is at least `contrast` (SIFT's threshold, of LAYERS scales together)."""
    return _directed(_refined(octave.differences, _extrema(octave.differences, contrast), contrast), octave.blurred)


def _extrema(differences: torch.Tensor, contrast: float) -> torch.Tensor:
    """(m, 4) image, layer, row, column of values that no neighbour in place and scale exceeds."""
    threshold = math.floor(0.5 * contrast / LAYERS * 255)
    inside = differences[:, 1:-1, BORDER:-BORDER, BORDER:-BORDER]

    def highest(values: torch.Tensor) -> torch.Tensor:
        around = torch.nn.functional.max_pool3d(values[:, None], 3, stride=1)[:, 0]
        return around[:, :, BORDER - 1 : values.shape[2] - BORDER - 1, BORDER - 1 : values.shape[3] - BORDER - 1]

    high = (inside > threshold) & (inside >= highest(differences))
    low = (inside < -threshold) & (-inside >= highest(-differences))
    return (high | low).nonzero() + torch.tensor([0, 1, BORDER, BORDER], device=differences.device)


def _refined(differences: torch.Tensor, found: torch.Tensor, contrast: float) -> Keypoints:
    """Extrema moved to where a parabola through their neighbours has its top; without those of low contrast and on edges."""
    _, depth, height, width = differences.shape
    image, place = found[:, 0], found[:, 1:].clone()
    offset = torch.zeros(len(found), 3, dtype=torch.float64, device=found.device)
    done = torch.zeros(len(found), dtype=torch.bool, device=found.device)
    lost = torch.zeros_like(done)
    least = torch.tensor([1, BORDER, BORDER], device=found.device)
    most = torch.tensor([LAYERS, height - BORDER - 1, width - BORDER - 1], device=found.device)
    flat = differences.flatten()

    def at(layer: int, row: int, column: int) -> torch.Tensor:
        """Values beside the places, differences of grey levels as shares of 255."""
        z, y, x = place.unbind(dim=1)
        return flat[((image * depth + z + layer) * height + y + row) * width + x + column].double() / 255

    def derivatives() -> tuple[torch.Tensor, torch.Tensor]:
        """(m, 3) first and (m, 3, 3) second ones, of scale, row and column."""
        unit = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
        middle = 2 * at(0, 0, 0)
        slope = torch.stack([(at(*u) - at(*(-v for v in u))) / 2 for u in unit], dim=1)
        bend = torch.zeros(len(found), 3, 3, dtype=torch.float64, device=found.device)
        for i, a in enumerate(unit):
            bend[:, i, i] = at(*a) + at(*(-v for v in a)) - middle
            for j in range(i):
                plus, minus = [p + q for p, q in zip(a, unit[j], strict=True)], [p - q for p, q in zip(a, unit[j], strict=True)]
                mixed = at(*plus) + at(*(-v for v in plus)) - at(*minus) - at(*(-v for v in minus))
                bend[:, i, j] = bend[:, j, i] = mixed / 4
        return slope, bend

    for _ in range(_STEPS):
        slope, bend = derivatives()
        offset = torch.where(done[:, None], offset, -_solved(bend, slope))
        done |= ~lost & (offset.abs() < 0.5).all(dim=1)
        moved = place + torch.round(offset.clamp(-1e6, 1e6)).long()
        lost |= ~done & ((moved < least) | (moved > most)).any(dim=1)
        place = torch.where((done | lost)[:, None], place, moved)
    slope, bend = derivatives()
    value = at(0, 0, 0) + (slope * offset).sum(dim=1) / 2
    trace, determinant = bend[:, 1, 1] + bend[:, 2, 2], bend[:, 1, 1] * bend[:, 2, 2] - bend[:, 1, 2] ** 2
    flat_enough = (determinant > 0) & (trace**2 * _EDGE < (_EDGE + 1) ** 2 * determinant)
    kept = done & (value.abs() * LAYERS >= contrast) & flat_enough
    # extrema that moved to one place are one keypoint
    key = ((image * depth + place[:, 0]) * height + place[:, 1]) * width + place[:, 2]
    order = torch.argsort(torch.where(kept, key, key.max() + 1 if len(key) else 0), stable=True)[: int(kept.sum())]
    first = torch.ones(len(order), dtype=torch.bool, device=order.device)
    first[1:] = key[order][1:] != key[order][:-1]
    chosen = order[first]
    image, place, offset, value = image[chosen], place[chosen], offset[chosen].float(), value[chosen].abs().float()
    layer, row, column = place.unbind(dim=1)
    scale = SIGMA * 2 ** ((layer + offset[:, 0]) / LAYERS)
    nothing = torch.zeros_like(scale)
    return Keypoints(image, layer, row, column, column + offset[:, 2], row + offset[:, 1], scale, value, nothing)


def _solved(matrix: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """(m, 3) solutions by Cramer's rule; 0 where there is none, as OpenCV leaves them."""
    a, b, c = matrix.unbind(dim=2)
    determinant = _determinant(a, b, c)
    parts = [_determinant(right, b, c), _determinant(a, right, c), _determinant(a, b, right)]
    solution = torch.stack(parts, dim=1) / torch.where(determinant == 0, 1, determinant)[:, None]
    return torch.where((determinant == 0)[:, None], 0, solution)


def _determinant(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    product: torch.Tensor = torch.linalg.cross(b, c)
    return (a * product).sum(dim=1)


def _directed(points: Keypoints, blurred: torch.Tensor) -> Keypoints:
    """Each keypoint once for every main direction of the gradients around it."""
    if not len(points):
        return points
    parts = []
    for which, reach in by_reach(_radius(points), _CHUNK):
        some = points.take(which)
        histogram = _histogram(some, blurred, reach)
        before, after = histogram.roll(1, dims=1), histogram.roll(-1, dims=1)
        highest = histogram.amax(dim=1, keepdim=True)
        one, peak = ((histogram > before) & (histogram > after) & (histogram >= _PEAK * highest)).nonzero(as_tuple=True)
        top, left, right = histogram[one, peak], before[one, peak], after[one, peak]
        place = peak + 0.5 * (left - right) / (left - 2 * top + right)
        found = some.take(one)
        parts.append(replace(found, direction=(place % _BINS) * (360 / _BINS)))
    return Keypoints(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(points)))


def _radius(points: Keypoints) -> torch.Tensor:
    return torch.round(4.5 * points.scale)


def by_reach(radius: torch.Tensor, chunk: int) -> Iterator[tuple[torch.Tensor, int]]:
    """Rows of about one radius, at most `chunk` at a time, and a reach that holds them: so it does not depend on companions."""
    reaches = (radius / _STEP).ceil().long() * _STEP
    for reach in reaches.unique().tolist():
        for which in (reaches == reach).nonzero()[:, 0].split(chunk):
            yield which, reach


def _histogram(points: Keypoints, blurred: torch.Tensor, reach: int) -> torch.Tensor:
    """(m, 36) smoothed histogram of the gradients' directions, by their length and nearness."""
    radius = _radius(points)
    down, right = window(reach, blurred.device)
    across, up, inside = gradients(points, blurred, down, right)
    inside &= (down.abs() <= radius[:, None]) & (right.abs() <= radius[:, None])
    weight = torch.exp(-(down**2 + right**2) / (2 * (1.5 * points.scale[:, None]) ** 2))
    bins = torch.round(angle(up, across) * (_BINS / 360)).long() % _BINS
    amounts = torch.where(inside, weight * torch.hypot(across, up), 0)
    # one product for each bin instead of sums by index, whose order is not fixed on a GPU
    raw = torch.stack([(amounts * (bins == number)).sum(dim=1) for number in range(_BINS)], dim=1)
    near, far = raw.roll(1, dims=1) + raw.roll(-1, dims=1), raw.roll(2, dims=1) + raw.roll(-2, dims=1)
    return far / 16 + near * (4 / 16) + raw * (6 / 16)


def window(reach: int, where: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(s,) rows and columns of the pixels around a place, from -reach to reach."""
    side = torch.arange(-reach, reach + 1, device=where)
    down, right = torch.meshgrid(side, side, indexing="ij")
    return down.flatten(), right.flatten()


def gradients(
    points: Keypoints, blurred: torch.Tensor, down: torch.Tensor, right: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(m, s) gradients to the right and upwards beside the keypoints' pixels, in their layer, and whether the image has them."""
    _, depth, height, width = blurred.shape
    row, column = points.row[:, None] + down, points.column[:, None] + right
    inside = (row > 0) & (row < height - 1) & (column > 0) & (column < width - 1)
    place = row.clamp(1, height - 2) * width + column.clamp(1, width - 2)
    place += ((points.image * depth + points.layer) * height * width)[:, None]
    flat = blurred.flatten()
    return flat[place + 1] - flat[place - 1], flat[place - width] - flat[place + width], inside


def angle(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Degrees 0 to 360, by the polynomial of OpenCV's `fastAtan2`: directions decide the bin of a histogram."""
    ax, ay = x.abs(), y.abs()
    c = torch.minimum(ax, ay) / (torch.maximum(ax, ay) + 2.220446e-16)
    square = c * c
    a = (((-2.539725 * square + 8.914001) * square - 18.667446) * square + 57.283627) * c
    a = torch.where(ax >= ay, a, 90 - a)
    a = torch.where(x < 0, 180 - a, a)
    return torch.where(y < 0, 360 - a, a)
