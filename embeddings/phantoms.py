"""Procedural axial slices that look like chest CT, and copies of an image such as a memorising generator makes.

The slices are drawn, not taken from any patient: body, fat, muscle, ribs, spine, lungs with branching vessels, what lies between
them at the slice's level, disease now and then, table, reconstruction circle, noise, window. Anatomy is in cm, x to the right
of the image (the patient's left), y to the back, from the middle of the rib cage; densities are in Hounsfield units. Demo, tests
and the training of the bundled network use them, so that none of these needs a patient's scan.
"""

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.types import GreyImage

SIZE = 256

Floats = NDArray[np.floating]
Points = NDArray[np.float64]  # (n, 2) cm
Pair = tuple[float, float]

AIR, LUNG, FAT, WATER, MUSCLE, MARROW, CORTEX = -1000, -870, -105, 8, 50, 230, 760
_STEP = 8  # HU for each grey level while drawing: anti-aliased drawing needs 8 bits, noise hides the steps
_OVERSAMPLING = 2
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


def phantom(seed: int, size: int = SIZE) -> GreyImage:
    """A chest-CT-like slice, (size, size) uint8.

    The same seed (0 or more) gives the same pixels with the same library versions; another seed is another patient.
    At another size noise, disease and window differ, too.
    """
    rng = np.random.default_rng([0x5C1CE, seed])
    scene = _Scene(size, _draw_patient(rng), rng)
    for draw in (_table, _chest_wall, _lungs, _mediastinum, _spine, _ribs, _shoulder_blades):
        draw(scene)
    hounsfield = scene.picture.reduced().astype(np.float32) * _STEP + AIR
    _add_disease(hounsfield, scene.lungs.reduced() / np.float32(255), rng)
    return _expose(hounsfield, rng)


@dataclass(frozen=True)
class _Patient:
    """Size, level of the slice and place in the field of view."""

    level: float  # 0 at the apex of the lungs, 1 at the diaphragm
    cage: Pair  # half width and half depth of the inner rib cage, cm
    squareness: float  # exponent of the cage's superellipse
    gutter: float  # how far the spine stands into the cage, cm
    muscle: float  # thickness of the chest wall, cm
    fat: float  # thickness under the skin, cm
    breasts: float  # height, cm
    contrast: int  # HU that a contrast agent adds to blood
    field_of_view: float  # cm
    offset: Pair  # cm
    tilt: float  # radians


def _draw_patient(rng: np.random.Generator) -> _Patient:
    level = float(rng.uniform(0.12, 1.0))
    build = rng.uniform(0.86, 1.14)
    grown = np.interp(level, [0.1, 0.3, 0.5, 1], [0.70, 0.86, 0.96, 1.0])
    half_width = 13.0 * build * grown * rng.uniform(0.93, 1.07)
    half_depth = 9.0 * build * grown * rng.uniform(0.88, 1.16)
    muscle, fat = rng.uniform(0.9, 2.0), rng.gamma(2.2, 0.5) + 0.35
    body = 2 * (half_width + muscle + fat)
    return _Patient(
        level=level,
        cage=(half_width, half_depth),
        squareness=float(rng.uniform(2.0, 2.5)),
        gutter=float(rng.uniform(3.0, 4.4)),
        muscle=float(muscle),
        fat=float(fat),
        breasts=float(np.clip(rng.normal(0.0, 1.9), 0, 2.8)) if level > 0.35 else 0.0,
        contrast=int(rng.integers(80, 280)) if rng.random() < 0.35 else 0,
        field_of_view=float(body * (rng.uniform(1.0, 1.3) if rng.random() < 0.8 else rng.uniform(0.8, 1.0))),
        offset=(float(rng.normal(0, 0.7)), float(rng.normal(-0.6, 1.1))),
        tilt=float(rng.normal(0, 0.05)),
    )


