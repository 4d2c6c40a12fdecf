"""Leakage figures against examples worked by hand, slow references written from the papers, and planted copies."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu

from indexer.build.build import build
from indexer.collection import Collection
from query.comparison.combined import COMBINED, weights_of
from query.inputs.contamination import ContaminationError
from query.inputs.groups import GroupsError, groups_from_table
from query.leakage import leakage as leak
from query.leakage.draws import Part, RealGroups, alike, half, like, whole
from query.leakage.evidence import evidence, nearness
from query.leakage.leakage import Figure, LeakageSets, View, Within
from tests.helpers.making import QUICK, noise, slice_of, write_image, write_images

# On a line, by hand: training images at 0, 10 and 11, hold-out images at 6, 20 and 30, generated ones at 1, 10.4, 7 and 8.
TRAINING, HOLD_OUT, GENERATED = [0.0, 10, 11], [6.0, 20, 30], [1, 10.4, 7, 8]


def line(first: list[float], second: list[float]) -> NDArray[np.float32]:
    return np.asarray(np.abs(np.array(first)[:, None] - np.array(second)), np.float32)


TO_TRAINING, TO_HOLD_OUT = line(GENERATED, TRAINING), line(GENERATED, HOLD_OUT)


def test_closest_and_nearer_by_hand() -> None:
    assert leak.closest(TO_TRAINING) == pytest.approx([1, 0.4, 3, 2], abs=1e-6)
    assert leak.closest(TO_HOLD_OUT) == pytest.approx([5, 4.4, 1, 2], abs=1e-6)
    # nearer, nearer, farther, a tie: (1 + 1 + 0 + 1/2) / 4
    assert leak.nearer(leak.closest(TO_TRAINING), leak.closest(TO_HOLD_OUT)) == 0.625


def test_nearest_neighbour_distance_ratio_by_hand() -> None:
    # 1 / 9, 0.4 / 0.6, 3 / 4, 2 / 3
    assert leak.nndr(TO_TRAINING) == pytest.approx([1 / 9, 2 / 3, 3 / 4, 2 / 3], abs=1e-5)
    assert leak.nndr(np.array([[0, 0, 5], [0, 2, 5]], np.float32)) == pytest.approx([1, 0])


def test_z_u_by_hand() -> None:
    # pairs in which the generated one is farther: 1: none; 2: ties with 2, half; again half; 5: both. U = 3, mean 4 * 2 / 2 = 4,
    # variance 4 * 2 * (4 + 2 + 1) / 12 = 56 / 12
    assert leak.z_u(np.array([1.0, 2, 2, 5]), np.array([2.0, 3])) == pytest.approx((3 - 4) / np.sqrt(56 / 12))


def test_authenticity_by_hand_and_not_by_the_wrong_index() -> None:
    # nearest other training image of 0 is at 10, that of 10 and of 11 at 1. Generated 1 lies 1 from 0: a copy; 10.4 lies 0.4 from
    # 10: a copy; 7 lies 3 from 10 and 8 lies 2 from it: authentic
    within = line(TRAINING, TRAINING)
    assert leak.authenticity(TO_TRAINING, within) == 0.5
    # what the two packages compute: from each training image to its nearest generated one, whose number serves as a training row
    nearest = TO_TRAINING.argmin(axis=0)
    others = np.sort(within, axis=1)[:, 1]
    assert np.mean(others[nearest] < TO_TRAINING.min(axis=0)) == 0


def slow_authenticity(generated: NDArray[Any], training: NDArray[Any]) -> float:
    """As the paper says it, one image after the other."""
    count = 0
    for g in generated:
        distances = [np.linalg.norm(g - t) for t in training]
        i = int(np.argmin(distances))
        count += distances[i] > min(np.linalg.norm(training[i] - t) for j, t in enumerate(training) if j != i)
    return count / len(generated)


def slow_c_t(generated: NDArray[Any], hold_out: NDArray[Any], training: NDArray[Any], cell: Any, filled: int) -> float:
    """As the paper says it: in each cell U of distances to that cell's training images, as a z-score; mean by hold-out shares."""
    total = weights = 0.0
    for c in np.unique(cell(training)):
        p, q, t = (x[cell(x) == c] for x in (hold_out, generated, training))
        if len(q) < filled or len(p) < filled:
            continue
        near_q, near_p = ([min(np.linalg.norm(x - y) for y in t) for x in side] for side in (q, p))
        u = mannwhitneyu(near_q, near_p).statistic
        m, n = len(q), len(p)
        total += len(p) * (u - m * n / 2) / np.sqrt(m * n * (m + n + 1) / 12)
        weights += len(p)
    return total / weights


