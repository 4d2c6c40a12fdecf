"""Recorded runs of several sets: figures counted plainly, intervals against a resampling written out, and what is refused."""

import numpy as np
import pytest
from scipy.stats import hypergeom

from query.database import paired_runs as paired_module
from query.database.paired_runs import PairedRuns, PairingError, RecordedSet, paired_runs
from query.database.store import MEMORY, Store
from query.evaluation.resampling import DRAWS, interval_of, resamples
from query.leakage.set_figures import CALLED_PATIENTS, COPIES, MATCHED_IMAGES, MATCHED_PATIENTS
from query.report.text.paired_runs import paired_text, paired_values
from tests.helpers.recorded_sets import EACH, PATIENTS, Recorded


def paired(*recorded: Recorded) -> PairedRuns:
    with Store.open(MEMORY) as store:
        return paired_runs([RecordedSet("ABCD"[n], store, each.add(store)) for n, each in enumerate(recorded)])


def test_figures_are_what_is_counted_and_intervals_resample_patients() -> None:
    first, second = Recorded(), Recorded(generated=50, called=(0,), matched=(0, 2, 3, 4, 5), copied=())
    found = paired(first, second)
    ours, theirs = found.of("A"), found.of("B")
    assert [each[CALLED_PATIENTS].value.value for each in (ours, theirs)] == pytest.approx([3 / PATIENTS, 1 / PATIENTS])
    assert [each[MATCHED_IMAGES].value.value for each in (ours, theirs)] == pytest.approx([4 / 40, 5 / 50])
    assert [each[COPIES].value.value for each in (ours, theirs)] == pytest.approx([1 / 40, 0])
    drawn = [hypergeom(50, 1, 40).sf(0) * 5 / PATIENTS, 2 / PATIENTS]  # 40 of the 50 images of B
    assert [each[MATCHED_PATIENTS].value.value for each in (theirs, ours)] == pytest.approx(drawn)
    added = np.zeros(PATIENTS)
    added[[1, 2]] = -1
    plainly = interval_of(added.mean(), np.array([added[rows].mean() for rows in resamples(PATIENTS, DRAWS, 0)]), PATIENTS)
    assert theirs[CALLED_PATIENTS].difference == plainly
    assert ours[CALLED_PATIENTS].difference is None
    assert (found.primary, found.patients, found.of_one_size) == (CALLED_PATIENTS, PATIENTS, False)


def test_a_set_that_calls_fewer_leaks_less_and_a_like_one_has_a_width() -> None:
    found = paired(Recorded(called=range(10)), Recorded(called=()), Recorded(called=range(10)))
    fewer, alike = found.answers
    assert (fewer.less, alike.less) == (True, None)
    assert alike.difference is not None
    assert alike.difference.high == -alike.difference.low == pytest.approx(1 - 0.0125 ** (1 / PATIENTS))  # two differences
    text = " ".join(paired_text(found).split())
    assert text.startswith("Less was found in B than in A, by 83.3 percentage points (95% ")
    assert "called_patients (share of the tested patients who are called used)." in text
    assert "No difference between C and A in called_patients" in text
    assert "does not say which generator leaks less" in text
    assert "WARNING" not in text
    assert not {"equal", "safe"} & set(text.lower().split())
    values = paired_values(found)
    assert values["figures"][1]["difference"] == pytest.approx(-10 / PATIENTS)
    assert values["sets"][0] == {"set": "A", "run": 1, "generated": 40, "method": "fusion"}


def test_patients_whose_use_was_known_are_not_counted_as_called() -> None:
    found = paired(*[Recorded(unused=range(8 * EACH, PATIENTS * EACH), called=called) for called in ((0, 1), (0,))])
    assert [found.of(each)[CALLED_PATIENTS].value.value for each in "AB"] == [2 / 8, 1 / 8]
    assert found.of("B")[CALLED_PATIENTS].difference.n == 8  # type: ignore[union-attr]


def test_sets_of_different_sizes_are_warned_of_and_what_is_missing_says_why() -> None:
    text = " ".join(paired_text(paired(Recorded(), Recorded(generated=80, looked=70))).split())
    assert "WARNING: sets have different numbers of images, and more images find more patients" in text
    assert "matched_images is left out: the run of B matched 70 of 80 generated images only: --match all takes all." in text
    other = paired(Recorded(predicted=False), Recorded())
    assert other.primary == MATCHED_IMAGES
    assert other.left_out[CALLED_PATIENTS] == "the run of A tested no patient: predict with a reference (--unused)"
    with Store.open(MEMORY) as store:
        both = [RecordedSet(each, store, Recorded(predicted=False).add(store)) for each in "AB"]
        assert paired_runs(both, primary=COPIES).primary == COPIES
        with pytest.raises(PairingError, match="called_patients is not in all runs: the run of A tested no patient"):
            paired_runs(both, primary=CALLED_PATIENTS)
    mixed = paired(Recorded(), Recorded(method="reference"))
    assert mixed.left_out[CALLED_PATIENTS] == "fusion called the patients of A, reference those of B"


@pytest.mark.parametrize(
    ("second", "complaint"),
    [
        (Recorded(real=range(2, 26)), r"against different real images \(4 images are in one of them only\); run both sets"),
        (Recorded(patients=["one"] * PATIENTS * EACH), "have different patients; run both with the same --groups"),
        (Recorded(unused=[0]), "know different images as used or unused"),
    ],
)
def test_runs_that_cannot_be_held_against_each_other_are_refused(second: Recorded, complaint: str) -> None:
    with pytest.raises(PairingError, match=f"^the runs of A and B (are )?{complaint}"):
        paired(Recorded(), second)


def test_one_run_is_too_few() -> None:
    with pytest.raises(PairingError, match="at least two runs are needed to be held against each other, got 1"):
        paired(Recorded())


@pytest.mark.slow
def test_intervals_hold_0_where_calls_of_both_sets_have_one_law() -> None:
    """Half of the patients are called in both sets or in neither, the others in each by itself."""
    rng, held = np.random.default_rng(1), 0
    for _ in range(100):
        both = rng.random(50) < 0.2
        first, second = (np.where(rng.random(50) < 0.5, both, rng.random(50) < 0.2).astype(float) for _ in range(2))
        found = paired_module._mean(second - first, 0, 0.95)
        held += found.low <= 0 <= found.high
    assert held >= 90
