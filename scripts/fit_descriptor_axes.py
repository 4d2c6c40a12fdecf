#!/usr/bin/env python3
"""Find the principal components of RootSIFT on made-up slices, which matching shortens descriptors by.

    fit_descriptor_axes.py OUT.safetensors [--images 200]

Writes `mean` (128,) and `axes` (128, 32), float32: embeddings/views/rootsift_axes.safetensors was made so. The slices are made
up, so nothing in it comes from a patient. The same arguments give the same file with the same library versions.
"""

import argparse
from pathlib import Path

import numpy as np

from embeddings.files.writing import write_atomic
from embeddings.phantoms.slices import phantom
from embeddings.pipeline import in_order
from embeddings.views.keypoints import SIZE, WIDTH, detected, root_sift
from indexer.build.parts import writer


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, default=200)
    args = parser.parse_args()
    found = in_order(lambda seed: root_sift(detected(phantom(seed, SIZE)).descriptors), range(args.images))
    descriptors = np.concatenate(list(found)).astype(np.float64)
    mean = descriptors.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov((descriptors - mean).T))
    axes = axes[:, ::-1][:, :WIDTH]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), range(WIDTH)])  # eigenvectors have no sign of their own
    write_atomic(args.out, writer({"mean": mean.astype(np.float32), "axes": axes.astype(np.float32)}))


if __name__ == "__main__":
    main()
