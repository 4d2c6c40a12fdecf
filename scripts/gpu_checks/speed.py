"""Images and searches a second, and shares of the card's limits."""

import io
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import make_folder, write_bytes
from embeddings.types import Metric
from gpu_checks.checks import both_views, index_of, pictures, vectors_of
from gpu_checks.machine import Machine, Skipped, peaks


def seconds_of(work: Callable[[], Any], machine: Machine) -> float:
    """Median of the turns after one that is not measured."""
    seconds = []
    for turn in range(machine.sizes.turns + 1):
        start = time.perf_counter()
        work()
        machine.wait()
        if turn:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def limits(machine: Machine) -> dict[str, float]:
    """What the card does in a bfloat16 product and a copy of its own, with the share of its data sheet."""
    side, count = machine.sizes.product, machine.sizes.bytes
    one, other = (torch.randn(side, side, device=machine.torch, dtype=torch.bfloat16) for _ in range(2))
    flops = 2 * side**3 / seconds_of(lambda: one @ other, machine)
    source = torch.empty(count, dtype=torch.uint8, device=machine.torch)
    target = torch.empty_like(source)
    moved = 2 * count / seconds_of(lambda: target.copy_(source), machine)
    figures = {"bfloat16 FLOP/s": flops, "bytes/s": moved}
    best = None if machine.stand_in else peaks(torch.cuda.get_device_name(machine.torch))
    if best:
        figures |= {"share of FLOP/s": flops / best[0], "share of bytes/s": moved / best[1]}
    return figures


def stages(machine: Machine) -> dict[str, float]:
    """Images/s of each view, by one thread and by one for each core, and of finishing the vectors of sift."""
    from embeddings.pipeline import one_thread_each, workers
    from indexer.search.faiss_index import kmeans

    images = pictures(machine.sizes)
    batch = [images[number % len(images)] for number in range(machine.sizes.batch)]
    figures = {}
    for name in ("phash", "pixels", "resnet", "sift"):
        view = both_views(name, machine)[1]
        for threads in sorted({1, workers()}):
            with one_thread_each(), ThreadPoolExecutor(threads) as pool:
                count = machine.sizes.batches
                seconds = seconds_of(lambda: list(pool.map(lambda _: view.features(batch), range(count))), machine)  # noqa: B023
            figures[f"{name}, threads {threads}"] = count * machine.sizes.batch / seconds
        if name == "sift":
            features = view.features(batch)
            embedder = view.embedder(view.fit(features, kmeans))
            figures["sift, VLAD and whitening"] = machine.sizes.batch / seconds_of(lambda: embedder.finish(features), machine)  # noqa: B023
    return figures


def network(machine: Machine) -> dict[str, float]:
    """The network alone: batches that lie on the card already, and its share of the card's bfloat16 limit."""
    from torch.utils.flop_counter import FlopCounterMode

    from embeddings.gpu.device import first_of, on
    from embeddings.gpu.whitening import BLOCK

    view = both_views("resnet", machine)[1]
    body, size = view.network.body, view.settings.size
    with on(machine.torch):
        shape = (BLOCK, view.network.planes, size, size)
        batch = torch.zeros(shape, device=first_of(machine.torch), dtype=view.network.dtype)
        batch = batch.contiguous(memory_format=torch.channels_last)
        with FlopCounterMode(display=False) as counter:
            body(batch)
        repeats = 1 if machine.stand_in else 100
        seconds = seconds_of(lambda: [body(batch) for _ in range(repeats)], machine) / repeats
    flops = counter.get_total_flops() / seconds
    best = None if machine.stand_in else peaks(torch.cuda.get_device_name(machine.torch))
    return {"images/s": BLOCK / seconds, "FLOP/s": flops} | ({"share of FLOP/s": flops / best[0]} if best else {})


def from_png(machine: Machine) -> dict[str, float]:
    """Images/s from PNG to features of all views: decoded, uploaded and computed by a thread for each core."""
    from PIL import Image

    from embeddings.pipeline import one_thread_each, workers

    images, encoded = pictures(machine.sizes), []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        encoded.append(file.getvalue())
    views = [both_views(name, machine)[1] for name in ("phash", "pixels", "resnet", "sift")]

    def decoded(_: int) -> list[Any]:
        files = (encoded[number % len(encoded)] for number in range(machine.sizes.batch))
        return [np.asarray(Image.open(io.BytesIO(file)).convert("L")) for file in files]

    def seen(number: int) -> None:
        batch = decoded(number)
        for view in views:
            view.features(batch)

    figures = {}
    with one_thread_each(), ThreadPoolExecutor(workers()) as pool:
        for name, work in {"decoding alone, images/s": decoded, "images/s": seen}.items():
            count = machine.sizes.batches
            seconds = seconds_of(lambda: list(pool.map(work, range(count))), machine)  # noqa: B023
            figures[name] = count * machine.sizes.batch / seconds
    return figures


def indexed(machine: Machine) -> dict[str, float]:
    """Images/s of indexing PNG files, with everything that belongs to it: hashing, fitting, writing."""
    if machine.stand_in:
        raise Skipped("a collection is indexed on a real GPU only")
    import cv2

    import indexer

    with temporary_folder() as folder:
        make_folder(folder / "images")
        rng, images = np.random.default_rng(0), pictures(machine.sizes)
        for number in range(machine.sizes.files):
            noisy = images[number % len(images)] + rng.integers(0, 4, images[0].shape, dtype=np.uint8)
            _, png = cv2.imencode(".png", np.clip(noisy, 0, 255))
            write_bytes(folder / "images" / f"{number:06d}.png", png.tobytes())
        start = time.perf_counter()
        indexer.index(folder / "images", folder / "collection", device=machine.torch)
        return {"images/s": machine.sizes.files / (time.perf_counter() - start)}


def searches(machine: Machine) -> Iterator[tuple[str, dict[str, float]]]:
    """Searches/s for k 10 by metric, rows and queries; bytes/s as if the rows were read once for all queries."""
    from indexer.search.faiss_index import search

    best = None if machine.stand_in else peaks(torch.cuda.get_device_name(machine.torch))
    for metric in Metric:
        for rows in machine.sizes.rows:
            vectors = vectors_of(metric, rows, machine.sizes.dim, machine.torch)
            index, read = index_of(metric, vectors, machine.search), vectors.nbytes
            del vectors
            for count in machine.sizes.queries:
                queries = vectors_of(metric, count, machine.sizes.dim, machine.torch, 1)
                seconds = seconds_of(lambda: search(index, metric, queries, 10), machine)  # noqa: B023
                figures = {"searches/s": count / seconds, "pairs/s": count * rows / seconds, "bytes/s": read / seconds}
                figures |= {"share of bytes/s": read / seconds / best[1]} if best else {}
                yield f"search, {metric}, {rows:,} rows, {count:,} queries", figures


SPEEDS: dict[str, Callable[[Machine], dict[str, float]]] = {
    "limits of the card": limits,
    "network alone": network,
    "views": stages,
    "from PNG, all views": from_png,
    "indexing": indexed,
}
