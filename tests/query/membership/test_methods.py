"""Every method that is made of distances: planted copies are found, formulas are what they say, and what lacks is named."""

import json
import operator
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.search import brute_force
from query.comparison.all_pairs import Wanted, all_pairs_of
from query.comparison.reductions.logarithms import EPSILON
from query.evaluation.resampling import auroc
from query.membership import proximity
from query.membership.case import NOT_USED, UNKNOWN, USED, Answer, Case, MembershipError, Method, Needs
from query.membership.cross_fit import PredictionSettings, cross_fit
from query.membership.methods.density_ratio import Reference
from query.membership.methods.fusion import FAR, PRIMARY, Fusion, LearnedFusion, deviations
from query.membership.methods.hubness import Hubness
from query.membership.methods.phash import PHashThreshold
from query.membership.methods.registry import METHODS, QUICK, able, make_method
from query.membership.methods.self_threshold import Rule, SelfThreshold
from query.membership.proximity import Nearness, matched_nearest, nearness, planned
from tests.helpers.cases import VIEWS, images_of, planted, shuffled, told, views_of_case

ALL: dict[str, Method] = {
    "fusion": Fusion(),
    "fusion-learned": LearnedFusion(),
    "reference": Reference(),
    "reference-matched": Reference(matched=True, k=2),
    "hubness": Hubness(k=1),
    "self-threshold": SelfThreshold(),
    "self-minimum": SelfThreshold(Rule.MINIMUM, view="pixels"),
    "self-percentile": SelfThreshold(Rule.PERCENTILE),
    "phash": PHashThreshold(),
    "phash-calibrated": PHashThreshold(bits=None),
}
each_method = pytest.mark.parametrize("method", list(ALL.values()), ids=list(ALL))
WITHOUT, TRUTH = planted(1, noise=0.5)
KNOWN = told(WITHOUT, TRUTH, np.arange(0, 40))  # 20 of each kind, 20 unlabelled
UNLABELLED = np.arange(40, 60)


def answered(method: Method, case: Case) -> Answer:
    return method.answer(case, method.fit(case))


def blanked(case: Case, row: int, views: list[str]) -> Case:
    blank = {view: (np.arange(len(case.real)) == row) & (view in views) for view in case.real.vectors}
    return replace(case, real=replace(case.real, blank=blank), memory={})


# What holds for every one of them


@each_method
def test_planted_copies_are_told_from_others(method: Method) -> None:
    answer = answered(method, KNOWN)
    assert auroc(answer.value[UNLABELLED], TRUTH[UNLABELLED]) > 0.95
    assert answer.value.dtype == np.float64
    assert isinstance(answer.threshold, float)
    json.dumps(answer.detail)


@each_method
def test_where_nothing_was_copied_nothing_is_found(method: Method) -> None:
    """That the test above can fail."""
    found = []
    for seed in range(6):
        case, _ = planted(seed, used=0, unused=60, each=1, others=100)
        truth = np.arange(60) % 2 == 0
        answer = answered(method, told(case, truth, np.arange(0, 40)))
        found.append(auroc(answer.value[UNLABELLED], truth[UNLABELLED]))
    assert abs(np.mean(found) - 0.5) < 4 * 0.13 / np.sqrt(6)  # 0.13: the spread of an AUROC of 10 against 10


@each_method
def test_an_identical_copy_is_the_nearest_of_all(method: Method) -> None:
    made = {view: np.concatenate([WITHOUT.generated.vectors[view], KNOWN.real.vectors[view][40:41]]) for view in VIEWS}
    value = answered(method, replace(KNOWN, generated=images_of(made, "generated"), memory={})).value
    assert np.isfinite(value).all()
    rest = value[UNLABELLED][1:][~TRUTH[UNLABELLED][1:]]
    assert value[40] > rest.max()


