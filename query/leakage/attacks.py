"""Leakage in the words of regulators: main, control and baseline attack, singling out and linkability.

The words and the arithmetic are those of Anonymeter (Giomi et al., PoPETs 2023; github.com/statice/anonymeter): rates by Wilson,
and risk = (main - control) / (1 - control). The attacks are ours: Anonymeter's are on tables. The targets are patients, as many
of the training set (main attack) as of the hold-out set (control attack). The baseline attack guesses at random.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from query.leakage.draws import RealGroups, Rows
from query.leakage.leakage import Matrix, View

DRAWS = 40  # of patients and of their images, which are averaged
ALPHA = 0.05  # share of hold-out patients that stand out by chance
CONFIDENCE = 0.95
_FEWEST = 4  # patients of a side


class AttackKind(StrEnum):
    """What an attacker tries."""

    SINGLING_OUT = "singling_out"
    LINKABILITY = "linkability"


@dataclass(frozen=True)
class Rate:
    """A share between 0 and 1: middle and ends of Wilson's interval of 95%, or what follows from such."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Attack:
    """How often an attack succeeds.

    Attributes:
        patients: targets of the main attack, and of the control attack.
        main, control, baseline: success on training patients, on hold-out patients, and by random guesses at training patients.
        risk: (main - control) / (1 - control); what the generator has leaked beyond what any image of this kind gives away.
    """

    patients: int
    main: Rate
    control: Rate
    baseline: Rate
    risk: Rate


@dataclass(frozen=True)
class Attacks:
    """The attacks that could be made, and why the others could not."""

    made: Mapping[AttackKind, Attack]
    missing: Mapping[AttackKind, str]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        made = {str(kind): asdict(attack) for kind, attack in self.made.items()}
        return made | {str(kind): {"reason": reason} for kind, reason in self.missing.items()}


