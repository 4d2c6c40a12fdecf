"""Descriptors of SIFT keypoints, with OpenCV's conventions (sift.simd.hpp, calcSIFTDescriptor): histograms as matrix products."""

import math

import torch

from embeddings.gpu.sift_keypoints import Keypoints, angle, by_reach, gradients, window
from embeddings.gpu.sift_pyramid import ScaleSpace

_CELLS = 4  # along each side
_BINS = 8  # directions of each cell
_CELL = 3.0  # scales across a cell
_MOST = 0.2  # of the length, that one value may have
_UNIT = 512.0  # length of a descriptor, before it is cut to 8 bits


def descriptors(points: Keypoints, space: ScaleSpace) -> torch.Tensor:
    """(m, 128) uint8 of keypoints."""
    out = torch.empty(len(points), _CELLS**2 * _BINS, dtype=torch.uint8, device=space.blurred.device)
    diagonal = torch.hypot(space.heights.float(), space.widths.float()).floor()[points.octave]
    radius = torch.round(points.scale * (_CELL * math.sqrt(2) * (_CELLS + 1) / 2)).minimum(diagonal)
    for which, reach in by_reach(radius, _CELLS**2 + 2 * _BINS):
        out[which] = _some(points.take(which), space, radius[which], reach)
    return out


def _some(points: Keypoints, space: ScaleSpace, radius: torch.Tensor, reach: int) -> torch.Tensor:
    cell = _CELL * points.scale
    down, right = window(reach, radius.device)
    across, up, inside = gradients(points, space, down, right)
    turn = torch.deg2rad(points.direction)
    cosine, sine = (torch.cos(turn) / cell)[:, None], (torch.sin(turn) / cell)[:, None]
    column, row = right * cosine - down * sine, right * sine + down * cosine
    inside &= (down.abs() <= radius[:, None]) & (right.abs() <= radius[:, None])
    weight = torch.exp(-(column**2 + row**2) / (_CELLS**2 / 2)) * torch.hypot(across, up)
    weight = torch.where(inside, weight, 0)
    middle = _CELLS / 2 - 0.5
    by_row, by_column = _shares(row + middle) * weight[..., None], _shares(column + middle)
    bins = (angle(up, across) - points.direction[:, None]) * (_BINS / 360)
    half = _BINS // 2
    off = (bins[..., None] - torch.arange(_BINS, device=bins.device) + half) % _BINS - half
    by_bin = (1 - off.abs()).clamp(min=0)
    cells = (by_row[..., None] * by_column[..., None, :]).flatten(2)
    # sums as products of matrices: a sum by index has no fixed order on a GPU
    raw = (cells.transpose(1, 2) @ by_bin).flatten(1)
    cut = raw.minimum(raw.norm(dim=1, keepdim=True) * _MOST)
    return torch.round(cut * (_UNIT / cut.norm(dim=1, keepdim=True).clamp(min=1.1920929e-07))).clamp(0, 255).to(torch.uint8)


def _shares(place: torch.Tensor) -> torch.Tensor:
    """(..., 4) how a place is shared between the cells beside it."""
    return (1 - (place[..., None] - torch.arange(_CELLS, device=place.device)).abs()).clamp(min=0)
