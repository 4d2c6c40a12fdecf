"""Models of many real images at once: against plain loops, RANSAC, and each real image alone."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from embeddings.gpu import alike
from embeddings.phantoms.slices import copy_of
from embeddings.views.keypoints import CONTRAST, COUNT, UNIT, Keypoints, keypoints, root_sift, shortened
from query.comparison import models as models_of
from query.comparison.models import models
from tests.helpers.making import slice_of

REAL = [slice_of(seed) for seed in range(12)]


def copy(number: int, strength: int = 2) -> Keypoints:
    return keypoints(copy_of(REAL[number], strength, np.random.default_rng(number)))


def plain_matches(real: Keypoints, generated: Keypoints) -> list[tuple[int, int]]:
    """Rows of the matches, one keypoint after the other: docs/METHODS.md, geometric matching."""

    def alike(i: int, j: int, *, by_place: bool) -> float:
        product = float(real.descriptors[i].astype(float) @ generated.descriptors[j].astype(float))
        steps = np.rint(1.5 * (real.places[i] - 128.0)) - np.rint(1.5 * (generated.places[j] - 128.0))
        return product - (float(steps @ steps) if by_place else 0)

    found = set()
    for by_place, count, ratio in ((True, COUNT, 0.7), (False, 100, 0.64)):
        rows, columns = range(min(count, len(real))), range(len(generated) if by_place else min(count, len(generated)))
        table = np.array([[alike(i, j, by_place=by_place) for j in columns] for i in rows])
        for i in rows:
            best, second = np.argsort(-table[i], kind="stable")[:2]
            mutual = table[i, best] == table[:, best].max()
            if mutual and table[i, best] > 0 and UNIT**2 - table[i, best] < ratio * (UNIT**2 - table[i, second]):
                found.add((i, int(best)))
    return sorted(found)


def some(seen: Keypoints, count: int) -> Keypoints:
    return replace(seen, places=seen.places[:count], descriptors=seen.descriptors[:count])


@pytest.mark.parametrize("number", [0, 1, 2])
def test_matches_and_inliers_equal_plain_loops(number: int) -> None:
    real, generated = some(keypoints(REAL[number]), 130), some(copy(number), 150)
    (found,) = models([real], generated)
    matches = plain_matches(real, generated)
    assert found.matches == len(matches)
    assert found.transform is not None
    put = real.places @ found.transform[:, :2].T + found.transform[:, 2]
    inside = [(i, j) for i, j in matches if np.hypot(*(put[i] - generated.places[j])) < 5.25]
    expected = sorted([*real.places[i].tolist(), *generated.places[j].tolist()] for i, j in inside)
    assert sorted(np.hstack([found.real, found.generated]).tolist()) == expected


@pytest.mark.parametrize("strength", [1, 3, 5])
def test_no_fewer_inliers_than_ransac_on_the_same_matches(strength: int) -> None:
    for number in range(4):
        real, generated = keypoints(REAL[number]), copy(number, strength)
        (found,) = models([real], generated)
        rows, columns = np.array(plain_matches(real, generated)).T
        places = real.places[rows], generated.places[columns]
        how: dict[str, Any] = {"method": cv2.RANSAC, "ransacReprojThreshold": 5.25, "maxIters": 5000, "confidence": 0.9999}
        _, inside = cv2.estimateAffinePartial2D(*places, **how)
        assert found.inliers >= 0.95 * int(inside.sum())


def test_a_real_image_gets_the_same_model_alone_and_beside_others() -> None:
    seen, generated = [keypoints(image) for image in REAL], copy(3, 4)
    together = models(seen, generated)
    assert together[3].inliers > 2 * max(model.inliers for model in [*together[:3], *together[4:]])
    for real, beside in zip(seen, together, strict=True):
        (alone,) = models([real], generated)
        assert (alone.matches, alone.inliers) == (beside.matches, beside.inliers)
        assert alone.real.tobytes() == beside.real.tobytes()
        if alone.transform is None or beside.transform is None:
            assert alone.transform is beside.transform
        else:
            assert alone.transform.tobytes() == beside.transform.tobytes()


def test_few_keypoints_and_none_give_no_model() -> None:
    nothing, full = keypoints(np.zeros((50, 70), np.uint8)), keypoints(REAL[0])
    for real, generated in ((nothing, full), (full, nothing), (nothing, nothing), (some(full, 1), full), (full, some(full, 1))):
        assert [(model.inliers, model.transform) for model in models([real], generated)] == [(0, None)]
    assert models([], full) == []


def test_descriptors_are_principal_components_of_rootsift() -> None:
    """Products of short descriptors rank as products of whole centred ones do, and have the length that makes them exact."""
    image = REAL[5]
    _, descriptors = cv2.SIFT.create(COUNT, contrastThreshold=CONTRAST).detectAndCompute(image, None)
    short = shortened(descriptors).astype(np.float64)
    assert short.shape == (len(descriptors), 32)
    assert np.allclose(np.linalg.norm(short, axis=1), UNIT, atol=2)
    whole = root_sift(descriptors).astype(np.float64)
    whole -= whole.mean(axis=0)
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    assert np.corrcoef((short @ short.T).ravel(), (whole @ whole.T).ravel())[0, 1] > 0.9


def test_on_a_gpu_the_same_are_most_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the GPU's code, on the CPU; equal descriptors are the first of them."""
    reals = [keypoints(image) for image in REAL]
    generated = copy(3)
    twice = replace(generated, descriptors=np.tile(generated.descriptors[:100], (4, 1))[: len(generated)])
    for image in (generated, twice):
        with monkeypatch.context() as patched:
            patched.setattr(models_of, "_on_gpu", lambda reals, generated, device: alike.most_alike(reals, generated, "cpu"))
            found = models(reals, image, "cuda:0")
        for one, other in zip(found, models(reals, image), strict=True):
            assert (one.matches, one.real.tobytes()) == (other.matches, other.real.tobytes())
            assert (one.generated.tobytes(), str(one.transform)) == (other.generated.tobytes(), str(other.transform))
