"""Base types of procedural slices: random streams, patient, framing, canvas, shapes.

Coordinates are in cm, x to the right of the image (the
patient's left), y to the back, from the middle of the rib cage, z down from the apex of the lungs; densities are in Hounsfield
units. Every part has its own stream of chance: what one part draws changes no other.
"""

from dataclasses import dataclass, field
from enum import IntEnum, auto
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Points = NDArray[np.float64]  # (n, 2) cm
Pair = tuple[float, float]

AIR, LUNG, FAT, WATER, MUSCLE, MARROW, CORTEX = -1000, -870, -105, 8, 50, 230, 760
_STEP = 8  # HU for each grey level while drawing: anti-aliased drawing needs 8 bits, noise hides the steps
_OVERSAMPLING = 2
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates
KEY = 0x5C1CE
_FIELD = 24.0  # cm; half the width of the square that random fields cover


class Part(IntEnum):
    """Names of the streams of chance."""

    SIBLING = auto()
    PATIENT = auto()
    FRAMING = auto()
    TABLE = auto()
    WALL = auto()
    LUNGS = auto()
    VESSELS = auto()
    MEDIASTINUM = auto()
    GREAT_VESSELS = auto()
    HEART = auto()
    AIRWAYS = auto()
    ABDOMEN = auto()
    SPINE = auto()
    RIBS = auto()
    SHOULDERS = auto()
    ARMS = auto()
    TEXTURE = auto()
    OPACITIES = auto()
    AIR_DISEASE = auto()
    NODULES = auto()
    PLEURA = auto()
    SCANNER = auto()
    WINDOW = auto()
    MARKS = auto()
    PAPER = auto()
    NOISE = auto()


@dataclass(frozen=True)
class Streams:
    """Where chance comes from: what belongs to the patient, to the series, to this one picture."""

    seed: int
    sibling: int
    changed: frozenset[Part] = frozenset()

    def patient(self, part: Part) -> np.random.Generator:
        """The same for all pictures of a patient."""
        return np.random.default_rng([KEY, part, 0, self.seed])

    def series(self, part: Part) -> np.random.Generator:
        """The same for all pictures of a series, which most siblings share."""
        return self.picture(part) if part in self.changed else self.patient(part)

    def picture(self, part: Part) -> np.random.Generator:
        """Another one for each picture."""
        return np.random.default_rng([KEY, part, 1 + self.sibling, self.seed])


@dataclass(frozen=True)
class Sibling:
    """How a picture differs from the slice whose sibling it is; as it stands here, not at all."""

    shift: float = 0.0  # cm further down
    breath: tuple[float, float, float] = (1.0, 1.0, 1.0)  # factors of width and depth of the cage, and of the heart
    vessel_shift: float = 0.0  # cm that the lungs slid within the cage
    progress: float = 1.0  # factor of the extent of disease
    changed: frozenset[Part] = frozenset()  # what another series shows in another way


@dataclass(frozen=True)
class Patient:
    """Build, and the level of the slice."""

    level: float  # 0 at the apex of the lungs, 1 at the diaphragm
    depth: float  # the same in cm
    shift: float  # cm from the slice whose sibling this is
    vessel_shift: float  # cm
    height: float  # of the lungs, cm
    full: Pair  # half width and half depth of the inner rib cage where it is widest, cm
    cage: Pair  # the same at the slice's level
    body: Pair  # half width and half depth of what lies below the fat
    squareness: float  # exponent of the cage's superellipse
    gutter: float  # how far the spine stands into the cage, cm
    muscle: float  # thickness of the chest wall, cm
    fat: float  # thickness under the skin, cm
    breasts: float  # height, cm
    contrast: float  # HU that a contrast agent adds to blood
    slab: float  # thickness of the slice, cm
    heart: float  # factor of its size
    progress: float  # factor of the extent of disease


def draw_patient(streams: Streams, sibling: Sibling) -> Patient:
    """A patient; only what depends on the level or on breathing differs between siblings."""
    rng = streams.patient(Part.PATIENT)
    height, build = rng.uniform(20, 28), np.clip(rng.normal(1, 0.1), 0.7, 1.25)
    place, extreme = rng.uniform(0.1, 0.98), rng.uniform()
    place = np.interp(extreme, [0, 0.06], [-0.02, 0.1]) if extreme < 0.06 else place
    place = np.interp(extreme, [0.9, 1], [0.98, 1.12]) if extreme > 0.9 else place
    level = float(place + sibling.shift / height)
    full = (13.0 * build * rng.uniform(0.92, 1.08), 9.0 * build * rng.uniform(0.86, 1.2))
    muscle, fat = rng.uniform(0.7, 1.8), rng.gamma(1.8, 0.7) + 0.3
    wide = np.interp(level, [-0.05, 0, 0.1, 0.25, 0.5, 1], [0.42, 0.5, 0.66, 0.83, 0.96, 1.0]) * sibling.breath[0]
    deep = np.interp(level, [-0.05, 0, 0.1, 0.3, 0.5, 1], [0.66, 0.7, 0.8, 0.92, 0.98, 1.0]) * sibling.breath[1]
    outer = np.interp(level, [0, 0.25, 0.5, 1], [0.97, 0.95, 0.97, 1.0]), np.interp(level, [0, 0.4, 1], [0.85, 0.96, 1.0])
    return Patient(
        level=level,
        depth=level * height,
        shift=sibling.shift,
        vessel_shift=sibling.vessel_shift,
        height=height,
        full=full,
        cage=(full[0] * wide, full[1] * deep),
        body=(max(full[0] * outer[0], full[0] * wide) + 1.3 * muscle, max(full[1] * outer[1], full[1] * deep) + muscle),
        squareness=float(rng.uniform(1.95, 2.45)),
        gutter=float(rng.uniform(3.0, 4.4)),
        muscle=float(muscle),
        fat=float(fat),
        breasts=float(np.clip(rng.normal(0, 2), 0, 3.5) * np.interp(level, [0.3, 0.45, 0.9, 1.1], [0, 1, 1, 0.2])),
        contrast=float(rng.uniform(60, 320)) if rng.random() < 0.4 else 0.0,
        slab=float(rng.choice([0.06, 0.12, 0.25, 0.5])),
        heart=float(rng.uniform(0.8, 1.25)) * sibling.breath[2],
        progress=sibling.progress,
    )


