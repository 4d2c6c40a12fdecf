"""Leaks between sets that must not share any image or patient, such as training and test images."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import SynthtraceError
from embeddings.images.errors import printable
from indexer.build.build import Progress
from indexer.collection import Collection
from indexer.notebook import escaped, in_cells, table
from query.duplication.candidates import candidates
from query.duplication.chance import Chance, chance_of
from query.duplication.duplicates import of_others
from query.duplication.identical import Identical, identical
from query.duplication.pairs import Kind, Matcher, Pair, equal_pair, near_pairs
from query.duplication.pictures import shown
from query.duplication.pool import Pool, pooled
from query.duplication.split_names import split_labels
from query.duplication.tables import liked, pair_rows
from query.inputs.groups import ByTable, Given, as_given
from query.text import many, plain

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 10  # pairs and patients in a text


class SplitsError(SynthtraceError):
    """Splits cannot be compared as asked; the message is one line."""


class Reason(StrEnum):
    """Why an image should be left out of a split, the surest first."""

    FILE = "the same file"
    PIXELS = "the same pixels"
    PATIENT = "the same patient"
    NEAR = "near-duplicate"
    PROBABLE = "probably the same patient"


_OF_KIND = {Kind.FILE: Reason.FILE, Kind.PIXELS: Reason.PIXELS, Kind.NEAR: Reason.NEAR}


@dataclass(frozen=True)
class SharedPatient:
    """A patient of two splits, or two patients that are probably one.

    Attributes:
        first_split, second_split: the splits.
        first, second: the patient's name in each; one name means that it is certain.
        first_images, second_images: images of the patient in each.
        pairs: of duplicates between them.
    """

    first_split: str
    second_split: str
    first: str
    second: str
    first_images: int
    second_images: int
    pairs: int

    @property
    def certain(self) -> bool:
        """Whether both splits name the same patient; else near-duplicates of two names suggest it."""
        return self.first == self.second


@dataclass(frozen=True)
class Drop:
    """An image to leave out.

    Attributes:
        row: of the image.
        reason: the surest one.
        other: row of the image of another split that it is like; None where only the patient is shared.
    """

    row: int
    reason: Reason
    other: int | None


@dataclass(frozen=True, repr=False)
class LeakySplits:
    """What splits share.

    Attributes:
        pool: the images of all splits.
        splits: names, those to keep first: of two that leak, the image of the later one is to be dropped.
        pairs: duplicates in different splits.
        patients: that are in two splits, the certain ones first; those without a name are not known to be any.
        drop: images to leave out, so that no leak that was found remains, with the surest reason for each.
        chance: the threshold of near-duplicates, and what chance gives.
        failed: why files could not be read again, each once.
    """

    pool: Pool
    splits: Sequence[str]
    pairs: Sequence[Pair]
    patients: Sequence[SharedPatient]
    drop: Sequence[Drop]
    chance: Chance
    failed: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        pool = self.pool
        counts = Counter(pool.sets[pool.rows].tolist())
        drop = [
            {
                "split": str(pool.sets[each.row]),
                "image": pool.names[each.row],
                "reason": str(each.reason),
                "like": liked(pool, each),
            }
            for each in self.drop
        ]
        return dict(
            plain(
                {
                    "images": {split: counts[split] for split in self.splits},
                    "pairs": [pair.as_dict(pool) for pair in self.pairs],
                    "patients": self.patients,
                    "drop": drop,
                    "chance": self.chance,
                    "failed": self.failed,
                }
            )
        )

    def to_pandas(self) -> "pd.DataFrame":
        """A row for each pair, columns as `pairs.csv` has them."""
        import pandas as pd

        header, rows = pair_rows(self)
        return pd.DataFrame(rows, columns=list(header))

    def __repr__(self) -> str:
        shared = many(len(self.patients), "shared patient")
        return f"LeakySplits({', '.join(self.splits)}: {many(len(self.pairs), 'pair')}, {shared}, {len(self.drop):,} to drop)"

    def _repr_html_(self) -> str:
        """The first pairs with pictures."""
        rows = [[shown(self.pool, pair.first), shown(self.pool, pair.second), escaped(pair.note)] for pair in self.pairs[:SHOWN]]
        return f"<p>{escaped(repr(self))}</p><p>{escaped(self.chance.note)}</p>" + table(["image", "like", ""], rows)


def leaky_splits(
    images: Mapping[str, Collection] | Collection,
    *,
    splits: str | Path | Mapping[str, str] | None = None,
    groups: str | Path | Mapping[str, str] | Given | None = None,
    mirrored: Sequence[Collection] = (),
    drop_from: str | None = None,
    progress: Progress = in_cells,
) -> LeakySplits:
    """Find images and patients that splits share, such as training and test images.

    Args:
        images: name of a split -> its collection, all embedded by the same fitted views; or one collection of all splits.
        splits: of one collection: a CSV of image,split, ``folders`` (the first folder of each name), or name -> split. Images
            without a split take no part.
        groups: patients, as of `query.duplicates`; the same name in two splits means the same patient.
        mirrored: the images flipped left to right, a collection for each, to look for flipped copies too.
        drop_from: split that images are dropped from first; by default of two splits the later one.
        progress: called with stage, done, total; by default a bar in notebooks.

    Raises:
        SplitsError: there are fewer than two splits, or no split `drop_from`.
        CollectionError: the collections were made differently, or are empty.
        GroupsError, TableError: groups or splits cannot be read, or none of their names is that of an image.
    """
    named = {"": images} if isinstance(images, Collection) else dict(images)
    collections = list(named.values())
    if isinstance(images, Collection):
        labels = split_labels(images, splits)
    else:
        labels = np.concatenate([np.full(len(collection), name) for name, collection in named.items()] or [np.zeros(0, str)])
    order = _order(labels, None if isinstance(images, Collection) else list(named), drop_from)
    grouping = as_given(groups)
    if isinstance(grouping, ByTable) and len(named) > 1:
        grouping = grouping.in_folders(list(named))
    pool = pooled(collections, labels, grouping, mirrored)
    return find_leaks(pool, order, progress)


def find_leaks(pool: Pool, order: Sequence[str], progress: Progress) -> LeakySplits:
    """What the splits of a pool share, the splits to keep first; of each pair the image to keep comes first."""
    same = identical(pool, progress)
    matcher = Matcher(pool)
    asked = candidates(pool, same, across=True, progress=progress)
    inliers = matcher.all_inliers(asked, progress)
    chance = chance_of(inliers[of_others(pool, asked)], pool.grouped)
    rank = {split: place for place, split in enumerate(order)}

    def kept_first(pair: tuple[int, int]) -> tuple[int, int]:
        first, second = sorted(pair, key=lambda row: (rank[str(pool.sets[row])], row))
        return first, second

    near = [(*kept_first(pair), int(count)) for pair, count in zip(asked, inliers, strict=True) if count >= chance.threshold]
    near.sort(key=lambda edge: (-edge[2], edge))
    equal = [equal_pair(pool, *kept_first(pair)) for pair in _equal(pool, same)]
    pairs = [*equal, *near_pairs(pool, matcher, near)]
    patients = _shared(pool, order, pairs)
    failed = sorted({*same.failed, *matcher.failed})
    return LeakySplits(pool, order, pairs, patients, _to_drop(pool, pairs, patients), chance, failed)


def _order(labels: NDArray[np.str_], given_order: Sequence[str] | None, drop_from: str | None) -> list[str]:
    """Names of splits, those to keep first: as given, else training before the others."""
    there = [name for name in given_order or sorted(set(labels.tolist()) - {""}, key=_training_first) if name in labels]
    if len(there) < 2:
        raise SplitsError(printable(f"two splits or more are needed, found {', '.join(there) or 'none'}"))
    if drop_from is not None and drop_from not in there:
        raise SplitsError(printable(f"no split {drop_from!r} to drop from; there are {', '.join(there)}"))
    return [name for name in there if name != drop_from] + ([drop_from] if drop_from is not None else [])


def _training_first(name: str) -> tuple[bool, str]:
    return not name.casefold().startswith("train"), name


def _equal(pool: Pool, same: Identical) -> list[tuple[int, int]]:
    """Equal images of each two splits: every one of them in a pair, one after the other."""
    classes: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in pool.rows.tolist():
        classes[int(same.first[row])][str(pool.sets[row])].append(row)
    return [
        (one[min(place, len(one) - 1)], other[min(place, len(other) - 1)])
        for by_split in classes.values()
        for one, other in combinations(by_split.values(), 2)
        for place in range(max(len(one), len(other)))
    ]


def _shared(pool: Pool, order: Sequence[str], pairs: Iterable[Pair]) -> list[SharedPatient]:
    """Patients of two splits: by name, and by duplicates of two names."""
    named = pool.rows[pool.patients[pool.rows] != ""]
    counts = Counter(zip(pool.sets[named].tolist(), pool.patients[named].tolist(), strict=True))
    linked: Counter[tuple[str, str, str, str]] = Counter()
    for pair in pairs:
        (one, patient), (other, its) = ((str(pool.sets[row]), str(pool.patients[row])) for row in (pair.first, pair.second))
        if patient and its:
            linked[one, other, patient, its] += 1
    certain = {
        (first, second, patient, patient)
        for first, second in combinations(order, 2)
        for split, patient in counts
        if split == first and (second, patient) in counts
    }
    keys = sorted(certain) + sorted(set(linked) - certain, key=lambda key: (-linked[key], key))
    return [SharedPatient(a, b, p, q, counts[a, p], counts[b, q], linked[a, b, p, q]) for a, b, p, q in keys]


def _to_drop(pool: Pool, pairs: Iterable[Pair], patients: Iterable[SharedPatient]) -> list[Drop]:
    """Of each leak the images of the later split, and all images there of a patient that is in an earlier one."""
    strength = {reason: place for place, reason in enumerate(Reason)}
    of_patient: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in pool.rows.tolist():
        of_patient[str(pool.sets[row]), str(pool.patients[row])].append(row)
    found = [Drop(pair.second, _OF_KIND[pair.kind], pair.first) for pair in pairs]
    for patient in patients:
        reason = Reason.PATIENT if patient.certain else Reason.PROBABLE
        found += [Drop(row, reason, None) for row in of_patient[patient.second_split, patient.second]]
    surest: dict[int, Drop] = {}
    for drop in sorted(found, key=lambda drop: strength[drop.reason]):
        surest.setdefault(drop.row, drop)
    return [surest[row] for row in sorted(surest)]