@each_method
def test_order_does_not_matter(method: Method) -> None:
    before = answered(method, KNOWN)
    other, rows = shuffled(replace(KNOWN, memory={}), 5)
    after = answered(method, other)
    assert np.allclose(after.value, before.value[rows], atol=1e-5)
    assert after.threshold == pytest.approx(before.threshold, abs=1e-6)
    assert after.used == [before.used[row] for row in rows]


@each_method
def test_a_blank_image_gets_no_answer(method: Method) -> None:
    answer = answered(method, blanked(KNOWN, 45, list(VIEWS)))
    assert np.array_equal(np.isnan(answer.value), np.arange(60) == 45)
    assert [row for row, note in enumerate(answer.used) if note is None] == [45]


@pytest.mark.parametrize("name", ["fusion", "fusion-learned", "reference", "hubness"])
def test_an_image_blank_in_one_view_is_judged_by_the_others(name: str) -> None:
    used, unused = (int(UNLABELLED[TRUTH[UNLABELLED] == kind][0]) for kind in (True, False))
    for row in (used, unused):
        value = answered(ALL[name], blanked(KNOWN, row, ["sift"])).value
        others = value[np.setdiff1d(UNLABELLED, row)]
        kind = TRUTH[np.setdiff1d(UNLABELLED, row)]
        assert np.isfinite(value).all()
        assert (value[row] > others[~kind].max()) if row == used else (value[row] < others[kind].min())


@each_method
def test_a_view_that_is_blank_in_every_image_does_no_harm(method: Method) -> None:
    blank = {view: np.full(60, view == "sift") for view in VIEWS}
    case = replace(KNOWN, real=replace(KNOWN.real, blank=blank), memory={})
    assert auroc(answered(method, case).value[UNLABELLED], TRUTH[UNLABELLED]) > 0.95


@each_method
def test_labels_of_questioned_images_are_not_there_and_those_of_others_alone_count(method: Method) -> None:
    """Methods that need no labels give the same with and without; those that do refuse without, and say how to mend it."""
    if method.needs is Needs.NOTHING:
        assert np.array_equal(answered(method, KNOWN).value, answered(method, replace(WITHOUT, memory={})).value)
        assert not answered(method, KNOWN).calibrated
        return
    if isinstance(method, Fusion):
        assert np.array_equal(answered(method, KNOWN).value, answered(method, replace(WITHOUT, memory={})).value)
    with pytest.raises(MembershipError, match="--unused DIR") as caught:
        cross_fit(method, WITHOUT, PredictionSettings())
    assert "\n" not in str(caught.value)
    assert method.name in str(caught.value)


@each_method
def test_a_method_does_not_write_into_its_case(method: Method) -> None:
    case = replace(KNOWN, memory={})
    before = {view: vectors.copy() for view, vectors in case.real.vectors.items()}
    first, second = answered(method, case), answered(method, case)
    assert np.array_equal(first.value, second.value, equal_nan=True)
    assert all(np.array_equal(before[view], case.real.vectors[view]) for view in before)
    assert np.array_equal(case.used, KNOWN.used)


# fusion