@dataclass(frozen=True)
class Framing:
    """Where the patient lies in the picture."""

    field_of_view: float  # cm
    offset: Pair  # cm
    tilt: float  # radians
    aspect: float  # width over height of a square of the patient


def draw_framing(streams: Streams, patient: Patient) -> Framing:
    """Field of view and place of a series; the level has no say in it."""
    rng = streams.series(Part.FRAMING)
    body = 2 * (patient.full[0] + 1.3 * patient.muscle + patient.fat)
    kind, zoom = rng.random(), rng.random()
    low, high = (1.0, 1.25) if kind < 0.62 else (0.84, 1.0) if kind < 0.86 else (0.55, 0.84) if kind < 0.93 else (1.25, 1.7)
    aside = rng.normal(0, 4.5) if rng.random() < 0.06 else rng.normal(0, 0.8)
    return Framing(
        field_of_view=float(body * (low + (high - low) * zoom)),
        offset=(float(aside), float(rng.normal(-0.5, 1.3))),
        tilt=float(rng.normal(0, 0.05) * (3 if rng.random() < 0.07 else 1)),
        aspect=float(np.exp(rng.uniform(-0.15, 0.15))) if rng.random() < 0.2 else 1.0,
    )


@dataclass
class Canvas:
    """An oversampled 8-bit picture that is drawn on in cm; air everywhere at first."""

    size: int
    framing: Framing
    pixels: NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        self.pixels = np.zeros((self.size * _OVERSAMPLING,) * 2, np.uint8)
        self.scale = self.size * _OVERSAMPLING / self.framing.field_of_view  # pixels for each cm
        cosine, sine = np.cos(self.framing.tilt), np.sin(self.framing.tilt)
        stretch = np.array([np.sqrt(self.framing.aspect), 1 / np.sqrt(self.framing.aspect)]) * self.scale
        self.turn = np.array([[cosine, sine], [-sine, cosine]]) * stretch
        self.middle = np.array(self.framing.offset) * stretch + self.size * _OVERSAMPLING / 2

    def place(self, points: Floats) -> NDArray[np.int32]:
        """Points (..., 2) in cm as OpenCV's fixed-point pixels."""
        return np.rint((points @ self.turn + self.middle) * (1 << _SHIFT)).astype(np.int32)

    def fill(self, points: Floats, hounsfield: float) -> None:
        cv2.fillPoly(self.pixels, [self.place(points)], _level(hounsfield), cv2.LINE_AA, _SHIFT)

    def line(self, points: Floats, width: float, hounsfield: float, closed: bool = False) -> None:
        thickness = max(1, round(width * self.scale))
        cv2.polylines(self.pixels, [self.place(points)], closed, _level(hounsfield), thickness, cv2.LINE_AA, _SHIFT)

    def segments(self, ends: Floats, widths: Floats, hounsfield: Floats) -> None:
        """Many straight lines, (n, 2, 2) cm with a width and a density each."""
        levels = np.clip(np.rint((hounsfield - AIR) / _STEP), 0, 255)
        thick = np.maximum(1, np.rint(widths * self.scale)).astype(int)
        for (start, end), width, grey in zip(self.place(ends).tolist(), thick.tolist(), levels.tolist(), strict=True):
            cv2.line(self.pixels, start, end, grey, width, cv2.LINE_AA, _SHIFT)

    def reduced(self) -> NDArray[np.uint8]:
        """The picture at its final size."""
        return np.asarray(cv2.resize(self.pixels, (self.size, self.size), interpolation=cv2.INTER_AREA), np.uint8)

    def to_cm(self) -> NDArray[np.float64]:
        """The affine map (2, 3) from pixels of the final size to cm."""
        back = np.linalg.inv(self.turn.T / _OVERSAMPLING)
        return np.hstack([back, -back @ (self.middle / _OVERSAMPLING)[:, None]])

    def random_field(self, rng: np.random.Generator, spacing: float) -> NDArray[np.float32]:
        """Noise that is smooth over `spacing` cm and fixed to the patient, (size, size) float32, of unit variance at knots."""
        cells = round(2 * _FIELD / spacing)
        onto = self.to_cm()
        onto[:, 2] += _FIELD
        knots = rng.standard_normal((cells, cells), np.float32)
        coarse = 4 if spacing > 1.5 else 1  # quicker, and as smooth
        onto[:, 2] += onto[:, :2].sum(axis=1) * (coarse - 1) / 2  # middles of coarse pixels
        onto[:, :2] *= coarse
        size, flags = -(-self.size // coarse), cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        noise = cv2.warpAffine(knots, onto / spacing, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT)
        if coarse > 1:
            noise = cv2.resize(noise, (size * coarse, size * coarse), interpolation=cv2.INTER_LINEAR)
        return np.asarray(noise[: self.size, : self.size], np.float32)


class Scene:
    """What is being drawn: the picture, which of it is lung, its vessels; the patient; the sources of chance."""

    def __init__(self, size: int, patient: Patient, streams: Streams) -> None:
        self.patient, self.streams = patient, streams
        self.framing = draw_framing(streams, patient)
        self.picture, self.lungs, self.vessels = (Canvas(size, self.framing) for _ in range(3))

    def solid(self, shape: Points, hounsfield: float) -> None:
        """Fill a shape that is not lung, even where lung was drawn before."""
        self.picture.fill(shape, hounsfield)
        self.lungs.fill(shape, AIR)

    @cached_property
    def across(self) -> NDArray[np.float32]:
        """cm to the right of the middle, (size, size)."""
        return self._coordinate(0)

    @cached_property
    def down(self) -> NDArray[np.float32]:
        """From -1 at the front of the lungs to 1 at their back, (size, size)."""
        return self._coordinate(1) / np.float32(self.patient.full[1])

    def _coordinate(self, axis: int) -> NDArray[np.float32]:
        by_column, by_row, start = self.picture.to_cm()[axis].astype(np.float32)
        pixels = np.arange(self.picture.size, dtype=np.float32)
        return np.asarray(by_column * pixels + (by_row * pixels + start)[:, None], np.float32)

    def hounsfield(self) -> NDArray[np.float32]:
        """The picture at its final size, (size, size) float32."""
        return self.picture.reduced().astype(np.float32) * _STEP + AIR


def _level(hounsfield: float) -> float:
    return min(255.0, max(0.0, round((hounsfield - AIR) / _STEP)))


# Shapes -----------------------------------------------------------------------------------------------------------------

_TURN = np.linspace(0, 2 * np.pi, 40, endpoint=False)
_WAVES = np.arange(2, 6)


def blob(centre: Pair, radii: Pair, rng: np.random.Generator, rough: float = 0.05, angle: float = 0.0) -> Points:
    """An ellipse with an irregular outline, (40, 2) cm; `rough` is the relative size of its bumps."""
    size, phase = rng.normal(0, rough, 4) / _WAVES, rng.uniform(0, 2 * np.pi, 4)
    r = 1 + size @ np.cos(_WAVES[:, None] * _TURN + phase[:, None])
    x, y = radii[0] * r * np.cos(_TURN), radii[1] * r * np.sin(_TURN)
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([centre[0] + c * x - s * y, centre[1] + s * x + c * y], 1)


def rounded(corners: list[Pair]) -> Points:
    """A closed curve near the corners: Chaikin's corner cutting, three times."""
    points = np.array(corners, np.float64)
    for _ in range(3):
        after = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], 1).reshape(-1, 2)
    return points


