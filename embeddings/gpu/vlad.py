"""VLAD on a GPU: local features of many images at once, filled up to one height, as sums by matrix products."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from embeddings.gpu.device import on, upload
from embeddings.gpu.whitening import BLOCK, filled
from embeddings.views.sift import LEAST

_DESCRIPTOR = 128
_HEIGHT = 1024  # local features of an image are filled up to a multiple of this: so its sums do not depend on its companions


def vlad(features: Sequence[NDArray[np.uint8]], words: NDArray[np.float32], position: float, device: str) -> NDArray[np.float32]:
    """(n, words * 130) float32, row for row what `embeddings.views.sift` aggregates, but for rounding.

    Args:
        features: of each image (m, 136) uint8, see `Sift.features`.
        words: (words, 130).
        position: weight of places.
        device: ``cpu``, ``cuda:N`` or ``cuda:all``.
    """
    out = np.zeros((len(features), words.size), np.float32)
    heights = np.array([-(-len(each) // _HEIGHT) * _HEIGHT for each in features], np.intp)
    for height in np.unique(heights[heights > 0]).tolist():
        places = np.flatnonzero(heights == height)
        for start in range(0, len(places), BLOCK):
            some = places[start : start + BLOCK]
            packed = np.zeros((len(some), height, features[some[0]].shape[1]), np.uint8)
            for row, place in zip(packed, some, strict=True):
                row[: len(features[place])] = features[place]
            counts = np.array([len(features[place]) for place in some])
            with on(device) as where:
                points = _points(filled(upload(packed, where)), position)
                there = torch.arange(height, device=where) < filled(upload(counts, where))[:, None]
                out[some] = _encoded(points, there, upload(words, where))[: len(some)].cpu().numpy()
    return out


def _points(features: torch.Tensor, position: float) -> torch.Tensor:
    """(n, height, 136) uint8 -> (n, height, 130) float32: RootSIFT and the weighted place."""
    shares = features[..., :_DESCRIPTOR].float()
    shares = (shares / shares.sum(dim=2, keepdim=True).clamp(min=1)).sqrt()
    places = features[..., _DESCRIPTOR:].contiguous().view(torch.float32)
    return torch.cat([shares, places * position], dim=2)


def _encoded(points: torch.Tensor, there: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """(n, words * 130): see `embeddings.views.sift` for the normalisation."""
    nearest = (points @ words.T - words.square().sum(dim=1) / 2).argmax(dim=2)
    member = torch.nn.functional.one_hot(nearest, len(words)) * there[..., None]
    member = member.float().transpose(1, 2)
    sums = member @ points - member.sum(dim=2, keepdim=True) * words
    flat = (sums / sums.norm(dim=2, keepdim=True).clamp(min=LEAST)).flatten(1)
    flat = flat.sign() * flat.abs().sqrt()
    unit: torch.Tensor = flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-9)
    return unit