@pytest.mark.parametrize("seed", range(3))
def test_authenticity_and_c_t_agree_with_slow_references(seed: int) -> None:
    rng = np.random.default_rng(seed)
    training, hold_out = rng.normal(size=(2, 60, 3))
    generated = np.vstack([training[:20] + 0.1 * rng.normal(size=(20, 3)), rng.normal(size=(50, 3))])
    to_training = cdist(generated, training).astype(np.float32)
    assert leak.authenticity(to_training, cdist(training, training).astype(np.float32)) == slow_authenticity(generated, training)

    def cell(points: NDArray[Any]) -> NDArray[np.int64]:
        return np.asarray(np.digitize(points[:, 0], [-0.8, 0.2]), np.int64)

    cells = cell(generated), cell(hold_out), cell(training)
    crossed = cdist(hold_out, training).astype(np.float32)
    for filled in (1, 12, 20):
        found = leak.c_t(to_training, crossed, *cells, filled=filled)
        assert found == pytest.approx(slow_c_t(generated, hold_out, training, cell, filled), abs=1e-9)
    assert np.isnan(leak.c_t(to_training, crossed, *cells, filled=100))


def test_standing_out_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leak, "NEAR", 2)
    assert leak.standing(np.array([[4, 2, 9], [0, 0, 3]], np.float32)) == pytest.approx([2 / 3, 1])  # 2 / ((2 + 4) / 2)
    assert leak.standing(np.array([[-4, 2, 9]], np.float32), ratios=False) == pytest.approx([-3])  # -4 - (-4 + 2) / 2
    assert leak.standing(np.array([[5]], np.float32)) == pytest.approx([1])  # nothing to stand out from


def test_memorised_by_hand() -> None:
    values = np.arange(1, 11) / 10  # ten images stand out 0.1 to 1.0
    # at alpha = 0.4 a fifth may be below: of ten values the quantile at 0.2, taken low, is the second, 0.2; one lies below it
    ours = [np.where(values < 0.35, 0.05, 1), np.where(values > 0.95, 0.05, 1)]  # three copies of one half, one of the other
    assert leak.memorised(ours, [values, values[::-1]], alpha=0.4) == pytest.approx((0.4, 0.2))
    # the threshold for a half comes from the other: 0.01 for the first, which none is below, and 1 for the second, which one copy
    # and every comparison with the second half of the hold-out images is below
    assert leak.memorised(ours, [values * 0 + 1, values * 0 + 0.01], alpha=0.4) == pytest.approx((0.1, 1))


# Draws and intervals


