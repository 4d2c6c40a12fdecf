"""Pictures of duplicates: for a notebook, and sheets on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embeddings.images.errors import ImageError
from embeddings.types import GreyImage
from indexer.notebook import escaped, picture
from query.duplication.pool import Pool

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACROSS = 8  # pictures in a row of a sheet
_SIDE, _GAP = 1.55, 0.12  # inches: a picture, and between two
_TITLE, _HEADING, _TEXT = 0.55, 0.28, 0.42  # inches: the title of a sheet, the line above a picture, the two lines under it

Block = tuple[str, Sequence[tuple[int, str]]]  # a heading, and rows of a pool with a line on each


def shown(pool: Pool, row: int) -> str:
    """A picture and its name, as HTML."""
    return f'<span style="display:inline-block">{picture(_pixels(pool, row))}<br>{escaped(pool.where(row))}</span>'


def sheet(path: Path, pool: Pool, blocks: Sequence[Block], title: str) -> Path:
    """Blocks of pictures one after the other, like words in a text, with names and a line under each picture; the path.

    Args:
        path: of the PNG, readable for its owner only.
        pool: the images.
        blocks: at most `ACROSS` pictures of each are drawn.
        title: of the sheet.
    """
    from matplotlib.figure import Figure

    from query.report.figures.figures import save, style

    places = _places([min(len(images), ACROSS) for _, images in blocks])
    line = _HEADING + _SIDE + _TEXT
    height = _TITLE + line * (1 + max((row for row, _ in places), default=0))
    width = (_SIDE + _GAP) * ACROSS + _GAP
    with style():
        figure = Figure(figsize=(width, height))
        figure.text(_GAP / width, 1 - 0.36 / height, title, fontsize=13, weight="bold")
        for (heading, images), (row, column) in zip(blocks, places, strict=True):
            top = height - _TITLE - line * row
            left = _GAP + column * (_SIDE + _GAP)
            figure.text(left / width, (top - 0.2) / height, heading, fontsize=9, weight="bold")
            for number, (image, note) in enumerate(images[:ACROSS]):
                corner = left + number * (_SIDE + _GAP), top - _HEADING - _SIDE
                _draw(figure, corner, _pixels(pool, image), (pool.where(image), note))
        return save(figure, path)


def _places(widths: Sequence[int]) -> list[tuple[int, int]]:
    """Line and first column of each block."""
    places, row, column = [], 0, 0
    for width in widths:
        if column + width > ACROSS:
            row, column = row + 1, 0
        places.append((row, column))
        column += width
    return places


def _draw(figure: "Figure", corner: tuple[float, float], pixels: GreyImage | None, lines: tuple[str, str]) -> None:
    """A picture with its lower left corner there, in inches, and two lines under it."""
    from query.report.text.units import shortened

    (left, bottom), (width, height) = corner, figure.get_size_inches()
    axes = figure.add_axes((left / width, bottom / height, _SIDE / width, _SIDE / height))
    axes.set_axis_off()
    axes.set_anchor("NW")
    if pixels is None:
        axes.text(0.5, 0.5, "(cannot be read)", ha="center", fontsize=8)
    else:
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    under = "\n".join(shortened(each, 27) for each in lines)
    figure.text(left / width, (bottom - 0.05) / height, under, fontsize=7.5, va="top")


def _pixels(pool: Pool, row: int) -> GreyImage | None:
    try:
        return pool.read(row)
    except ImageError:
        return None
