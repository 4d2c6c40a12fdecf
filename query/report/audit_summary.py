"""Audit summary: the run summary, and what only the audit itself knows: its collections, matches, predictions, evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from embeddings.images.find import LeftOut
from indexer.collection import ArrayReading
from query.comparison.matching import Matches, MatchSettings
from query.database.evaluation import Evaluation
from query.database.store import Store
from query.inputs.groups import Groups
from query.inputs.sides import Sides
from query.membership.predict import Predictions
from query.report.run_summary import RunSummary, Side
from query.report.statistics import (
    Agreement,
    ClosestPair,
    MostCopied,
    SharedFiles,
    ThresholdCount,
    agreement,
    closest_pairs,
    most_copied,
    shared_files,
    within_threshold,
)


@dataclass(frozen=True)
class PairStatistics:
    """What nearest images of both sides show.

    Attributes:
        shared: files that both sides have.
        closest_pairs: each real image once.
        most_copied: real images that most generated ones are nearest to.
        agreement: of the views.
        threshold: images within the caller's threshold, None without one.
    """

    shared: SharedFiles
    closest_pairs: Sequence[ClosestPair]
    most_copied: MostCopied
    agreement: Agreement
    threshold: ThresholdCount | None


@dataclass(frozen=True)
class MatchingSummary:
    """How many pairs were matched geometrically.

    Attributes:
        generated_images, of: those that were matched, and all.
        threshold: of the match value, None where nothing calibrates it.
        level: share of images that are no copies expected above it at most, None where groups are unknown.
        controls, control_groups: real images that this was measured on, and their groups, None where these are unknown.
        note: the same in words.
        generated_above, real_above: images with a pair above the threshold.
        failed: why files could not be read again.
        budget: in words.
    """

    generated_images: int
    of: int
    pairs: int
    threshold: float | None
    level: float | None
    controls: int
    control_groups: int | None
    note: str
    generated_above: int
    real_above: int
    failed: Sequence[str]
    budget: str

    @classmethod
    def of_matches(cls, matches: Matches, settings: MatchSettings) -> "MatchingSummary":
        """Of what step match found."""
        threshold = matches.reference.threshold
        above = np.zeros(len(matches.values), bool) if threshold is None else matches.values > threshold
        return cls(
            generated_images=matches.looked,
            of=matches.of,
            pairs=len(matches.values),
            threshold=threshold,
            level=matches.reference.level,
            controls=len(matches.reference.values),
            control_groups=matches.reference.group_count if matches.reference.known else None,
            note=matches.reference.note,
            generated_above=len(np.unique(matches.generated[above])),
            real_above=len(np.unique(matches.real[above])),
            failed=matches.failed,
            budget=settings.budget.note,
        )


@dataclass(frozen=True)
class AuditSummary:
    """What is known after an audit; the printed summary and `audit --json` come from it.

    Attributes:
        run: what the database says, as in the report.
        left_out: role -> files that are not named as images, by kind.
        arrays: role -> how arrays of pictures were read.
        pairs: of nearest images.
        groups: of the real images.
        matching: None where nothing was matched.
        predictions: of all methods.
        evaluation: None where images of both kinds are not known.
    """

    run: RunSummary
    left_out: Mapping[str, Sequence[LeftOut]]
    arrays: Mapping[str, Sequence[ArrayReading]]
    pairs: PairStatistics
    groups: Groups
    matching: MatchingSummary | None
    predictions: Predictions
    evaluation: Evaluation | None

    @property
    def labelled(self) -> bool:
        """Whether anything is known of a real image."""
        return bool(self.run.known.used or self.run.known.not_used)


def pair_statistics(store: Store, run: RunSummary, sides: Sides, threshold: int | None, pairs: int) -> PairStatistics:
    """What nearest images of both sides show.

    Args:
        threshold: bits of phash, the caller's own.
        pairs: closest pairs wanted.
    """
    number = run.run.number
    return PairStatistics(
        shared=shared_files(store, number),
        closest_pairs=closest_pairs(store, number, sides, pairs),
        most_copied=most_copied(store, number, *(_seen(run.sides[role]) for role in ("real", "generated"))),
        agreement=agreement(store, number, len(sides.real)),
        threshold=None if threshold is None else within_threshold(store, number, threshold),
    )


def _seen(side: Side) -> int:
    """Images that some view sees something in."""
    return (side.images or 0) - (side.blank or 0)
