"""Labels of blinded readers on the pairs of a run, and how far they agree."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from query.database.record import known_groups
from query.database.store import Store
from query.evaluation.agreement import MISSING, agreement_interval, cohen_kappa, fleiss_kappa, krippendorff_alpha
from query.evaluation.resampling import Estimate
from query.inputs.reviews import Key, Pair, ReviewLabel

COHEN, FLEISS, ALPHA = "Cohen's kappa", "Fleiss' kappa", "Krippendorff's alpha"
_ORDER = list(ReviewLabel)


@dataclass(frozen=True)
class ReadPair:
    """A pair of the run that was read blinded: reader -> label."""

    real_id: int
    generated_id: int
    real: str
    generated: str
    labels: Mapping[str, ReviewLabel]


@dataclass(frozen=True)
class Agreement:
    """How far readers agree; 1 is full agreement, 0 that of chance.

    Attributes:
        coefficient: its name.
        readers: whose agreement it is.
        pairs: that it stands on.
        estimate: with its 95% interval by patients.
    """

    coefficient: str
    readers: Sequence[str]
    pairs: int
    estimate: Estimate


@dataclass(frozen=True)
class Readings:
    """What blinded readers say of the pairs of a run.

    Attributes:
        run: its number.
        readers: reader -> label -> number of pairs.
        pairs: that one reader or more labelled, in the order of their images.
        patients: groups of the real images of these pairs; an image without one counts as one by itself.
        agreements: of all readers, then of any two; empty with fewer than two readers.
    """

    run: int
    readers: Mapping[str, Mapping[str, int]]
    pairs: Sequence[ReadPair]
    patients: int
    agreements: Sequence[Agreement]


def readings(store: Store, run: int, blinded: Mapping[Pair, Mapping[str, ReviewLabel]]) -> Readings:
    """The labels that belong to this run, with the agreement of the readers.

    Args:
        blinded: from `query.inputs.reviews.read_blinded`.

    Raises:
        StoreError: the database cannot be read.
    """
    pairs = _in_run(store, run, blinded)
    readers = sorted({reader for pair in pairs for reader in pair.labels})
    groups = known_groups(store, run)
    of = [groups[pair.real_id] for pair in pairs]
    counts = {name: Counter(str(pair.labels[name]) for pair in pairs if name in pair.labels) for name in readers}
    counted = {name: {str(label): counts[name][label] for label in _ORDER} for name in readers}
    return Readings(run, counted, pairs, len(set(of)), _agreements(pairs, readers, of))


def _agreements(pairs: Sequence[ReadPair], readers: Sequence[str], groups: Sequence[str]) -> list[Agreement]:
    """Two readers: Cohen's kappa. More: Krippendorff's alpha, Fleiss' kappa of pairs that all labelled, Cohen's of any two."""
    if len(readers) < 2:
        return []
    codes = {label: code for code, label in enumerate(_ORDER)}
    given = np.array([[codes[p.labels[name]] if name in p.labels else MISSING for name in readers] for p in pairs], np.int64)
    of, answered = np.array(groups), given != MISSING
    found = []
    if len(readers) > 2:
        for name, how, rows in (
            (ALPHA, krippendorff_alpha, answered.sum(axis=1) > 1),
            (FLEISS, fleiss_kappa, answered.all(axis=1)),
        ):
            found.append(Agreement(name, readers, int(rows.sum()), agreement_interval(how, given[rows], of[rows])))
    for two in combinations(range(len(readers)), 2):
        rows = answered[:, two].all(axis=1)
        estimate = agreement_interval(cohen_kappa, given[rows][:, two], of[rows])
        found.append(Agreement(COHEN, [readers[reader] for reader in two], int(rows.sum()), estimate))
    return found


def _in_run(store: Store, run: int, blinded: Mapping[Pair, Mapping[str, ReviewLabel]]) -> list[ReadPair]:
    """The pairs whose images the run has; of equal images the first."""
    hashes = sorted({key[0] for pair in blinded for key in pair})
    query = """SELECT role, sha256, frame, min(image_id) AS id, arg_min(name, image_id) AS name FROM images
        WHERE run_id = $run AND sha256 IN (SELECT unnest(CAST($hashes AS VARCHAR[]))) GROUP BY ALL"""
    rows = store.sql(query, {"run": run, "hashes": hashes}).to_pylist()
    images: dict[tuple[str, Key], tuple[int, str]] = {
        (row["role"], (row["sha256"], row["frame"])): (row["id"], row["name"]) for row in rows
    }
    found = []
    for (real, generated), labels in blinded.items():
        ours, theirs = images.get(("real", real)), images.get(("generated", generated))
        if ours and theirs:
            found.append(ReadPair(ours[0], theirs[0], ours[1], theirs[1], labels))
    return sorted(found, key=lambda pair: (pair.real_id, pair.generated_id))
