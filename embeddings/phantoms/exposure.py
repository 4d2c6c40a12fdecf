"""Convert an image in Hounsfield units to a saved picture: scanner noise, window, burnt-in marks, border."""

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.phantoms.scene import Part, Scene
from embeddings.types import GreyImage

Image = NDArray[np.float32]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], cells: int) -> Image:
    """Smooth noise of unit variance at its knots, (height, width) float32."""
    knots = rng.standard_normal((cells, cells), np.float32)
    return np.asarray(cv2.resize(knots, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def expose(hounsfield: Image, scene: Scene) -> GreyImage:
    """The 8-bit picture of a slice, (size, size)."""
    scanned = _scan(hounsfield, scene)
    shown = _window(scanned, scene)
    shown = _orient(shown, scene)
    shown = _mark(shown, scene)
    return np.ascontiguousarray(_page(shown, scene))


def _scan(hounsfield: Image, scene: Scene) -> Image:
    """Sharpness of the kernel, noise and streaks, reconstruction circle."""
    rng = scene.streams.series(Part.SCANNER)
    size = hounsfield.shape[0]
    unit = size / 256
    soft, sharp = rng.uniform(0.3, 0.9), max(0.0, rng.normal(0, 0.7))
    amount, grain, streaky = 4 + np.exp(rng.normal(3.0, 0.75)), rng.choice([0.0, 0.55, 0.8, 1.2]), rng.random()
    image = _blurred(hounsfield, soft * (1.6 if streaky > 0.9 else 1) * unit)
    if sharp > 0.5:
        image += np.float32(sharp) * (image - _blurred(image, 1.2 * unit))
    fresh = scene.streams.picture(Part.NOISE)
    noise = fresh.standard_normal(hounsfield.shape, np.float32) * np.float32(min(amount, 150))
    if grain:
        noise = _blurred(noise, float(grain)) * np.float32(1 + 0.8 * grain)
    if streaky < 0.12:  # photons do not pass the shoulders
        rows = fresh.standard_normal(hounsfield.shape, np.float32)
        rows = np.asarray(cv2.blur(rows, (2 * (size // 14) + 1, 1)), np.float32)
        noise += rows * np.float32(np.exp(rng.uniform(3.5, 6.2))) * (np.float32(0.2) + (image > -950))
    image += noise
    _circle(image, rng, scene.framing.aspect)
    if rng.random() < 0.025:  # lungs cut out of all else
        image[scene.lungs.reduced() < 128] = -3000
    return image


def _blurred(image: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


def _circle(image: Image, rng: np.random.Generator, aspect: float) -> None:
    """What lies outside the circle of reconstruction has no value; in place."""
    size = image.shape[0]
    kind, radius = rng.random(), rng.choice([0.5, 0.5, rng.uniform(0.47, 0.6)])
    value = rng.choice([-3000, -3000, -3000, -1024, 0])
    if kind > 0.5:
        return
    circle = np.zeros(image.shape, np.uint8)
    axes = (round(size * radius * np.sqrt(aspect)), round(size * radius / np.sqrt(aspect)))
    cv2.ellipse(circle, (size // 2, size // 2), axes, 0, 0, 360, 255, -1)
    image[circle == 0] = value


def _window(image: Image, scene: Scene) -> GreyImage:
    """Wide, lung, soft-tissue or odd window, gamma; rarely low contrast or a negative."""
    rng = scene.streams.series(Part.WINDOW)
    kind = rng.choice(["wide", "lung", "soft", "odd"], p=[0.32, 0.42, 0.14, 0.12])
    centre = rng.uniform(-700, 0)
    low, high = {
        "wide": (rng.uniform(-1800, -1000), rng.uniform(600, 1600)),
        "lung": (rng.uniform(-1400, -1050), rng.uniform(0, 400)),
        "soft": (rng.uniform(-300, -100), rng.uniform(180, 420)),
        "odd": (centre - rng.uniform(200, 900), centre + rng.uniform(200, 900)),
    }[str(kind)]
    table = np.linspace(0, 1, 1024, dtype=np.float32) ** np.float32(np.exp(rng.normal(0, 0.15)))
    dark, bright, rare = rng.uniform(0, 60), rng.uniform(140, 255), rng.random()
    if rare < 0.015:
        table = 1 - table
    if 0.015 < rare < 0.08:  # faint prints
        table = (dark + (bright - dark) * table) / 255
    grey = np.rint(255 * table).astype(np.uint8)
    return np.asarray(grey[np.clip((image - low) * (1023 / (high - low)), 0, 1023).astype(np.int16)])


def _orient(image: GreyImage, scene: Scene) -> GreyImage:
    """Now and then a patient lies face down, or a conversion mirrored or turned the picture."""
    kind = scene.streams.series(Part.PAPER).random()
    return image[::-1] if kind < 0.03 else image[:, ::-1] if kind < 0.045 else image.T if kind < 0.05 else image


_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX)


def _mark(image: GreyImage, scene: Scene) -> GreyImage:
    """Letters, numbers, a scale, arrows and corner texts that viewers and authors burn in."""
    rng = scene.streams.series(Part.MARKS)
    letter, corners, scale, arrows, tone, font_number = rng.random(6)
    if min(letter, corners, scale, arrows) > 0.14:
        return image
    image = np.ascontiguousarray(image).copy()
    size, font, grey = image.shape[0], _FONTS[int(4 * font_number)], 255 if tone < 0.85 else int(255 * tone)
    unit = size / 256
    if letter < 0.14:
        text = str(rng.choice(["A", "B", "C", "D", "a", "b", "R", "L", "(a)", "1", "2", "i"]))
        place = (int(size * rng.choice([0.03, 0.88])), int(size * rng.choice([0.1, 0.5, 0.96])))
        cv2.putText(image, text, place, font, rng.uniform(0.4, 0.95) * unit, grey, 1, cv2.LINE_AA)
    if corners < 0.08:
        number = 100 + round(10 * scene.patient.depth)
        for x, y in ((0.02, 0.05), (0.02, 0.09), (0.75, 0.05), (0.75, 0.95), (0.02, 0.95)):
            text = "".join(rng.choice(list("ABCDEHIKLMNORSTW 0123456789.:"), int(rng.integers(4, 12))))
            text = f"Se {number % 7} Im {number}" if (x, y) == (0.02, 0.09) else text
            cv2.putText(image, text, (int(x * size), int(y * size)), font, 0.28 * unit, grey, 1, cv2.LINE_AA)
    if scale < 0.06:
        step, x = size * 0.06, int(size * rng.choice([0.04, 0.96]))
        for n in range(int(rng.integers(4, 9))):
            cv2.line(image, (x, int(size * 0.25 + n * step)), (x + int(4 * unit), int(size * 0.25 + n * step)), grey, 1)
        cv2.line(image, (x, size // 4), (x, int(size * 0.25 + 4 * step)), grey, 1)
    if arrows < 0.08:
        for x, y in rng.uniform(0.25, 0.75, (int(rng.integers(1, 4)), 2)) * size:
            tail = (int(x + rng.normal(0, 0.07) * size), int(y + rng.normal(0, 0.07) * size))
            cv2.arrowedLine(image, tail, (int(x), int(y)), grey, max(1, round(1.4 * unit)), cv2.LINE_AA, tipLength=0.4)
    return image


def _page(image: GreyImage, scene: Scene) -> GreyImage:
    """Borders of a figure, and the losses of JPEG."""
    rng = scene.streams.series(Part.PAPER)
    size = image.shape[0]
    border, tone, lossy, quality = rng.random(5)[1:]
    widths = (rng.uniform(-0.08, 0.1, 4).clip(0, 1) * size).astype(int)
    if border < 0.08:
        value = int(np.select([tone < 0.45, tone < 0.85], [255, 0], 255 * tone))
        top, bottom, left, right = widths.tolist()
        inner = cv2.resize(np.ascontiguousarray(image), (size - left - right, size - top - bottom), interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.copyMakeBorder(inner, top, bottom, left, right, cv2.BORDER_CONSTANT, value=value), np.uint8)
    if lossy < 0.2:
        _, coded = cv2.imencode(".jpg", np.ascontiguousarray(image), [cv2.IMWRITE_JPEG_QUALITY, int(25 + 65 * quality)])
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)
    return image
