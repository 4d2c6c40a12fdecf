"""Predict the real images of a run by all chosen methods, and record the predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.files.writing import make_folder
from indexer.build.build import Progress, silent
from query.inputs.sides import Sides
from query.membership.case import NOT_USED, UNKNOWN, USED, Case, MembershipError, Method, Model
from query.membership.cross_fit import Prediction, PredictionSettings, cross_fit
from query.membership.decisions import PatientPredictions
from query.membership.methods.registry import QUICK, able, make_method
from query.membership.models import save_model, save_seen
from query.membership.reference_verdict import Mismatch, ReferenceVerdict
from query.text import plain


class Siblings(StrEnum):
    """What happens to images known not to be used of patients with used ones."""

    HOLD_BACK = "hold-back"  # predicted apart, and no reference: a generator that remembers their patient is near to them too
    REFERENCE = "reference"  # like all others that were not used


@dataclass(frozen=True)
class PredictionRequest:
    """Which methods predict, and what is fixed beforehand.

    Attributes:
        methods: names; none for the quick ones that have what they need, of which those that cannot predict are left out.
        primary: the one whose answers count; None for fusion, or the first where that does not predict.
        fdr, priors: see `query.membership.cross_fit.PredictionSettings`.
        siblings: what happens to images known not to be used of patients with used ones.
        used, unused: folders of further real images that are known to be used, and not to be.
        seed: random seed.
        mismatch: what is done where the reference is of another kind than the unlabelled images.

    Raises:
        MembershipError: there is no such method.
        ValueError: a value out of range.
    """

    methods: Sequence[str] = ()
    primary: str | None = None
    fdr: float = PredictionSettings.fdr
    priors: tuple[float, float] = PredictionSettings.priors
    siblings: Siblings = Siblings.HOLD_BACK
    used: Path | None = None
    unused: Path | None = None
    seed: int = 0
    mismatch: Mismatch = Mismatch.REFUSE

    def __post_init__(self) -> None:
        for name in [*self.methods, *([self.primary] if self.primary else [])]:
            make_method(name)
        PredictionSettings(fdr=self.fdr, priors=self.priors)

    @property
    def folders(self) -> list[Path]:
        """Those of further real images."""
        return [folder for folder in (self.used, self.unused) if folder]

    def terms(self, methods: Sequence[Method], draws: int = 0) -> PredictionSettings:
        """With the primary method named, before anything is predicted.

        Raises:
            MembershipError: the one that was asked for is not among those that predict.
        """
        names = [each.name for each in methods]
        if self.primary and self.primary not in names:
            others = ", ".join(names) or "none"
            raise MembershipError(
                f"{self.primary} cannot be primary, since it does not predict ({others}): ask for it by --method"
            )
        first = "fusion" if "fusion" in names or not names else names[0]
        return PredictionSettings(primary=self.primary or first, fdr=self.fdr, priors=self.priors, draws=draws)


@dataclass(frozen=True, repr=False)
class Predictions:
    """What methods said of a case.

    Attributes:
        names: of the real images.
        methods: one prediction for each method, in the order asked for.
        refused: why methods that nobody asked for do not predict, a line each.
        labels: row of a real image -> whether it was used, as far as that was known.
        groups: row of a real image -> its patient; an image without one is a patient by itself.
        reference: what the check of the reference found; None where there was nothing to check.
    """

    names: Sequence[str]
    methods: Sequence[Prediction]
    refused: Sequence[str] = ()
    labels: Mapping[int, bool] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)
    reference: ReferenceVerdict | None = None

    def __repr__(self) -> str:
        return f"Predictions({len(self.names):,} real images; {', '.join(each.method for each in self.methods) or 'no method'})"

    def with_reference(self, reference: ReferenceVerdict | None) -> "Predictions":
        """The same, saying what the check of the reference found."""
        return replace(self, reference=reference)

    def with_known(self, labels: Mapping[int, bool], groups: Mapping[int, str]) -> "Predictions":
        """The same, saying which labels and which patients were known."""
        return replace(self, labels=labels, groups=groups)

    def patient(self, row: int) -> str:
        """The patient of a real image; the image's name where it has none."""
        return self.groups.get(row, self.names[row])

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: for each method what it stands on, and what it says of the set, of patients and of images; why others do not
        predict; what the check of the reference found."""
        methods = {each.method: {**_described(each), **self._answers(each)} for each in self.methods}
        return {"methods": methods, "refused": list(self.refused), "reference": self.reference and self.reference.as_dict()}

    def _answers(self, each: Prediction) -> dict[str, Any]:
        """Set and patients are None of methods that are not primary."""
        whole = each.whole and {**asdict(each.whole), "used_low": each.whole.used_low}
        known, chances = (self.names, each.used, each.decision, each.role), (each.probability_low, each.probability_high)
        keys = ("image", "used", "answer", "role", "value", "p_value", "q_value", "probability_low", "probability_high")
        rows = zip(*known, each.value, each.p, each.q, *chances, strict=True)
        images = [dict(zip(keys, map(plain, row), strict=True)) for row in rows]
        return {"set": whole, "patients": each.patients and self._patients(each.patients), "images": images}

    def _patients(self, found: PatientPredictions) -> list[dict[str, Any]]:
        rows = found.rows.tolist()
        names = [self.patient(row) for row in rows], [self.names[row] for row in rows]
        columns = (*names, found.images, found.role, found.p, found.q, found.decision)
        keys = ("patient", "nearest_image", "images", "role", "p_value", "q_value", "decision")
        return [dict(zip(keys, map(plain, row), strict=True)) for row in zip(*columns, strict=True)]


def case_of(
    sides: Sides, labels: Mapping[int, bool], groups: NDArray[Any], seed: int = 0, siblings: Siblings = Siblings.HOLD_BACK
) -> Case:
    """The case that two sides make.

    Args:
        sides: what is compared; flipped real images take part where there are any.
        labels: row of a real image -> whether it was used, where that is known.
        groups: (nr,) of each real image, see `query.inputs.groups.group`.
        seed: random seed.
        siblings: see there.
    """
    used = np.full(len(sides.real), UNKNOWN, np.int8)
    for row, label in labels.items():
        used[row] = USED if label else NOT_USED
    held = np.zeros(len(used), bool)
    if siblings is Siblings.HOLD_BACK:
        held = (used == NOT_USED) & np.isin(groups, groups[used == USED])
        used[held] = UNKNOWN
    return Case(sides.real, sides.generated, used, groups, sides.flipped, siblings=held if held.any() else None, seed=seed)


def chosen(names: Sequence[str], models: Mapping[str, Model], case: Case) -> list[Method]:
    """The methods asked for; without any, those of the models, or of the quick ones those that have what they need.

    Raises:
        MembershipError: there is no such method.
    """
    if names or models:
        return [make_method(name) for name in dict.fromkeys([*names, *models])]
    return able(QUICK, case)


def predict(
    case: Case,
    methods: Sequence[Method],
    terms: PredictionSettings,
    *,
    models: Mapping[str, Model] | None = None,
    progress: Progress = silent,
) -> Predictions:
    """Let each method predict the case.

    Raises:
        MembershipError: a method lacks what it needs.
    """
    given, found = models or {}, []
    for number, method in enumerate(methods, 1):
        found.append(cross_fit(method, case, terms, given.get(method.name)))
        progress("deciding", number, len(methods))
    return Predictions(case.real.names, found)


def predict_where_able(
    case: Case, methods: Sequence[Method], terms: PredictionSettings, progress: Progress = silent
) -> Predictions:
    """The same by methods that nobody asked for: one that cannot predict is left out, and the next one is primary in its place.

    Whether a method can predict depends on what is known of the images, not on what it would say of them.
    """
    found, refused = [], []
    for number, method in enumerate(methods, 1):
        try:
            found.append(cross_fit(method, case, terms))
        except MembershipError as error:
            refused.append(str(error))
            if method.name == terms.primary and number < len(methods):
                terms = replace(terms, primary=methods[number].name)
        progress("deciding", number, len(methods))
    return Predictions(case.real.names, found, list(dict.fromkeys(refused)))


def predict_requested(
    case: Case, methods: Sequence[Method], request: PredictionRequest, progress: Progress = silent
) -> Predictions:
    """`predict` by the methods of a request, or `predict_where_able` where it names none.

    Raises:
        MembershipError: a method that was asked for lacks what it needs.
    """
    predicting = predict if request.methods else predict_where_able
    return predicting(case, methods, request.terms(methods), progress=progress)


def save_models(decided: Predictions, folder: Path, seen: Path, given: Mapping[str, Any] | None = None) -> None:
    """What methods learned, a file each, and whose labels they have seen; nothing of those whose models were given.

    Args:
        folder: of the models.
        seen: file beside it, from `query.membership.models.seen_beside`.
        given: by method.

    Raises:
        MembershipError: `seen` is there and cannot be read.
    """
    for each in decided.methods:
        if each.method not in (given or {}):
            make_folder(folder)
            fitted = save_seen(each.model.seen, seen) if each.model.seen else None
            save_model(each.model, folder / f"{each.method}.safetensors", fitted)


def _described(each: Prediction) -> dict[str, Any]:
    return {"calibrated": each.calibrated, "note": each.note, **each.facts}
