"""A turned or flipped side is found; one that lies the right way up is left alone."""

from typing import Any

import numpy as np
import pytest

from embeddings.images.orientation import Orientation
from embeddings.phantoms.slices import copy_of
from embeddings.types import GreyImage
from embeddings.views.keypoints import keypoints
from query.comparison import orientation as orientation_module
from query.comparison.orientation import OrientationCheck, orientation_of
from tests.helpers.making import slice_of

REAL = [slice_of(seed) for seed in range(60)]
OTHERS = [slice_of(seed) for seed in range(1000, 1120)]  # of other patients
COPIES = [copy_of(image, 1, np.random.default_rng(row)) for row, image in enumerate(REAL[:30])]
QUARTER_TURNS = (Orientation.ROTATE_90, Orientation.ROTATE_270, Orientation.TRANSPOSE, Orientation.TRANSVERSE)


FOUND: dict[bytes, Any] = {}


@pytest.fixture(autouse=True)
def keypoints_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each picture is searched for keypoints in one test only; they depend on its pixels alone."""

    def remembered(image: GreyImage, *others: Any) -> Any:
        key = repr((image.shape, others)).encode() + image.tobytes()
        if key not in FOUND:
            FOUND[key] = keypoints(image, *others)
        return FOUND[key]

    monkeypatch.setattr(orientation_module, "keypoints", remembered)


def turned(images: list[GreyImage], orientation: Orientation) -> list[GreyImage]:
    return [orientation.apply(image) for image in images]


def undone(orientation: Orientation) -> Orientation:
    return next(each for each in Orientation if orientation.then(each) == Orientation.AS_IS)


@pytest.mark.parametrize("orientation", QUARTER_TURNS)
def test_a_quarter_turn_is_found_without_a_single_copy(orientation: Orientation) -> None:
    check = orientation_of(turned(REAL, orientation), OTHERS)
    assert check.found == undone(orientation)
    assert sum(check.shares.values()) == pytest.approx(1)
    assert check.images == len(OTHERS)
    assert check.note


@pytest.mark.parametrize("orientation", Orientation)
def test_copies_tell_every_turn_and_flip(orientation: Orientation) -> None:
    check = orientation_of(turned(REAL, orientation), OTHERS[:60] + COPIES)
    assert check.found == undone(orientation)
    assert bool(check.note) == check.turned == (orientation != Orientation.AS_IS)


def test_the_note_names_the_option_that_mends_it() -> None:
    check = orientation_of(turned(REAL, Orientation.ROTATE_90), OTHERS)
    assert check.note.startswith("WARNING: one side is turned or flipped.")
    assert "--orient rotate-270" in check.note
    again = OrientationCheck(check.found, Orientation.ROTATE_180, check.shares, check.images, check.copies)
    assert "--orient rotate-90" in again.note  # beside what was applied already
    assert OrientationCheck.of_settings({"orientation": check.as_dict()}) == check


def symmetric(image: GreyImage, seed: int) -> GreyImage:
    """The same on both sides, but for noise."""
    both = np.maximum(image, image[:, ::-1]).astype(float) + np.random.default_rng(seed).normal(0, 12, image.shape)
    return np.asarray(np.clip(both, 0, 255), np.uint8)


def test_of_pictures_that_look_alike_when_flipped_only_copies_decide() -> None:
    real, others = [[symmetric(image, row) for row, image in enumerate(side)] for side in (REAL, OTHERS)]
    assert not orientation_of(turned(real, Orientation.FLIP_LEFT_RIGHT), others).turned  # nobody could tell
    check = orientation_of(turned(real, Orientation.ROTATE_90), others)
    assert check.found in (Orientation.ROTATE_270, Orientation.TRANSPOSE)
    partner = {Orientation.ROTATE_270: Orientation.TRANSPOSE, Orientation.TRANSPOSE: Orientation.ROTATE_270}[check.found]
    assert f"It may also be {partner}" in check.note
    marked = [image.copy() for image in real]
    for row, image in enumerate(marked):
        image[20:44, 4:24] = slice_of(2000 + row)[20:44, 20:40]  # something on one side
    copies = [copy_of(image, 1, np.random.default_rng(row)) for row, image in enumerate(marked[:30])]
    check = orientation_of(turned(marked, Orientation.FLIP_LEFT_RIGHT), others + copies)
    assert (check.found, check.copies.get("as-is", 0)) == (Orientation.FLIP_LEFT_RIGHT, 0)


@pytest.mark.parametrize("seed", range(20))
def test_pictures_without_a_right_way_up_raise_no_alarm(seed: int) -> None:
    rng = np.random.default_rng(seed)
    real, others = [[list(Orientation)[rng.integers(8)].apply(image) for image in side] for side in (REAL, OTHERS)]
    assert not orientation_of(real, others, seed).turned


def test_a_picture_that_many_resemble_counts_once() -> None:
    rng = np.random.default_rng(3)
    grain = [rng.integers(0, 256, (64, 64), dtype=np.uint8) for _ in range(100)]
    hub = slice_of(5)
    real = [*grain[:59], Orientation.ROTATE_90.apply(hub)]
    generated = [*grain[59:], *(copy_of(hub, 5, np.random.default_rng(row)) for row in range(40))]
    assert not orientation_of(real, generated).turned


def test_too_few_pictures_are_not_checked() -> None:
    blank = [np.full((64, 64), 7, np.uint8)] * 100
    for few in (REAL[:19], [*REAL[:19], *blank]):
        check = orientation_of(few, OTHERS)
        assert not check.turned
        assert "was not checked: fewer than 20 pictures" in check.note
