"""Draw procedural axial slices like chest CT, and distorted copies as a memorising generator makes them.

The slices are drawn, not taken from any patient: body, ribs, spine, lungs with branching vessels, what lies between them at the
slice's level, disease now and then (anatomy.py, disease.py), as a scanner, a screen and a page show them (exposure.py). Demo,
tests and the training of the bundled network use them, so that none of these needs a patient's scan.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.phantoms.anatomy import draw_body
from embeddings.phantoms.disease import add_disease
from embeddings.phantoms.exposure import expose, smooth_noise
from embeddings.phantoms.scene import Part, Scene, Sibling, Streams, draw_patient
from embeddings.types import GreyImage

SIZE = 256


def phantom(seed: int, size: int = SIZE, sibling: int = 0) -> GreyImage:
    """A chest-CT-like slice, (size, size) uint8.

    The same arguments give the same pixels with the same library versions; another seed (0 or more) is another patient. A
    `sibling` from 1 on is another picture of the same patient: a slice 1 to 10 mm above or below, or one at the same level after
    another breath, with more or less disease. Its noise is new; window, field of view and table mostly are the series' own.
    """
    other = _draw_sibling(seed, sibling) if sibling else Sibling()
    streams = Streams(seed, sibling, other.changed)
    scene = Scene(size, draw_patient(streams, other), streams)
    draw_body(scene)
    hounsfield = scene.hounsfield()
    add_disease(hounsfield, scene)
    return expose(hounsfield, scene)


_SERIES = (Part.FRAMING, Part.TABLE, Part.ARMS, Part.SCANNER, Part.WINDOW, Part.MARKS, Part.PAPER)


def _draw_sibling(seed: int, number: int) -> Sibling:
    """Two thirds are neighbouring slices, one third other pictures of one level."""
    rng = Streams(seed, number).picture(Part.SIBLING)
    another = rng.random() < 0.15
    changed = frozenset(part for part, drawn in zip(_SERIES, rng.random(len(_SERIES)), strict=True) if another and drawn < 0.6)
    if rng.random() < 0.67:
        shift = float(rng.choice([-1, 1]) * rng.uniform(0.1, 1.0))
        return Sibling(shift=shift, vessel_shift=float(0.1 * shift * rng.normal()), changed=changed)
    wide, deep, heart = (float(factor) for factor in np.exp(rng.normal(0, [0.015, 0.02, 0.05])))
    progress = float(np.exp(rng.normal(0, 0.5))) if rng.random() < 0.6 else 1.0
    moved = float(rng.choice([-1, 1]) * rng.uniform(0.15, 0.8))
    return Sibling(breath=(wide, deep, heart), vessel_shift=moved, progress=progress, changed=changed)


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
    field = smooth_noise(rng, shape, 6)
    return field * np.float32(amplitude / max(float(np.abs(field).max()), 1e-6))