def cage(patient: Patient, outward: float = 0.0, points: int = 120) -> Points:
    """The inner rib cage, `outward` cm further out: a superellipse into which the spine and the breastbone stand."""
    return cage_at(patient, np.linspace(0, 2 * np.pi, points, endpoint=False), outward)


def cage_at(patient: Patient, t: Floats, outward: float) -> Points:
    power = 2 / patient.squareness
    half_width, half_depth = patient.cage
    x = (half_width + outward) * np.sign(np.cos(t)) * np.abs(np.cos(t)) ** power
    y = (half_depth + outward) * np.sign(np.sin(t)) * np.abs(np.sin(t)) ** power
    spine = patient.gutter * np.exp(-((x / 2.9) ** 2)) * np.clip(y / half_depth, 0, 1)
    breastbone = 0.9 * np.exp(-((x / 2.6) ** 2)) * np.clip(-y / half_depth, 0, 1)
    narrow = 1 - 0.10 * np.clip(-y / half_depth, 0, 1)  # chests are narrower in front
    return np.stack([x * narrow, y - spine + breastbone], 1)


def within_cage(points: Points, patient: Patient, margin: float) -> Points:
    """Points pulled towards the middle until they are inside the cage."""
    power = patient.squareness
    half_width, half_depth = patient.cage[0] - margin, patient.cage[1] - margin
    far = (np.abs(points[:, 0]) / half_width) ** power + (np.abs(points[:, 1]) / half_depth) ** power
    return np.asarray(points / np.maximum(far, 1)[:, None] ** (1 / power))
