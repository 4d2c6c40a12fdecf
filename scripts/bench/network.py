#!/usr/bin/env python3
"""Compare settings of the bundled network on procedural benchmarks: input size, pooling, whitening, precision.

    bench/network.py WEIGHTS BENCHMARK... [--sizes 96,112,128,144,160,176] [--state FILE] [--json FILE]

WEIGHTS is a file that scripts/train_resnet.py wrote, the benchmarks are the ones in its work folder (validation/*) or others that
scripts/make_benchmark.py made of procedural slices. Prints the mean over all rows of all benchmarks (first hits by kind, sources
before their siblings, AUROC of d1), the mean over blends and other mixtures, and the share before siblings for

  size      side of the square that a picture is reduced to
  output    cubes: the generalised mean; mean: a plain mean in its place; head: the layer after it, by which it was trained
  centring  none; mean: taken away; power p: principal axes divided by (standard deviation) ** p

and, with --state (state.pt of the training, where it ended with WEIGHTS), how many first hits full precision changes.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from result_file import write_results
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from embeddings.files.temporary import temporary_folder
from embeddings.types import Features
from embeddings.views.network import Network, load_copy_network
from embeddings.views.resnet import ResNet
from embeddings.views.resnet_settings import COPY_DIM, ResNetSettings
from embeddings.views.whitening import Whitening, fit_whitening
from query.benchmarks.source_finding import Benchmark, Row, features, figures, likeness, read_benchmark

OUTPUTS = ("cubes", "mean", "head")
POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
MIXTURES = ("blend", "regions", "texture", "three")


def view_of(weights: Path, size: int, output: str) -> ResNet:
    """The view, its network ending otherwise where that is asked for."""
    view = ResNet(ResNetSettings(weights=str(weights), size=size), {})
    network = view.network
    assert isinstance(network, Network)  # weights from a file
    if output == "mean":
        network.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    if output == "head":
        network.pool.append(load_copy_network(str(weights)).fc)
        network.channels = COPY_DIM
    return view


def centrings(view: ResNet, sample: Features) -> Iterator[tuple[str, Whitening]]:
    """Ways to centre, learned from the generated images."""
    rows = view.rows(sample)
    width = rows.shape[1]
    yield "none", Whitening(np.zeros(width, np.float32), np.eye(width, dtype=np.float32))
    yield "mean", Whitening(rows.mean(axis=0), np.eye(width, dtype=np.float32))
    for power in POWERS:
        whitening = fit_whitening(rows, 256, power)
        assert whitening, "a benchmark of fewer than 64 generated images"
        yield f"power {power}", whitening


def summary(rows: Sequence[Row]) -> Row:
    """Mean over everything, over the mixtures, over what is asked of siblings."""
    cells = [(name, value) for row in rows for name, value in row.items()]
    mixed, siblings = ([v for n, v in cells if n in MIXTURES], [v for n, v in cells if n == "before its sibling"])
    means = {"all": [v for _, v in cells], "mixtures": mixed, "before its sibling": siblings}
    return {name: float(np.mean(values)) for name, values in means.items() if values}


def table(weights: Path, benchmarks: Sequence[Benchmark], sizes: Sequence[int]) -> dict[str, Row]:
    """A row for every size, output and centring."""
    made: dict[str, list[Row]] = {}
    for size in sizes:
        for output in OUTPUTS:
            view = view_of(weights, size, output)
            for benchmark in benchmarks:
                generated, real = features(view, benchmark.generated), features(view, benchmark.real)
                for name, whitening in centrings(view, generated):
                    alike = whitening.apply(view.rows(generated)) @ whitening.apply(view.rows(real)).T
                    made.setdefault(f"{size} px, {output}, {name}", []).append(figures(benchmark, alike))
    return {name: summary(rows) for name, rows in made.items()}


def full_precision(weights: Path, state: Path, out: Path) -> None:
    """Write the moving average of a training as it is, as weights like the ones given.

    Raises:
        ValueError: they are not the same but for rounding.
    """
    mean = torch.load(state, map_location="cpu", weights_only=True)["mean"]
    tensors = {name.removeprefix("module."): value.contiguous() for name, value in mean.items() if name != "n_averaged"}
    with safe_open(weights, "pt") as file:
        for name, value in tensors.items():
            if not torch.equal(file.get_tensor(name), value.half() if value.is_floating_point() else value):
                raise ValueError(f"{weights} does not come from {state}: {name} differs")
        save_file(tensors, out, file.metadata())


def changed(weights: Path, state: Path, benchmarks: Sequence[Benchmark]) -> Row:
    """Share of generated images whose first hit is another one with the weights in full precision, by arithmetic.

    In bfloat16 whatever changes a weight a little draws its rounding anew, so there storage is not all that is compared.
    """
    shares = {}
    with temporary_folder() as folder:
        full = Path(folder) / "full.safetensors"
        full_precision(weights, state, full)
        for dtype in (torch.float32, torch.bfloat16):
            first = []
            for path in (weights, full):
                view = ResNet(ResNetSettings(weights=str(path)), {})
                vars(view)["_network"] = Network(view.settings, "cpu", dtype)  # in place of the one it would make for itself
                first.append(np.concatenate([likeness(view, b).argmax(axis=1) for b in benchmarks]))
            shares[str(dtype).removeprefix("torch.")] = float((first[0] != first[1]).mean())
    return shares


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, metavar="WEIGHTS")
    parser.add_argument("benchmarks", type=Path, nargs="+", metavar="BENCHMARK")
    parser.add_argument("--sizes", default="96,112,128,144,160,176")
    parser.add_argument("--state", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    cv2.setNumThreads(1)
    benchmarks = [read_benchmark(folder) for folder in options.benchmarks]
    rows = table(options.weights, benchmarks, [int(size) for size in options.sizes.split(",")])
    for name, row in sorted(rows.items(), key=lambda item: -item[1]["all"]):
        print(f"{name:34s}" + "".join(f"{title} {value:.4f}   " for title, value in row.items()))
    if options.json:
        write_results(options.json, rows, list(argv) if argv is not None else None)
    if options.state:
        try:
            shares = changed(options.weights, options.state, benchmarks)
        except ValueError as error:
            parser.exit(2, f"bench/network.py: {error}\n")
        print("first hits that full precision changes: " + ", ".join(f"{share:.4%} in {name}" for name, share in shares.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
