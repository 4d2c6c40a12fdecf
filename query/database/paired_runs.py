"""Recorded runs of several generated sets against the same real images: in which set less was found, and by how much.

It needs no hold-out set: what runs of `predict` and `audit` have found is held against each other, patient by patient.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from query.comparison.combined import COMBINED
from query.database.store import Store, StoreError
from query.evaluation.resampling import LEVEL, Estimate, grouped_interval
from query.leakage.primary import TRACES
from query.leakage.set_figures import CALLED_PATIENTS, COPIES, MATCHED_IMAGES, MATCHED_PATIENTS
from query.leakage.sets import SetFigure
from query.text import many, name

Counts = NDArray[np.int64]
Shares = NDArray[np.float64]


class PairingError(StoreError):
    """Runs cannot be held against each other; the message is one line."""


@dataclass(frozen=True)
class RecordedSet:
    """A generated set and its run: the name of the set, the open database, the number of the run."""

    name: str
    store: Store
    run: int


@dataclass(frozen=True)
class Traces:
    """What one run has found, by patient.

    Attributes:
        name: of the set.
        run: its number.
        images: generated ones.
        called: (p,) float64, 1 where the patient is called used, 0 where not, NaN where not tested; None without predictions.
        matched: (p,) int64, generated images whose best match above the threshold is of this patient; None without matching.
        copied: (p,) int64, generated images that are copies of an image of this patient; None where copies were not looked for.
        method: that called patients used.
        reasons: figure -> why it is missing.
    """

    name: str
    run: int
    images: int
    called: Shares | None
    matched: Counts | None
    copied: Counts | None
    method: str | None
    reasons: Mapping[str, str]


@dataclass(frozen=True)
class PairedRuns:
    """What runs of several sets say of the same real patients, side by side.

    Attributes:
        sets: in the order given; others are held against the first.
        figures: of all sets; those of a set in the order of `TRACES`.
        patients: of the real images.
        primary: the figure that the answer is about.
        level: of each interval of a difference, so that those of one figure hold together with 95%.
        left_out: figure -> why it is missing.
    """

    sets: tuple[Traces, ...]
    figures: tuple[SetFigure, ...]
    patients: int
    primary: str
    level: float
    left_out: Mapping[str, str] = field(default_factory=dict)

    def of(self, name: str) -> dict[str, SetFigure]:
        """Figures of one set."""
        return {each.figure: each for each in self.figures if each.of == name}

    @property
    def answers(self) -> tuple[SetFigure, ...]:
        """The primary figure of every set but the first."""
        return tuple(self.of(each.name)[self.primary] for each in self.sets[1:])

    @property
    def of_one_size(self) -> bool:
        """Whether the largest set has at most a tenth more images than the smallest."""
        sizes = [each.images for each in self.sets]
        return max(sizes) <= 1.1 * min(sizes)


def paired_runs(sets: Sequence[RecordedSet], *, primary: str | None = None, seed: int = 0) -> PairedRuns:
    """Hold the runs of several generated sets against that of the first, by the patients that they share.

    A figure is a mean over patients of what each patient adds to it. Intervals of values and of differences are bootstraps over
    patients (`query.evaluation.resampling.grouped_interval`) from the same draws for all sets: what a patient adds to both sets
    cancels out. Generated images are taken as they are, so an interval says nothing of further images of a generator. Where no
    patient tells sets apart, a bootstrap would have no width: it gets the one that Clopper and Pearson (1934) give to none of so
    many patients.

    Args:
        sets: two or more, with names of their own.
        primary: the figure that the answer is about, named beforehand; by default the first of `TRACES` that all runs have.
        seed: of the draws.

    Raises:
        PairingError: there are fewer than two, the runs are against different real images, patients or labels, or no figure, or
            not the one asked for, is in all of them.
        StoreError: a run is not there.
    """
    if len(sets) < 2:
        raise PairingError(f"at least two runs are needed to be held against each other, got {len(sets)}")
    real = [_RealImages.of(each) for each in sets]
    for other, images in zip(sets[1:], real[1:], strict=True):
        _check_same(sets[0].name, real[0], other.name, images)
    patients = int(real[0].patient.max(initial=-1)) + 1
    traces = tuple(_traces(each, images, real[0].patient, patients) for each, images in zip(sets, real, strict=True))
    level = 1 - (1 - LEVEL) / (len(sets) - 1)
    left_out = {figure: reason for figure in TRACES if (reason := _missing(figure, traces))}
    figures = [figure for each in TRACES if each not in left_out for figure in _figures(each, traces, patients, seed, level)]
    if not figures:
        raise PairingError(f"no figure is in all runs: {next(iter(left_out.values()))}")
    if primary in left_out:
        raise PairingError(f"{primary} is not in all runs: {left_out[primary]}")
    return PairedRuns(traces, tuple(figures), patients, primary or figures[0].figure, level, left_out)


# What runs are held against


@dataclass(frozen=True)
class _RealImages:
    """The real images of a run in an order that all runs share: by content.

    Attributes:
        content: SHA-256 of the file and number of the frame.
        ids: (n,) in the run.
        patient: (n,) number of each image's patient, counted as they first appear; an image without a group is one by itself.
        used: (n,) 1, 0, or -1 where it is not known.
    """

    content: list[tuple[str, int]]
    ids: Counts
    patient: Counts
    used: Counts

    @classmethod
    def of(cls, recorded: RecordedSet) -> "_RealImages":
        query = """SELECT i.image_id, i.sha256, i.frame, i."group", coalesce(CAST(l.used AS INTEGER), -1) AS used
            FROM images AS i LEFT JOIN labels AS l ON l.run_id = i.run_id AND l.image_id = i.image_id
            WHERE i.run_id = $run AND i.role = 'real' ORDER BY i.sha256, i.frame, i.name"""
        rows = recorded.store.sql(query, {"run": recorded.run}).to_pydict()
        numbers: dict[Any, int] = {}
        keys = [place if group is None else group for place, group in enumerate(rows["group"])]
        patient = [numbers.setdefault(key, len(numbers)) for key in keys]
        return cls(
            list(zip(rows["sha256"], rows["frame"], strict=True)),
            np.array(rows["image_id"], np.int64),
            np.array(patient, np.int64),
            np.array(rows["used"], np.int64),
        )


def _check_same(first: str, ours: _RealImages, other: str, theirs: _RealImages) -> None:
    """Refuse runs of which a difference could be that of the real images.

    Raises:
        PairingError: images, patients or labels differ.
    """
    both = f"the runs of {name(first)} and {name(other)}"
    if ours.content != theirs.content:
        apart = len(set(ours.content) ^ set(theirs.content))
        what = f"{many(apart, 'image is', 'images are')} in one of them only" if apart else "some are there more often in one"
        raise PairingError(f"{both} are against different real images ({what}); run both sets against the same folder")
    if (ours.patient != theirs.patient).any():
        raise PairingError(f"{both} have different patients; run both with the same --groups")
    if (ours.used != theirs.used).any():
        raise PairingError(f"{both} know different images as used or unused; run both with the same labels and reference")


# What each run has found


def _traces(recorded: RecordedSet, real: _RealImages, patient: Counts, patients: int) -> Traces:
    of_image = dict(zip(real.ids.tolist(), patient.tolist(), strict=True))
    ((images,),) = _rows(recorded, "SELECT generated_images FROM runs WHERE run_id = $run")
    reasons: dict[str, str] = {}
    method, called = _called(recorded, of_image, patients)
    if called is None:
        reasons[CALLED_PATIENTS] = f"the run of {name(recorded.name)} tested no patient: predict with a reference (--unused)"
    matched, why = _matched(recorded, of_image, patients, images)
    if matched is None:
        reasons |= {MATCHED_PATIENTS: why, MATCHED_IMAGES: why}
    copied = None
    if _rows(recorded, "SELECT 1 FROM copy_search WHERE run_id = $run"):
        found = _rows(recorded, "SELECT min(real_id) FROM copies WHERE run_id = $run GROUP BY generated_id")
        copied = _counts([of_image[image] for (image,) in found], patients)
    else:
        reasons[COPIES] = f"the run of {name(recorded.name)} did not look for copies"
    return Traces(recorded.name, recorded.run, images, called, matched, copied, method, reasons)


def _called(recorded: RecordedSet, of_image: Mapping[int, int], patients: int) -> tuple[str | None, Shares | None]:
    """The primary method, and whom it calls used; patients whose membership was known are not tested."""
    query = "SELECT method, image_id, decision FROM patient_decisions WHERE run_id = $run AND role = 'unlabelled'"
    rows = _rows(recorded, query)
    if not rows:
        return None, None
    called = np.full(patients, np.nan)
    for _, image, decision in rows:
        called[of_image[image]] = decision == "used"
    return rows[0][0], called


def _matched(recorded: RecordedSet, of_image: Mapping[int, int], patients: int, images: int) -> tuple[Counts | None, str]:
    """Generated images by the patient whom they match above the threshold; or why that is not known."""
    of = name(recorded.name)
    rows = _rows(recorded, "SELECT generated_images, threshold FROM matching WHERE run_id = $run")
    if not rows or rows[0][1] is None:
        return None, f"the run of {of} matched nothing, or no threshold was found: audit both sets"
    looked, threshold = rows[0]
    if looked < images:
        return None, f"the run of {of} matched {looked:,} of {many(images, 'generated image')} only: --match all takes all"
    query = "SELECT real_id FROM match_tests WHERE run_id = $run AND value > $threshold"
    found = recorded.store.sql(query, {"run": recorded.run, "threshold": threshold})["real_id"].to_pylist()
    return _counts([of_image[image] for image in found], patients), ""


def _rows(recorded: RecordedSet, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in recorded.store.sql(query, {"run": recorded.run}).to_pylist()]


def _counts(found: Sequence[int], patients: int) -> Counts:
    return np.bincount(np.array(found, np.int64), minlength=patients)


def _missing(figure: str, traces: Sequence[Traces]) -> str:
    """Why a figure cannot be told of all sets; empty where it can."""
    reason = next((each.reasons[figure] for each in traces if figure in each.reasons), "")
    if figure == CALLED_PATIENTS and not reason:
        first = traces[0]
        other = next((each for each in traces if each.method != first.method), None)
        if other:
            reason = f"{first.method} called the patients of {name(first.name)}, {other.method} those of {name(other.name)}"
    return reason


# Figures


def _figures(figure: str, traces: Sequence[Traces], patients: int, seed: int, level: float) -> list[SetFigure]:
    """A figure of all sets, with differences from the first."""
    least = min(each.images for each in traces)
    parts = np.array([_ADDED[figure](each, patients, least) for each in traces])
    parts = parts[:, np.isfinite(parts).all(axis=0)]  # patients that all runs tested
    values = [_within(_mean(own, seed, LEVEL), 0.0) for own in parts]
    apart = [None, *(_within(_mean(own - parts[0], seed, level), -1.0) for own in parts[1:])]
    return [
        SetFigure(each.name, COMBINED, figure, value, difference)
        for each, value, difference in zip(traces, values, apart, strict=True)
    ]


def _mean(added: Shares, seed: int, level: float) -> Estimate:
    """The mean over patients with its interval."""
    found = grouped_interval(lambda rows: float(added[rows].mean()), np.arange(len(added)), seed=seed, level=level)
    if len(added) > 1 and np.ptp(added) == 0:
        wide = 1 - ((1 - level) / 2) ** (1 / len(added))
        return Estimate(found.value, found.value - wide, found.value + wide, found.n)
    return found


def _within(share: Estimate, least: float) -> Estimate:
    """A share is at most 1: resampled patients may have more images than there are."""
    return replace(share, low=max(share.low, least), high=min(share.high, 1.0)) if share.has_interval else share


def _of_called(traces: Traces, _patients: int, _least: int) -> Shares:
    assert traces.called is not None
    return traces.called


def _of_matched_patients(traces: Traces, _patients: int, least: int) -> Shares:
    """(p,) probability that a draw of the `least` of the set's images holds a match of the patient (hypergeometric)."""
    assert traces.matched is not None
    others = traces.images - traces.matched  # images that match somebody else, or nobody
    none = np.where(others >= least, _choices(others, least) - _choices(np.array(traces.images), least), -np.inf)
    return np.asarray(-np.expm1(none), np.float64)


def _choices(of: NDArray[Any], count: int) -> Shares:
    """Logarithm of the number of ways to draw so many of each."""
    held = np.maximum(of, count)
    return np.asarray(gammaln(held + 1) - gammaln(count + 1) - gammaln(held - count + 1), np.float64)


def _of_matched_images(traces: Traces, patients: int, _least: int) -> Shares:
    assert traces.matched is not None
    return np.asarray(traces.matched * (patients / traces.images), np.float64)


def _of_copies(traces: Traces, patients: int, _least: int) -> Shares:
    assert traces.copied is not None
    return np.asarray(traces.copied * (patients / traces.images), np.float64)


_ADDED: Mapping[str, Callable[[Traces, int, int], Shares]] = {  # (p,) whose mean over patients is the figure
    CALLED_PATIENTS: _of_called,
    MATCHED_PATIENTS: _of_matched_patients,
    MATCHED_IMAGES: _of_matched_images,
    COPIES: _of_copies,
}
