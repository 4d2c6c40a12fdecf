"""Which keypoints are most alike, on a GPU: products of whole numbers, which are exact there too."""

import numpy as np
import torch
from numpy.typing import NDArray

from embeddings.gpu.device import on, upload


def most_alike(
    reals: NDArray[np.float32], generated: NDArray[np.float32], device: str
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]:
    """What `query.comparison.models.most_alike` gives, bit for bit.

    Args:
        reals: (c, m, width) float32 whole numbers, whose products are below 2 ** 23.
        generated: (n, width), the same.
        device: ``cpu``, ``cuda:N`` or ``cuda:all``.
    """
    with on(device) as where:
        one, other = upload(reals, where), upload(generated, where)
        alike = one @ other.T  # PyTorch takes no TF32, which would round, unless it is told to
        first = alike.amax(dim=2)
        # of equal ones the first, which argmax promises on the CPU only
        numbers = torch.arange(alike.shape[2], device=where)
        column = torch.where(alike == first[..., None], numbers, alike.shape[2]).amin(dim=2)
        back = alike.amax(dim=1)
        second = alike.scatter(2, column[..., None], -torch.inf).amax(dim=2)
        return first.cpu().numpy(), column.cpu().numpy().astype(np.intp), second.cpu().numpy(), back.cpu().numpy()
