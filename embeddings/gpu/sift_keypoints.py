"""Keypoints of SIFT in the scale space of many images, with OpenCV's conventions (sift.simd.hpp; Lowe, IJCV 2004)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch

from embeddings.gpu.sift_pyramid import BORDER, LAYERS, SIGMA, ScaleSpace

_STEPS = 5  # of the refinement at most
_EDGE = 10.0  # ratio of principal curvatures beyond which an extremum lies on an edge
_BINS = 36  # of the histogram of directions
_PEAK = 0.8  # of the highest peak, from which a further direction counts
_RING = 4  # pixels between the sizes of surroundings
NUMBERS = 1 << 26  # in memory at a time for the surroundings of keypoints


@dataclass(frozen=True)
class Keypoints:
    """m of them, of many images.

    Attributes:
        octave, image, layer, row, column: (m,) int64, the pixel they were found at.
        x, y: (m,) float32 place in pixels of the octave.
        scale: (m,) float32 blur in pixels of the octave.
        response: (m,) float32 contrast.
        direction: (m,) float32 degrees, as OpenCV turns descriptors by it.
    """

    octave: torch.Tensor
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


def keypoints(space: ScaleSpace, contrast: float) -> Keypoints:
    """All keypoints whose contrast is at least `contrast` (SIFT's threshold, of LAYERS scales together)."""
    found = [_extrema(number, differences, contrast) for number, differences in enumerate(space.octaves)]
    none = torch.zeros(0, 5, dtype=torch.int64, device=space.blurred.device)
    return _directed(_refined(space, torch.cat([none, *found]), contrast), space)


def _extrema(octave: int, differences: torch.Tensor, contrast: float) -> torch.Tensor:
    """(m, 5) octave, image, layer, row, column of values that no neighbour in place and scale exceeds."""
    threshold = math.floor(0.5 * contrast / LAYERS * 255)
    inside = differences[:, 1:-1, BORDER:-BORDER, BORDER:-BORDER]

    def highest(values: torch.Tensor) -> torch.Tensor:
        around = torch.nn.functional.max_pool3d(values[:, None], 3, stride=1)[:, 0]
        return around[:, :, BORDER - 1 : values.shape[2] - BORDER - 1, BORDER - 1 : values.shape[3] - BORDER - 1]

    high = (inside > threshold) & (inside >= highest(differences))
    low = (inside < -threshold) & (-inside >= highest(-differences))
    return torch.nn.functional.pad((high | low).nonzero(), (1, 0)) + high.new_tensor(
        [octave, 0, 1, BORDER, BORDER], dtype=torch.int64
    )


def _refined(space: ScaleSpace, found: torch.Tensor, contrast: float) -> Keypoints:
    """Extrema moved to where a parabola through their neighbours has its top; without those of low contrast and on edges."""
    octave, image = found[:, 0], found[:, 1]
    height, width = space.heights[octave], space.widths[octave]
    start = space.starts[octave, 0] + image * (LAYERS + 2) * height * width
    step = torch.stack([height * width, width, torch.ones_like(width)], dim=1)  # to the next layer, row, column
    side = torch.arange(-1, 2, device=found.device)
    beside = (torch.cartesian_prod(side, side, side) * step[:, None]).sum(dim=2)  # (m, 27); a GPU has no whole-number product
    least = torch.tensor([1, BORDER, BORDER], device=found.device)
    most = torch.stack([torch.full_like(height, LAYERS), height - BORDER - 1, width - BORDER - 1], dim=1)

    def around(place: torch.Tensor) -> torch.Tensor:
        """(m, 3, 3, 3) values by layer, row and column, differences of grey levels as shares of 255."""
        middle = start + (place * step).sum(dim=1)
        return space.differences[middle[:, None] + beside].double().view(-1, 3, 3, 3) / 255

    place, offset = found[:, 2:], torch.zeros(len(found), 3, dtype=torch.float64, device=found.device)
    done = torch.zeros(len(found), dtype=torch.bool, device=found.device)
    lost = torch.zeros_like(done)
    for _ in range(_STEPS):
        slope, bend = _derivatives(around(place))
        offset = torch.where(done[:, None], offset, -_solved(bend, slope))
        done |= ~lost & (offset.abs() < 0.5).all(dim=1)
        moved = place + torch.round(offset.clamp(-1e6, 1e6)).long()
        lost |= ~done & ((moved < least) | (moved > most)).any(dim=1)
        place = torch.where((done | lost)[:, None], place, moved)
    values = around(place)
    slope, bend = _derivatives(values)
    value = (values[:, 1, 1, 1] + (slope * offset).sum(dim=1) / 2).abs()
    trace, determinant = bend[:, 1, 1] + bend[:, 2, 2], bend[:, 1, 1] * bend[:, 2, 2] - bend[:, 1, 2] ** 2
    flat_enough = (determinant > 0) & (trace**2 * _EDGE < (_EDGE + 1) ** 2 * determinant)
    which = (done & (value * LAYERS >= contrast) & flat_enough).nonzero()[:, 0]
    which = which[_first_of_each((start + (place * step).sum(dim=1))[which])]  # some moved to one place
    layer, row, column = place[which].unbind(dim=1)
    shift = offset[which].float()
    scale = SIGMA * 2 ** ((layer + shift[:, 0]) / LAYERS)
    where = octave[which], image[which], layer, row, column
    return Keypoints(*where, column + shift[:, 2], row + shift[:, 1], scale, value[which].float(), torch.zeros_like(scale))


def _derivatives(cube: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(m, 3) first and (m, 3, 3) second ones in the middle of (m, 3, 3, 3), by layer, row and column."""
    middle = cube[:, 1, 1, 1]
    lines = (cube[:, :, 1, 1], cube[:, 1, :, 1], cube[:, 1, 1, :])
    planes = {(0, 1): cube[:, :, :, 1], (0, 2): cube[:, :, 1, :], (1, 2): cube[:, 1]}
    bend = cube.new_empty(len(cube), 3, 3)
    for axis, line in enumerate(lines):
        bend[:, axis, axis] = line[:, 0] + line[:, 2] - 2 * middle
    for (one, other), plane in planes.items():
        mixed = (plane[:, 2, 2] - plane[:, 2, 0] - plane[:, 0, 2] + plane[:, 0, 0]) / 4
        bend[:, one, other] = bend[:, other, one] = mixed
    return torch.stack([(line[:, 2] - line[:, 0]) / 2 for line in lines], dim=1), bend


def _first_of_each(keys: torch.Tensor) -> torch.Tensor:
    """Rows of different keys, in the order of the keys."""
    order = torch.argsort(keys, stable=True)
    ordered = keys[order]
    first = torch.ones(len(keys), dtype=torch.bool, device=keys.device)
    first[1:] = ordered[1:] != ordered[:-1]
    return order[first]


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


def _directed(points: Keypoints, space: ScaleSpace) -> Keypoints:
    """Each keypoint once for every main direction of the gradients around it."""
    parts = [points.take(points.image[:0])]
    for which, reach in by_reach(_radius(points), _BINS):
        some = points.take(which)
        histogram = _histogram(some, space, reach)
        before, after = histogram.roll(1, dims=1), histogram.roll(-1, dims=1)
        highest = histogram.amax(dim=1, keepdim=True)
        one, peak = ((histogram > before) & (histogram > after) & (histogram >= _PEAK * highest)).nonzero(as_tuple=True)
        top, left, right = histogram[one, peak], before[one, peak], after[one, peak]
        place = peak + 0.5 * (left - right) / (left - 2 * top + right)
        parts.append(replace(some.take(one), direction=(place % _BINS) * (360 / _BINS)))
    return Keypoints(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(points)))


def _radius(points: Keypoints) -> torch.Tensor:
    return torch.round(4.5 * points.scale)


def by_reach(radius: torch.Tensor, width: int) -> Iterator[tuple[torch.Tensor, int]]:
    """Rows of about one radius, and a reach that holds their surroundings: it does not depend on companions.

    Args:
        radius: (m,) of each row.
        width: numbers that are kept for each pixel around; there are at most NUMBERS in all.
    """
    reaches = (radius / _RING).ceil().long() * _RING
    for reach in reaches.unique().tolist():
        for which in (reaches == reach).nonzero()[:, 0].split(max(1, NUMBERS // (width * (2 * reach + 1) ** 2))):
            yield which, reach


def _histogram(points: Keypoints, space: ScaleSpace, reach: int) -> torch.Tensor:
    """(m, 36) smoothed histogram of the gradients' directions, by their length and nearness."""
    radius = _radius(points)
    down, right = window(reach, radius.device)
    across, up, inside = gradients(points, space, down, right)
    inside &= (down.abs() <= radius[:, None]) & (right.abs() <= radius[:, None])
    weight = torch.exp(-(down**2 + right**2) / (2 * (1.5 * points.scale[:, None]) ** 2))
    bins = torch.round(angle(up, across) * (_BINS / 360)).long() % _BINS
    amounts = torch.where(inside, weight * torch.hypot(across, up), 0)
    member = (bins[..., None] == torch.arange(_BINS, device=bins.device)).float()
    raw = (amounts[:, None] @ member)[:, 0]  # a product: a sum by index has no fixed order on a GPU
    near, far = raw.roll(1, dims=1) + raw.roll(-1, dims=1), raw.roll(2, dims=1) + raw.roll(-2, dims=1)
    return far / 16 + near * (4 / 16) + raw * (6 / 16)


def window(reach: int, where: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(s,) rows and columns of the pixels around a place, from -reach to reach."""
    side = torch.arange(-reach, reach + 1, device=where)
    down, right = torch.meshgrid(side, side, indexing="ij")
    return down.flatten(), right.flatten()


def gradients(
    points: Keypoints, space: ScaleSpace, down: torch.Tensor, right: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(m, s) gradients to the right and upwards beside the keypoints' pixels, in their layer, and whether the image has them."""
    height, width = space.heights[points.octave][:, None], space.widths[points.octave][:, None]
    row, column = points.row[:, None] + down, points.column[:, None] + right
    inside = (row > 0) & (row < height - 1) & (column > 0) & (column < width - 1)
    layer = (points.image * (LAYERS + 3) + points.layer)[:, None]
    start = space.starts[points.octave, 1][:, None] + layer * height * width
    place = torch.where(inside, start + row * width + column, start + width + 1)  # elsewhere any pixel that has neighbours
    flat = space.blurred
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
