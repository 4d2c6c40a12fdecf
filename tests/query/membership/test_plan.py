"""The plan: more reference patients show more, and its fixed numbers are those of the formulas."""

import pytest

from query.membership.calibration import least_rejected, smallest_p
from query.membership.plan import Study, plan


def test_more_reference_patients_show_more() -> None:
    few, many = plan(Study(patients=30, used=15, auroc=0.95), (10, 60), draws=6)
    assert (few.smallest_p, many.smallest_p) == (smallest_p(10), smallest_p(60))
    assert (few.together, many.together) == (least_rejected(10, 30, 0.1), least_rejected(60, 30, 0.1))
    assert many.called > few.called + 2
    assert many.share_low <= 0.5


def test_nothing_is_found_where_scores_tell_nothing() -> None:
    (power,) = plan(Study(patients=20, used=10, auroc=0.5), (20,), draws=10)
    assert power.called < 1
    assert power.set_power <= 0.3


@pytest.mark.parametrize("wrong", [{"used": 0}, {"used": 6}, {"auroc": 1.0}, {"alike": 1.0}, {"slices": 0}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"at least one|must lie"):
        Study(**{"patients": 5, "used": 2, **wrong})  # type: ignore[arg-type]
