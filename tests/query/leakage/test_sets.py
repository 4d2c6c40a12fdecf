"""Several generated sets: differences against figures computed plainly, sets of unequal sizes, planted copies, words."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from query.comparison.combined import COMBINED
from query.leakage import leakage as leak
from query.leakage import sets
from query.leakage.leakage import Figure, LeakageError
from query.leakage.primary import TRACES
from query.leakage.set_figures import COPIES, LEAKS_MORE, NAMES, NEAREST
from query.leakage.sets import LeakageOfSets, figures_of_sets
from query.leakage.sets_text import basis, notebook_html, set_sentences
from tests.helpers.generated_sets import World, world

RISK = "singling_out_risk"


def make_quick(patch: pytest.MonkeyPatch) -> None:
    for name, value in {"DRAWS": 2, "DEALS": 20, "SPLITS": 4, "HALVES": 4, "DEAL_DRAWS": 1, "HALF_DRAWS": 1}.items():
        patch.setattr(sets, name, value)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)


def compared(made: World, **options: object) -> LeakageOfSets:
    return figures_of_sets(made.views, made.rows, made.groups, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def copied() -> LeakageOfSets:
    """B copies half of its images, A none."""
    with pytest.MonkeyPatch.context() as patch:
        make_quick(patch)
        return compared(world(0, copies=(0, 30)))


def test_figures_and_differences_are_those_of_each_set_alone(copied: LeakageOfSets) -> None:
    """Both sides have equally many images of equally many patients: nothing is drawn, so each figure is known plainly."""
    made = world(0, copies=(0, 30))
    for name, view in made.views.items():
        plainly = [
            leak.nearer(leak.closest(view.training[rows]), leak.closest(view.hold_out[rows])) for rows in made.rows.values()
        ]
        found = [copied.of(each, name)[Figure.NEARER] for each in "AB"]
        assert [each.value.value for each in found] == pytest.approx(plainly)
        assert found[1].difference is not None
        assert found[1].difference.value == pytest.approx(plainly[1] - plainly[0])
        assert found[0].difference is None
    within = made.views["pixels"].within
    assert within is not None
    authentic = leak.authenticity(made.views["pixels"].training[made.rows["B"]], within.training)
    assert copied.of("B", "pixels")[Figure.AUTHENTICITY].value.value == pytest.approx(authentic)


def test_the_attack_by_distance_counts_pairs(copied: LeakageOfSets) -> None:
    """Of all pairs of a training and a hold-out image, in how many is the training image nearer to its nearest generated one."""
    made = world(0, copies=(0, 30))
    for name, rows in made.rows.items():
        view = made.views["pixels"]
        ours, theirs = view.training[rows].min(axis=0), view.hold_out[rows].min(axis=0)
        plainly = np.mean((ours[:, None] < theirs) + 0.5 * (ours[:, None] == theirs))
        assert copied.of(name, "pixels")[NEAREST].value.value == pytest.approx(plainly)


def test_the_set_that_copies_leaks_more_and_the_other_less(copied: LeakageOfSets) -> None:
    (answer,) = copied.answers
    assert answer.less is False
    assert answer.difference is not None
    assert answer.difference.low <= 0.5 <= answer.difference.high  # half of its images are copies
    assert [each.of for each in copied.ranking] == ["A", "B"]
    assert (copied.sets[0].test.p_value > 0.05, copied.sets[1].test.p_value <= 0.05) == (True, True)
    plain, leaks, line = set_sentences(copied)
    assert plain.startswith("A: no evidence of leakage was found (p = ")
    assert plain.endswith("that does not show that there is none.")
    assert leaks.startswith(
        f"B leaks: at least {copied.sets[1].test.share_low:.0%} of training patients left a trace in it (p = "
    )
    assert line.startswith("B leaks more than A by ")
    assert "in memorised_excess (" in line
    turned = world(0, copies=(0, 30))
    back = compared(replace(turned, rows={"B": turned.rows["B"], "A": turned.rows["A"]}))
    assert back.answers[0].less is True
    assert set_sentences(back)[-1].startswith("A leaks less than B by ")
    ratio = copied.of("B", "pixels")[Figure.DCR_5_RATIO]
    assert ratio.less is False  # a smaller ratio is more leakage
    assert ratio.difference is not None
    assert ratio.difference.value < 0


def test_a_set_held_against_itself_differs_by_nothing_at_all() -> None:
    """Every draw of real images must be the same for all sets: else this would be noise."""
    made = world(1, copies=(10, 10))
    twice = compared(replace(made, rows={"one": made.rows["A"], "two": made.rows["A"]}))
    known = [each.difference.value for each in twice.figures if each.difference and each.difference.known]
    assert len(known) > 20
    assert set(known) == {0.0}
    assert twice.answers[0].less is None


def test_copies_have_the_interval_that_newcombe_prints(copied: LeakageOfSets) -> None:
    """56 of 70 against 48 of 80: 0.0524 to 0.3339 by his method 10 (1998, table II, first column)."""
    sizes = tuple(replace(each, images=images) for each, images in zip(copied.sets, (80, 70), strict=True))
    found = replace(copied, sets=sizes).with_copies("A", 48).with_copies("B", 56)
    apart = found.of("B")[COPIES].difference
    assert apart is not None
    assert apart.ends == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert found.of("A")[COPIES].difference is None


def test_a_larger_set_is_drawn_down() -> None:
    """A z-score grows with the number of images: that of the larger set is the mean over draws of as many as the smaller has."""
    made = world(2, sizes=(40, 400), copies=(20, 200))
    found = compared(made)
    assert (found.generated, found.draws) == (40, sets.DRAWS * 10)
    view, zero, rng = made.views["pixels"], np.zeros(40, np.int64), np.random.default_rng(9)
    assert view.within is not None
    plainly = []
    for size in [400, *[40] * 200]:
        rows = rng.permutation(made.rows["B"])[:size]
        plainly.append(leak.c_t(view.training[rows], view.within.crossed, np.zeros(size, np.int64), zero, zero))
    c_t = found.of("B", "pixels")[Figure.C_T]
    assert c_t.value.value == pytest.approx(np.mean(plainly[1:]), abs=4 * np.std(plainly[1:]) / np.sqrt(20))
    assert abs(c_t.value.value - plainly[0]) > 1  # what all of its images would have said
    assert "40 generated images of each set at a time, a mean over 20 draws (A: 40 images; B: 400 images)" in basis(found)


def test_what_remained_unseen_is_said_and_nothing_is_called_equal() -> None:
    found = compared(world(3))
    (answer,) = found.answers
    assert answer.less is None
    assert answer.difference is not None
    line = set_sentences(found)[-1]
    most = 100 * max(abs(answer.difference.low), abs(answer.difference.high))
    assert line.startswith("No difference was found between B and A in memorised_excess (")
    assert line.endswith(f"Differences of up to {most:.1f} percentage points would have remained unseen.")
    assert not {"equal", "same", "safe"} & set(line.lower().split())


def test_more_sets_have_wider_intervals_that_hold_together() -> None:
    found = compared(world(4, sizes=(40, 40, 40), copies=(0, 0, 20)))
    assert found.level == pytest.approx(0.975)
    alone, together = (sets._difference(RISK, 0.1, 0.05, 20, level) for level in (0.95, 0.975))
    assert (alone.high, together.high) == pytest.approx((0.1 + 0.05 * t.ppf(0.975, 19), 0.1 + 0.05 * t.ppf(0.9875, 19)))
    assert set_sentences(found)[-1].endswith("(Bonferroni).")
    assert [each.of for each in found.ranking][-1] == "C"


def test_a_difference_that_never_varies_keeps_a_width() -> None:
    found = sets._difference(Figure.MEMORISED_EXCESS, 0.0, 0.0, 10, 0.95)
    assert found.high == -found.low == pytest.approx(1 - 0.025 ** (1 / 10))


def test_what_images_do_is_told_from_the_noise_of_draws() -> None:
    """Deals differ by 0.2 (standard deviation), each computation of one by 0.3 more; a value has few of that noise."""
    rng, shape = np.random.default_rng(0), (20_000, 2, len(NAMES))
    deals = 0.2 * rng.normal(size=(20_000, 1, len(NAMES))) + 0.3 * rng.normal(size=shape)
    deals[:, :, 0] = np.nan
    noise = 2 * sets.DEAL_DRAWS / 100
    found = sets._of_images(deals, 100)
    assert np.isnan(found[0])
    assert found[1:] == pytest.approx(0.2**2 + noise * 0.3**2 / 2, rel=0.15)


def test_what_patients_do_is_what_both_halves_of_a_set_have_in_common() -> None:
    rng = np.random.default_rng(1)
    common = 0.1 * rng.normal(size=(1000, sets.HALVES, 1, len(NAMES)))
    of_images = rng.normal(size=(1000, 1, 2, len(NAMES)))  # a half of the images is the same for all halves of the patients
    halves = common + of_images + 0.1 * rng.normal(size=(1000, sets.HALVES, 2, len(NAMES)))
    found = dict(zip(NAMES, sets._of_patients(halves), strict=True))
    z_score = found.pop(Figure.C_T)
    assert np.array([*found.values()]) == pytest.approx(0.1**2, rel=0.2)
    assert z_score == pytest.approx(2 * 0.1**2, rel=0.2)


def test_few_patients_tell_nothing() -> None:
    found = compared(world(5, copies=(0, 40), patients=3))
    assert set_sentences(found)[-1:] == [
        "Whether B and A leak differently cannot be told: memorised_excess has no interval with so few patients."
    ]


def test_the_same_seed_gives_the_same_figures_and_another_one_others() -> None:
    first, again, other = (compared(world(6, sizes=(30, 60)), seed=seed) for seed in (1, 1, 2))
    assert first.rows() == again.rows() != other.rows()


def test_mistakes_are_told_in_a_line() -> None:
    made = world(7)
    with pytest.raises(LeakageError, match="'auroc' cannot be primary; memorised_excess or nearer_to_training can"):
        compared(made, primary="auroc")
    blank = replace(made.views[COMBINED], seen_generated=np.arange(120) < 60)
    with pytest.raises(LeakageError, match="every image of B is blank"):
        compared(replace(made, views={COMBINED: blank}))
    with pytest.raises(LeakageError, match="at least two generated sets"):
        sets.groups_of_sets({}, None)


def test_notebooks_and_pandas_have_the_figures(copied: LeakageOfSets) -> None:
    table = copied.to_pandas()
    row = table[(table.set == "B") & (table.view == COMBINED) & (table.figure == Figure.NEARER)]
    assert row.difference.item() == pytest.approx(copied.of("B")[Figure.NEARER].difference.value)  # type: ignore[union-attr]
    html = notebook_html(copied)
    assert html == copied._repr_html_()
    assert all(f"<td>{figure}</td>" in html for figure in (Figure.NEARER, RISK))
    assert set(LEAKS_MORE) - {COPIES, *TRACES} <= set(table.figure)


@pytest.mark.slow
def test_intervals_of_differences_hold_0_where_sets_are_of_one_kind() -> None:
    held = {Figure.NEARER: 0, Figure.MEMORISED_EXCESS: 0}
    for seed in range(40):
        of_b = compared(world(seed, copies=(6, 6)), seed=seed).of("B")
        for figure in held:
            apart = of_b[figure].difference
            assert apart is not None
            held[figure] += apart.low <= 0 <= apart.high
    assert min(held.values()) >= 34  # of 40: 95% less four standard errors, were intervals exact