def world(seed: int, copies: int = 0, size: int = 40, groups: int = 0, generated: int = 160) -> tuple[View, RealGroups]:
    """Points of one distribution as one view; so many generated ones lie beside training images."""
    rng = np.random.default_rng(seed)
    per = size // groups if groups else 1

    def points(count: int) -> NDArray[Any]:
        return np.repeat(rng.normal(size=(count // per, 4)), per, axis=0) + 0.1 * rng.normal(size=(count, 4))

    training, hold_out, made = points(size), points(size), rng.normal(size=(generated, 4))
    made[:copies] = training[rng.integers(size, size=copies)] + 0.02 * rng.normal(size=(copies, 4))
    sets = made, training, hold_out

    def far(a: int, b: int) -> NDArray[np.float32]:
        return np.asarray(cdist(sets[a], sets[b]), np.float32)

    within = Within(far(1, 1), far(2, 2), far(2, 1), *(np.zeros(len(x), np.int64) for x in sets))
    seen = [np.ones(len(x), bool) for x in sets]
    number = np.arange(size) // per
    return View(far(0, 1), far(0, 2), seen[0], seen[1], seen[2], within), RealGroups(number, number + size)


def all_of(view: View, groups: RealGroups) -> list[Part]:
    return whole(len(view.training), groups)


def test_planted_copies_move_every_figure() -> None:
    clean, copied = (leak.estimate(view, all_of(view, groups), groups) for view, groups in (world(0, 0), world(0, 80)))
    assert abs(clean[Figure.NEARER].value - 0.5) < 0.15
    assert copied[Figure.NEARER].low > 0.6
    assert copied[Figure.DCR_5_RATIO].high < 0.5
    assert copied[Figure.NNDR].value < clean[Figure.NNDR].value - 0.2
    assert copied[Figure.C_T].high < -2 < clean[Figure.C_T].value
    assert copied[Figure.AUTHENTICITY].value < clean[Figure.AUTHENTICITY].value - 0.15
    assert copied[Figure.AUTHENTICITY_HOLD_OUT].value == pytest.approx(clean[Figure.AUTHENTICITY_HOLD_OUT].value, abs=0.15)
    assert copied[Figure.MEMORISED_EXCESS].low > 0.3
    assert abs(clean[Figure.MEMORISED_EXCESS].value) < 0.1


@pytest.mark.parametrize("groups", [0, 10])
def test_intervals_hold_what_is_expected_where_nothing_leaks(groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leak, "HALVES", 40)
    monkeypatch.setattr(leak, "DRAWS", 3)
    held = {Figure.NEARER: 0, Figure.MEMORISED_EXCESS: 0}
    for seed in range(40):
        view, real = world(seed, groups=groups, generated=80)
        found = leak.estimate(view, all_of(view, real), real, seed=seed)
        for figure in held:
            held[figure] += found[figure].low <= leak.EXPECTED[figure] <= found[figure].high
    assert min(held.values()) >= 34  # of 40: 95% less four standard errors, were intervals exact


def test_images_of_a_group_count_as_one() -> None:
    view, real = world(1, groups=10)
    alone = RealGroups(np.arange(40), np.arange(40) + 40)
    wide, narrow = (leak.estimate(view, all_of(view, groups), groups)[Figure.NEARER] for groups in (real, alone))
    assert wide.value == narrow.value
    assert wide.n == 10
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


def test_the_larger_side_is_drawn_down() -> None:
    rng = np.random.default_rng(0)
    made, training, hold_out = rng.normal(size=(300, 3)), rng.normal(size=(200, 3)), rng.normal(size=(20, 3))
    seen = [np.ones(len(x), bool) for x in (made, training, hold_out)]
    view = View(cdist(made, training).astype(np.float32), cdist(made, hold_out).astype(np.float32), seen[0], seen[1], seen[2])
    groups = RealGroups(np.arange(200), np.arange(20) + 200)
    assert leak.nearer(leak.closest(view.training), leak.closest(view.hold_out)) > 0.8  # of more, one is nearer by chance
    found = leak.estimate(view, all_of(view, groups), groups)
    assert found[Figure.NEARER].low < 0.5 < found[Figure.NEARER].high
    assert leak.leakage({COMBINED: view}, all_of(view, groups), groups).compared == 20


def numbers(groups: NDArray[np.int64], rows: NDArray[np.int64]) -> list[int]:
    """Images of each group among these rows, the most first."""
    found: list[int] = sorted(np.unique(groups[rows], return_counts=True)[1].tolist(), reverse=True)
    return found


def test_draws_are_alike_by_patient() -> None:
    rng = np.random.default_rng(0)
    large, small = np.repeat(np.arange(6), [1, 2, 3, 4, 5, 6]), np.repeat(np.arange(3), [2, 9, 3])
    taken = set()
    for _ in range(30):
        one, two = alike(large, small, rng)
        assert numbers(large, one) == numbers(small, two)
        assert len(numbers(large, one)) == 3
        taken |= set(one)
    assert taken == set(range(21))  # every image has its turn
    one, two = alike(np.arange(100), np.repeat(np.arange(8), 10), rng)
    assert (len(one), len(two)) == (8, 8)
    assert [side.tolist() for side in alike(small, small, rng)] == [list(range(14))] * 2  # sides alike are taken whole


def test_draws_of_one_side_are_made_up_like_the_other() -> None:
    rng = np.random.default_rng(0)
    tens, singles = np.repeat(np.arange(8), 10), np.arange(100)
    assert numbers(tens, like([1] * 100, tens, rng)) == [1] * 8  # never two of one patient
    assert numbers(singles, like([10] * 8, singles, rng)) == [1] * 80  # more patients instead
    mixed = np.repeat(np.arange(4), [4, 1, 1, 1])
    assert numbers(mixed, like([3, 2], mixed, rng)) in ([3, 1, 1], [1, 1, 1])  # a pair is of random patients


def test_halves_are_of_whole_groups() -> None:
    groups = np.repeat(np.arange(10), 4)
    side = half(groups, np.random.default_rng(0))
    assert side.sum() == 20
    assert not set(groups[side]) & set(groups[~side])


def test_blank_images_do_not_count() -> None:
    view, real = world(2)
    seen = np.ones(40, bool)
    seen[:3] = False
    spoilt = view.training.copy()
    spoilt[:, :3] = 0  # blank images seem equal
    found = leak.estimate(View(spoilt, view.hold_out, view.seen_generated, seen, view.seen_hold_out), all_of(view, real), real)
    assert found[Figure.NEARER].value < 0.7
    assert found[Figure.DCR_5].value > 0


def test_too_few_groups_give_no_interval_and_no_evidence() -> None:
    view, real = world(3, copies=100, groups=2)
    found = leak.leakage({COMBINED: view}, all_of(view, real), real)
    assert found.views[COMBINED][Figure.NEARER].value > 0.6
    assert np.isnan(found.views[COMBINED][Figure.NEARER].low)
    assert not found.found
    assert not found.testable


def test_evidence_is_a_small_p_value() -> None:
    clean, copied = (leak.leakage({COMBINED: v}, all_of(v, g), g) for v, g in (world(6), world(6, copies=100)))
    assert (clean.found, copied.found) == (False, True)
    assert clean.testable
    assert clean.test.p_value > 0.05 >= copied.test.p_value
    assert copied.test.share_low > 0.2 > clean.test.share_low == 0


# Sides whose patients have different numbers of images


def unequal(seed: int, training: tuple[int, int], hold_out: tuple[int, int], copies: int = 0) -> tuple[View, RealGroups]:
    """So many patients with so many images each, seen from generated points, so many of which lie beside training images."""
    rng = np.random.default_rng(seed)

    def side(patients: int, images: int) -> NDArray[Any]:
        centres = np.repeat(rng.normal(size=(patients, 6)), images, axis=0)
        return centres + 0.3 * rng.normal(size=centres.shape)

    real = [side(*training), side(*hold_out)]
    made = side(200, 1)
    made[:copies] = real[0][rng.integers(len(real[0]), size=copies)] + 0.1 * rng.normal(size=(copies, 6))
    number = [np.repeat(np.arange(patients), images) for patients, images in (training, hold_out)]
    groups = RealGroups(number[0], training[0] + number[1])
    distances = {"pixels": cdist(made, np.vstack(real)).astype(np.float32)}
    blank = ({"pixels": np.zeros(200, bool)}, {"pixels": np.zeros(len(groups.both), bool)})
    together, split = leak.combined_of(distances, *blank, groups.both), len(real[0])
    seen = [np.ones(len(x), bool) for x in (made, *real)]
    return View(together[:, :split], together[:, split:], seen[0], seen[1], seen[2]), groups


def p_value(view: View, groups: RealGroups) -> float:
    return evidence(view.training, view.hold_out, all_of(view, groups), groups).p_value


@pytest.mark.parametrize(("training", "hold_out"), [((100, 1), (8, 10)), ((8, 10), (100, 1))])
def test_numbers_of_images_by_patient_are_no_evidence(
    training: tuple[int, int], hold_out: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drawn down by images, 100 patients of one image against 8 of ten gave 0.77 and 97% false alarms, the reverse 0.23."""
    monkeypatch.setattr(leak, "HALVES", 2)
    monkeypatch.setattr(leak, "DRAWS", 2)
    nearer, p_values = [], []
    for seed in range(15):
        view, groups = unequal(seed, training, hold_out)
        nearer.append(leak.estimate(view, all_of(view, groups), groups)[Figure.NEARER].value)
        p_values.append(p_value(view, groups))
    assert np.mean(nearer) == pytest.approx(0.5, abs=0.06)
    assert sum(p <= 0.05 for p in p_values) <= 3  # of 15 at 5%: more has a chance of 0.5%
    assert 0.25 < np.mean(p_values) < 0.75


def test_copies_of_few_patients_with_many_images_are_found() -> None:
    found = [p_value(*unequal(seed, (8, 10), (100, 1), copies=20)) for seed in range(10)]
    assert max(found) <= 0.05


def test_how_near_by_hand() -> None:
    # patient 0 has images 0 and 1, patients 1 and 2 have one each. For the first generated image, 0 is 5 nearer than the nearest
    # of another patient, image 1 is 2 nearer: its own patient is no rival; image 2 is farther than whichever patient 0 sends
    distances = np.array([[1, 4, 6, 9], [8, 8, 7, 3]], np.float32)
    found = nearness(distances, np.array([0, 0, 1, 2]), np.random.default_rng(0))
    assert found[:2].tolist() == [5, 2]
    assert found[3] == 4  # 7 - 3, by the second
    assert -5 <= found[2] <= -2
    assert found[2] == pytest.approx(-5 + 3 * round((found[2] + 5) / 0.3) * 0.1)  # a mean of ten draws of 1 - 6 and 4 - 6
    assert np.isnan(nearness(distances, np.zeros(4, int), np.random.default_rng(0))).all()


def test_a_share_at_its_limit_keeps_an_interval() -> None:
    view, real = world(4)
    far = replace(view, hold_out=view.hold_out + 10)
    found = leak.estimate(far, all_of(view, real), real)[Figure.NEARER]
    assert found.value == 1
    assert (found.low, found.high) == pytest.approx((0.025 ** (1 / 40), 1))


def test_equal_seeds_give_equal_figures() -> None:
    view, real = world(5, copies=20)
    first, again, other = (leak.estimate(view, all_of(view, real), real, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first[Figure.MEMORISED] != other[Figure.MEMORISED]


# Collections


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> LeakageSets:
    folder = tmp_path_factory.mktemp("sides")
    for name, seeds in (("generated", range(20)), ("training", range(30, 40)), ("hold_out", range(50, 58))):
        write_images(folder / name, seeds)
    write_image(folder / "generated" / "blank.png", np.zeros((64, 64), np.uint8))
    write_image(folder / "training" / "blank.png", np.full((64, 64), 9, np.uint8))
    generated = build(folder / "generated.c", folder / "generated", settings=QUICK)
    others = [build(folder / f"{name}.c", folder / name, fitted_on=generated) for name in ("training", "hold_out")]
    return LeakageSets(generated, *others)


def test_views_hold_the_distances_of_the_collections(sides: LeakageSets) -> None:
    views = leak.views_of(sides, leak.grouped(sides, None))
    assert list(views) == ["phash", "sift", COMBINED]
    bits = [np.unpackbits(np.asarray(s.vectors("phash")), axis=1) for s in (sides.generated, sides.training, sides.hold_out)]
    assert views["phash"].training.tolist() == (bits[0][:, None] != bits[1]).sum(axis=2).tolist()
    assert views["phash"].hold_out.tolist() == (bits[0][:, None] != bits[2]).sum(axis=2).tolist()
    within = views["phash"].within
    assert within is not None
    assert within.crossed.tolist() == (bits[2][:, None] != bits[1]).sum(axis=2).tolist()
    assert [len(cells) for cells in (within.generated_cell, within.training_cell, within.hold_out_cell)] == [21, 11, 8]
    blank = sides.training.names.index("blank.png")
    assert np.flatnonzero(~views["sift"].seen_training).tolist() == [blank]
    assert views[COMBINED].within is None


def by_patient(distances: NDArray[Any], patients: NDArray[np.int64]) -> NDArray[np.float64]:
    """The bulk, in which every patient of one image is there twice and every patient of two once with each: all count alike."""
    many = np.concatenate([np.repeat(distances[patients == p], 2 // (patients == p).sum()) for p in np.unique(patients)])
    ordered = np.sort(many)
    middle, upper = ordered[len(many) // 2 - 1], ordered[int(np.ceil(0.75 * len(many))) - 1]
    return np.asarray(many[many >= middle - 2.5 * (upper - middle) / 0.6745])


def test_combined_distances_as_they_are_defined(sides: LeakageSets) -> None:
    """Entry by entry: mean of two standard scores in each view, root mean square with signs over the views."""
    groups = leak.grouped(sides, groups_from_table({"030.png": "p1", "031.png": "p1", "050.png": "p2", "051.png": "p2"}))
    found = leak.combined_distances(sides.generated, [sides.training, sides.hold_out], groups.both)
    total, weights = np.zeros(found.shape), weights_of(("phash", "sift"))
    for view, weight in weights.items():
        rows = leak.views_of(sides, groups)[view]
        d = np.hstack([rows.training, rows.hold_out]).astype(np.float64)
        for g in np.flatnonzero(rows.seen_generated):
            own = by_patient(d[g], groups.both)
            for r in np.flatnonzero([*rows.seen_training, *rows.seen_hold_out]):
                low, middle, high = np.percentile(d[:, r], [25, 50, 75])
                z = ((d[g, r] - own.mean()) / own.std() + (d[g, r] - middle) / (high - low) * 1.349) / 2
                total[g, r] += weight * z * abs(z)
    assert found == pytest.approx(np.sign(total) * np.sqrt(np.abs(total) / sum(weights.values())), abs=1e-5)


def test_copies_of_one_image_do_not_move_its_scale() -> None:
    """A tenth of a column: its quartiles stay near where they were, its deviation does not."""

    def by_column(distances: NDArray[np.float32]) -> NDArray[np.float64]:
        scale = leak._by_quartiles(distances)
        return np.asarray((distances - scale.mean) / scale.std)

    plain = np.random.default_rng(0).normal(10, 1, (200, 1)).astype(np.float32)
    copied = plain.copy()
    copied[:20] = 0
    rest = slice(20, None)
    assert abs(by_column(copied)[rest] - by_column(plain)[rest]).mean() < 0.3
    assert copied.std() > 2.5 * plain.std()


def test_groups_are_those_given_and_others_are_alone(sides: LeakageSets) -> None:
    table = {"030.png": "p1", "031": "p1", "050.png": "p2", "051.png": "051.png"}
    groups = leak.grouped(sides, groups_from_table(table))
    assert groups.training[0] == groups.training[1]
    assert len(set(groups.training)) == 10
    assert len(set(groups.hold_out)) == 8
    assert not set(groups.training) & set(groups.hold_out)


def test_a_group_on_both_sides_is_refused(sides: LeakageSets) -> None:
    shared = {"030.png": "p1", "050.png": "p1", "031.png": "p2", "051.png": "p2", "052.png": "p3"}
    with pytest.raises(ContaminationError, match=r"^2 patients have hold-out and training images: 'p1', 'p2'\."):
        leak.grouped(sides, groups_from_table(shared))
    with pytest.raises(GroupsError, match=r"^the groups given: none of its 1 name is among the images: it has '3\.png'"):
        leak.grouped(sides, groups_from_table({"3.png": "p1"}))


def test_equal_names_on_both_sides_are_two_images(sides: LeakageSets, tmp_path: Path) -> None:
    write_images(tmp_path / "h", range(70, 80))
    for number, path in enumerate(sorted((tmp_path / "h").iterdir())):
        path.rename(tmp_path / "h" / f"{30 + number:03d}.png")
    other = build(tmp_path / "c", tmp_path / "h", fitted_on=sides.generated)
    groups = leak.grouped(
        LeakageSets(sides.generated, sides.training, other), groups_from_table({name: name for name in other.names})
    )
    assert not set(groups.training) & set(groups.hold_out)


@pytest.mark.parametrize(("seed", "role"), [(33, "training"), (3, "generated")])
def test_a_hold_out_file_that_was_not_held_out_is_refused(sides: LeakageSets, tmp_path: Path, seed: int, role: str) -> None:
    write_image(tmp_path / "h.png", slice_of(seed))
    write_image(tmp_path / "other.png", noise(1))
    hold_out = build(tmp_path / "c", tmp_path / "h.png", tmp_path / "other.png", fitted_on=sides.generated)
    with pytest.raises(ContaminationError, match=rf"'h.png' is byte for byte {role} '0{seed:02d}.png'"):
        leak.grouped(LeakageSets(sides.generated, sides.training, hold_out), None)


def test_figures_are_jsonable_and_name_what_is_expected(sides: LeakageSets) -> None:
    groups = leak.grouped(sides, None)
    found = leak.leakage(leak.views_of(sides, groups), whole(len(sides.generated), groups), groups).as_dict()
    assert (found["generated"], found["training"], found["hold_out"], found["compared"]) == (21, 11, 8, 8)
    assert found["views"][COMBINED][Figure.NEARER]["expected"] == 0.5
    undefined = found["views"][COMBINED][Figure.C_T]
    assert {name: undefined[name] for name in ("value", "low", "high", "expected")} == dict.fromkeys(
        ("value", "low", "high", "expected")
    )
    assert isinstance(found["views"]["phash"][Figure.DCR]["value"], float)


def test_collections_have_to_be_comparable(sides: LeakageSets, tmp_path: Path) -> None:
    write_images(tmp_path / "h", range(70, 73))
    alien = build(tmp_path / "c", tmp_path / "h", settings=QUICK)
    with pytest.raises(Exception, match="cannot be compared"):
        LeakageSets(sides.generated, sides.training, Collection(alien.folder))
