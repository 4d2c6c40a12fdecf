"""The reference of match values: levels hold by patient, and nothing is promised where patients are unknown."""

import numpy as np
import pytest

from query.comparison.match_reference import LEVEL, Reference


def patients(rng: np.random.Generator, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of images of patients, alike within a patient, and larger for patients with many; and their groups."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    own = rng.normal(0, 1, len(sizes)) + 0.1 * sizes
    return own[groups] + rng.normal(0, 0.3, len(groups)), groups


def drawn_sizes(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.where(rng.random(count) < 0.2, 12, 1)


@pytest.mark.parametrize("count", [30, 150])
def test_an_image_of_a_further_patient_is_above_the_threshold_as_seldom_as_is_said(count: int) -> None:
    rng = np.random.default_rng(0)
    above, levels, small = [], [], []
    for _ in range(1000):
        reference = Reference(*patients(rng, drawn_sizes(rng, count)), known=True)
        values, groups = patients(rng, drawn_sizes(rng, 40))
        one_each = values[np.unique(groups, return_index=True)[1]]
        assert reference.threshold is not None
        above.append(np.mean(one_each > reference.threshold))
        assert reference.level is not None
        levels.append(reference.level)
        small.append(np.mean(reference.p_values(one_each) <= 0.1))
    assert max(levels) <= max(LEVEL, 1 / (count + 1)) + 1e-9
    assert np.mean(above) <= np.mean(levels) + 2 * np.std(above) / np.sqrt(1000)
    assert np.mean(small) <= 0.1 + 2 * np.std(small) / np.sqrt(1000)
    assert np.mean(small) > 0.05  # it promises no more than it must


def test_with_one_image_a_patient_the_p_value_is_a_rank() -> None:
    reference = Reference(np.array([1.0, 2.0, 3.0]), np.array(["a", "b", "c"]), known=True)
    assert reference.p_values(np.array([0.5, 1.0, 2.5, 3.0, 3.5, np.nan])).tolist() == pytest.approx(
        [1, 1, 0.5, 0.5, 0.25, np.nan], nan_ok=True
    )
    assert (reference.threshold, reference.level) == (3.0, 0.25)


def test_a_patient_counts_once_however_many_images_it_has() -> None:
    reference = Reference(np.array([5.0, 5.0, 5.0, 5.0, 1.0]), np.array([0, 0, 0, 0, 1]), known=True)
    assert reference.p_values(np.array([2.0])).tolist() == pytest.approx([2 / 3])
    split = Reference(np.array([5.0, 5.0, 1.0, 1.0, 1.0]), np.array([0, 0, 0, 0, 1]), known=True)
    assert split.p_values(np.array([2.0])).tolist() == pytest.approx([1.5 / 3])


def test_the_threshold_is_where_p_values_pass_the_level() -> None:
    rng = np.random.default_rng(1)
    reference = Reference(*patients(rng, drawn_sizes(rng, 300)), known=True)
    values = np.sort(np.append(reference.values, reference.values + 1e-6))
    assert reference.threshold is not None
    assert np.array_equal(values > reference.threshold, reference.p_values(values) <= LEVEL + 1e-9)


def test_notes_say_how_many_patients_and_what_is_not_calibrated() -> None:
    values = np.arange(40, dtype=float)
    known = Reference(values, np.repeat(np.arange(20), 2), known=True)
    assert "at most 1 in 21 is expected above a value of 39.00: 40 real images of 20 patients (groups)" in known.note
    unknown = Reference(values, np.arange(40), known=False)
    assert unknown.threshold == 39
    assert unknown.level is None
    assert np.isnan(unknown.p_values(values)).all()
    assert "1 in" not in unknown.note
    assert "not calibrated" in unknown.note
    assert "--groups says which images belong together" in unknown.note
    nothing = Reference(values[:0], values[:0], known=True)
    assert (nothing.threshold, nothing.level) == (None, None)
    assert "Nothing calibrates" in nothing.note
