"""Exact and near-exact copies of a run, for the report: how many images, and which pairs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from query.comparison.copies import CopyKind
from query.database.record import known_groups
from query.database.store import Store
from query.report.statistics import GIVEN, groups_from


@dataclass(frozen=True)
class CopyCount:
    """Generated images that are copies, the real images that they are copies of, and their patients.

    None is not shown; patients are None where they are unknown.
    """

    generated: int | None
    real: int | None
    patients: int | None


@dataclass(frozen=True)
class CopyPair:
    """A generated image that is a copy of a real one; kind and similarity as in `query.comparison.copies`."""

    generated_id: int
    generated: str
    real_id: int
    real: str
    kind: str
    similarity: float


@dataclass(frozen=True)
class CopiesSummary:
    """Copies that are evidence by themselves.

    Attributes:
        exact: the same file, or the same pixels.
        near: the others, nearly the same pixels.
        threshold: similarity from which on a pair is nearly the same, None is not shown.
        largest: similarity of the two real images of different groups that are most alike, None is not shown.
        failed: images that could not be read again, None is not shown.
        groups_from: who says which images are of one patient, see `query.report.run_summary.Known`.
        pairs: each generated image with the real ones that it is a copy of.
    """

    exact: CopyCount
    near: CopyCount
    threshold: float | None
    largest: float | None
    failed: int | None
    groups_from: str
    pairs: Sequence[CopyPair]


def copies_summary(store: Store, run: int, groups: Mapping[int, str] | None = None) -> CopiesSummary | None:
    """Copies of a run; None where they were not looked for.

    Args:
        groups: number of a real image -> its group, if they are at hand.

    Raises:
        StoreError: the database cannot be read.
    """
    search = store.sql("SELECT threshold, largest, failed FROM copy_search WHERE run_id = $run", {"run": run}).to_pylist()
    if not search:
        return None
    query = """SELECT c.generated_id, g.name AS generated, c.real_id, r.name AS real, c.kind, c.similarity FROM copies AS c
        JOIN images AS g ON g.run_id = c.run_id AND g.image_id = c.generated_id
        JOIN images AS r ON r.run_id = c.run_id AND r.image_id = c.real_id
        WHERE c.run_id = $run ORDER BY c.generated_id, c.real_id"""
    pairs = [CopyPair(**row) for row in store.sql(query, {"run": run}).to_pylist()]
    groups = known_groups(store, run) if groups is None else groups
    exact = {pair.generated_id for pair in pairs if pair.kind != CopyKind.NEAR}
    return CopiesSummary(
        exact=_count((pair for pair in pairs if pair.kind != CopyKind.NEAR), groups),
        near=_count((pair for pair in pairs if pair.generated_id not in exact), groups),
        groups_from=groups_from(groups),
        pairs=pairs,
        **search[0],
    )


def _count(pairs: Iterable[CopyPair], groups: Mapping[int, str]) -> CopyCount:
    pairs = list(pairs)
    real = {pair.real_id for pair in pairs}
    patients = len({groups[image] for image in real}) if groups_from(groups) == GIVEN else None
    return CopyCount(len({pair.generated_id for pair in pairs}), len(real), patients)