def attacks(view: View, groups: RealGroups, seed: int = 0) -> Attacks:
    """Both attacks by the distances of one view.

    Args:
        view: the combined view of `query.leakage.leakage.views_of`; small is near.
        groups: patients of the training and of the hold-out images.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    sides, generated = _sides(view, groups), view.seen_generated
    made: dict[AttackKind, Attack] = {}
    missing: dict[AttackKind, str] = {}
    for kind, attempt in _ATTEMPTS.items():
        count = _targets(sides, attempt.images)
        if count < _FEWEST or not generated.any():
            of = "" if attempt.images == 1 else " with two images each; --groups says which images belong together"
            missing[kind] = f"it takes at least {_FEWEST} training and {_FEWEST} hold-out patients{of}"
            continue
        made[kind] = _attack(count, *np.mean([_drawn(sides, attempt, count, rng) for _ in range(DRAWS)], axis=0))
    return Attacks(made, missing)


def success_rates(view: View, groups: RealGroups, rng: np.random.Generator) -> dict[AttackKind, tuple[float, float]]:
    """Success of the main and of the control attack in one draw of patients, as it is; attacks that can be made."""
    sides = _sides(view, groups)
    counts = {kind: _targets(sides, attempt.images) for kind, attempt in _ATTEMPTS.items()}
    able = {kind: count for kind, count in counts.items() if count >= _FEWEST and view.seen_generated.any()}
    return {kind: _drawn(sides, _ATTEMPTS[kind], count, rng)[:2] for kind, count in able.items()}


def _sides(view: View, groups: RealGroups) -> "list[_Side]":
    """Training and hold-out images that are not blank, with the distances to generated images that are not."""
    return [
        _Side(distances[np.ix_(view.seen_generated, seen)], own[seen])
        for distances, seen, own in (
            (view.training, view.seen_training, groups.training),
            (view.hold_out, view.seen_hold_out, groups.hold_out),
        )
    ]


def _targets(sides: "Sequence[_Side]", images: int) -> int:
    """Patients with so many images, of the side that has fewer."""
    return min(len(side.patients_with(images)) for side in sides)


def _drawn(sides: "Sequence[_Side]", attempt: "_Attempt", count: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """Main, control and baseline success on as many patients of each side, drawn with their images."""
    patients = [side.patients_with(attempt.images) for side in sides]
    drawn = [side.drawn(rng.permutation(own)[:count], attempt.images, rng) for side, own in zip(sides, patients, strict=True)]
    return attempt.attack(drawn[0], drawn[1], rng)


@dataclass(frozen=True)
class _Side:
    """(ng, n) distances of generated images to the real images of a side, and the patient of each of these."""

    distances: Matrix
    patients: Rows

    @cached_property
    def rows_of(self) -> dict[int, Rows]:
        """Places of the images of each patient."""
        order = np.argsort(self.patients, kind="stable")
        names, first = np.unique(self.patients[order], return_index=True)
        return dict(zip(names.tolist(), np.split(order, first[1:]), strict=True))

    def patients_with(self, images: int) -> Rows:
        """Patients with so many images."""
        return np.array([name for name, rows in self.rows_of.items() if len(rows) >= images], self.patients.dtype)

    def drawn(self, patients: Rows, images: int, rng: np.random.Generator) -> Matrix:
        """(images, ng, patients) distances to so many images of each of these patients, drawn."""
        rows = np.array([rng.permutation(self.rows_of[patient])[:images] for patient in patients.tolist()])
        return np.stack([self.distances[:, rows[:, place]] for place in range(images)])


def _singling_out(training: Matrix, hold_out: Matrix, rng: np.random.Generator) -> tuple[float, float, float]:
    """Shares of targets that are singled out: main, control, baseline.

    An attacker takes the generated image nearest to a patient's image and guesses: there is one patient that is so near to it.
    That is right where no other of as many patients is nearer to it, and the patient is nearer than all but `ALPHA` of hold-out
    patients are to their nearest generated image. These are halved: one half tells that distance for the other, and for half of
    the training patients.
    """
    ours, theirs = training[0], hold_out[0]
    count = ours.shape[1]
    halves = rng.permutation(count) % 2 == 0
    nearest = theirs.min(axis=0)
    limit = np.where(halves, _limit(nearest[~halves]), _limit(nearest[halves]))
    guessed = rng.integers(len(ours), size=count)
    return (
        _isolated(ours, ours.argmin(axis=0), limit),
        _isolated(theirs, theirs.argmin(axis=0), limit),
        _isolated(ours, guessed, limit),
    )


def _limit(nearest: NDArray[Any]) -> float:
    """The distance that at most a share `ALPHA` of further patients is nearer than (conformal), or the smallest of few."""
    return float(np.sort(nearest)[max(int(ALPHA * (len(nearest) + 1)) - 1, 0)])


def _isolated(distances: Matrix, named: Rows, limit: NDArray[np.float64]) -> float:
    """Share of targets that are nearer than their limit to the generated image named for them, and nearest to it of all."""
    targets = np.arange(distances.shape[1])
    own = distances[named, targets]
    return float(np.mean((own < limit) & (own <= distances[named].min(axis=1))))


def _linkability(training: Matrix, hold_out: Matrix, rng: np.random.Generator) -> tuple[float, float, float]:
    """Shares of targets that are linked: main, control, baseline.

    An attacker holds one image of a patient in one set and another in a second set, and guesses: those of one nearest generated
    image belong together. Of two random guesses one in so many generated images agrees.
    """
    main, control = (float(np.mean(side[0].argmin(axis=0) == side[1].argmin(axis=0))) for side in (training, hold_out))
    return main, control, 1 / training.shape[1]


@dataclass(frozen=True)
class _Attempt:
    """An attack, and how many images of a patient it takes."""

    images: int
    attack: Callable[[Matrix, Matrix, np.random.Generator], tuple[float, float, float]]


_ATTEMPTS = {AttackKind.SINGLING_OUT: _Attempt(1, _singling_out), AttackKind.LINKABILITY: _Attempt(2, _linkability)}


def _attack(patients: int, main: float, control: float, baseline: float) -> Attack:
    """Rates with Wilson's intervals, and the risk with propagated errors, as Anonymeter has them."""
    (ours, our_error), (theirs, their_error), (guess, guess_error) = (
        wilson(share * patients, patients) for share in (main, control, baseline)
    )
    residual = (ours - theirs) / (1 - theirs)
    error = sqrt((our_error / (1 - theirs)) ** 2 + (their_error * (ours - 1) / (1 - theirs) ** 2) ** 2)
    return Attack(patients, _rate(ours, our_error), _rate(theirs, their_error), _rate(guess, guess_error), _rate(residual, error))


def wilson(successes: float, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Middle and half width of Wilson's interval (Journal of the American Statistical Association 1927)."""
    z = float(norm.ppf((1 + confidence) / 2))
    middle = (successes + z**2 / 2) / (trials + z**2)
    return middle, z / (trials + z**2) * sqrt(successes * (trials - successes) / trials + z**2 / 4)


def _rate(value: float, error: float) -> Rate:
    value, low, high = (min(max(end, 0.0), 1.0) for end in (value, value - error, value + error))
    return Rate(value, low, high)
