"""Duplicates within one set of images: groups, pairs, and the diversity of the set."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.build.build import Progress
from indexer.collection import Collection
from indexer.notebook import escaped, in_cells, table
from query.duplication.candidates import candidates
from query.duplication.chance import Chance, chance_of
from query.duplication.diversity import Diversity, Vectors, beside, diversity, subsample_size
from query.duplication.grouping import Star, stars
from query.duplication.identical import Identical, identical
from query.duplication.pairs import Matcher, Pair, equal_pair, near_pairs
from query.duplication.pictures import shown
from query.duplication.pool import Pool, Rows, pooled
from query.duplication.tables import group_rows
from query.duplication.unfitted import centre_of, features_of_views, unfitted
from query.inputs.groups import Given, as_given
from query.text import many, plain

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 10  # groups in a notebook


@dataclass(frozen=True)
class Group:
    """Images that show one picture.

    Attributes:
        centre: row of the image that the others were compared with; keep this one.
        pairs: of every other image, the second of its pair, with the centre, or with the member that it is equal to.
    """

    centre: int
    pairs: Sequence[Pair]

    @property
    def rows(self) -> list[int]:
        """All members, the centre first."""
        return [self.centre, *(pair.second for pair in self.pairs)]

    def __len__(self) -> int:
        return 1 + len(self.pairs)


@dataclass(frozen=True, repr=False)
class Duplicates:
    """What is repeated in a set of images.

    Attributes:
        pool: the images.
        groups: of duplicates, the largest first. No image is in two.
        pairs: of which the groups are made: equal images with the first of them, and near-duplicates among neighbours.
        chance: the threshold of near-duplicates, and what chance gives.
        diversity: figures of the set, with those of a set to compare with beside them.
        blank: images with nothing to recognise; they are duplicates of none.
        failed: why files could not be read again, each once.
        seed: of the subsamples that diversity comes from.
        against: the set to compare with, None without one.
    """

    pool: Pool
    groups: Sequence[Group]
    pairs: Sequence[Pair]
    chance: Chance
    diversity: Sequence[Diversity]
    blank: int
    failed: Sequence[str]
    seed: int = 0
    against: Pool | None = None

    @property
    def repeated(self) -> int:
        """Images that can go without a picture getting lost: all of the groups but the centres."""
        return sum(len(group) - 1 for group in self.groups)

    @property
    def between_patients(self) -> list[Pair]:
        """Pairs of images of different patients."""
        return [pair for pair in self.pairs if pair.same_patient is False]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        pool = self.pool
        groups = [
            {
                "group": place,
                "centre": pool.where(group.centre),
                "size": len(group),
                "pairs": [p.as_dict(pool) for p in group.pairs],
            }
            for place, group in enumerate(self.groups, 1)
        ]
        counts = {"images": len(pool.rows), "repeated": self.repeated, "blank": self.blank}
        between = [pair.as_dict(pool) for pair in self.between_patients]
        values = {"between_patients": between, "chance": self.chance, "diversity": self.diversity, "failed": self.failed}
        return dict(plain({**counts, "groups": groups, **values}))

    def to_pandas(self) -> "pd.DataFrame":
        """A row for each image of a group, columns as `groups.csv` has them."""
        import pandas as pd

        header, rows = group_rows(self)
        return pd.DataFrame(rows, columns=list(header))

    def __repr__(self) -> str:
        images = many(len(self.pool.rows), "image")
        return f"Duplicates({images}, {many(len(self.groups), 'group')} of duplicates, {self.repeated:,} images repeated)"

    def _repr_html_(self) -> str:
        """The largest groups with pictures."""
        rows = [
            [str(place), f"{len(group):,}", " ".join(shown(self.pool, row) for row in group.rows[:8])]
            for place, group in enumerate(self.groups[:SHOWN], 1)
        ]
        return f"<p>{escaped(repr(self))}</p><p>{escaped(self.chance.note)}</p>" + table(["group", "images", "members"], rows)


def duplicates(
    images: Collection,
    *,
    against: Collection | None = None,
    groups: str | Path | Mapping[str, str] | Given | None = None,
    mirrored: Collection | None = None,
    seed: int = 0,
    progress: Progress = in_cells,
) -> Duplicates:
    """Find images of one set that show the same picture: mode collapse in a generated set, repeats in a real one.

    Args:
        images: the set.
        against: a real set, embedded by the same fitted views: its figures are the baseline, and its pairs give the threshold.
        groups: patients: a CSV of image,group, a regular expression on names such as ``patient(\\d+)``, ``dicom`` or ``folder``,
            see `query.read_groups`, or name -> group. Duplicates within and between patients are then told apart.
        mirrored: the images flipped left to right, to look for flipped copies too.
        seed: of the subsamples that intervals come from.
        progress: called with stage, done, total; by default a bar in notebooks.

    Raises:
        CollectionError: there is no image, or the sets were embedded differently.
        GroupsError: the groups cannot be read, or none of their names is that of an image.
    """
    grouping = as_given(groups)
    collections = [images] if against is None else [images, against]
    if grouping is not None:
        known = grouping(*collections)
        by_set = {id(collection): of for collection, of in zip(collections, known, strict=True)}
        grouping = lambda *sets: [by_set[id(each)] for each in sets]  # noqa: E731
    everything = [np.full(len(collection), "images") for collection in collections]
    pool = pooled([images], everything[0], grouping, [mirrored] if mirrored else [])
    features = features_of_views(pool.parts[0], pool.rows, progress)
    if against is None:
        views = unfitted(pool.parts[0], pool.rows, features, centre_of(features))
        return _found(pool, views, None, subsample_size(len(pool.rows)), seed, progress)
    other = pooled([against], everything[1], grouping)
    real = features_of_views(other.parts[0], other.rows, progress)
    views, baseline = (unfitted(each.parts[0], each.rows, of, centre_of(real)) for each, of in ((pool, features), (other, real)))
    return found_beside((pool, views), (other, baseline), seed, progress)


def found_beside(
    images: tuple[Pool, Mapping[str, Vectors]], real: tuple[Pool, Mapping[str, Vectors]], seed: int, progress: Progress
) -> Duplicates:
    """The duplicates of a set beside real images, whose pairs give the threshold and whose figures are the baseline.

    Args:
        images, real: either set, and the vectors of its `rows` that tell how diverse it is.
        seed: of the subsamples.
        progress: called with stage, done, total.
    """
    size = subsample_size(len(images[0].rows), len(real[0].rows))
    baseline = _found(*real, None, size, seed, progress)
    found = _found(*images, baseline.chance, size, seed, progress)
    figures, failed = beside(list(found.diversity), list(baseline.diversity)), [*found.failed, *baseline.failed]
    return replace(found, diversity=figures, failed=failed, against=real[0])


def _found(
    pool: Pool, views: Mapping[str, Vectors], chance: Chance | None, size: int, seed: int, progress: Progress
) -> Duplicates:
    """The duplicates of a set, by the threshold that is given or its own; its diversity by these views."""
    same = identical(pool, progress)
    matcher = Matcher(pool)
    asked = candidates(pool, same, across=False, progress=progress)
    inliers = matcher.all_inliers(asked, progress)
    chance = chance or chance_of(inliers[of_others(pool, asked)], pool.grouped)
    near = [(*pair, int(count)) for pair, count in zip(asked, inliers, strict=True) if count >= chance.threshold]
    near.sort(key=lambda edge: (-edge[2], edge))
    equal = [equal_pair(pool, int(same.first[row]), row) for row in pool.rows.tolist() if same.first[row] != row]
    pairs = [*equal, *near_pairs(pool, matcher, near)]
    groups = _groups(pool, same, stars(near, matcher.inliers, chance.threshold), matcher)
    progress("measuring diversity", 0, 1)
    figures = diversity(views, pool.patients[pool.rows], _members(pool, groups), size, seed)
    progress("measuring diversity", 1, 1)
    blank = int(same.blank[pool.rows].sum()) - len(same.failed)
    return Duplicates(pool, groups, pairs, chance, figures, max(blank, 0), sorted({*same.failed, *matcher.failed}), seed)


def of_others(pool: Pool, pairs: Sequence[tuple[int, int]]) -> Rows:
    """Numbers of the pairs that are not known to be of one patient."""
    return np.array([number for number, pair in enumerate(pairs) if not pool.same_patient(*pair)], np.int64)


def _groups(pool: Pool, same: Identical, found: Sequence[Star], matcher: Matcher) -> list[Group]:
    """Groups of near-duplicates with the images equal to each, and groups of equal images alone."""
    equal: dict[int, list[int]] = defaultdict(list)
    for row in pool.rows.tolist():
        if same.first[row] != row:
            equal[int(same.first[row])].append(row)
    groups = []
    for star in found:
        near = near_pairs(pool, matcher, [(star.centre, row, count) for row, count in sorted(star.members.items())])
        copies = [equal_pair(pool, row, copy) for row in [star.centre, *sorted(star.members)] for copy in equal.pop(row, [])]
        groups.append(Group(star.centre, [*copies, *near]))
    groups += [Group(row, [equal_pair(pool, row, copy) for copy in copies]) for row, copies in equal.items()]
    return sorted(groups, key=lambda group: (-len(group), group.centre))


def _members(pool: Pool, groups: Sequence[Group]) -> Rows:
    """(n,) number of the group of each image of `pool.rows`, -1 for none."""
    member = np.full(len(pool.names), -1, np.int64)
    for place, group in enumerate(groups):
        member[group.rows] = place
    return member[pool.rows]