@dataclass
class _Canvas:
    """An oversampled 8-bit picture that is drawn on in cm; air everywhere at first."""

    size: int
    patient: _Patient
    pixels: NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        self.pixels = np.zeros((self.size * _OVERSAMPLING,) * 2, np.uint8)
        self.scale = self.size * _OVERSAMPLING / self.patient.field_of_view  # pixels for each cm
        cosine, sine = np.cos(self.patient.tilt), np.sin(self.patient.tilt)
        self.turn = np.array([[cosine, sine], [-sine, cosine]]) * self.scale
        self.middle = np.array(self.patient.offset) * self.scale + self.size * _OVERSAMPLING / 2

    def place(self, points: Floats) -> NDArray[np.int32]:
        """Points (n, 2) in cm as OpenCV's fixed-point pixels."""
        return np.rint((points @ self.turn + self.middle) * (1 << _SHIFT)).astype(np.int32)

    def fill(self, points: Floats, hounsfield: float) -> None:
        cv2.fillPoly(self.pixels, [self.place(points)], _level(hounsfield), cv2.LINE_AA, _SHIFT)

    def line(self, points: Floats, width: float, hounsfield: float, closed: bool = False) -> None:
        thickness = max(1, round(width * self.scale))
        cv2.polylines(self.pixels, [self.place(points)], closed, _level(hounsfield), thickness, cv2.LINE_AA, _SHIFT)

    def reduced(self) -> NDArray[np.uint8]:
        """The picture at its final size."""
        return np.asarray(cv2.resize(self.pixels, (self.size, self.size), interpolation=cv2.INTER_AREA), np.uint8)


class _Scene:
    """What is being drawn: the picture, which of it is lung, the patient, the source of chance."""

    def __init__(self, size: int, patient: _Patient, rng: np.random.Generator) -> None:
        self.patient, self.rng = patient, rng
        self.picture, self.lungs, self.vessels = (_Canvas(size, patient) for _ in range(3))

    def solid(self, shape: Points, hounsfield: float) -> None:
        """Fill a shape that is not lung, even where lung was drawn before."""
        self.picture.fill(shape, hounsfield)
        self.lungs.fill(shape, AIR)

    def organ(self, centre: Pair, radii: Pair, hounsfield: float, angle: float = 0.0, rough: float = 0.06) -> None:
        self.solid(_blob(centre, radii, self.rng, rough, angle), hounsfield)


def _level(hounsfield: float) -> float:
    return min(255.0, max(0.0, round((hounsfield - AIR) / _STEP)))


# Shapes -----------------------------------------------------------------------------------------------------------------


def _blob(centre: Pair, radii: Pair, rng: np.random.Generator, rough: float = 0.05, angle: float = 0.0) -> Points:
    """An ellipse with an irregular outline; `rough` is the relative size of its bumps."""
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    r = 1 + sum(rough * rng.normal() / k * np.cos(k * t + rng.uniform(0, 2 * np.pi)) for k in range(2, 6))
    x, y = radii[0] * r * np.cos(t), radii[1] * r * np.sin(t)
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([centre[0] + c * x - s * y, centre[1] + s * x + c * y], 1)


def _pair(rng: np.random.Generator, low: float, high: float) -> Pair:
    """Two independent radii."""
    return rng.uniform(low, high), rng.uniform(low, high)


def _rounded(corners: list[Pair]) -> Points:
    """A closed curve near the corners: Chaikin's corner cutting, three times."""
    points = np.array(corners, np.float64)
    for _ in range(3):
        after = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], 1).reshape(-1, 2)
    return points


def _cage(patient: _Patient, outward: float = 0.0, points: int = 120) -> Points:
    """The inner rib cage, `outward` cm further out: a superellipse into which the spine and the breastbone stand."""
    t = np.linspace(0, 2 * np.pi, points, endpoint=False)
    power = 2 / patient.squareness
    half_width, half_depth = patient.cage
    x = (half_width + outward) * np.sign(np.cos(t)) * np.abs(np.cos(t)) ** power
    y = (half_depth + outward) * np.sign(np.sin(t)) * np.abs(np.sin(t)) ** power
    spine = patient.gutter * np.exp(-((x / 2.9) ** 2)) * np.clip(y / half_depth, 0, 1)
    breastbone = 0.9 * np.exp(-((x / 2.6) ** 2)) * np.clip(-y / half_depth, 0, 1)
    narrow = 1 - 0.10 * np.clip(-y / half_depth, 0, 1)  # chests are narrower in front
    return np.stack([x * narrow, y - spine + breastbone], 1)


# Parts of the body, in the order in which they cover each other ---------------------------------------------------------------


