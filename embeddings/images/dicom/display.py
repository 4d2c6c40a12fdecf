"""From stored values to what is shown: modality transformation, values of interest (VOI), presentation, in this order.

The order is that of PS3.4 N.2 and PS3.3 C.11. In files of several frames each step may be a frame's own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.images.decoding import Decoding
from embeddings.images.dicom.header import Header
from embeddings.images.dicom.layout import Layout
from embeddings.images.dicom.tables import BadTable, Table, palette_of, table_of
from embeddings.images.errors import BadPixels
from embeddings.images.windowing import Scale, luma, scaled_limits, window
from embeddings.types import GreyImage

_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_FRAME_TYPES = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")


@dataclass(frozen=True)
class Modality:
    """Stored values to those of the modality, such as Hounsfield units.

    Attributes:
        scale: None where values stay as they are.
        least, most: what can come out.
        whole: nothing but whole numbers can come out.
    """

    scale: Scale | None
    least: float
    most: float
    whole: bool


@dataclass(frozen=True)
class Shown:
    """How values of a frame are shown: those of `scale` from low to high become 0 to 255."""

    scale: Scale | None
    low: float
    high: float


class Display:
    """Makes 8-bit grey of the frames of a file.

    Args:
        header: of the file.
        layout: of its pixels.
        decoding: the settings.

    Raises:
        BadPixels: the palette of a PALETTE COLOR image makes no sense.
    """

    def __init__(self, header: Header, layout: Layout, decoding: Decoding) -> None:
        self.header, self.layout, self.decoding = header, layout, decoding
        self._tables: dict[int, Table | None] = {}  # of items of sequences, which all frames may share
        self.palette: Table | None = None
        if layout.photometric == "PALETTE COLOR":
            try:
                self.palette = palette_of(header, layout.signed, layout.most)
            except BadTable as error:
                raise BadPixels(f"the palette cannot be used: {error}") from error
        self.supplement = self._supplement()
        self.inverted = layout.photometric == "MONOCHROME1" or header.text("PresentationLUTShape") == "INVERSE"

    def grey(self, index: int, stored: NDArray[Any]) -> GreyImage:
        """A frame of stored values, (H, W), or of RGB, (H, W, 3), as 8-bit grey (H, W).

        MONOCHROME1 shows the least value as white (PS3.3 C.7.6.3.1.2). Presentation LUT Shape INVERSE says the same once more
        (PS3.3 C.8.11.3: it shall be used there), so the two together invert once.
        """
        if stored.ndim == 3:
            return luma(stored, self.layout.stored)
        if self.palette is not None:
            return self.palette.of_picture(stored)
        pixels = self._monochrome(index, stored)
        if self.inverted:
            pixels = 255 - pixels
        if self.supplement is not None and self._in_colour(index):
            coloured = stored >= self.supplement.first
            pixels[coloured] = self.supplement.of_picture(stored)[coloured]
        return pixels

    def _monochrome(self, index: int, stored: NDArray[Any]) -> GreyImage:
        """The fixed window, or the frame's own VOI transformation, or percentiles; plain 8 bits pass untouched."""
        modality = self._modality(index)
        plain = modality.scale is None and self.layout.stored <= 8 and not self.layout.signed and not self.layout.floating
        if self.decoding.window is not None and not plain:
            return window(stored, *self.decoding.window, modality.scale)
        shown = self._voi(index, modality)
        if shown is None and plain:  # fewer bits fill the range
            return window(stored, 0, self.layout.most)
        if shown is None:
            counted = stored[~self._left_out(index, stored)]
            scale = modality.scale or _as_it_is
            shown = Shown(modality.scale, *scaled_limits(counted if counted.size else stored.ravel(), scale, self.decoding))
        return window(stored, shown.low, shown.high, shown.scale)

    # Modality

    def _modality(self, index: int) -> Modality:
        """The modality transformation of a frame: its table, or slope and intercept (PS3.3 C.11.1); the nearest that is sound."""
        least, most = (float(limit) for limit in (self.layout.least, self.layout.most))
        for place in self.header.places(index, "PixelValueTransformationSequence"):
            table = self._table(place, "ModalityLUTSequence", least < 0, int(most))
            if table is not None:
                return Modality(table, 0, table.most, whole=True)  # its output is unsigned, PS3.3 C.11.1.1.1
            slope, intercept = place.number("RescaleSlope"), place.number("RescaleIntercept")
            if slope == 0:
                place.note("RescaleSlope is 0, which would leave no picture: taken as absent")
                slope = None
            if slope is not None or intercept is not None:
                return _rescaled(1.0 if slope is None else slope, intercept or 0.0, (least, most), not self.layout.floating)
        return Modality(None, least, most, not self.layout.floating)

    def _table(self, place: Header, keyword: str, signed: bool, most: int) -> Table | None:
        """The table of the first item of a sequence; None where there is none or it is broken, which is noted."""
        for item in place.items(keyword)[:1]:
            key = id(item.dataset)
            if key not in self._tables:
                try:
                    self._tables[key] = table_of(item, signed, most)
                except BadTable as error:
                    place.note(f"{keyword}: {error}: taken as absent")
                    self._tables[key] = None
            return self._tables[key]
        return None

    # Values of interest

    def _voi(self, index: int, modality: Modality) -> Shown | None:
        """The VOI transformation of a frame (PS3.3 C.11.2): the first table, else the first window; the nearest that is sound."""
        for place in self.header.places(index, "FrameVOILUTSequence"):
            table = self._table(place, "VOILUTSequence", modality.least < 0, int(min(modality.most, 65535)))
            if table is not None:
                return Shown(_chained(modality.scale, table), 0, table.most)
            centres, widths = place.numbers("WindowCenter"), place.numbers("WindowWidth")
            if centres and widths:
                if widths[0] > 0:
                    return _windowed(centres[0], widths[0], _function(place), modality)
                place.note(f"WindowWidth {widths[0]:g} is not positive: the window is taken as absent")
        return None

    # Padding and colour

    def _left_out(self, index: int, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """(H, W): True where no percentile should see a pixel: padding, and what a supplemental palette colours."""
        left_out = self._padding(stored)
        if self.supplement is not None and self._in_colour(index):
            left_out |= stored >= self.supplement.first
        return left_out

    def _padding(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """(H, W): True where a pixel is padding: from Pixel Padding Value to Range Limit, PS3.3 C.7.5.1.1.2.

        The two have the representation of the pixels, whatever VR the writer gave them.
        """
        kind = {"FloatPixelData": "Float", "DoubleFloatPixelData": "DoubleFloat"}.get(self.layout.kind, "")
        read = self.header.numbers if kind else self.header.integers
        limits = [value for name in ("Value", "RangeLimit") for value in read(f"{kind}PixelPadding{name}")[:1]]
        if not limits or f"{kind}PixelPaddingValue" not in self.header:
            return np.zeros(stored.shape, np.bool_)
        if not kind:
            limits = [_represented(int(value), self.layout) for value in limits]
        padding: NDArray[np.bool_] = (stored >= min(limits)) & (stored <= max(limits))
        return padding

    def _supplement(self) -> Table | None:
        """The supplemental palette of a MONOCHROME2 image, PS3.3 C.7.6.19 and C.8.16.2.1.1.1."""
        presented = self.header.text("PixelPresentation")
        if self.layout.photometric != "MONOCHROME2" or self.layout.floating or presented not in ("COLOR", "MIXED"):
            return None
        try:
            return palette_of(self.header, self.layout.signed, self.layout.most)
        except BadTable as error:
            self.header.note(f"the supplemental palette cannot be used: {error}: taken as absent")
            return None

    def _in_colour(self, index: int) -> bool:
        """Whether a frame of a file with a supplemental palette is shown in colour."""
        for macro in _FRAME_TYPES:
            for place in self.header.places(index, macro):
                if place.dataset is not self.header.dataset and (presented := place.text("PixelPresentation")):
                    return presented == "COLOR"
        return self.header.text("PixelPresentation") == "COLOR"


def _rescaled(slope: float, intercept: float, limits: tuple[float, float], whole: bool) -> Modality:
    """Slope and intercept; nothing where they change nothing."""
    if slope == 1 and intercept == 0:
        return Modality(None, *limits, whole)
    ends = sorted(limit * slope + intercept for limit in limits)
    whole = whole and slope.is_integer() and intercept.is_integer()
    return Modality(lambda stored: stored * slope + intercept, ends[0], ends[1], whole)


def _function(place: Header) -> str:
    """The VOI LUT Function of a window; LINEAR where none is named (PS3.3 C.11.2.1.3)."""
    named = place.text("VOILUTFunction")
    if named and named not in _FUNCTIONS:
        place.note(f"VOILUTFunction {named[:20]} is not known: taken as LINEAR")
    return named if named in _FUNCTIONS else "LINEAR"


def _windowed(centre: float, width: float, function: str, modality: Modality) -> Shown:
    """A window by its VOI LUT Function, PS3.3 C.11.2.1.2 and C.11.2.1.3.

    LINEAR, which is meant for whole numbers, is undefined below width 1 and a threshold at 1. There it is taken as LINEAR_EXACT,
    unless values are whole numbers.
    """
    if function == "SIGMOID":
        return Shown(_chained(modality.scale, lambda values: 1 / (1 + np.exp(-4 * (values - centre) / width))), 0, 1)
    if function == "LINEAR" and width == 1 and modality.whole:
        return Shown(_chained(modality.scale, lambda values: values > centre - 0.5), 0, 1)
    if function == "LINEAR" and width > 1:
        low = centre - 0.5 - (width - 1) / 2
        return Shown(modality.scale, low, low + width - 1)
    return Shown(modality.scale, centre - width / 2, centre + width / 2)


def _chained(first: Scale | None, then: Callable[[NDArray[Any]], NDArray[Any]]) -> Scale:
    return then if first is None else lambda values: then(first(values))


def _as_it_is(values: NDArray[Any]) -> NDArray[Any]:
    return values


def _represented(value: int, layout: Layout) -> int:
    """An integer of any VR as a stored value of these pixels."""
    value &= (1 << layout.allocated) - 1
    if value > layout.most and layout.signed:
        sign = layout.allocated if value >> layout.allocated - 1 else layout.stored
        return value - (1 << sign)
    return value
