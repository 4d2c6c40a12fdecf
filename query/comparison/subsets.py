"""Which subset of the real images did each generated image come from? A probability for each, calibrated where some are known.

The likelihood of a subset is the mean over its patients of `exp(sharpness * score)`, see `reductions.subset_evidence`. Without
labels the sharpness is fixed and probabilities are uncalibrated shares. With labels of generated images it is the smallest one
whose log loss on them is within a standard error of the best, and labelled images are judged by one that their own group had no
part in.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.files.spreadsheet import write_rows
from embeddings.files.writing import write_atomic
from embeddings.types import Metric
from indexer.execution.executor import Executor
from query.comparison.all_pairs import Wanted, all_pairs_of
from query.comparison.combined import COMBINED
from query.comparison.comparison import Comparison
from query.comparison.controls import controls
from query.comparison.matching import Matches
from query.comparison.reductions.rivals import Rivals
from query.comparison.reductions.sides import ViewVectors, real_side
from query.comparison.reductions.subset_evidence import (
    MATCH,
    SHARPNESS,
    USUAL,
    Evidence,
    Members,
    SubsetEvidence,
    Values,
    log_means,
)
from query.comparison.reductions.weights import Weights
from query.comparison.search import generated_of, view_vectors
from query.evaluation.classes import ClassEvaluation, ClassMeasure, confusion_of, evaluate_classes, kappa_and_balanced, log_losses
from query.inputs.groups import Groups
from query.text import plain

LEAST = 0.8  # probability from which a subset is named to people
UNDECIDED = "undecided"
FOLDS = 5
LEVEL = 0.05  # of the p-value from which subsets are said to differ in look
DEALS = 199  # of patients to the subsets at random
_VIEWS = ("pixels", "resnet", "sift")  # that explain generated images: the first that is there


class Prior(StrEnum):
    """What is held probable before an image is looked at."""

    EQUAL = "equal"  # all subsets alike: a larger one does not win by its size
    PATIENTS = "patients"  # as the subsets have patients


@dataclass(frozen=True)
class Origins:
    """What is known of subsets.

    Attributes:
        subsets: row of a real image -> its subset; those without one take no part.
        labels: row of a generated image -> the subset that it is known to come from.
    """

    subsets: Mapping[int, str]
    labels: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SubsetSettings:
    """What is asked for.

    Attributes:
        prior: of the subsets.
        least: probability from which a subset is named; below it the answer for people is undecided.
        seed: of folds and intervals.

    Raises:
        ValueError: `least` is not between 0 and 1.
    """

    prior: Prior = Prior.EQUAL
    least: float = LEAST
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.least <= 1:
            raise ValueError(f"the least probability must be between 0 and 1, got {self.least}")


@dataclass(frozen=True)
class Look:
    """Whether real images are told by images of other patients: by the likeness of their subset, in which no copy has a part.

    Attributes:
        right: balanced accuracy.
        by_chance: the same where patients are dealt to the subsets at random, on average.
        p_value: share of such deals that do as well.
        images: that were judged.
    """

    right: float
    by_chance: float
    p_value: float
    images: int

    @property
    def tells(self) -> bool:
        """Whether subsets differ in look."""
        return self.p_value <= LEVEL


@dataclass(frozen=True)
class Controls:
    """What would be found without copies.

    Attributes:
        look: None where no subset has two patients.
        without_best: generated images with labels, judged without the patient of their best real image; None without labels.
        same: share of the generated images whose most probable subset stays the same without that patient.
    """

    look: Look | None
    without_best: ClassEvaluation | None
    same: float


@dataclass(frozen=True)
class SubsetVotes:
    """From which subset each of n generated images came.

    Attributes:
        subsets: their names.
        members: which real images make them up.
        generated, real: names of the images.
        probability: (n, subsets) float64, rows have 1 in all; that the image came from the subset, if it came from one of them.
        calibrated: on labels; else they are uncalibrated shares.
        known: row of a generated image -> number of its subset, where labels say so.
        without_best: (n,) int64 number of the most probable subset without the patient of the best real image.
        best: (n,) int64 row of the best real image.
        settings: as asked for.
        sharpness: that was used for images without a label.
        evaluation: of the labelled images, each judged without its own group; None without labels.
        controls: what would be found without copies.
    """

    subsets: Sequence[str]
    members: Members
    generated: Sequence[str]
    real: Sequence[str]
    probability: Values
    calibrated: bool
    known: Mapping[int, int]
    without_best: NDArray[np.int64]
    best: NDArray[np.int64]
    settings: SubsetSettings
    sharpness: float
    evaluation: ClassEvaluation | None
    controls: Controls

    @property
    def vote(self) -> NDArray[np.int64]:
        """(n,) number of the most probable subset."""
        return np.asarray(self.probability.argmax(axis=1), np.int64)

    @property
    def answers(self) -> list[str]:
        """(n,) for people: the most probable subset, or ``undecided``."""
        sure = self.probability.max(axis=1) >= self.settings.least
        return [self.subsets[number] if named else UNDECIDED for number, named in zip(self.vote, sure, strict=True)]

    @property
    def terms(self) -> dict[str, Any]:
        """JSON-able: what probabilities stand on."""
        return {
            "prior": str(self.settings.prior),
            "least": self.settings.least,
            "seed": self.settings.seed,
            "sharpness": self.sharpness,
            "calibrated": self.calibrated,
        }

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: the subsets, what is said of each generated image, how good that is, and the controls."""
        images = np.bincount(self.members.subset[self.members.subset >= 0], minlength=len(self.subsets)).tolist()
        sizes = zip(self.subsets, images, self.members.patients.tolist(), strict=True)
        return {
            **self.terms,
            "subsets": [dict(zip(("subset", "images", "groups"), each, strict=True)) for each in sizes],
            "images": list(self.rows()),
            "evaluation": plain(self.evaluation),
            "controls": plain(self.controls),
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """For each generated image its answer, the most probable subset, the probability of each, and what the controls say."""
        for row, (name, vote, answer) in enumerate(zip(self.generated, self.vote, self.answers, strict=True)):
            chances = dict(zip(self.subsets, self.probability[row].tolist(), strict=True))
            yield {
                "generated_image": name,
                "answer": answer,
                "subset": self.subsets[vote],
                "probability": chances[self.subsets[vote]],
                "label": self.subsets[self.known[row]] if row in self.known else None,
                "without_best": self.subsets[self.without_best[row]],
                "best_real_image": self.real[self.best[row]],
                "probabilities": chances,
            }

    def to_pandas(self) -> Any:
        """A table: a row for each generated image, a column ``p_SUBSET`` for each subset's probability."""
        import pandas

        return pandas.DataFrame([flat(row) for row in self.rows()])


def write_csv(votes: SubsetVotes, path: Path) -> None:
    """The table of `SubsetVotes.to_pandas` as CSV, readable for its owner only."""
    rows = [flat(row) for row in votes.rows()]
    write_atomic(path, lambda file: write_rows(file, list(rows[0]), (list(row.values()) for row in rows)))


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `SubsetVotes.rows` with a column for each probability."""
    chances = {f"p_{subset}": value for subset, value in row["probabilities"].items()}
    return {**{key: value for key, value in row.items() if key != "probabilities"}, **chances}


def attribute(
    comparison: Comparison,
    groups: Groups,
    origins: Origins,
    settings: SubsetSettings | None = None,
    *,
    matches: Matches | None = None,
    executor: Executor | None = None,
) -> SubsetVotes:
    """Step attribute: a probability of each subset for each generated image.

    Args:
        comparison: of step compare; its device computes here too.
        groups: of the real images: patients count alike, and are the unit of the controls.
        origins: subsets and labels.
        settings: prior, least probability, seed.
        matches: of step match, where pairs were matched: their values add to the scores.
        executor: who goes through the generated images, see `query.comparison.search.By`.
    """
    settings, sides, subsets = settings or SubsetSettings(), comparison.sides, origins.subsets
    names = sorted(set(subsets.values()))
    members = _members(subsets, names, groups, len(sides.real))
    evidence = _evidence(comparison, members, groups, matches, executor)
    prior = np.ones(len(names)) if settings.prior is Prior.EQUAL else members.patients.astype(np.float64)
    log_prior = np.log(prior / prior.sum())
    known = {row: names.index(subset) for row, subset in sorted(origins.labels.items())}
    unit = groups.of_row[evidence.best]
    probability, sharpness, calibrated = _probabilities(evidence, log_prior, known, unit, settings.seed)
    rest = _posterior(evidence.without, log_prior)
    rows = np.array(list(known), np.int64)
    true = np.array(list(known.values()), np.int64)

    def judged(chances: Values) -> ClassEvaluation | None:
        return evaluate_classes(chances[rows], true, names, unit[rows], seed=settings.seed) if known else None

    look = _look(comparison, members, groups, settings.seed)
    same = rest.argmax(axis=1) == _posterior(evidence.logs[..., USUAL], log_prior).argmax(axis=1)
    return SubsetVotes(
        subsets=names,
        members=members,
        generated=sides.generated.names,
        real=sides.real.names,
        probability=probability,
        calibrated=calibrated,
        known=known,
        without_best=rest.argmax(axis=1),
        best=evidence.best,
        settings=settings,
        sharpness=sharpness,
        evaluation=judged(probability),
        controls=Controls(look, judged(rest), float(same.mean())),
    )


def _members(subsets: Mapping[int, str], names: Sequence[str], groups: Groups, count: int) -> Members:
    subset = np.full(count, -1)
    subset[list(subsets)] = [names.index(each) for each in subsets.values()]
    _, patient = np.unique(groups.of_row, return_inverse=True)
    return Members(subset, patient.astype(np.int64), len(names))


def _evidence(
    comparison: Comparison, members: Members, groups: Groups, matches: Matches | None, executor: Executor | None
) -> Evidence:
    """One pass over all pairs."""
    sides, views = comparison.sides, view_vectors(comparison.sides)
    reals = real_side(views, comparison.device.network if comparison.device else "cpu")
    explains = next((view for view in _VIEWS if view in reals), None)
    explains = explains or next((view for view, real in reals.items() if real.spec.metric is Metric.COSINE), None)
    weights = None
    if explains:
        weights = Weights(explains, reals[explains], Rivals.of(groups.of_row, np.asarray(reals[explains].vectors)))
    reduction = SubsetEvidence(members, weights, _matched(matches))
    scales = {view: result.scale for view, result in comparison.views.items() if result.scale}
    generated_of(views, sides.generated, executor).feed(reals, [reduction], scales)
    return reduction.result()


def _matched(matches: Matches | None) -> dict[int, tuple[NDArray[np.int64], Values]]:
    """Generated row -> real rows that agree with it on more points than usual, and what that adds to their scores."""
    if matches is None:
        return {}
    more = np.flatnonzero(np.nan_to_num(matches.values) > 1)
    more = more[np.argsort(matches.generated[more], kind="stable")]
    rows, starts = np.unique(matches.generated[more], return_index=True)
    parts = np.split(more, starts[1:])
    return {int(row): (matches.real[part], MATCH * np.log(matches.values[part])) for row, part in zip(rows, parts, strict=True)}


def _posterior(logs: NDArray[Any], log_prior: Values) -> Values:
    """(n, subsets) probabilities from log likelihoods."""
    powers = logs.astype(np.float64) + log_prior
    found = np.exp(powers - powers.max(axis=1, keepdims=True))
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def _probabilities(
    evidence: Evidence, log_prior: Values, known: Mapping[int, int], unit: NDArray[Any], seed: int
) -> tuple[Values, float, bool]:
    """Probabilities of all images, the sharpness of those without a label, and whether labels decided it."""
    usual = _posterior(evidence.logs[..., USUAL], log_prior)
    rows, true = np.array(list(known), np.int64), np.array(list(known.values()), np.int64)
    of, member = np.unique(unit[rows], return_inverse=True)
    if len(set(known.values())) < 2 or len(of) < FOLDS:
        return usual, SHARPNESS[USUAL], False
    losses = [log_losses(_posterior(evidence.logs[rows, :, number], log_prior), true) for number in range(len(SHARPNESS))]
    loss = np.stack(losses, axis=1)
    chosen = _sharpness(loss, member)
    found = _posterior(evidence.logs[..., chosen], log_prior)
    fold = (np.random.default_rng(seed).permutation(len(of)) % FOLDS)[member]
    for number in range(FOLDS):
        held, others = rows[fold == number], fold != number
        own = _sharpness(loss[others], member[others])
        found[held] = _posterior(evidence.logs[held, :, own], log_prior)
    return found, SHARPNESS[chosen], True


def _sharpness(loss: Values, member: NDArray[np.int64]) -> int:
    """The place of the smallest sharpness whose mean loss is within one standard error, by groups, of the smallest mean.

    Args:
        loss: (n, sharpnesses).
        member: (n,) group of each row.
    """
    best = int(loss.mean(axis=0).argmin())
    excess = loss - loss[:, [best]]
    sums = np.stack([np.bincount(member, column) for column in excess.T])
    error = np.sqrt((sums**2).sum(axis=1)) / len(loss)
    return int(np.flatnonzero(excess.mean(axis=0) <= error)[0])


def _look(comparison: Comparison, members: Members, groups: Groups, seed: int) -> Look | None:
    """Real images, at most 200, as if they had been generated, each without its own patient; and the same for random subsets."""
    real = comparison.sides.real
    within = np.flatnonzero((members.subset >= 0) & (members.patients[members.subset] > 1))
    if not len(within):
        return None
    rows = within[controls(groups.of_row[within], [real.digests[row] for row in within])]
    views = {
        view: ViewVectors(spec, real.vectors[view], None, real.vectors[view][rows], real.blank[view], real.blank[view][rows])
        for view, spec in real.specs.items()
    }
    distances = all_pairs_of(views, Wanted(1, distances=True)).distances[COMBINED]
    scores = np.where(members.patient[:, None] == members.patient[rows], -np.inf, -distances.astype(np.float64))
    scores[members.subset < 0] = -np.inf

    def right(subset: NDArray[np.int64]) -> float:
        dealt = Members(subset, members.patient, members.count)
        votes = log_means(scores, dealt, SHARPNESS[USUAL]).argmax(axis=1)
        confusion = confusion_of(subset[rows], votes, members.count)
        return float(kappa_and_balanced(confusion)[ClassMeasure.BALANCED_ACCURACY])

    place = np.where(members.subset >= 0, members.patient * members.count + members.subset, -1)
    units, unit = np.unique(place, return_inverse=True)
    rng, fixed = np.random.default_rng(seed), int(units[0] == -1)
    found, by_chance = right(members.subset), []
    for _ in range(DEALS):
        dealt = np.concatenate([units[:fixed], rng.permutation(units[fixed:] % members.count)])
        by_chance.append(right(dealt[unit]))
    as_good = int(np.sum(np.array(by_chance) >= found - 1e-9))
    return Look(found, float(np.mean(by_chance)), (1 + as_good) / (1 + DEALS), len(rows))