def _table(scene: _Scene) -> None:
    """The couch: one or two shells below the back, and a thin sheet or tube now and then."""
    rng, patient = scene.rng, scene.patient
    back = patient.cage[1] + patient.muscle + patient.fat + rng.uniform(0.3, 1.6)
    x = np.linspace(-1, 1, 40)
    half, sag = rng.uniform(18, 25), rng.uniform(1.0, 5.0)
    if rng.random() < 0.85:
        for depth in (0.0, rng.uniform(1.5, 4.5)):
            shell = np.stack([x * half, back + depth - sag * x**2 * (1 - depth / 12)], 1)
            scene.picture.line(shell, rng.uniform(0.15, 0.45), rng.uniform(-750, -150))
    if rng.random() < 0.4:
        frame = _rounded([(-9, back + 4), (9, back + 4), (8, back + 6), (-8, back + 6)])
        scene.picture.line(frame, 0.2, rng.uniform(-600, 100), closed=True)
    if rng.random() < 0.3:  # a blanket
        cover = -patient.cage[1] - patient.muscle - patient.fat - rng.uniform(0.5, 3)
        wave = rng.normal(0, 0.4, 40).cumsum() * 0.3
        scene.picture.line(np.stack([x * 13, cover + wave + 5 * x**2], 1), 0.08, rng.uniform(-850, -600))


def _chest_wall(scene: _Scene) -> None:
    """Skin, fat, muscle with planes of fat between its layers, and the cage's lining."""
    rng, patient, picture = scene.rng, scene.patient, scene.picture
    half_width, half_depth = patient.cage
    t = np.linspace(0, 2 * np.pi, 160, endpoint=False)
    side, front, behind = np.cos(t), np.clip(-np.sin(t), 0, 1), np.clip(np.sin(t), 0, 1)
    bumps = np.sum([rng.normal(0, 0.3) / k * np.cos(k * t + rng.uniform(0, 2 * np.pi)) for k in range(2, 7)], axis=0)
    n = 2 / (patient.squareness + 0.25)

    def outline(out_x: float, out_y: float, swell: Floats, breasts: float = 0.0) -> Points:
        x = (half_width + out_x + swell) * np.sign(side) * np.abs(side) ** n
        y = (half_depth + out_y + swell) * np.sign(np.sin(t)) * np.abs(np.sin(t)) ** n
        cleft = np.exp(-((x / 2.0) ** 2)) * (0.6 * front - 0.7 * behind)
        breast = breasts * np.exp(-(((np.abs(x) - 0.55 * half_width) / (0.38 * half_width)) ** 2)) * np.sqrt(front)
        return np.stack([x, y + cleft - breast], 1)

    muscle, fat = patient.muscle, patient.fat
    pectoral = rng.uniform(0.2, 1.2) * np.exp(-(((np.abs(side) - 0.6) / 0.25) ** 2)) * front
    strap = rng.uniform(0.4, 1.2) * np.exp(-(((np.abs(side) - 0.3) / 0.25) ** 2)) * behind
    if patient.level < 0.75:  # muscles around the shoulder blades
        strap += rng.uniform(0.6, 1.6) * np.exp(-(((np.abs(side) - 0.8) / 0.2) ** 2)) * behind
    body = outline(muscle * 1.3 + fat, muscle + fat, bumps, patient.breasts)
    picture.fill(body, rng.uniform(0, 60))
    picture.fill(body * (1 - 0.22 / half_width), FAT)
    for x in rng.normal(0, 0.09, 14 * (patient.breasts > 1)) * half_width:  # glands
        y = -0.85 * half_depth - muscle - fat - patient.breasts * rng.uniform(-0.2, 0.4)
        centre = (x + rng.choice([-0.55, 0.55]) * half_width, y)
        picture.fill(_blob(centre, (rng.uniform(0.2, 1.0), rng.uniform(0.1, 0.3)), rng, 0.25, rng.uniform(0, 3)), -20)
    picture.fill(outline(muscle * 1.3, muscle, 0.7 * bumps + pectoral + strap), MUSCLE)
    for share in (0.4, 0.75):
        plane = outline(muscle * 1.3 * share, muscle * share, 0.5 * bumps + share * (pectoral + strap))
        for start in rng.integers(0, 160, 5):
            picture.line(np.roll(plane, -start, axis=0)[: int(rng.integers(8, 26))], rng.uniform(0.1, 0.35), -80)
    picture.line(_cage(patient, 0.3), 0.35, -40, closed=True)