def weighted_median(values: Sequence[float], groups: Sequence[object], share: float = 0.5) -> float:
    """The lowest value that this share of the groups does not exceed, on average over their images: by copying images.

    Each group is written down as often as all others, so that none counts for more.
    """
    sizes = Counter(groups)
    times = int(np.lcm.reduce(list(sizes.values())))
    written = sorted(value for value, group in zip(values, groups, strict=True) for _ in range(times // sizes[group]))
    return written[int(np.ceil(share * len(written) - 1e-6)) - 1]


def by_hand(score: NDArray[np.float64], groups: NDArray[Any], among: NDArray[np.bool_]) -> NDArray[np.float64]:
    """See `deviations`."""
    known = among & np.isfinite(score)
    middle = weighted_median(score[known].tolist(), groups[known].tolist())
    spread = weighted_median(np.abs(score[known] - middle).tolist(), groups[known].tolist())
    return np.asarray((score - middle) / spread)


@pytest.mark.parametrize("seed", range(6))
def test_deviations_are_from_medians_in_which_patients_count_alike(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, score = rng.integers(0, 9, 40), rng.normal(size=40)
    score[rng.integers(0, 40, 4)] = np.nan
    among = rng.random(40) < 0.7
    np.testing.assert_allclose(deviations(score, groups, among), by_hand(score, groups, among))
    order, names = rng.permutation(40), rng.permutation(9)
    again = deviations(score[order], names[groups][order], among[order])
    np.testing.assert_array_equal(again, deviations(score, groups, among)[order])


def test_copies_of_slices_change_no_deviation() -> None:
    """A patient with ten times as many slices counts as before, also where most scores are alike."""
    rng = np.random.default_rng(1)
    groups, among = rng.integers(0, 9, 40), np.ones(40, bool)
    for score in (rng.normal(size=40), np.where(rng.random(40) < 0.2, rng.random(40), 0.0)):
        times = np.where(groups == 3, 10, 1)
        more = deviations(np.repeat(score, times), np.repeat(groups, times), np.repeat(among, times))
        np.testing.assert_allclose(more, np.repeat(deviations(score, groups, among), times))


def test_scores_that_are_alike_tell_nothing() -> None:
    groups, everybody = np.arange(9), np.ones(9, bool)
    assert not deviations(np.full(9, 3.0), groups, everybody).any()
    some = np.where(np.arange(9) == 4, 1.0, 0.0)  # more than half are alike: their spread is that of all
    np.testing.assert_allclose(deviations(some, groups, everybody), some / np.sqrt(1 / 9))
    assert np.isnan(deviations(np.full(9, np.nan), groups, everybody)).all()
    nobody = deviations(some, groups, np.zeros(9, bool))
    assert not nobody.any()


def test_used_images_do_not_widen_the_scale() -> None:
    """However many of less than half are near, and however near: those that are far have the same deviations."""
    rng = np.random.default_rng(2)
    score, groups = rng.normal(size=101), np.arange(101)
    far = deviations(score, groups, np.ones(101, bool))
    score[far > 1.5] += 1000
    np.testing.assert_allclose(deviations(score, groups, np.ones(101, bool))[far < 1.5], far[far < 1.5])


def test_fusion_is_the_mean_of_scores_in_deviations_of_the_farthest() -> None:
    scores = [(weight, nearness(KNOWN, view, which)) for (view, which), weight in PRIMARY.items()]
    groups, among = KNOWN.groups, np.ones(len(KNOWN.real), bool)
    for _ in range(2):
        far = [(weight, by_hand(score, groups, among)) for weight, score in scores]
        mean = np.sum([weight * np.sign(z) * np.log(1 + abs(z)) for weight, z in far], axis=0) / sum(PRIMARY.values())
        among = mean <= weighted_median(mean.tolist(), groups.tolist(), FAR)
    assert 0.5 < among.mean() < 0.8
    assert np.allclose(answered(Fusion(), KNOWN).value, mean)


def test_labels_do_not_change_what_fusion_says() -> None:
    """Nobody is scored by what is known: reference and unlabelled images alike."""
    expected = answered(Fusion(), WITHOUT).value
    for seed in range(3):
        labels = np.random.default_rng(seed).integers(-1, 2, len(TRUTH)).astype(np.int8)
        assert np.array_equal(answered(Fusion(), replace(WITHOUT, used=labels, memory={})).value, expected)
    assert not Fusion().looks


def test_fusion_takes_the_views_there_are() -> None:
    def only(views: list[str]) -> Case:
        real, made = ({view: side.vectors[view] for view in views} for side in (KNOWN.real, KNOWN.generated))
        return replace(KNOWN, real=images_of(real), generated=images_of(made, "generated"), memory={})

    part = answered(Fusion({("phash", Nearness.D1_D50): 1.0, ("sift", Nearness.D1): 3.0}), only(["phash"]))
    assert part.detail == {"scores": ["d1_d50 of phash"], "weights": [1.0]}
    score = nearness(KNOWN, "phash", Nearness.D1_D50)
    assert np.array_equal(np.argsort(part.value), np.argsort(score))
    other = answered(Fusion(), only(["phash", "sift"]))  # none of those that the list names
    assert other.detail == {"scores": ["contest of phash", "contest of sift"], "weights": [1.0, 1.0]}
    assert auroc(other.value[UNLABELLED], TRUTH[UNLABELLED]) > 0.95


def test_learned_fusion_finds_the_one_score_that_tells() -> None:
    """Copies by one view only: the weights of its scores stand out."""
    rng = np.random.default_rng(3)
    noise = {view: vectors[rng.permutation(60)] for view, vectors in KNOWN.real.vectors.items()}
    case = replace(KNOWN, real=images_of({**noise, "pixels": KNOWN.real.vectors["pixels"]}), memory={})
    model = LearnedFusion().fit(case)
    views = np.repeat(model.facts["views"], len(Nearness))
    share = np.abs(model.arrays["weights"][:-1])
    assert share[views == "pixels"].sum() > share[views != "pixels"].sum()
    assert auroc(LearnedFusion().answer(case, model).value[UNLABELLED], TRUTH[UNLABELLED]) > 0.95


def test_a_learned_fusion_needs_the_views_it_knows() -> None:
    model = LearnedFusion().fit(KNOWN)
    without = {view: KNOWN.generated.vectors[view] for view in VIEWS if view != "resnet"}
    with pytest.raises(MembershipError, match=r"^the model of fusion-learned needs view resnet, which the collection lacks"):
        LearnedFusion().answer(replace(KNOWN, generated=images_of(without), memory={}), model)


# reference, hubness


def slow_real(view: str) -> NDArray[np.float64]:
    vectors = KNOWN.real.vectors[view]
    far = brute_force.distances(VIEWS[view], vectors, vectors).astype(float)
    far[KNOWN.groups[:, None] == KNOWN.groups[None]] = np.inf
    return far


@pytest.mark.parametrize("view", ["phash", "resnet"])
def test_reference_is_a_log_ratio_of_mean_distances(view: str) -> None:
    found = answered(Reference(k=3, only=(view,)), KNOWN).value
    to_made = brute_force.distances(VIEWS[view], KNOWN.real.vectors[view], KNOWN.generated.vectors[view]).astype(float)
    reference = np.flatnonzero(KNOWN.used == NOT_USED)
    for row in range(60):
        ours = np.sort(slow_real(view)[row, reference])[:3].mean()
        theirs = np.sort(np.maximum(to_made[row], EPSILON[VIEWS[view]]))[:3].mean()
        assert found[row] == pytest.approx(np.log(ours / theirs), abs=1e-5)


def test_matched_reference_meets_as_many_generated_ones() -> None:
    found = answered(Reference(k=2, only=("resnet",), matched=True), KNOWN).value
    to_made = brute_force.distances(VIEWS["resnet"], KNOWN.real.vectors["resnet"], KNOWN.generated.vectors["resnet"]).astype(
        float
    )
    reference = np.flatnonzero(KNOWN.used == NOT_USED)
    far = slow_real("resnet")[:, reference]
    for row in (0, 1, 50, 59):
        size = int(np.isfinite(far[row]).sum())
        theirs = matched_nearest(np.sort(to_made[row])[None], size, 2)[0]
        assert found[row] == pytest.approx(np.log(np.sort(far[row])[:2].mean() / theirs), abs=1e-5)


def test_images_of_the_same_group_are_no_reference() -> None:
    """A copy among the reference makes a real image look far, unless they are of one patient."""
    vectors = {view: vectors.copy() for view, vectors in KNOWN.real.vectors.items()}
    twin = int(np.flatnonzero(KNOWN.used == NOT_USED)[0])
    for view in vectors:
        vectors[view][59] = vectors[view][twin]
    stranger = replace(KNOWN, real=images_of(vectors), memory={})
    groups = stranger.groups.copy()
    groups[59] = groups[twin]
    kin = replace(stranger, groups=groups, memory={})
    for method in (Reference(k=1), Hubness(k=1), SelfThreshold(Rule.MINIMUM)):
        told_apart = [answered(method, case) for case in (stranger, kin)]
        if isinstance(method, SelfThreshold):
            assert told_apart[0].threshold > told_apart[1].threshold
        else:
            assert told_apart[0].value[59] < told_apart[1].value[59]


def named_by(column: NDArray[np.float64], groups: NDArray[Any], k: int) -> NDArray[np.float64]:
    """Who is among the k nearest of one image, each other group by its nearest, on average over orders of equal distances."""
    shares = np.zeros(len(column))
    for row in np.flatnonzero(np.isfinite(column)):
        others = [column[groups == group].min() for group in set(groups.tolist()) - {groups[row]}]
        nearer, level = (sum(compare(other, column[row]) for other in others) for compare in (operator.lt, operator.eq))
        shares[row] = np.clip((k - nearer) / (1 + level), 0, 1)
    return shares


@pytest.mark.parametrize("view", ["phash", "resnet"])
def test_hubness_counts_who_names_an_image(view: str) -> None:
    k, reference = 4, np.flatnonzero(KNOWN.used == NOT_USED)
    real, made = ({view: side.vectors[view]} for side in (KNOWN.real, KNOWN.generated))
    case = replace(KNOWN, real=images_of(real), generated=images_of(made, "generated"), memory={})
    to_made = brute_force.distances(VIEWS[view], real[view], made[view]).astype(float)
    by_made, by_reference = (
        np.sum([named_by(column, case.groups, k) for column in far.T], axis=0) for far in (to_made, slow_real(view)[:, reference])
    )
    assert view == "resnet" or (by_made % 1 > 0).any()  # codes have equal distances
    expected = np.log((by_made + 0.5) / to_made.shape[1]) - np.log((by_reference + 0.5) / len(reference))
    assert np.allclose(answered(Hubness(k=k), case).value, expected)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Reference(), r"^reference needs more than 5 images known not to be used, .*--unused DIR$"),
        (Hubness(k=60), r"^hubness needs real images of more than 60 groups \(patients\), got 32$"),
        (PHashThreshold(bits=None), r"^phash-calibrated needs images known not to be used; name them with --unused DIR$"),
    ],
)
def test_too_few_images_are_one_line(method: Method, message: str) -> None:
    few = told(WITHOUT, TRUTH, np.flatnonzero(TRUTH)[:9] if method.name.startswith("phash") else np.flatnonzero(~TRUTH)[:4])
    with pytest.raises(MembershipError, match=message):
        answered(method, few)


