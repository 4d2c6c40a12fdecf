"""Every GPU path against the CPU: equal, or within a bound that the line tells."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embeddings.types import EmbeddingSpec, Metric
from gpu_checks.machine import Machine, Sizes
from indexer.search import brute_force

Vectors = NDArray[Any]


def require(holds: bool, complaint: str) -> None:
    """Fail with the complaint unless it holds."""
    if not holds:
        raise AssertionError(complaint)


@cache
def pictures(sizes: Sizes) -> tuple[NDArray[np.uint8], ...]:
    """Procedural slices."""
    from embeddings.phantoms.slices import phantom

    return tuple(phantom(seed, sizes.side) for seed in range(sizes.pictures))


def vectors_of(metric: Metric, count: int, dim: int, where: str, seed: int = 0) -> Vectors:
    """Random codes, or unit vectors; drawn on the device, which is quicker."""
    generator = torch.Generator(where).manual_seed(seed)
    if metric is Metric.HAMMING:
        return torch.randint(0, 256, (count, dim // 8), dtype=torch.uint8, device=where, generator=generator).cpu().numpy()
    rows = torch.randn(count, dim, device=where, generator=generator)
    return np.asarray((rows / rows.norm(dim=1, keepdim=True)).cpu().numpy())


def index_of(metric: Metric, vectors: Vectors, device: str) -> Any:
    """The exact index on a GPU."""
    from indexer.search.faiss_gpu import GpuIndex
    from indexer.search.faiss_index import build
    from indexer.types import IndexSpec

    dim = vectors.shape[1] * (8 if metric is Metric.HAMMING else 1)
    return GpuIndex(build(EmbeddingSpec("checked", dim, metric), vectors, IndexSpec()), device)


def search_codes(machine: Machine) -> str:
    """Neighbours by Hamming distance, many of them equally far."""
    from indexer.search.faiss_index import search

    codes = vectors_of(Metric.HAMMING, 50_000 if not machine.stand_in else 3000, 64, machine.torch) & 1
    for device in (machine.search, "cuda:all"):
        index = index_of(Metric.HAMMING, codes, device)
        for k in (1, 50, 2048):
            truth = brute_force.neighbours(Metric.HAMMING, codes[:20], codes, k)
            found = search(index, Metric.HAMMING, codes[:20], k)
            require(np.array_equal(found.distances, truth.distances), f"{device}, k {k}: other distances")
            require(np.array_equal(found.rows, truth.rows), f"{device}, k {k}: other rows")
    return "distances and rows equal, k 1, 50 and 2,048, one GPU and all"


def search_vectors(machine: Machine) -> str:
    """Neighbours by cosine distance."""
    from indexer.search.faiss_index import search

    vectors = vectors_of(Metric.COSINE, 50_000 if not machine.stand_in else 3000, 64, machine.torch)
    furthest = 0.0
    for device in (machine.search, "cuda:all"):
        index = index_of(Metric.COSINE, vectors, device)
        for k in (1, 50, 2048):
            truth = brute_force.neighbours(Metric.COSINE, vectors[:20], vectors, k)
            found = search(index, Metric.COSINE, vectors[:20], k)
            furthest = max(furthest, float(np.abs(found.distances - truth.distances).max()))
    require(furthest <= brute_force.ROUNDING, f"distances differ by {furthest:.1e}")
    return f"distances differ by {furthest:.1e} at most, k 1, 50 and 2,048, one GPU and all"


def search_threads(machine: Machine) -> str:
    """Eight threads on three indexes give what one gives."""
    from indexer.search.faiss_index import search

    codes = vectors_of(Metric.HAMMING, 3000, 64, machine.torch)
    indexes = [index_of(Metric.HAMMING, codes, device) for device in (machine.search, machine.search, "cuda:all")]
    alone = search(indexes[0], Metric.HAMMING, codes[:100], 10)
    with ThreadPoolExecutor(8) as pool:
        many = pool.map(lambda number: search(indexes[number % 3], Metric.HAMMING, codes[:100], 10), range(48))
    require(all(np.array_equal(each.rows, alone.rows) for each in many), "threads find something else")
    return "48 searches of 8 threads equal those of one"


def search_refused(machine: Machine) -> str:
    """Too many neighbours, a GPU that is not there, an index without GPU class: one line each, no abort."""
    from indexer.search.faiss_gpu import GpuIndex
    from indexer.search.faiss_index import build, search
    from indexer.types import IndexSpec, NoGpu

    codes = vectors_of(Metric.HAMMING, 3000, 64, machine.torch)
    spec = EmbeddingSpec("checked", 64, Metric.HAMMING)
    tries: Sequence[Callable[[], Any]] = (
        lambda: search(index_of(Metric.HAMMING, codes, machine.search), Metric.HAMMING, codes[:2], 2049),
        lambda: index_of(Metric.HAMMING, codes, "cuda:99"),
        lambda: GpuIndex(build(spec, codes, IndexSpec(binary_factory="BHNSW8")), machine.search),
    )
    for number, attempt in enumerate(tries):
        try:
            attempt()
        except NoGpu as error:
            require("\n" not in str(error) and "cpu" in str(error), f"no mend in {error}")
        else:
            raise AssertionError(f"attempt {number} was not refused")
    return "k 2,049, GPU 99 and BHNSW refused by name"


def matching(machine: Machine) -> str:
    """Descriptors of keypoints, compared for matching; several of some images are equal."""
    from embeddings.gpu import alike
    from query.comparison.models import most_alike

    rng = np.random.default_rng(0)
    reals = rng.integers(-127, 128, (24, 340, 36)).astype(np.float32)
    generated = rng.integers(-127, 128, (340, 36)).astype(np.float32)
    generated[200:210] = generated[:10]
    reals[:, 50:60] = reals[:, :10]
    ours, theirs = (
        [part.tobytes() for part in each]
        for each in (most_alike(reals, generated), alike.most_alike(reals, generated, machine.torch))
    )
    require(ours == theirs, "others are most alike")
    return "what is most alike in 24 pairs is equal"


def distance_tiles(machine: Machine) -> str:
    """Distance matrices: Hamming equal, cosine within rounding."""
    from embeddings.gpu.distances import Distances

    furthest = 0.0
    for metric in Metric:
        one, other = (vectors_of(metric, count, 256, machine.torch, count) for count in (200, 2048))
        truth = brute_force.distances(metric, one, other)
        furthest = max(furthest, float(np.abs(Distances(metric, one, machine.torch).to(other) - truth).max()))
        require(furthest <= (0 if metric is Metric.HAMMING else brute_force.ROUNDING), f"{metric} differs by {furthest:.1e}")
    return f"Hamming equal, cosine differs by {furthest:.1e} at most"


def resizing(machine: Machine) -> str:
    """LANCZOS equal to Pillow's; areas within a grey level of OpenCV's."""
    from PIL import Image

    from embeddings.gpu.device import on
    from embeddings.gpu.resize import area, lanczos
    from embeddings.views.pixels import resized

    images, moved = np.stack(pictures(machine.sizes)), 0.0
    with on(machine.torch) as where:
        small = lanczos(images, 64, where).cpu().numpy()
        truth = [np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.LANCZOS)) for image in images]
        require(np.array_equal(small, truth), "LANCZOS differs from Pillow's")
        for size in (64, 144):
            off = np.abs(area(images, size, where).cpu().numpy() - np.stack([resized(image, size) for image in images]))
            moved = max(moved, float(off.mean()))
            require(off.max() <= 1 and moved <= 0.01, f"areas of size {size} differ by {off.max()}, {moved:.2%} of pixels")
    return f"LANCZOS equal, areas one grey level off in {moved:.2%} of pixels"


def phash(machine: Machine) -> str:
    """Codes equal."""
    images = pictures(machine.sizes)
    truth, made = (view.embed(images).vectors for view in both_views("phash", machine))
    require(np.array_equal(made, truth), f"{np.count_nonzero((made != truth).any(axis=1))} of {len(images)} codes differ")
    return "codes equal"


def cosine_views(machine: Machine) -> str:
    """Vectors of pixels, resnet and sift, whitening and VLAD included, by the same fitted views."""
    from indexer.search.faiss_index import kmeans

    images, told = pictures(machine.sizes), []
    for name, bound in {"pixels": 1e-5, "resnet": 1e-2, "sift": 1e-2}.items():
        plain, kernels = both_views(name, machine)
        learned = plain.fit(plain.features(images), kmeans)
        one, other, again = (view.embedder(learned).embed(images).vectors for view in (plain, kernels, kernels))
        require(np.array_equal(other, again), f"{name} is not the same twice")
        off = float((1 - (one * other).sum(axis=1)).max())
        require(off < bound, f"{name}: cosine distance {off:.1e} to the CPU's vector")
        told.append(f"{name} {off:.1e}")
    return f"the same twice; largest cosine distance to the CPU's: {', '.join(told)}"


def both_views(name: str, machine: Machine) -> tuple[Any, Any]:
    """The view of the CPU, and that with kernels for a GPU; small ones where the CPU plays its part."""
    from embeddings.gpu.phash import GpuPHash
    from embeddings.gpu.pixels import GpuPixels
    from embeddings.gpu.resnet import GpuResNet
    from embeddings.gpu.sift import GpuSift
    from embeddings.views.phash import PHash
    from embeddings.views.pixels import Pixels, PixelSettings
    from embeddings.views.resnet import ResNet
    from embeddings.views.resnet_settings import ResNetSettings
    from embeddings.views.sift import Sift, SiftSettings

    network = ResNetSettings(size=32) if machine.stand_in else ResNetSettings()
    local = SiftSettings(words=4) if machine.stand_in else SiftSettings()
    makers: dict[str, Callable[[], tuple[Any, Any]]] = {
        "phash": lambda: (PHash(256, {}), GpuPHash(256, {}, machine.torch)),
        "pixels": lambda: (Pixels(PixelSettings(), {}), GpuPixels(PixelSettings(), {}, machine.torch)),
        "resnet": lambda: (ResNet(network, {}), GpuResNet(network, {}, machine.torch)),
        "sift": lambda: (Sift(local, {}), GpuSift(local, {}, machine.torch)),
    }
    return makers[name]()


def sift(machine: Machine) -> str:
    """Keypoints and descriptors against OpenCV's."""
    import cv2

    from embeddings.gpu.device import on, upload
    from embeddings.gpu.sift import local_features

    images = pictures(machine.sizes)[:16]
    detector = cv2.SIFT_create(nfeatures=1000, contrastThreshold=0.04)  # type: ignore[attr-defined]
    matched = total = ours = 0
    cosines: list[float] = []
    for image in images:
        points, rows = detector.detectAndCompute(image, None)
        with on(machine.torch) as where:
            found = local_features(upload(image[None], where), 1000, 0.04)
            columns = [found.places, found.sizes[:, None], found.directions[:, None]]
            own, descriptors = torch.cat(columns, dim=1).cpu().numpy(), found.descriptors.cpu().numpy().astype(np.float64)
        truth = np.array([(*point.pt, point.size, point.angle) for point in points]).reshape(-1, 4)
        off = np.abs(truth[:, None] - own[None])
        off[..., 3] = np.minimum(off[..., 3], 360 - off[..., 3])
        same = (off < [1, 1, 0.5, 5]).all(axis=2)
        has, pairs = same.any(axis=1), np.where(same, off.sum(axis=2), np.inf).argmin(axis=1)
        matched, total, ours = matched + int(has.sum()), total + len(truth), ours + len(own)
        one, other = rows[has].astype(np.float64), descriptors[pairs[has]]
        cosines += ((one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)).tolist()
    least = float(np.quantile(cosines, 0.01))
    require(matched >= 0.98 * total and abs(ours - total) <= 0.02 * total, f"{matched} of {total} keypoints found, {ours} in all")
    require(least >= 0.99, f"descriptors' cosine {least:.4f} at the lowest hundredth")
    return f"{matched} of OpenCV's {total} keypoints within a pixel, {ours} in all; cosine of 99% of descriptors >= {least:.5f}"


CHECKS: dict[str, Callable[[Machine], str]] = {
    "search, codes": search_codes,
    "search, vectors": search_vectors,
    "search, threads": search_threads,
    "search, refusals": search_refused,
    "distance tiles": distance_tiles,
    "matching": matching,
    "resizing": resizing,
    "phash": phash,
    "pixels, resnet, sift": cosine_views,
    "sift against OpenCV": sift,
}