def _lungs(scene: _Scene) -> None:
    """Both lungs with vessels, fissures and bronchi."""
    rng, patient = scene.rng, scene.patient
    inner = _cage(patient, -0.1)
    for side in (-1, 1):
        half = inner[inner[:, 0] * side > 0.15]
        # in the order of the outline: the half of the image's right wraps around the first point
        half = half[np.argsort(np.arctan2(half[:, 1], half[:, 0] * side))]
        scene.lungs.fill(half, 2000)
        scene.picture.fill(half, LUNG)
        _vessels(scene, side)
        if rng.random() < 0.6:
            x = np.linspace(0, 0.97 * patient.cage[0] - 3, 16)
            y = rng.uniform(-0.2, 0.5) * patient.cage[1] + rng.uniform(-0.5, 0.2) * x + rng.uniform(-0.03, 0.03) * x**2
            scene.vessels.line(np.stack([side * (x + 3), y], 1), 0.05, LUNG + rng.uniform(60, 200))
    inside = scene.vessels.pixels & scene.lungs.pixels  # lung is 255
    np.maximum(scene.picture.pixels, inside, out=scene.picture.pixels)


def _vessels(scene: _Scene, side: int) -> None:
    """A tree from the hilum that thins at every fork, vessels cut across, and bronchi as small rings."""
    rng, patient, layer = scene.rng, scene.patient, scene.vessels
    half_width, half_depth = patient.cage
    blood = MUSCLE + 0.8 * patient.contrast
    hilum = np.array([side * rng.uniform(0.24, 0.34) * half_width, rng.uniform(-0.05, 0.3) * half_depth])
    nearness = max(0.0, 1 - abs(patient.level - 0.58) / 0.45)
    trunks = rng.uniform(-1.7, 1.7, int(rng.integers(4, 8)))
    twigs = [(tuple(hilum + rng.normal(0, 0.6, 2)), angle, rng.uniform(0.1, 0.17) + 0.14 * nearness) for angle in trunks]
    while twigs:
        (x, y), angle, radius = twigs.pop()
        share, bend, turn, tone, keep = rng.random(5)
        bend, turn = (bend - 0.5) * 0.7, 1 if turn < 0.5 else -1
        step = (4 + 6 * share) * radius / 2 + 0.25
        middle = (x + side * step * math.cos(angle), y + step * math.sin(angle))
        end = (middle[0] + side * step * math.cos(angle + bend), middle[1] + step * math.sin(angle + bend))
        if radius > 0.16 or keep < 0.7:  # thin ones leave the plane of the slice and come back
            density = LUNG + (blood - LUNG) * min(1.0, radius / 0.14) * (0.65 + 0.35 * tone)
            layer.line(np.array([(x, y), middle, end]), 1.6 * radius, density)
        if radius > 0.055 and keep > 0.05:
            twigs.append((end, angle + bend + turn * (0.1 + 0.2 * tone), radius * (0.72 + 0.14 * share)))
            if keep > 0.25:
                twigs.append((end, angle + bend - turn * (0.3 + 0.5 * share), radius * (0.45 + 0.25 * tone)))
    cut = rng.uniform(-1, 1, (int(rng.integers(30, 90)), 2)) * [0.4 * half_width, 0.85 * half_depth]
    cut += [side * 0.58 * half_width, 0.1]
    for centre, radius in zip(cut, 0.035 + rng.gamma(1.2, 0.04, len(cut)), strict=True):
        end = centre + rng.normal(0, 0.12)
        layer.line(np.array([centre, end]), 2 * radius, LUNG + (blood - LUNG) * min(1.0, radius / 0.15))
    for x, y in cut[: int(rng.integers(1, 6))]:
        radius = rng.uniform(0.13, 0.3)
        layer.line(_blob((x, y), (radius, radius * rng.uniform(0.7, 1)), rng), 0.09, -250, closed=True)


