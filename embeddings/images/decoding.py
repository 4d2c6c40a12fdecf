"""Types of decoding: the settings and a decoded frame.

How pixels become grey (the settings are in `Decoding`):

- 8-bit grey passes untouched; colour goes through Pillow's ``convert("L")`` (ITU-R 601 luma); ICC profiles are not applied.
- Alpha, and transparent entries of a palette, are composited on black. A colour key of a grey or RGB image is not alpha.
- EXIF orientation is applied; an EXIF block that cannot be read counts as none.
- Deeper grey (16-bit, 32-bit, float) is windowed explicitly, never clipped. Of 16-bit colour the high byte is kept,
  as it is made for display.
- DICOM and NIfTI: see `embeddings.images.dicom` and `embeddings.images.nifti`, imported when the first such file is met.
"""

import math
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

import numpy as np

from embeddings.images.errors import printable
from embeddings.types import GreyImage

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
DICOM_HEAD = 132  # bytes that tell whether a file is DICOM
NIFTI_SUFFIXES = (".nii", ".nii.gz")
VOLUME_SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif"),
    *(".avif", ".heic", ".heif", ".jp2", ".j2k", ".j2c", ".jpx"),
    *(*DICOM_SUFFIXES, *NIFTI_SUFFIXES, *VOLUME_SUFFIXES, ".npy"),
)


# value representations whose length takes two bytes, as far as they stand at the start of a file
_VRS = (b"AE", b"AT", b"CS", b"DA", b"DS", b"DT", b"IS", b"LO", b"LT", b"PN", b"SH", b"ST", b"TM", b"UI", b"UL", b"US")


class Layout(StrEnum):
    """How slices of volumes are laid out."""

    DISPLAY = "display"
    STORED = "stored"


@dataclass(frozen=True)
class Decoding:
    """How pixels become 8-bit grey; part of every fingerprint.

    Attributes:
        low, high: percentiles of the finite values of a frame (NIfTI: of a volume) that become 0 and 255 where
            data is deeper than 8 bits and has no window; minimum and maximum where the two percentiles are equal.
        centre, width: a fixed window instead: centre - width / 2 becomes 0, centre + width / 2 becomes 255. In HU
            for CT in DICOM, in scaled values for NIfTI, in stored values for deep TIFF and PNG. 8-bit PNG, JPEG and the
            like are never windowed, nor are 8-bit DICOM and NIfTI without a scale.
        axis: slicing of NIfTI and other volumes: 0 sagittal, 1 coronal, 2 axial; of volumes as they are stored, the axis itself.
        layout: ``display``: volumes are brought to one orientation and their slices laid out as viewers show them; ``stored``:
            slice k is ``array[:, :, k]`` of the voxels as they are stored, rows along the first axis, as generators often see
            them. Arrays of pictures are always taken as stored, DICOM as displayed.
        max_pixels: of one frame; a NIfTI volume may have ten times as many voxels, and all frames of a file together 40
            times. It limits memory too, see `memory`. For TIFF, GIF and WebP ``PIL.Image.MAX_IMAGE_PIXELS`` holds as
            well, because Pillow itself insists on it.

    Raises:
        ValueError: a setting is out of range.
    """

    low: float = 0.5
    high: float = 99.5
    centre: float | None = None
    width: float | None = None
    axis: int = 2
    layout: Layout = Layout.DISPLAY
    max_pixels: int = 100_000_000

    def __post_init__(self) -> None:
        for name in ("low", "high", "centre", "width"):  # 1 and 1.0 must give one fingerprint
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, float(value))
        if not 0 <= self.low < self.high <= 100:
            raise ValueError(f"percentiles must be 0 <= low < high <= 100, got low {self.low}, high {self.high}")
        if (self.centre is None) != (self.width is None):
            raise ValueError(f"centre and width go together, got centre {self.centre}, width {self.width}")
        if self.centre is not None and self.width is not None and not (math.isfinite(self.centre) and 0 < self.width < math.inf):
            raise ValueError(f"centre must be finite and width positive, got centre {self.centre}, width {self.width}")
        if self.axis not in (0, 1, 2):
            raise ValueError(f"axis must be 0, 1 or 2, got {self.axis}")
        object.__setattr__(self, "layout", Layout(self.layout))
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels must be positive, got {self.max_pixels}")

    @property
    def window(self) -> tuple[float, float] | None:
        """The values that become 0 and 255 under the fixed window; None where there is none."""
        if self.centre is None or self.width is None:
            return None
        return self.centre - self.width / 2, self.centre + self.width / 2

    @property
    def memory(self) -> int:
        """Bytes that decoding a file may take, the file itself and every copy included: 16 for each of `max_pixels`."""
        return max(16 * self.max_pixels, 64_000_000)

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON-able values; ``Decoding(**values)`` reads them back."""
        return asdict(self)


@dataclass(frozen=True)
class ArrayFrame:
    """One frame of an array file, which is read without those before it.

    Attributes:
        number: of the frame, from 0.
        reading: how the values of the whole array are taken, see `embeddings.images.containers.arrays`; it is `Frame.mode` of
            every frame.
    """

    number: int
    reading: str


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded picture.

    Attributes:
        pixels: (H, W) uint8, C order, writeable, its own memory.
        mode: pixel mode or photometric interpretation as stored: ``L``, ``RGB``, ``I;16``, ``MONOCHROME1``, ``int16`` ...; of an
            array, how it is read: ``array NHW float32 -1..1``.
        notes: what was wrong with the file, and what was done about it; one line each.
        patient: who the file says it is of, see `embeddings.images.dicom.patient`; empty where it does not say. Never written or
            logged as it is: `indexer.salt` hashes it; `query.database.patient_ids` shows it to who asks.
        last: whether it is known that the file has no more; so that nobody has to be asked.
    """

    pixels: GreyImage
    mode: str
    notes: tuple[str, ...] = ()
    patient: str = field(default="", repr=False)
    last: bool = False


def frame_name(path: str, frame: int, frames: int) -> str:
    """Printable name of a frame: ``a.tif`` where the file has one, else ``a.tif#3``, counted from 0."""
    return printable(path) if frames == 1 else f"{printable(path)}#{frame}"


def flip(image: GreyImage) -> GreyImage:
    """The image mirrored left to right."""
    return np.ascontiguousarray(image[:, ::-1])


def is_dicom(head: bytes) -> bool:
    """Whether a file that starts with these bytes, `DICOM_HEAD` of them, is DICOM, with its preamble or without."""
    return head[128:132] == b"DICM" or any(_elements(head, order) >= 2 for order in ("little", "big"))


def _elements(head: bytes, order: Literal["little", "big"]) -> int:
    """Data elements at the start of a file without preamble: of groups 2 and 8, in rising order (PS3.5 section 7.1)."""
    at = found = before = 0
    while at + 8 <= len(head):
        group, element, length = (int.from_bytes(head[at + start : at + end], order) for start, end in ((0, 2), (2, 4), (4, 8)))
        tag = group << 16 | element
        if head[at + 4 : at + 6] in _VRS:
            length = int.from_bytes(head[at + 6 : at + 8], order)
        if group > 8 and found >= 2:
            break
        if group not in (2, 8) or element > 0x2228 or length > 1024 or length % 2 or (found and tag <= before):
            return 0
        at, found, before = at + 8 + length, found + 1, tag
    return found
