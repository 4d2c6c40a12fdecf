"""Evaluate a run's predictions against labels: metrics beside their baselines.

Only predictions that did not see the label are evaluated: role ``unlabelled`` or ``cross-fitted``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embeddings.files.reading import parse_json
from embeddings.images.containers.names import split
from embeddings.images.decoding import Decoding
from embeddings.images.errors import Altered, ImageError, NoImages, printable
from embeddings.images.find import find
from embeddings.types import GreyImage
from query.database.labelled_predictions import (
    EvaluationError,
    LabelledPredictions,
    described,
    groups_said,
    known_labels,
    labelled_predictions,
    ordered,
)
from query.database.patient_evaluation import (
    PatientsEvaluation,
    SiblingsEvaluation,
    patients_evaluation,
    siblings_evaluation,
)
from query.database.record import known_groups
from query.database.store import Store
from query.evaluation import controls, ranking, reliability
from query.evaluation.classification import (
    AUROC,
    Measure,
    all_used,
    by_chance,
    counts,
    measure_intervals,
    measures,
    paired_differences,
    permutation_p_values,
)
from query.evaluation.controls import Intensity, Spread
from query.evaluation.reliability import Bin
from query.evaluation.resampling import DRAWS, Estimate, Measured
from query.inputs.pictures import Frames
from query.text import plain

if TYPE_CHECKING:
    pass

UNDECIDED = "undecided"
BESIDE = ("by_chance", "all_used", "p_value", "false", "of_share")  # of a figure, in table metrics
GREY_LEVELS = "grey-levels"  # stands for the intensity control where a method's name is asked for

Say = Callable[[str], None]


@dataclass(frozen=True)
class MethodEvaluation:
    """How well a method decides.

    Attributes:
        calibrated, note: what it told about itself, None where it told nothing.
        images, used, not_used: labelled images that it answers for.
        counts: tp, fp, tn, fn of its binary prediction.
        undecided: images among them that it left undecided.
        patients: how good its decisions on patients are; None where it gives none.
        siblings: whether its evidence is of images or of patients; None without siblings, and of methods that are not primary.
        unanswered: used and not used images that it gave no answer for.
        seen: images left out, since it saw their labels.
        measures: of the binary prediction.
        auroc, partial_auroc, true_rates: of its values; None and empty where some image has none.
        brier, reliability: of P(used); None where it has none.
    """

    calibrated: bool | None
    note: str | None
    images: int
    used: int
    not_used: int
    counts: Mapping[str, int]
    undecided: int
    unanswered: Mapping[str, int]
    seen: int
    measures: Mapping[Measure, Measured]
    auroc: Measured | None = None
    partial_auroc: Measured | None = None
    true_rates: Sequence[Measured] = ()
    brier: Measured | None = None
    reliability: Sequence[Bin] | None = None
    patients: PatientsEvaluation | None = None
    siblings: SiblingsEvaluation | None = None


@dataclass(frozen=True)
class Differences:
    """A method less each of the others, on the images that both answer for: other -> images, and measure -> difference."""

    of: str
    images: Mapping[str, int]
    minus: Mapping[str, Mapping[str, Estimate]]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return {
            "of": self.of,
            "minus": {other: {"images": self.images[other], **figures} for other, figures in self.minus.items()},
        }


@dataclass(frozen=True)
class Controls:
    """What chance gives, by method; and what grey levels alone tell."""

    spreads: Mapping[str, Sequence[Spread]]
    grey_levels: Intensity

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return {"spreads": self.spreads, GREY_LEVELS: self.grey_levels}


@dataclass(frozen=True)
class Evaluation:
    """What came out.

    Attributes:
        run: its number.
        database: path of the file.
        used, not_used: labelled images.
        groups_known: whether somebody named the groups (patients).
        groups_note: the same in a sentence.
        notes: what must be known to read the figures.
        labelled: by method, for figures.
        detail: by method, what it told about itself, for figures.
    """

    run: int
    database: str
    used: int
    not_used: int
    groups_known: bool
    groups_note: str
    methods: Mapping[str, MethodEvaluation]
    differences: Differences | None
    controls: Controls | None
    notes: Sequence[str]
    labelled: Mapping[str, LabelledPredictions] = field(repr=False)
    detail: Mapping[str, Mapping[str, Any]] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        labels, groups = {"used": self.used, "not_used": self.not_used}, {"known": self.groups_known, "note": self.groups_note}
        names = ("run", "database", "methods", "differences", "controls", "notes")
        values: dict[str, Any] = plain({"labels": labels, "groups": groups} | {name: getattr(self, name) for name in names})
        return values


@dataclass(frozen=True)
class EvaluationSettings:
    """What to evaluate.

    Attributes:
        methods: to evaluate, all for none; the others are compared with the first.
        with_controls: also run `query.evaluation.controls`.
        real: folder of the real images for the control that looks at pixels; None for where they were.
        draws: resamples of groups, and permutations of labels.
    """

    methods: Sequence[str] = ()
    with_controls: bool = False
    real: Path | None = None
    draws: int = DRAWS


def evaluate(
    store: Store,
    settings: EvaluationSettings | None = None,
    *,
    run: int | None = None,
    labels: Mapping[str, bool] | None = None,
    say: Say = lambda line: None,
) -> Evaluation:
    """Hold the predictions of a run against labels.

    Args:
        store: holds the run.
        settings: what to evaluate; by default all methods, without controls.
        run: its number, the latest finished one for None.
        labels: name of a real image -> whether it was used; None for the labels that the run knew.
        say: called with what is being done.

    Raises:
        EvaluationError: no labels, no decisions, or none that did not see the labels.
        LabelsError: labels name none of the real images, or an image twice.
        StoreError: there is no such run, or the database refuses.
    """
    settings = settings or EvaluationSettings()
    number = store.known_run(run)
    known, groups, note = known_labels(store, number, labels), known_groups(store, number), described(store, number)
    labelled = labelled_predictions(store, number, known, groups, ordered(store, number, settings.methods, note))
    able = {name: predictions for name, predictions in labelled.items() if len(predictions.predicted)}
    if not able:
        raise EvaluationError(f"{store.path}: run {number} holds no decision on a labelled image that did not see its label")
    measured = {}
    for name, predictions in able.items():
        say(f"evaluating {name}")
        measured[name] = _measured(predictions, note.get(name, {}), settings.draws)
        if note.get(name, {}).get("facts", {}).get("primary"):
            patients = patients_evaluation(store, number, name, known, groups)
            measured[name] = replace(measured[name], patients=patients, siblings=siblings_evaluation(predictions))
    return Evaluation(
        run=number,
        database=store.path,
        used=sum(known.values()),
        not_used=len(known) - sum(known.values()),
        groups_known=any(not group.startswith("alone") for group in groups.values()),
        groups_note=groups_said(groups, known),
        methods=measured,
        differences=_differences(able, settings.draws),
        controls=_controls(store, number, able, known, groups, settings.real) if settings.with_controls else None,
        notes=[_not_evaluated(name, labelled[name]) for name in labelled if name not in able] + _notes(able),
        labelled=able,
        detail={name: note.get(name, {}).get("detail", {}) for name in able},
    )


# What is measured


def _measured(predictions: LabelledPredictions, about: Mapping[str, Any], draws: int) -> MethodEvaluation:
    """All figures of a method; `about` is what it told about itself."""
    table = counts(predictions.predicted, predictions.used)
    chance, everyone = measures(by_chance(table)), measures(all_used(table))
    p_values = permutation_p_values(predictions.values, predictions.predicted, predictions.used, predictions.groups, draws=draws)
    intervals = measure_intervals(predictions.predicted, predictions.used, predictions.groups, draws=draws)
    return MethodEvaluation(
        calibrated=about.get("calibrated"),
        note=about.get("note"),
        images=len(predictions.predicted),
        used=int(predictions.used.sum()),
        not_used=int((~predictions.used).sum()),
        counts={name: int(np.asarray(value)) for name, value in asdict(table).items()},
        undecided=int(np.sum(predictions.answers == UNDECIDED)),
        unanswered=dict(zip(("used", "not_used"), predictions.unanswered, strict=True)),
        seen=predictions.seen,
        measures={
            name: Measured.beside(
                estimate,
                by_chance=float(chance[name]),
                all_used=float(everyone[name]),
                p_value=p_values.get(str(name), nan),
            )
            for name, estimate in intervals.items()
        },
        **_ranked(predictions, p_values, draws),
        **_probable(predictions, draws),
    )


def _ranked(predictions: LabelledPredictions, p_values: Mapping[str, float], draws: int) -> dict[str, Any]:
    """Figures of the values."""
    if predictions.values is None:
        return {}
    known = predictions.values, predictions.used, predictions.groups
    area, part = ranking.auroc_interval(*known), ranking.partial_interval(*known, draws=draws)
    rates = [ranking.true_rate(*known, asked, draws=draws) for asked in ranking.RATES]
    return {
        AUROC: Measured.beside(area, by_chance=0.5, p_value=p_values[AUROC]),
        "partial_auroc": Measured.beside(part, by_chance=0.5, asked=ranking.MAX_FALSE),
        "true_rates": [
            Measured.beside(rate.true, asked=rate.asked, false=rate.false, by_chance=rate.asked, reason=rate.reason)
            for rate in rates
        ],
    }


def _probable(predictions: LabelledPredictions, draws: int) -> dict[str, Any]:
    """Figures of P(used)."""
    if predictions.probability is None:
        return {}
    score = reliability.brier(predictions.probability, predictions.used, predictions.groups, draws=draws)
    return {
        "brier": Measured.beside(score, of_share=reliability.brier_of_share(predictions.used)),
        "reliability": reliability.reliability(predictions.probability, predictions.used, predictions.groups),
    }


def _differences(labelled: Mapping[str, LabelledPredictions], draws: int) -> Differences | None:
    """The first method against each of the others, on the images that both predict."""
    first, *others = labelled.values()
    images, minus = {}, {}
    for other in others:
        _, mine, theirs = np.intersect1d(first.images, other.images, return_indices=True)
        scores = [None if side.values is None else side.values[rows] for side, rows in ((first, mine), (other, theirs))]
        decided = [first.predicted[mine], other.predicted[theirs]]
        images[other.method] = len(mine)
        minus[other.method] = paired_differences(scores, decided, first.used[mine], first.groups[mine], draws=draws)
    return Differences(first.method, images, minus) if minus else None


def _controls(
    store: Store,
    run: int,
    labelled: Mapping[str, LabelledPredictions],
    known: Mapping[int, bool],
    groups: Mapping[int, str],
    real: Path | None,
) -> Controls:
    spreads = {}
    for name, predictions in labelled.items():
        if predictions.values is not None:
            how = predictions.values, predictions.used, predictions.groups
            spreads[name] = [controls.shuffled(*how), controls.halves(*how, True), controls.halves(*how, False)]
    images = sorted(known)
    try:
        features = controls.intensity_features(_pixels(store, run, images, real))
    except (NoImages, ImageError, OSError, EvaluationError) as error:
        return Controls(spreads, Intensity(Estimate(nan, nan, nan), nan, f"{error}; give --real FOLDER"))
    used, of = np.array([known[i] for i in images]), np.array([groups[i] for i in images])
    return Controls(spreads, controls.intensity(features, used, of))


def _pixels(store: Store, run: int, images: Sequence[int], real: Path | None) -> Iterator[GreyImage]:
    """The pixels of these images, from their files, which must be what they were.

    Raises:
        EvaluationError: a file is missing or was changed.
        NoImages: the folder is not there.
        ImageError: a file cannot be decoded any more.
    """
    (described_run,) = store.sql("SELECT real_source, settings FROM runs WHERE run_id = $run", {"run": run}).to_pylist()
    source, decoding = described_run["real_source"], Decoding(**parse_json(described_run["settings"]).get("decoding", {}))
    listing = find(real or source)
    files = {printable(name): listing.root / name for name in listing.files}
    about = "SELECT image_id, path, name, frame, sha256, mode FROM images WHERE run_id = $run AND role = 'real'"
    rows = {row["image_id"]: row for row in store.sql(about, {"run": run}).to_pylist()}
    frames = Frames(decoding)
    for row in (rows[image] for image in images):
        file = files.get(row["path"], listing.root / row["path"])
        if row["path"] not in files and not split(str(file)):
            raise EvaluationError(f"{real or source}: {row['path']} is not there")
        try:
            yield frames.read(file, row)
        except Altered as error:
            raise EvaluationError(str(error)) from error


def _not_evaluated(name: str, predictions: LabelledPredictions) -> str:
    if predictions.seen:
        return f"{name} is not evaluated: it saw the labels of all images that it answers, or does not say that it did not"
    return f"{name} is not evaluated: it answers for no labelled image"


def _notes(labelled: Mapping[str, LabelledPredictions]) -> list[str]:
    """What must be known to read the figures."""
    notes = [
        f"{name}: {predictions.seen:,} labelled images are left out, because it saw their labels"
        for name, predictions in labelled.items()
        if predictions.seen
    ]
    notes += [
        f"{name}: no AUROC, since some images have no value"
        for name, predictions in labelled.items()
        if predictions.values is None
    ]
    few = [name for name, predictions in labelled.items() if min(predictions.used.sum(), (~predictions.used).sum()) < 10]
    notes += [f"{', '.join(few)}: fewer than 10 images of a kind, so the numbers say next to nothing"] if few else []
    return notes