def _mediastinum(scene: _Scene) -> None:
    """What lies between the lungs at this level: great vessels above, heart below, the dome of the liver at the base."""
    rng, patient = scene.rng, scene.patient
    half_width, half_depth = patient.cage
    level, blood = patient.level, MUSCLE - 5 + patient.contrast
    front, back = -half_depth + 0.6, half_depth - patient.gutter
    wide = rng.uniform(1.6, 2.9) * np.interp(level, [0.1, 0.4, 0.6, 1], [1.15, 1.1, 1.25, 0.9])
    waist = rng.uniform(0.3, 1.6)
    right, left = wide * rng.uniform(0.8, 1.2, 2), wide * rng.uniform(0.9, 1.3, 2)
    corners = [(-2, front - 1), (-waist, front + 1.8), (-right[0], -0.25 * half_depth), (-right[1], 0.25 * half_depth)]
    corners += [(-2.1, back), (-2.1, back + 1.5), (2.2, back + 1.5), (2.2, back)]
    corners += [(left[1], 0.2 * half_depth), (left[0], -0.25 * half_depth), (waist, front + 1.8), (2, front - 1)]
    scene.solid(_rounded(corners), rng.choice([FAT + 25, MUSCLE - 25, MUSCLE - 5]))
    if level < 0.36:  # branches of the arch, and veins
        for x in (-2.0, -0.9, 0.6, 1.7):
            scene.organ((x + rng.normal(0, 0.2), rng.normal(-1.2, 0.6)), _pair(rng, 0.5, 0.8), blood)
    elif level < 0.48:  # the arch
        scene.organ((0.9, -0.3), (rng.uniform(1.2, 1.5), rng.uniform(3.0, 4.2)), blood, rng.uniform(-0.5, -0.15))
        scene.organ((-1.9, -1.6), _pair(rng, 0.7, 1.1), blood + 0.4 * patient.contrast)
    else:
        _heart(scene, blood)
        aorta = rng.uniform(1.0, 1.4)
        scene.organ((rng.uniform(1.4, 2.2), back - 0.7), (aorta, aorta), blood, rough=0.03)
    scene.organ((rng.normal(0.3, 0.2), back - 0.8), (0.55, 0.4), MUSCLE - 15)  # oesophagus
    if level > 0.82:
        dome = (level - 0.78) * 5
        centre = (-0.55 * half_width, rng.uniform(-0.1, 0.2) * half_depth)
        radii = (rng.uniform(0.25, 0.42) * half_width * dome, rng.uniform(0.35, 0.65) * half_depth * dome)
        scene.organ(centre, radii, MUSCLE + 10 + 0.3 * patient.contrast)
    _airways(scene)


def _heart(scene: _Scene, blood: float) -> None:
    """Great vessels above level 0.6, below it the heart with its fat and, where there is contrast, its chambers."""
    rng, patient = scene.rng, scene.patient
    half_width, half_depth = patient.cage
    if patient.level < 0.62:
        scene.organ((-0.6, -0.3 * half_depth), _pair(rng, 1.4, 1.9), blood)  # ascending aorta
        scene.organ((2.0, -0.25 * half_depth), _pair(rng, 1.2, 1.9), blood, rng.uniform(0, 1))  # pulmonary trunk
        scene.organ((-2.6, -0.15 * half_depth), _pair(rng, 0.8, 1.2), blood + 0.4 * patient.contrast)  # upper caval vein
        for side in (-1, 1):  # pulmonary arteries to the hila
            centre = (side * rng.uniform(3.0, 4.0), rng.uniform(0.0, 1.6))
            scene.organ(centre, (rng.uniform(1.2, 2.3), rng.uniform(0.7, 1.1)), blood, rng.normal(0, 0.4))
        return
    grown = np.interp(patient.level, [0.6, 0.75, 1], [0.82, 1, 1.05]) * rng.uniform(0.85, 1.15)
    centre = (rng.uniform(0.5, 2.2), -0.26 * half_depth + rng.normal(0, 0.4))
    radii, angle = (0.47 * half_width * grown, 0.5 * half_depth * grown), rng.uniform(0.2, 0.8)
    scene.organ(centre, radii, FAT + rng.choice([0, 90]), angle, 0.08)
    scene.organ(centre, (radii[0] * 0.93, radii[1] * 0.92), MUSCLE - 5, angle, 0.08)
    for x, y in ((0.4, 0.25), (0.35, -0.35), (-0.45, -0.25), (-0.35, 0.35)):  # chambers
        place = (centre[0] + x * radii[0] - 0.2 * y * radii[1], centre[1] + y * radii[1] + 0.4 * x * radii[1])
        size = (radii[0] * rng.uniform(0.28, 0.4), radii[1] * rng.uniform(0.28, 0.4))
        scene.organ(place, size, blood - rng.uniform(0, 0.3) * patient.contrast, angle)