@pytest.mark.parametrize("name", [*QUICK, "fusion-learned", "phash-calibrated"])
def test_what_is_planned_is_all_that_a_method_measures(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fed with the pairs of somebody else's pass, no method compares images again, and it says the same."""
    method = make_method(name)
    expected = answered(method, replace(KNOWN, memory={})).value
    case = replace(KNOWN, memory={})
    measures = planned(case, [method])
    all_pairs_of(views_of_case(case), Wanted(3), measures.reductions)
    case.memory.update(measures.results())
    monkeypatch.setattr(proximity, "reduce", None)
    np.testing.assert_array_equal(answered(method, case).value, expected)


# self-threshold, phash


@pytest.mark.parametrize("rule", list(Rule))
def test_self_threshold_compares_equally_many(rule: Rule) -> None:
    answer = answered(SelfThreshold(rule), KNOWN)
    far = np.sort(slow_real("resnet"), axis=1)
    to_made = brute_force.distances(VIEWS["resnet"], KNOWN.real.vectors["resnet"], KNOWN.generated.vectors["resnet"]).astype(
        float
    )
    size = int(np.isfinite(far).sum(axis=1).min())
    assert answer.detail == {"comparisons": size}
    own = np.array([matched_nearest(row[None, np.isfinite(row)], size)[0] for row in far])
    assert np.allclose(-answer.value, matched_nearest(np.sort(to_made, axis=1), size), atol=1e-6)
    wanted = {Rule.MINIMUM: own.min(), Rule.DEVIATIONS: own.mean() - 2 * own.std(), Rule.PERCENTILE: np.percentile(own, 5)}
    assert -answer.threshold == pytest.approx(wanted[rule], abs=1e-6)


def test_more_generated_images_do_not_make_everything_look_used() -> None:
    """The nearest of many is nearer by number alone; at equal numbers it is not."""
    plain, equal = [], []
    for seed in range(8):
        case, _ = planted(seed, used=0, unused=40, each=1, others=2000, views=["resnet"])
        answer = answered(SelfThreshold(Rule.PERCENTILE), case)
        equal.append(np.mean([used is True for used in answer.used]))
        plain.append(np.mean(nearness(case, "resnet", Nearness.D1) > -np.log(-answer.threshold)))
    assert np.mean(equal) < 0.15
    assert np.mean(plain) > 0.5


@pytest.mark.parametrize("fault", ["two images", "one group"])
def test_self_threshold_needs_fellows(fault: str) -> None:
    case = replace(WITHOUT, groups=np.zeros(60), memory={})
    if fault == "two images":
        case, _ = planted(0, used=1, unused=1)
    with pytest.raises(MembershipError, match="at least three, of several groups"):
        answered(SelfThreshold(), case)


def test_phash_is_the_rule_as_published() -> None:
    bits = np.array([[np.unpackbits(a ^ b).sum() for b in KNOWN.generated.vectors["phash"]] for a in KNOWN.real.vectors["phash"]])
    answer = answered(PHashThreshold(), KNOWN)
    assert answer.used == [bool(nearest <= 50) for nearest in bits.min(axis=1)]
    assert not answer.calibrated
    assert "as published" in answer.note


@pytest.mark.parametrize("wrong", [0.0, 0.05, 0.25])
def test_calibrated_phash_hits_so_many_of_the_reference_at_most(wrong: float) -> None:
    case, _ = planted(2, used=0, unused=80, each=1, others=300, views=["phash"])
    answer = answered(PHashThreshold(None, wrong), told(case, np.zeros(80, bool), slice(0, 60)))
    assert np.mean([used is True for used in answer.used[:60]]) <= wrong
    nearest = np.sort(-answer.value[:60])
    assert np.mean(nearest <= -answer.threshold + 1) > wrong  # one bit more would be too many
    assert answer.calibrated


# The names


def test_every_name_makes_the_method_of_that_name() -> None:
    assert [make_method(name).name for name in METHODS] == list(METHODS)
    assert set(QUICK) <= set(METHODS)
    with pytest.raises(MembershipError, match=r"^no method is called 'psychic'; there are fusion, "):
        make_method("psychic")


def test_able_are_those_that_have_what_they_need() -> None:
    def names(case: Case) -> list[str]:
        return [method.name for method in able([*QUICK, "phash-calibrated", "fusion-learned"], case)]

    assert names(WITHOUT) == ["self-threshold", "phash"]
    reference = ["fusion", "reference", "hubness", "self-threshold", "phash", "phash-calibrated"]
    assert names(told(WITHOUT, TRUTH, np.flatnonzero(~TRUTH))) == reference
    assert names(told(WITHOUT, TRUTH, np.flatnonzero(TRUTH))) == ["self-threshold", "phash"]
    assert names(KNOWN) == [*reference, "fusion-learned"]
    no_phash = images_of({"resnet": KNOWN.generated.vectors["resnet"]}, "generated")
    assert "phash" not in names(replace(KNOWN, generated=no_phash))
    assert {USED, NOT_USED, UNKNOWN} == {1, 0, -1}
