"""The VCMI team's rule against scikit-image's SSIM and the rule worked out from the whole matrix."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from embeddings.types import GreyImage
from query.evaluation.resampling import auroc
from query.inputs.images import Images
from query.membership.case import UNKNOWN, Case, MembershipError
from query.membership.methods.registry import make_method
from query.membership.methods.vcmi import Vcmi
from query.membership.ssim import SIZE, Seen, similarity
from tests.helpers.making import slice_of

RNG = np.random.default_rng(8)


def images_of(pictures: list[GreyImage]) -> Images:
    return Images([f"{row}.png" for row in range(len(pictures))], {}, {}, {}, lambda row: pictures[row])


def big(number: int) -> GreyImage:
    """A slice of the size that the task had."""
    picture = slice_of(number)
    return np.asarray(np.kron(picture, np.ones((-(-SIZE // len(picture)),) * 2, np.uint8))[:SIZE, :SIZE], np.uint8)


REAL = [big(number) for number in range(7)]
NOISE = RNG.normal(0, 6, (SIZE, SIZE))
COPIES = [np.clip(REAL[row] + NOISE, 0, 255).astype(np.uint8) for row in (0, 2, 4, 6)]
OTHERS = [big(number) for number in range(100, 103)]
CASE = Case(images_of(REAL), images_of([*OTHERS, *COPIES]), np.full(7, UNKNOWN, np.int8), np.arange(7))


def by_scikit_image(pictures: list[GreyImage], others: list[GreyImage]) -> NDArray[np.float64]:
    return np.array([[structural_similarity(one, other) for other in others] for one in pictures])


def test_similarity_is_that_of_scikit_image() -> None:
    flat, noise = np.full((SIZE, SIZE), 255, np.uint8), RNG.integers(0, 256, (SIZE, SIZE), np.uint8)
    pictures = [REAL[0], REAL[1], COPIES[0], flat, noise]
    found = [[similarity(Seen.of(one), Seen.of(other)) for other in pictures] for one in pictures]
    assert np.allclose(found, by_scikit_image(pictures, pictures), atol=1e-4)


@pytest.mark.parametrize(("name", "deviations"), [("vcmi", 2.0), ("vcmi-3sd", 3.0), ("vcmi-max", None)])
def test_the_rule_is_the_published_one(name: str, deviations: float | None) -> None:
    method = make_method(name)
    assert method.name == name
    answer = method.answer(CASE, method.fit(CASE))
    every = by_scikit_image(REAL, [*REAL, *OTHERS, *COPIES])
    matrix, similar = every[:, :7], every[:, 7:].max(axis=1)
    for row in range(7):
        matrix[row, row] = np.average(matrix[row])
    threshold = np.amax(matrix) if deviations is None else np.average(matrix) + deviations * np.std(matrix)
    assert answer.threshold == pytest.approx(threshold, abs=1e-4)
    assert answer.value == pytest.approx(similar, abs=1e-4)
    assert answer.used == list(similar > threshold)
    assert not answer.calibrated
    assert auroc(answer.value, np.arange(7) % 2 == 0) == 1


def test_more_generated_images_only_raise_values_and_leave_the_threshold() -> None:
    """What matching numbers would mend, and the published rule does not."""
    few = replace(CASE, generated=images_of(OTHERS), memory={})
    before, after = (Vcmi().answer(case, Vcmi().fit(case)) for case in (few, CASE))
    assert after.threshold == before.threshold
    assert (after.value >= before.value).all()
    assert (after.value > before.value).any()


def test_pictures_without_contrast_count_for_nothing() -> None:
    blank = np.full((SIZE, SIZE), 7, np.uint8)
    case = replace(CASE, real=images_of([*REAL[:6], blank]), memory={})
    without = Case(images_of(REAL[:6]), CASE.generated, CASE.used[:6], CASE.groups[:6])
    found, expected = (Vcmi().answer(each, Vcmi().fit(each)) for each in (case, without))
    assert np.isnan(found.value[6])
    assert found.used[6] is None
    assert (found.threshold, found.value[:6].tolist()) == (expected.threshold, expected.value.tolist())
    few = Case(images_of([*REAL[:2], blank]), CASE.generated, CASE.used[:3], CASE.groups[:3])
    with pytest.raises(MembershipError, match="at least three"):
        Vcmi().answer(few, Vcmi().fit(few))


def test_mirrored_images_count_too() -> None:
    mirrored = [np.ascontiguousarray(picture[:, ::-1]) for picture in REAL]
    case = replace(CASE, generated=images_of([*OTHERS, mirrored[3]]), flipped=images_of(mirrored), memory={})
    answer = Vcmi().answer(case, Vcmi().fit(case))
    assert answer.value[3] == pytest.approx(1, abs=1e-6)


def test_a_picture_of_another_size_is_brought_to_the_tasks() -> None:
    assert Seen.of(REAL[0][:128, :192]).grey.shape == (SIZE, SIZE)