def _airways(scene: _Scene) -> None:
    """The trachea above the carina, two main bronchi at it, smaller ones below."""
    rng, level = scene.rng, scene.patient.level
    if level < 0.5:
        holes = [((rng.normal(-0.2, 0.3), rng.uniform(0.6, 1.8)), _pair(rng, 0.75, 1.1))]
    elif level < 0.66:
        apart = 1.0 + (level - 0.5) * 14
        holes = [((side * apart, rng.uniform(1.2, 2.2)), _pair(rng, 0.55, 0.9)) for side in (-1, 1)]
    else:
        holes = [((side * rng.uniform(3.3, 4.4), rng.uniform(2.4, 3.8)), _pair(rng, 0.25, 0.5)) for side in (-1, 1)]
    for centre, (width, depth) in holes:
        angle = rng.normal(0, 0.4)
        scene.organ(centre, (width + 0.2, depth + 0.2), MUSCLE - 10, angle, 0.02)
        scene.organ(centre, (width, depth), AIR + 10, angle, 0.03)


def _spine(scene: _Scene) -> None:
    """A vertebra with its canal, arch and processes, and the muscles that lie on it."""
    rng, patient = scene.rng, scene.patient
    y = patient.cage[1] - patient.gutter + 1.5 + rng.uniform(0, 0.4)
    width, depth = rng.uniform(1.6, 2.1), rng.uniform(1.25, 1.6)
    arch = y + depth + 0.9
    scene.solid(_blob((0, y + 0.8), (width + 0.9, depth + 1.6), rng, 0.03), MUSCLE - 5)
    rib = rng.random() < 0.6
    for side in (-1, 1):  # transverse processes, and the heads of a pair of ribs
        process = np.array([[side * 0.9, arch - 0.4], [side * rng.uniform(2.4, 3.1), arch + rng.uniform(-0.1, 0.7)]])
        scene.picture.line(process, 0.75, CORTEX - 200)
        scene.picture.line(process, 0.35, MARROW)
        if rib:
            head = np.array([[side * 1.7, y + 0.5], [side * 3.0, y + 1.4], [side * 4.1, y + 1.6]])
            scene.picture.line(head, 0.75, CORTEX - 150)
            scene.picture.line(head, 0.3, MARROW)
    body = _blob((0, y), (width, depth), rng, 0.05)
    scene.picture.fill(body, CORTEX - 150)
    scene.picture.fill((body - [0, y]) * 0.86 + [0, y], MARROW + rng.uniform(-90, 60))
    for spot in rng.normal(0, 0.35, (6, 2)) * [width, depth] + [0, y]:  # spongy bone
        scene.picture.line(np.stack([spot, spot + rng.normal(0, 0.3, 2)]), 0.15, MARROW + rng.choice([-120, 150]))
    tip = arch + rng.uniform(1.2, 2.4)
    process = _rounded([(-1.2, arch - 0.7), (1.2, arch - 0.7), (0.5, arch + 0.7), (0.25, tip), (-0.25, tip), (-0.5, arch + 0.7)])
    scene.picture.fill(process, CORTEX - 100)
    scene.picture.fill(_blob((0, arch + 0.35), (0.3, 0.3), rng), MARROW)
    scene.picture.fill(_blob((0, y + depth + 0.5), (1.0, 0.8), rng, 0.03), 15)
    scene.picture.fill(_blob((0, y + depth + 0.5), (0.5, 0.45), rng, 0.03), 40)


def _ribs(scene: _Scene) -> None:
    """Ribs cut obliquely, as arcs along the cage, and the breastbone with its cartilages."""
    rng, patient = scene.rng, scene.patient
    t = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    near, far = _cage(patient, 0.45, 240), _cage(patient, 0.45 + rng.uniform(0.4, 0.9), 240)
    for side in (0, 1):
        angle = rng.uniform(-1.25, -1.05)  # from the front round to the back, radians from the image's right
        while angle < 1.2:
            length = rng.uniform(0.16, 0.6)
            first = int(np.searchsorted(t, (np.pi - angle - length if side else angle) % (2 * np.pi)))
            along = np.arange(first, first + int(length / (2 * np.pi) * 240)) % 240
            lean = np.linspace(0, rng.uniform(0.2, 1), len(along))[:, None]
            path = near[along] * (1 - lean) + far[along] * lean
            if len(path) > 2:
                thick = rng.uniform(0.4, 0.7)
                scene.picture.line(path, thick, CORTEX + rng.uniform(-250, 150))
                scene.picture.line(path[1:-1], 0.5 * thick, MARROW + rng.uniform(-120, 150))
            angle += length + rng.uniform(0.1, 0.45)
    y = -patient.cage[1] + rng.uniform(-0.2, 0.4)
    wide = rng.uniform(1.4, 2.4) if patient.level > 0.4 else rng.uniform(2.2, 3.2)
    if patient.level < 0.95:
        bone = _rounded([(-wide, y - 0.55), (wide, y - 0.55), (wide * 0.95, y + 0.55), (-wide * 0.95, y + 0.55)])
        scene.picture.fill(bone, CORTEX - 250)
        scene.picture.fill((bone - [0, y]) * [0.9, 0.72] + [0, y], MARROW - rng.uniform(50, 150))
    for side in (-1, 1):  # cartilage
        near_end, far_end = wide + 0.3, wide + rng.uniform(1.3, 2.8)
        path = np.array([[side * near_end, y], [side * far_end, y + rng.uniform(0.2, 0.8)]])
        scene.picture.line(path, 0.8, rng.uniform(80, 250))


