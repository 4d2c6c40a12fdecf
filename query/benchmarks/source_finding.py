"""Measure how often a view finds the true source of a generated image, on a benchmark in memory."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from embeddings.files.spreadsheet import read_rows
from embeddings.pipeline import in_order
from embeddings.types import Features, GreyImage
from embeddings.views.resnet import ResNet
from embeddings.views.resnet_settings import BATCH
from query.evaluation.resampling import Estimate, auroc, grouped_interval

Row = dict[str, float]
Likeness = NDArray[np.float32]  # (generated, real), 1 - cosine distance


@dataclass(frozen=True)
class Benchmark:
    """A benchmark in memory.

    Attributes:
        generated, real: images.
        kinds: of each generated image, with the strength of a warp.
        sources: (generated, real) which is a source of which.
        mates: (generated, real) siblings of a source that are none themselves.
        used: of each real image.
        groups: of each generated image the group of its first source that is shown, empty where none is.
    """

    generated: list[GreyImage]
    real: list[GreyImage]
    kinds: NDArray[np.str_]
    sources: NDArray[np.bool_]
    mates: NDArray[np.bool_]
    used: NDArray[np.bool_]
    groups: NDArray[np.str_]


def read_benchmark(folder: Path) -> Benchmark:
    """A folder that `query.benchmarks.benchmark.write_benchmark` made."""
    with open(folder / "truth_real.csv", newline="") as file:
        reals = list(read_rows(file))
    with open(folder / "truth_generated.csv", newline="") as file:
        rows = list(read_rows(file))
    origins = [row["sources"].split("|") for row in rows]
    group_of = {real["real"]: real["group"] for real in reals}
    sources = np.array([[real in names for real in group_of] for names in origins])
    groups = np.array(list(group_of.values()))
    mates = (sources.astype(int) @ (groups[:, None] == groups).astype(int) > 0) & ~sources
    return Benchmark(
        generated=[_read(folder / "generated" / row["generated"]) for row in rows],
        real=[_read(folder / "real" / name) for name in group_of],
        kinds=np.array([f"warp {row['strength']}" if row["kind"] == "warp" else row["kind"] for row in rows]),
        sources=sources,
        mates=mates,
        used=np.array([real["used"] == "1" for real in reals]),
        groups=np.array([next((group_of[name] for name in names if name in group_of), "") for names in origins]),
    )


def _read(path: Path) -> GreyImage:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)


def likeness(view: ResNet, benchmark: Benchmark) -> Likeness:
    """How alike the view finds every generated and every real image, after learning from the generated ones."""
    generated = features(view, benchmark.generated)
    embedder = view.embedder(view.fit(generated, lambda *_: np.empty((0, 0), np.float32)))
    alike = embedder.finish(generated).vectors @ embedder.finish(features(view, benchmark.real)).vectors.T
    return np.asarray(alike, np.float32)


def features(view: ResNet, images: list[GreyImage]) -> Features:
    """Of all images, by a thread for each core."""
    parts = list(in_order(view.features, [images[start : start + BATCH] for start in range(0, len(images), BATCH)]))
    return Features([value for part in parts for value in part.values], np.concatenate([part.blank for part in parts]))


def first_hits(benchmark: Benchmark, alike: Likeness) -> NDArray[np.bool_]:
    """(generated,) whether the nearest real image is a source."""
    return np.asarray(benchmark.sources[np.arange(len(alike)), alike.argmax(axis=1)])


def figures(benchmark: Benchmark, alike: Likeness) -> Row:
    """First hits by kind, `before_siblings`, and the AUROC of d1."""
    first, visible = first_hits(benchmark, alike), benchmark.sources.any(axis=1)
    hits = {str(k): float(first[visible & (benchmark.kinds == k)].mean()) for k in sorted(set(benchmark.kinds[visible]))}
    return {**hits, **before_siblings(benchmark, alike), "AUROC of d1": auroc(alike.max(axis=0), benchmark.used)}


def before_siblings(benchmark: Benchmark, alike: Likeness) -> Row:
    """How often a source comes before its siblings, of copies of strength 1 to 3; no row where no siblings are shown."""
    light = benchmark.mates.any(axis=1) & np.isin(benchmark.kinds, ["warp 1", "warp 2", "warp 3"])
    if not light.any():
        return {}
    own, mate = (np.where(which, alike, -2).max(axis=1) for which in (benchmark.sources, benchmark.mates))
    return {"before its sibling": float((own > mate)[light].mean())}


def gain(before: ArrayLike, after: ArrayLike, groups: ArrayLike) -> Estimate:
    """How much larger the share of hits became on the same generated images, with an interval by resampling groups.

    Args:
        before, after: (n,) bool, hits on the same images.
        groups: (n,) group of each.
    """
    change = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    return grouped_interval(lambda rows: float(change[rows].mean()), groups)
