"""Attacks in the words of regulators: no risk where nothing leaks, and the arithmetic of Anonymeter."""

import numpy as np
import pytest
from scipy.stats import binomtest

from query.cli.output.attacks import attacks_text
from query.leakage.attacks import AttackKind, Attacks, attacks, wilson
from query.leakage.draws import RealGroups
from query.leakage.leakage import View

DIM = 8


def attacked(rng: np.random.Generator, training: np.ndarray, hold_out: np.ndarray, copied: float = 0.0) -> Attacks:
    """Attacks on patients with so many images each; a share of the generated images is of training images."""
    groups = [np.repeat(np.arange(len(sizes)), sizes) for sizes in (training, hold_out)]
    images = [rng.normal(0, 1, (own.max() + 1, DIM))[own] + rng.normal(0, 0.5, (len(own), DIM)) for own in groups]
    generated = rng.normal(0, 1.1, (200, DIM))
    source = rng.integers(len(images[0]), size=200)
    copies = rng.random(200) < copied
    generated[copies] = images[0][source[copies]] + rng.normal(0, 0.05, (int(copies.sum()), DIM))
    between = [np.linalg.norm(generated[:, None] - each[None], axis=2).astype(np.float32) for each in images]
    seen = [np.ones(len(each), bool) for each in (generated, *images)]
    view = View(between[0], between[1], seen[0], seen[1], seen[2])
    return attacks(view, RealGroups(groups[0], groups[1] + len(training)), seed=1)


LAWS = {
    "alike": (np.full(60, 3), np.full(60, 3)),
    "more images in training": (np.full(30, 10), np.full(60, 2)),
    "more images held out": (np.full(80, 2), np.full(20, 10)),
}


@pytest.mark.parametrize("law", LAWS)
def test_without_leakage_the_risk_is_seldom_above_0(law: str) -> None:
    rng = np.random.default_rng(0)
    found = [attacked(rng, *LAWS[law]) for _ in range(30)]
    for kind in AttackKind:
        above = sum(each.made[kind].risk.low > 0 for each in found)
        assert binomtest(above, 30, 0.05, "greater").pvalue > 0.01, kind


def test_copies_are_a_risk_of_both_kinds() -> None:
    found = attacked(np.random.default_rng(1), *LAWS["alike"], copied=0.9)
    singled = found.made[AttackKind.SINGLING_OUT]
    assert singled.risk.low > 0
    assert singled.main.value > singled.control.value
    assert singled.baseline.value < singled.main.low
    assert singled.control.value < 0.15


def test_rates_and_risk_are_those_of_anonymeter() -> None:
    middle, half = wilson(7, 40)
    exact = binomtest(7, 40).proportion_ci(0.95, "wilson")
    assert (middle - half, middle + half) == pytest.approx((exact.low, exact.high))
    attack = attacked(np.random.default_rng(1), *LAWS["alike"], copied=0.9).made[AttackKind.SINGLING_OUT]
    assert attack.risk.value == pytest.approx((attack.main.value - attack.control.value) / (1 - attack.control.value))


def test_one_image_a_patient_gives_no_links_and_says_why() -> None:
    found = attacked(np.random.default_rng(2), np.ones(30, int), np.ones(30, int))
    assert set(found.made) == {AttackKind.SINGLING_OUT}
    assert "--groups says which images belong together" in attacks_text(found)
    assert found.as_dict()["linkability"] == {"reason": found.missing[AttackKind.LINKABILITY]}
    few = attacked(np.random.default_rng(2), np.ones(3, int), np.ones(30, int))
    assert not few.made
    assert attacks_text(few).count("was not measured") == 2


def test_two_calls_agree() -> None:
    first, second = (attacked(np.random.default_rng(3), *LAWS["alike"]).as_dict() for _ in range(2))
    assert first == second
