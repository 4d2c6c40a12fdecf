"""Draw lung texture and many kinds of lung disease on an image in Hounsfield units.

Fields of noise are fixed to the patient and turn into others with the level, so that neighbouring slices show the same disease.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.phantoms.scene import AIR, WATER, Canvas, Part, Scene

Image = NDArray[np.float32]


def add_disease(hounsfield: Image, scene: Scene) -> None:
    """Change the lungs of a picture (size, size) float32 in place."""
    lung = scene.lungs.reduced().astype(np.float32) / np.float32(255)
    aerated: Image = lung * np.clip((-450 - hounsfield) / 300, 0, 1)  # not the vessels
    change = _texture(scene)
    for add in (_opacities, _holes, _fibrosis):
        change += add(scene, lung)
    hounsfield += aerated * change
    _effusion(hounsfield, scene, lung)
    _collapse(hounsfield, scene, lung)
    _nodules(hounsfield, scene, lung)


def _drifting(scene: Scene, rng: np.random.Generator, spacing: float) -> Image:
    """A random field that becomes another one over about `spacing` cm of level, and is as uneven everywhere."""
    here, there = rng.spawn(2)
    turn = (scene.patient.shift + scene.patient.vessel_shift) / spacing
    noise = scene.picture.random_field(here, spacing)
    if turn:
        noise = np.float32(np.cos(turn)) * noise + np.float32(np.sin(turn)) * scene.picture.random_field(there, spacing)
    return noise


def _depth_below_pleura(lung: Image) -> Image:
    """Distance from what is not lung, in pixels."""
    return np.asarray(cv2.distanceTransform((lung > 0.5).astype(np.uint8), cv2.DIST_L2, 3), np.float32)


def _texture(scene: Scene) -> Image:
    """Healthy lungs: denser where blood sinks to, a little uneven."""
    rng = scene.streams.patient(Part.TEXTURE)
    slope, shift, uneven = rng.uniform(0, 90), rng.normal(0, 35), rng.uniform(10, 45)
    return np.float32(uneven) * _drifting(scene, rng, 4.0) + np.float32(slope) * scene.down + np.float32(shift)


def _opacities(scene: Scene, lung: Image) -> Image:
    """Ground glass and consolidation: patchy, below the pleura, at the back, or everywhere; smooth or with a net of lines."""
    rng = scene.streams.patient(Part.OPACITIES)
    kind, spacing, lean, edge, steep, dense, ragged = rng.random(7)
    if kind > 0.45:
        return np.zeros_like(lung)
    patches = _drifting(scene, rng, 2.0 + 4 * spacing) + np.float32(1.4 * lean - 0.4) * scene.down
    patches += np.float32(0.15 + 0.4 * ragged) * _drifting(scene, rng, 0.9)
    if kind < 0.15:  # as viral pneumonia does
        patches += np.float32(1.2) * np.exp(_depth_below_pleura(lung) * np.float32(-14 / lung.shape[0])) - np.float32(0.3)
    threshold = 0.35 + 0.9 * edge - 0.9 * np.log(scene.patient.progress)
    amount = np.clip((patches - np.float32(threshold)) * np.float32(0.8 + 4 * steep**2), 0, 1)
    change: Image = np.float32(120 + 720 * dense**1.5) * amount
    if kind < 0.08:  # crazy paving
        net = np.abs(_drifting(scene, rng, 0.7))
        change += amount * np.clip(np.float32(0.3) - net, 0, 1) * np.float32(900)
    return change


def _holes(scene: Scene, lung: Image) -> Image:
    """Emphysema: many small holes or a few large ones."""
    rng = scene.streams.patient(Part.AIR_DISEASE)
    kind, spacing, depth, edge = rng.random(4)
    if kind > 0.2:
        return np.zeros_like(lung)
    holes = _drifting(scene, rng, 0.7 + 1.6 * spacing) - np.float32(0.2 + 0.7 * edge - 0.3 * np.log(scene.patient.progress))
    return np.asarray(np.clip(3 * holes, 0, 1) * np.float32(-60 - 80 * depth))


def _fibrosis(scene: Scene, lung: Image) -> Image:
    """A net of thick lines and cysts below the pleura, more at the back; or thin lines only."""
    rng = scene.streams.patient(Part.PLEURA)
    kind, spacing, reach, dense = rng.random(4)
    if kind > 0.12:
        return np.zeros_like(lung)
    below = np.exp(_depth_below_pleura(lung) * np.float32(-(12 + 30 * reach) / lung.shape[0]))
    amount = np.clip(below * (1 + 0.5 * scene.down) * np.float32(1.6 * scene.patient.progress) - np.float32(0.4), 0, 1)
    net = np.abs(_drifting(scene, rng, 0.6 + 0.6 * spacing))
    walls = np.clip(np.float32(1) - 2.5 * net, 0, 1) * np.float32(300 + 500 * dense)
    return np.asarray(amount * (walls + np.float32(60 if kind < 0.07 else 200)))


def _effusion(hounsfield: Image, scene: Scene, lung: Image) -> None:
    """Fluid settles at the back, higher at the sides, of one lung or both; the lung above it may be squeezed."""
    rng = scene.streams.patient(Part.PLEURA).spawn(1)[0]
    kind, height, other, tone, squeezed = rng.random(5)
    if kind > 0.15:
        return
    surface = np.interp(height, [0, 1], [0.65, 0.0]) - 0.15 * np.log(scene.patient.progress) - 1.2 * (scene.patient.level - 0.6)
    across, down = scene.across, scene.down
    side = np.float32(-1 if other < 0.5 else 1)
    uneven = np.where(across * side > 0, np.float32(surface), np.float32(surface + (0.1 if 0.3 < other < 0.7 else 9)))
    uneven = uneven + 0.03 * _drifting(scene, rng, 4)
    uneven -= np.float32(0.3) * (np.abs(across) / np.float32(scene.patient.full[0])) ** 4
    wet = np.sign(lung) * np.clip((down - uneven) * 25, 0, 1)
    if squeezed < 0.5:
        near = np.sign(lung) * np.clip((down - uneven + np.float32(0.15)) * 6, 0, 1)
        hounsfield += near * np.maximum(np.float32(-350) - hounsfield, 0)
    hounsfield += wet * (np.float32(WATER + 25 * tone) - hounsfield)


def _collapse(hounsfield: Image, scene: Scene, lung: Image) -> None:
    """Rarely air has come between a lung and its cage and lies in front."""
    rng = scene.streams.patient(Part.AIR_DISEASE).spawn(1)[0]
    kind, height, side, lean = rng.random(4)
    if kind > 0.03:
        return
    across = scene.across * np.float32(1 if side < 0.5 else -1)
    border = np.float32(np.interp(height, [0, 1], [-0.6, 0.3])) + np.float32(0.08 * (lean - 0.5)) * across
    free = (across > 0) * (lung > 0.5) * np.clip((border - scene.down) * 60, 0, 1)
    line = free * (1 - free) * 4
    hounsfield += free * (AIR - hounsfield) + line * np.float32(500)


def _nodules(hounsfield: Image, scene: Scene, lung: Image) -> None:
    """Nodules, masses, or a multitude of tiny ones, as balls in space that the slice may miss."""
    rng = scene.streams.patient(Part.NODULES)
    kind = rng.random()
    if kind > 0.42:
        return
    many = kind < 0.05
    count = int(rng.integers(60, 250)) if many else int(rng.integers(1, 7))
    radii = rng.uniform(0.08, 0.2, count) if many else np.exp(rng.normal(-0.75, 0.55, count)).clip(0.15, 3.8)
    places = rng.uniform(-0.95, 0.95, (count, 3)) * [*scene.patient.cage, 1.2]
    tones, cavity, spiked = rng.uniform(350, 950, count), rng.random(count) < 0.1, rng.random(count) < 0.3
    drawn, hollow = Canvas(scene.picture.size, scene.framing), rng.uniform(0.3, 0.7)
    for n, shape_rng in zip(range(count), rng.spawn(count), strict=True):
        radius = radii[n] * scene.patient.progress**0.4
        across = np.sqrt(max(0.0, radius**2 - (places[n, 2] - scene.patient.shift) ** 2))
        if across < 0.06:
            continue
        centre = places[n, :2]
        outline = _outline(shape_rng, centre, across, 0.04 if many else 0.14)
        drawn.fill(outline, AIR + 2 * tones[n])
        if spiked[n] and not many:
            ends = centre + shape_rng.normal(0, 1.1 * across, (9, 2))
            drawn.segments(np.stack([np.tile(centre, (9, 1)), ends], 1), np.full(9, 0.07), np.full(9, AIR + tones[n]))
        if cavity[n] and across > 0.5:
            drawn.fill((outline - centre) * hollow + centre, AIR)
    spots = drawn.reduced().astype(np.float32) * np.float32(4)
    hounsfield += lung * np.maximum(0, np.minimum(spots - 850 - hounsfield, spots))


def _outline(rng: np.random.Generator, centre: NDArray[np.float64], radius: float, rough: float) -> NDArray[np.float64]:
    """A lumpy circle."""
    around = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    waves = np.arange(2, 7)
    r = 1 + rng.normal(0, rough, 5) / np.sqrt(waves) @ np.cos(waves[:, None] * around + rng.uniform(0, 6.3, 5)[:, None])
    return np.asarray(centre + radius * r[:, None] * np.stack([np.cos(around), np.sin(around)], 1))