def _shoulder_blades(scene: _Scene) -> None:
    """Thin curved plates behind the ribs, at the upper levels only."""
    rng, patient = scene.rng, scene.patient
    if patient.level > 0.75:
        return
    for side in (-1, 1):
        angle = np.linspace(0.28, 0.28 + rng.uniform(0.35, 0.75), 14) + rng.normal(0, 0.05)
        reach = 1.0 + patient.muscle * rng.uniform(0.7, 1.0) / patient.cage[1]
        plate = np.stack([side * np.cos(angle) * patient.cage[0] * reach, np.sin(angle) * (patient.cage[1] + 0.8) * reach], 1)
        plate[:, 1] += rng.uniform(-0.3, 0.3) * np.sin(np.linspace(0, np.pi, 14))
        scene.picture.line(plate, rng.uniform(0.35, 0.6), CORTEX - 100)
        scene.picture.line(plate[2:-4], 0.2, MARROW)
        if rng.random() < 0.5:  # the spine of the shoulder blade
            start = plate[int(rng.integers(3, 9))]
            scene.picture.line(np.stack([start, start * rng.uniform(1.02, 1.05)]), 0.4, CORTEX - 150)


# Pixels -------------------------------------------------------------------------------------------------------------------


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], cells: int) -> NDArray[np.float32]:
    """Smooth noise of unit variance at its knots, (height, width) float32."""
    knots = rng.standard_normal((cells, cells), np.float32)
    return np.asarray(cv2.resize(knots, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def _add_disease(hounsfield: NDArray[np.float32], lung: Floats, rng: np.random.Generator) -> None:
    """The lungs' own unevenness, and sometimes ground glass, consolidation, emphysema, nodules or an effusion; in place."""
    height, width = hounsfield.shape
    aerated = lung * np.clip((-450 - hounsfield) / 300, 0, 1)  # not the vessels
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    change = 35 * _smooth(rng, hounsfield.shape, 6) + rng.uniform(0, 90) * rows + rng.normal(0, 40)
    if rng.random() < 0.4:  # ground glass, consolidation
        patches = _smooth(rng, hounsfield.shape, int(rng.integers(5, 9))) + 0.6 * rng.uniform(-1, 1.5) * rows
        ragged = patches + 0.35 * _smooth(rng, hounsfield.shape, 48)
        change += rng.uniform(150, 750) * np.clip((ragged - rng.uniform(0.5, 1.2)) * rng.uniform(1.5, 4), 0, 1)
    if rng.random() < 0.2:  # emphysema
        change -= rng.uniform(60, 120) * np.clip(_smooth(rng, hounsfield.shape, 28) - 0.3, 0, 1)
    hounsfield += aerated * change
    if rng.random() < 0.15:  # an effusion settles at the back
        level = rng.uniform(0.15, 0.5) + 0.04 * _smooth(rng, hounsfield.shape, 5)
        hounsfield += np.sign(lung) * np.clip((rows - level) * 40, 0, 1) * np.maximum(WATER - hounsfield, 0)
    inside = np.argwhere(aerated > 0.9)
    if len(inside) and rng.random() < 0.35:  # nodules
        for y, x in inside[rng.integers(0, len(inside), int(rng.integers(1, 5)))]:
            spot = np.zeros((height, width), np.uint8)
            radius = rng.uniform(0.006, 0.028) * width
            axes = (round(radius) + 1, round(radius * 0.8) + 1)
            cv2.ellipse(spot, (int(x), int(y)), axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
            hounsfield += aerated * (spot / np.float32(255)) * rng.uniform(400, 950)


def _expose(hounsfield: NDArray[np.float32], rng: np.random.Generator) -> GreyImage:
    """Scanner and screen: sharpness, noise, reconstruction circle, window."""
    size = hounsfield.shape[0]
    noise = rng.standard_normal(hounsfield.shape, np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.5, 0.9)) * np.float32(rng.uniform(12, 70))
    image = cv2.GaussianBlur(hounsfield, (0, 0), rng.uniform(0.3, 0.65)) + noise
    if rng.random() < 0.6:
        circle = np.zeros(hounsfield.shape, np.uint8)
        centre = (round(size / 2 * 16), round(size / 2 * 16))
        cv2.circle(circle, centre, round(size * rng.choice([0.5, 0.5, rng.uniform(0.47, 0.53)]) * 16), 255, -1, cv2.LINE_AA, 4)
        image = np.where(circle > 127, image, np.float32(-3000))
    kind = rng.choice(["wide", "lung", "soft"], p=[0.45, 0.43, 0.12])
    low, high = {
        "wide": (rng.uniform(-1800, -1100), rng.uniform(700, 1500)),
        "lung": (rng.uniform(-1350, -1050), rng.uniform(100, 400)),
        "soft": (rng.uniform(-300, -120), rng.uniform(200, 400)),
    }[str(kind)]
    image = np.clip((image - low) / (high - low), 0, 1)
    image = np.clip(np.rint(255 * cv2.pow(image, float(np.exp(rng.normal(0, 0.12))))), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(image[::-1] if rng.random() < 0.03 else image)  # now and then a patient lies face down


# Copies -------------------------------------------------------------------------------------------------------------------


def copy_of(image: GreyImage, strength: int, rng: np.random.Generator) -> GreyImage:
    """What a memorising generator makes of an image: a smooth elastic warp, a small affine, window and gamma, blur and noise.

    Args:
        image: (H, W) uint8.
        strength: 1 (faint) to 5 (heavy); displacements, tones and noise grow with it.
        rng: source of all draws; the same state gives the same copy.

    Returns:
        (H, W) uint8.

    Raises:
        ValueError: strength is not 1 to 5.
    """
    if not 1 <= strength <= 5:
        raise ValueError(f"strength must be 1 to 5, got {strength}")
    height, width = image.shape
    unit = max(height, width) / SIZE  # displacements are told for 256 pixels
    angle, scale = np.deg2rad(rng.uniform(-1.5, 1.5) * strength), 1 + rng.uniform(-0.02, 0.02) * strength
    shift = rng.uniform(-2, 2, 2) * strength * unit
    x, y = np.arange(width, dtype=np.float32) - width / 2, (np.arange(height, dtype=np.float32) - height / 2)[:, None]
    cosine, sine = np.float32(np.cos(angle) / scale), np.float32(np.sin(angle) / scale)
    amplitude = (1.5 + 2.0 * strength) * unit
    map_x = _displacement(rng, image.shape, amplitude) + cosine * x - sine * y + np.float32(width / 2 + shift[0])
    map_y = _displacement(rng, image.shape, amplitude) + sine * x + cosine * y + np.float32(height / 2 + shift[1])
    gain, bias = 1 + rng.uniform(-0.06, 0.06) * strength, rng.uniform(-6, 6) * strength
    gamma = np.exp(rng.uniform(-0.08, 0.08) * strength)
    tones = (255 * gain * np.linspace(0, 1, 256) ** gamma + bias).astype(np.float32)
    out = cv2.remap(tones[image], map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    out = cv2.GaussianBlur(out, (0, 0), (0.3 + 0.25 * strength) * unit)
    out += cv2.GaussianBlur(rng.standard_normal(out.shape, np.float32), (0, 0), 0.6) * np.float32(2 * strength)
    return np.asarray(cv2.convertScaleAbs(np.maximum(out, 0)), np.uint8)


def _displacement(rng: np.random.Generator, shape: tuple[int, ...], amplitude: float) -> NDArray[np.float32]:
    """A smooth field whose largest displacement is `amplitude` pixels, (height, width) float32."""
    field = _smooth(rng, shape, 6)
    return field * np.float32(amplitude / max(float(np.abs(field).max()), 1e-6))
