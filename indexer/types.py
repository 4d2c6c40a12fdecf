"""Types of search: index specification, and the neighbours that a search returns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import SynthtraceError
from embeddings.types import Metric


class NoGpu(SynthtraceError):
    """A GPU was asked for and there is none that can be used; the message says what lacks it."""


Distances = NDArray[np.int32] | NDArray[np.float32]  # int32 for hamming, float32 for cosine


@dataclass(frozen=True)
class IndexSpec:
    """How the FAISS indexes of a collection are made.

    Attributes:
        factory: FAISS factory string for float views, ``Flat`` is exact. Behind a semicolon may stand how thoroughly an
            approximate index searches: ``IVF1024,Flat;nprobe=16``, ``HNSW32;efSearch=64``.
        binary_factory: the same for binary views, ``BFlat`` is exact: ``BIVF1024;nprobe=16``, ``BHNSW32;efSearch=64``.
        train_size: at most so many vectors train an index that needs training.
        seed: random seed, for training and for measuring recall.

    Raises:
        ValueError: train_size is not positive or a factory string is empty.
    """

    factory: str = "Flat"
    binary_factory: str = "BFlat"
    train_size: int = 100_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.factory or not self.binary_factory:
            raise ValueError("a FAISS factory string is empty; 'Flat' and 'BFlat' are the exact ones")
        if self.train_size <= 0:
            raise ValueError(f"train_size must be positive, got {self.train_size}")

    @staticmethod
    def is_compressed(factory: str) -> bool:
        """Whether an index holds vectors by product or scalar quantisation: then its distances are not theirs."""
        return "PQ" in factory or "SQ" in factory

    def factory_for(self, metric: Metric) -> str:
        """The factory string for views of this metric."""
        return self.binary_factory if metric is Metric.HAMMING else self.factory


@dataclass(frozen=True)
class Neighbours:
    """The k nearest rows of each of nq queries, nearest first; equal distances by row.

    Float distances are right within `indexer.search.brute_force.ROUNDING`, so that rows with equal vectors can come in any order.

    Attributes:
        rows: (nq, k) int64, -1 where there is none.
        distances: (nq, k) int32 for hamming, else float32; the largest value of the type where there is no row.
        mirrored: (nq, k) bool, True where the flipped image was the nearer one.

    Raises:
        ValueError: shapes or dtypes do not agree.
    """

    rows: NDArray[np.int64]
    distances: Distances
    mirrored: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or self.rows.shape != self.distances.shape or self.rows.shape != self.mirrored.shape:
            raise ValueError(
                "rows, distances and mirrored must be (nq, k) alike, "
                f"got {self.rows.shape}, {self.distances.shape}, {self.mirrored.shape}"
            )
        if self.rows.dtype != np.int64 or self.distances.dtype not in (np.int32, np.float32):
            raise ValueError(f"rows must be int64 and distances int32 or float32, got {self.rows.dtype}, {self.distances.dtype}")

    @property
    def k(self) -> int:
        """Neighbours asked for."""
        return int(self.rows.shape[1])
