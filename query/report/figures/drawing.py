"""Figures of the HTML report as data URIs: charts as SVG, pairs as PNG, deterministic."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from embeddings.types import GreyImage
from embeddings.views.keypoints import resized
from query.report.figures.charts import distance_figure, reliability_figure, roc_figure, value_figure
from query.report.figures.figures import style
from query.report.pairs import Shown, difference
from query.report.run_summary import RunSummary

LINES = 60  # of matched points that are drawn
_SIDE = 256  # longer side of a picture, pixels
_GAP = 16  # pixels between two pictures


@dataclass(frozen=True)
class Charts:
    """Charts of a report as data URIs, by view and one each; empty where there is nothing to show."""

    views: Mapping[str, str] = field(default_factory=dict)
    primary: str = ""
    roc: str = ""
    reliability: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture as data URI, its size and place in pixels."""

    uri: str
    width: int
    height: int
    left: int = 0


@dataclass(frozen=True)
class PairPicture:
    """The pictures of a pair.

    Attributes:
        width, height: of both side by side, in pixels.
        lines: x and y of matched points in the real and in the generated image.
        difference: None where the two do not overlap.
    """

    width: int
    height: int
    real: Picture
    generated: Picture
    lines: Sequence[Sequence[float]]
    difference: Picture | None


def charts(summary: RunSummary) -> Charts:
    """All charts of a report."""
    decided, evaluation = summary.decisions, summary.evaluation
    primary = decided.primary if decided else None
    with style():
        return Charts(
            views={view.view: uri(distance_figure(view)) for view in summary.views if view.histogram},
            primary=uri(value_figure(primary.method, primary.histogram, decided.methods[0].threshold))
            if decided and primary and primary.histogram
            else "",
            roc=uri(roc_figure(evaluation.roc)) if evaluation and evaluation.roc else "",
            reliability=uri(reliability_figure(evaluation.reliability)) if evaluation and evaluation.reliability else "",
        )


def pair(shown: Shown) -> PairPicture:
    """The pictures of a pair: both images as PNG with their places side by side, lines between matched points, the difference."""
    real, generated = resized(shown.real, _SIDE), resized(shown.generated, _SIDE)
    left = real.shape[1] + _GAP
    scales = [small.shape[1] / image.shape[1] for small, image in ((real, shown.real), (generated, shown.generated))]
    lines = shown.found.points[:: max(1, -(-len(shown.found.points) // LINES))].astype(float)
    places = np.hstack([lines[:, :2] * scales[0], lines[:, 2:] * scales[1] + [left, 0]]).round(1)
    return PairPicture(
        width=left + generated.shape[1],
        height=max(real.shape[0], generated.shape[0]),
        real=_picture(real),
        generated=_picture(generated, left),
        lines=places.tolist(),
        difference=_difference(shown),
    )


def _difference(shown: Shown) -> Picture | None:
    """Blue where the generated image is darker, red where brighter, white where equal, grey where nothing overlaps."""
    signed, seen = difference(shown)
    if not seen.any():
        return None
    share = np.clip(signed / 128.0, -1, 1)[..., None]
    blue, red, white = (np.array(rgb, np.float64) for rgb in ((33, 102, 172), (178, 24, 43), (255, 255, 255)))
    coloured = white + np.where(share < 0, -share * (blue - white), share * (red - white))
    coloured[~seen] = 200
    small: Any = cv2.resize(coloured.astype(np.uint8), _fitted(signed.shape), interpolation=cv2.INTER_AREA)
    return _picture(small[..., ::-1])


def _fitted(shape: tuple[int, ...]) -> tuple[int, int]:
    """Width and height with a longer side of 256."""
    scale = _SIDE / max(shape[:2])
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def uri(figure: Figure) -> str:
    """A chart as data URI."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"


def _picture(image: GreyImage | NDArray[np.uint8], left: int = 0) -> Picture:
    """A grey or BGR image as PNG."""
    done, data = cv2.imencode(".png", image)
    assert done
    return Picture(f"data:image/png;base64,{base64.b64encode(data.tobytes()).decode()}", image.shape[1], image.shape[0], left)
