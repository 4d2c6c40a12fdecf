"""Run summary: all that a report says of a run, read from the database once; text, figures, HTML and JSON come from it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from query.comparison.orientation import OrientationCheck
from query.database.record import known_groups
from query.database.record_attacks import read_attacks
from query.database.store import Store
from query.inputs.contamination import warned
from query.inputs.patients import PatientCounts
from query.inputs.reviews import SUFFIX
from query.leakage.attacks import Attacks
from query.membership.reference_verdict import ReferenceVerdict
from query.report.copies import CopiesSummary, copies_summary
from query.report.distributions import ViewSummary, distributions
from query.report.memorisation import MemorisationSummary, memorisation_summary
from query.report.pairs import PairsSummary, Shown, pairs_to_review
from query.report.predictions import Decisions, EvaluationSummary, decisions, evaluation, thresholds
from query.report.quality import QualitySummary, quality_summary
from query.report.statistics import groups_from, label_counts
from query.report.withholding import LeakageSummary, WithheldSummary, filtered, leakage_summary, withheld

FORMAT = 1  # of report.json


@dataclass(frozen=True)
class RunFacts:
    """What a run is: number, UTC time, command, neighbours kept, whether flipped images were compared, distances kept."""

    number: int
    created: str
    command: str | None
    k: int
    mirror: bool
    distances: str


@dataclass(frozen=True)
class Side:
    """Images of one side, files that could not be read, images blank to every view, where they are; patients that their files
    name. None is not shown."""

    images: int | None
    failed: int | None
    blank: int | None
    source: str | None
    patients: int | None = None


@dataclass(frozen=True)
class Known:
    """What is known of the real images; None is not shown.

    Attributes:
        used, not_used, unlabelled: images.
        groups: how many (patients).
        groups_from: ``given``, ``near-duplicates`` or ``nobody``.
    """

    used: int | None
    not_used: int | None
    unlabelled: int | None
    groups: int | None
    groups_from: str


@dataclass(frozen=True)
class Failure:
    """A file that could not be read, or one of those that were left out by their names."""

    role: str
    path: str
    reason: str


@dataclass(frozen=True)
class BlankImage:
    """An image in which views see nothing."""

    role: str
    name: str
    views: Sequence[str]


@dataclass(frozen=True)
class RunSummary:
    """What is known of a run.

    Attributes:
        public: the form for anybody, see `query.report.public`.
        fewest: images or persons that a figure of that form stands on.
        copies: evidence by itself; None where they were not looked for.
        memorisation: share of generated images that copy a real one; None where nothing tells it.
        sides: role -> what was compared.
        settings, versions: of the run.
        warnings: what makes all of it doubtful, a sentence each.
        views: the combined one first.
        decisions, evaluation: None where there are none.
        attacks: in the words of regulators; None where real images of both kinds are not known.
        quality: how good the generated images are; None where that was not measured.
    """

    run: RunFacts
    copies: CopiesSummary | None
    memorisation: MemorisationSummary | None
    sides: Mapping[str, Side]
    known: Known
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    warnings: Sequence[str]
    views: Sequence[ViewSummary]
    decisions: Decisions | None
    evaluation: EvaluationSummary | None
    leakage: LeakageSummary
    pairs: PairsSummary
    withheld: WithheldSummary
    failures: Sequence[Failure]
    blank: Sequence[BlankImage]
    public: bool = False
    fewest: int | None = None
    attacks: Attacks | None = None
    quality: QualitySummary | None = None
    format: int = FORMAT

    @property
    def by_hold_out(self) -> bool:
        """Whether hold-out images, which the run does not keep, calibrated the filter: its real images are the training set."""
        return bool(self.withheld.risk) and self.known.not_used == 0


def summarise(store: Store, run: int, database: Path, least: int | None = None) -> tuple[RunSummary, dict[int, Shown]]:
    """What is known of a run, and the pixels of its pairs by their place; the same run gives the same.

    Args:
        store: holds the run.
        run: its number.
        database: where the store's file is, or will be: collections and reviews are looked for beside it.
        least: real images in a bin of histograms that may be made public; None for fine ones.

    Raises:
        StoreError: the database cannot be read.
    """
    (about,) = store.sql("SELECT * FROM runs WHERE run_id = $run", {"run": run}).to_pylist()
    labels = {row["image_id"]: row["used"] for row in _all(store, "SELECT image_id, used FROM labels", run)}
    groups = known_groups(store, run)
    decided = decisions(store, run, groups)
    views = distributions(store, run, groups, least)
    pairs, shown = pairs_to_review(store, run, database.with_suffix(SUFFIX))
    kept = filtered(store, run, labels, groups)
    predicted_used = decided.primary.predicted_used if decided and decided.primary else []
    blank = _all(store, "SELECT role, name, blank AS views FROM images", run, "AND len(blank) > 0")
    created, same = f"{about['created']:%Y-%m-%d %H:%M} UTC", ("command", "k", "mirror", "distances")
    summary = RunSummary(
        run=RunFacts(run, created, **{key: about[key] for key in same}),
        copies=copies_summary(store, run, groups),
        memorisation=memorisation_summary(store, run),
        sides=compared_sides(store, run),
        known=_known(label_counts(store, run), groups),
        settings=json.loads(about["settings"]),
        warnings=warnings_of(json.loads(about["settings"])),
        versions=json.loads(about["versions"]),
        views=[replace(view, thresholds=thresholds(view.view, decided)) for view in views],
        decisions=decided,
        evaluation=evaluation(store, run, labels, groups),
        leakage=leakage_summary(kept),
        pairs=pairs,
        withheld=withheld(store, run, kept, predicted_used, pairs),
        failures=[Failure(**row) for row in _all(store, "SELECT role, path, reason FROM failures", run)],
        blank=[BlankImage(**row) for row in blank],
        attacks=read_attacks(store, run),
        quality=quality_summary(store, run),
    )
    return summary, shown


def warnings_of(settings: Mapping[str, Any]) -> list[str]:
    """What the settings of a run say against its results, warnings first; that of a turned side spoils everything."""
    note, reference = OrientationCheck.of_settings(settings).note, ReferenceVerdict.of_settings(settings)
    lines = [*([note] if note else []), *(reference.warnings if reference else [])]
    lines += [*PatientCounts.of_settings(settings).warnings, *warned(settings)]
    return sorted(lines, key=lambda line: not line.startswith("WARNING"))


def run_warnings(store: Store, run: int) -> list[str]:
    """The same, from the database.

    Raises:
        StoreError: the database cannot be read.
    """
    (about,) = store.sql("SELECT settings FROM runs WHERE run_id = $run", {"run": run}).to_pylist()
    return warnings_of(json.loads(about["settings"]))


def _all(store: Store, query: str, run: int, condition: str = "") -> list[dict[str, Any]]:
    """Rows of a table of the run, in the order of their columns."""
    found: list[dict[str, Any]] = store.sql(f"{query} WHERE run_id = $run {condition} ORDER BY ALL", {"run": run}).to_pylist()
    return found


def compared_sides(store: Store, run: int) -> dict[str, Side]:
    """Role -> what a run compared.

    Raises:
        StoreError: the database cannot be read.
    """
    (about,) = store.sql("SELECT * FROM runs WHERE run_id = $run", {"run": run}).to_pylist()
    query = "SELECT role, count(*) AS n FROM images WHERE run_id = $run AND list_contains(blank, 'combined') GROUP BY role"
    unseen = {row["role"]: row["n"] for row in store.sql(query, {"run": run}).to_pylist()}
    names, patients = ("images", "failed", "source"), PatientCounts.of_settings(json.loads(about["settings"]))
    return {
        role: Side(blank=unseen.get(role, 0), patients=patients.of(role), **{name: about[f"{role}_{name}"] for name in names})
        for role in ("generated", "real")
    }


def _known(counts: Mapping[str, int], groups: Mapping[int, str]) -> Known:
    """Labels, and groups: whose, how many."""
    return Known(**counts, groups=len(set(groups.values())), groups_from=groups_from(groups))
