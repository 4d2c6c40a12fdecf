"""Figures of an audit: distance distributions, pairs side by side. Matplotlib without pyplot (no global state).

The same input gives the same bytes with the same Matplotlib. Files are readable for their owner only: they show real images.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from embeddings.files.writing import write_atomic
from embeddings.types import GreyImage
from query.report.text.units import distance_text, shortened

# Okabe and Ito (2008): told apart with every kind of colour vision; dashes and fill help in print.
BLUE, ORANGE, VERMILION, GREY, INK = "#0072B2", "#E69F00", "#D55E00", "#C4C4C4", "#222222"
DASHED = (0, (4, 1.5))
_DPI = 130
_DIFFERENCE = 128  # grey levels at the ends of the colours of a difference

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Pair:
    """A real and a generated image, (H, W) uint8 each, and how far apart they are by view; the real one as it was matched."""

    real_name: str
    generated_name: str
    real: GreyImage
    generated: GreyImage
    distances: Mapping[str, float]

    @property
    def note(self) -> str:
        """The distances in words."""
        return "   ".join(f"{view} {distance_text(view, distance)}" for view, distance in self.distances.items())


def pair_picture(path: Path, pair: Pair, title: str = "") -> Path:
    """Real beside generated beside their difference, with names and distances."""
    with style():
        figure = Figure(figsize=(10, 4.3))
        axes = [figure.add_axes((left, 0.12, 0.29, 0.68)) for left in (0.015, 0.32, 0.625)]
        _show_pair(axes, pair)
        colours = figure.colorbar(axes[2].images[0], cax=figure.add_axes((0.92, 0.12, 0.012, 0.68)))
        colours.ax.tick_params(labelsize=8)
        colours.set_label("grey levels; red: generated brighter", fontsize=8)
        axes[0].set_title(f"real\n{shortened(pair.real_name, 40)}", fontsize=10)
        axes[1].set_title(f"generated\n{shortened(pair.generated_name, 40)}", fontsize=10)
        axes[2].set_title("generated - real\n", fontsize=10)
        figure.text(0.015, 0.945, title, fontsize=12, weight="bold")
        figure.text(0.5, 0.045, pair.note, ha="center", fontsize=11)
        return save(figure, path)


def contact_sheet(path: Path, pairs: Sequence[Pair], title: str = "") -> Path:
    """All pairs on one sheet, two beside each other, in reading order."""
    with style():
        rows = max(1, -(-len(pairs) // 2))
        height = 2.75 * rows + 0.6
        figure = Figure(figsize=(14, height))
        figure.text(0.015, 1 - 0.35 / height, title, fontsize=13, weight="bold")
        for number, pair in enumerate(pairs):
            left, top = 0.015 + 0.5 * (number % 2), 1 - (0.95 + 2.75 * (number // 2)) / height
            axes = [figure.add_axes((left + 0.158 * i, top - 2.05 / height, 0.154, 2.05 / height)) for i in range(3)]
            _show_pair(axes, pair)
            for ax in axes:
                ax.set_anchor("NW")  # under its name, whatever its shape
            names = f"{number + 1}.  {shortened(pair.real_name, 36)}   |   {shortened(pair.generated_name, 36)}"
            figure.text(left, top + 0.07 / height, names, fontsize=9.5)
            figure.text(left, top - 2.3 / height, pair.note, fontsize=9.5)
        return save(figure, path)


def lookup_figure(path: Path, query_image: GreyImage, hits: Sequence[tuple[str, GreyImage, str, float]]) -> None:
    """A looked-up image at the left and what was found beside it, one row for each view.

    Args:
        path: of the picture; its suffix (.png, .svg, .pdf) decides the format.
        query_image: (H, W) uint8.
        hits: (name, image, view, distance), nearest first within each view.
    """
    views = list(dict.fromkeys(view for _, _, view, _ in hits)) or [""]
    columns = 1 + max(sum(view == hit[2] for hit in hits) for view in views) if hits else 1
    with style():
        figure = Figure(figsize=(2.5 * columns + 0.2, 3.0 * len(views) + 0.1))
        for row, view in enumerate(views):
            shown = [hit for hit in hits if hit[2] == view]
            titles = ["looked up", *(f"{view} {rank}: {distance_text(view, hit[3])}" for rank, hit in enumerate(shown, 1))]
            names = ["", *(shortened(hit[0], 30) for hit in shown)]
            for column, image in enumerate([query_image, *(hit[1] for hit in shown)]):
                axes = figure.add_subplot(len(views), columns, row * columns + column + 1)
                _show(axes, image)
                axes.set_title(titles[column], fontsize=10, weight="normal" if column else "bold")
                axes.text(0.5, -0.03, names[column], transform=axes.transAxes, ha="center", va="top", fontsize=8)
        figure.subplots_adjust(
            left=0.01, right=0.99, bottom=0.24 / (3.0 * len(views)), top=1 - 0.3 / (3.0 * len(views)), wspace=0.04
        )
        save(figure, path)


# Pictures


def _show_pair(axes: Sequence[Axes], pair: Pair) -> None:
    height, width = pair.real.shape
    same = pair.generated.shape == pair.real.shape
    generated = pair.generated if same else cv2.resize(pair.generated, (width, height), interpolation=cv2.INTER_AREA)
    difference = generated.astype(np.int16) - pair.real
    _show(axes[0], pair.real)
    _show(axes[1], pair.generated)
    axes[2].imshow(difference, cmap="RdBu_r", vmin=-_DIFFERENCE, vmax=_DIFFERENCE)
    axes[2].set_axis_off()


def _show(axes: Axes, image: GreyImage) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()


@contextmanager
def style() -> Iterator[None]:
    """While pictures are made: names are never taken for formulas, ids in SVG repeat, signs that the font lacks become boxes."""
    settings: Any = {"svg.hashsalt": "synthtrace", "text.parse_math": False}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def save(figure: Figure, path: Path) -> Path:
    """Write a figure whole or not at all, as its suffix says; the path."""
    kind = path.suffix.removeprefix(".").lower()
    dated = {"png": "Software", "svg": "Date", "pdf": "CreationDate"}  # what would change from day to day or version to version

    def write(file: BinaryIO) -> None:
        figure.savefig(file, format=kind, dpi=_DPI, metadata={dated[kind]: None} if kind in dated else None)

    write_atomic(path, write)
    return path
