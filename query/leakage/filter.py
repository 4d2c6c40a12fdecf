"""The filter: which generated images to keep or withhold, and what leakage remains.

For generator owners: training images are known, and a hold-out set (never trained on) shows the distances without copying.

The risk is that of losing a good image: at a risk of 0.01, an image is withheld when it stands nearer to a training image than
all but 1% of the generated images stand to as many hold-out images. A generator that copies nothing loses about that share, apart
from chance in which patients are on which side; a greater risk lets fewer copies through. What gets through is measured, not
promised.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from embeddings.errors import SynthtraceError
from embeddings.files.spreadsheet import write_rows
from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import full_disk_named, make_folder, write_atomic
from embeddings.images.containers.names import split
from embeddings.images.find import find
from embeddings.images.pieces import pieces
from indexer.collection import Collection
from indexer.files import hashed
from query.comparison.combined import COMBINED
from query.inputs.groups import Given
from query.inputs.sides import refuse_empty
from query.leakage.attacks import Attacks, attacks
from query.leakage.draws import Part, RealGroups, Rows, beside_others, half, like
from query.leakage.leakage import (
    Leakage,
    LeakageError,
    LeakageSets,
    Matrix,
    View,
    combined_distances,
    grouped,
    labels_of,
    leakage,
    numbered,
    views_of,
)
from query.leakage.risk import RISK

DRAWS = 40  # of images that a threshold is found by
OTHERS = 2  # nearest other patients; an image is held against the last of them


class ReleaseError(SynthtraceError):
    """Images cannot be sorted or linked as asked; the message is one line."""


class Link(StrEnum):
    """How kept images get into the folder."""

    SYMBOLIC = "symbolic"
    HARD = "hard"


@dataclass(frozen=True)
class Release:
    """The decision on every generated image, in the order of its collection.

    Attributes:
        names: (ng,) of generated images.
        withheld: (ng,) bool.
        score: (ng,) float64, how much nearer a training image is than other patients; NaN where it is blank in every view.
        threshold: withheld above it.
        nearest: (ng,) name of the nearest training image.
        distance: (ng,) combined distance to that.
        risk: as asked for.
        calibrated: whether hold-out images chose the threshold.
        before, after: leakage without and with the filter, on real images that did not choose it; None without hold-out images.
        attacks: in the words of regulators, on all generated images; None without hold-out images.
    """

    names: Sequence[str]
    withheld: NDArray[np.bool_]
    score: NDArray[np.float64]
    threshold: float
    nearest: Sequence[str]
    distance: NDArray[np.float64]
    risk: float
    calibrated: bool = False
    before: Leakage | None = None
    after: Leakage | None = None
    attacks: Attacks | None = None

    @property
    def blank(self) -> int:
        """Images that no view sees anything in: withheld, because they cannot be compared."""
        return int(np.isnan(self.score).sum())

    def as_dict(self) -> dict[str, Any]:
        """JSON-able figures, no names."""
        return {
            "generated": len(self.names),
            "kept": int((~self.withheld).sum()),
            "withheld": int(self.withheld.sum()),
            "blank": self.blank,
            "risk": self.risk,
            "threshold": self.threshold,
            "calibrated": self.calibrated,
            "leakage": {
                key: found.as_dict() if found else None for key, found in (("before", self.before), ("after", self.after))
            },
        }


# Scores and threshold


def nearer_than_others(combined: Matrix, patients: Rows) -> Matrix:
    """How much nearer each real image is to a generated one than other patients are: (ng, n) distances -> (ng, n).

    That is the distance to the second of the nearest other patients, each by its nearest image, less its own. The second, not the
    first: a picture that lies under two patients, as those that are copied most often may, would else hide its copies. A
    patient of ten images counts like one of one, and nothing is divided by a spread: a copy would widen it. Where there are
    fewer other patients the last of them counts; without any, and where a distance is NaN, it is -inf.
    """
    number = np.unique(patients, return_inverse=True)[1]
    own = np.where(np.isfinite(combined), combined, np.inf)
    order = np.argsort(number, kind="stable")
    best = np.minimum.reduceat(own[:, order], np.searchsorted(number[order], np.arange(number.max() + 1)), axis=1)
    alone = (np.isfinite(best).sum(axis=1, keepdims=True) < 2) | ~np.isfinite(combined)
    beside = beside_others(best, OTHERS)[:, number]
    return np.where(alone, -np.inf, beside - np.where(alone, 0, own)).astype(np.float32)


def threshold_for(scores: Matrix, groups: Rows, meant: Rows, risk: float, rng: np.random.Generator) -> float:
    """The score that at most a share `risk` of generated images exceed against images not used that are made up like others.

    Images are drawn as the patients are that the threshold is meant for, several times. Where there are too few of them, the
    share is made smaller in proportion: the chance that some image exceeds it is at most the sum of the chances of parts of them.

    Args:
        scores: (ng, n) against images known not to be used.
        groups: (n,) patients of those.
        meant: (nt,) patients of the images that the threshold is meant for.
        risk: the share.
        rng: of the draws.
    """
    sizes = np.unique(meant, return_counts=True)[1].tolist()
    drawn = [like(sizes, groups, rng) for _ in range(DRAWS)]
    if all(len(rows) == len(groups) for rows in drawn):
        drawn = drawn[:1]
    reached = np.concatenate([scores[:, rows].max(axis=1) for rows in drawn])
    share = risk * min(1, len(drawn[0]) / len(meant))
    return float(np.quantile(reached, 1 - share, method="higher"))


@dataclass(frozen=True)
class Scores:
    """What `nearer_than_others` says of generated images that are not blank, with patients of both sides as others: neither is
    favoured.

    Attributes:
        rows: (n,) of the generated images.
        training: (n, nt).
        hold_out: (n, nh).
    """

    rows: Rows
    training: Matrix
    hold_out: Matrix


def scores_of(view: View, groups: RealGroups) -> Scores:
    """From the combined view.

    Raises:
        LeakageError: every generated image is blank.
    """
    rows = np.flatnonzero(view.seen_generated)
    if not len(rows):
        raise LeakageError("every generated image is blank to every view, so there is nothing to compare")
    both = nearer_than_others(np.hstack([view.training[rows], view.hold_out[rows]]), groups.both)
    split = view.training.shape[1]
    return Scores(rows, both[:, :split], both[:, split:])


def folds(scores: Scores, groups: RealGroups, risk: float, seed: int = 0) -> list[Part]:
    """What a filter keeps, and the real images to evaluate it on: two folds by group, of training and of hold-out images.

    The threshold comes from the hold-out images of the other fold. The filter looks at all training images; that alone would push
    what it keeps away from them, so that training images would seem farther than hold-out images, and copies that it missed
    would not show. So it treats the hold-out images of the fold as if they too were training images: then both sides of the fold
    are treated alike, and only what the filter missed makes a difference.
    """
    rng = np.random.default_rng(seed)
    training, hold_out = half(groups.training, rng), half(groups.hold_out, rng)
    made = []
    for ours, theirs in ((training, hold_out), (~training, ~hold_out)):
        if not ours.any() or not theirs.any() or theirs.all():
            raise LeakageError("too few groups of training or hold-out images to measure by; at least 2 of each are needed")
        limit = threshold_for(scores.hold_out[:, ~theirs], groups.hold_out[~theirs], groups.training, risk, rng)
        kept = (scores.training.max(axis=1) <= limit) & (scores.hold_out[:, theirs].max(axis=1) <= limit)
        made.append(Part(scores.rows[kept], np.flatnonzero(ours), np.flatnonzero(theirs)))
    return made


def sort_out(
    generated: Collection,
    training: Collection,
    hold_out: Collection,
    *,
    risk: float = RISK,
    groups: Given | None = None,
    seed: int = 0,
) -> Release:
    """Decide on every generated image with a threshold from hold-out images, and measure what remains.

    Args:
        generated, training, hold_out: embedded with the same fitted views.
        risk: see the head of this file.
        groups: patients or series of real images, see `query.leakage.leakage.grouped`.
        seed: random seed.

    Raises:
        CollectionError: a collection is empty, or they were made differently.
        LeakageError: training and hold-out images share a group or a file, there are too few, or nothing can be seen.
        ReleaseError: the risk is no share.
    """
    _check(risk)
    sides = LeakageSets(generated, training, hold_out)
    real_groups = grouped(sides, groups)
    views = views_of(sides, real_groups, seed)
    scores = scores_of(views[COMBINED], real_groups)
    limit = threshold_for(scores.hold_out, real_groups.hold_out, real_groups.training, risk, np.random.default_rng(seed))
    parts = folds(scores, real_groups, risk, seed)
    everything = [replace(part, generated=scores.rows) for part in parts]
    before, after = (leakage(views, each, real_groups, seed=seed) for each in (everything, parts))
    made = _release(generated, training, views[COMBINED].training, (scores.rows, scores.training), limit, risk)
    attacked = attacks(views[COMBINED], real_groups, seed)
    return replace(made, calibrated=True, before=before, after=after, attacks=attacked)


def sort_out_alone(generated: Collection, training: Collection, *, risk: float = RISK, groups: Given | None = None) -> Release:
    """The same without hold-out images, uncalibrated: nothing is measured.

    The threshold is the score that a share `risk` of training images exceed against those of other groups, as if they were
    generated. It assumes that a generated image may resemble training images as those of different groups resemble each other;
    where slices of one patient pass for groups of their own, it lets copies through.

    Raises:
        CollectionError: a collection is empty, or they were made differently.
        ReleaseError: the risk is no share, or all training images are of one group.
    """
    _check(risk)
    refuse_empty(len(training), len(generated))
    generated.comparable(training, generated.views)
    (known,) = groups(training) if groups else [{}]
    labels = numbered(labels_of(training, "training", known), [], training.digests).training
    if labels.max() < 2:
        raise ReleaseError("without hold-out images, training images of at least 3 groups are needed")
    own = combined_distances(training, [training], labels)
    own[labels[:, None] == labels] = np.nan
    reached = np.nanmax(nearer_than_others(own, labels), axis=1)
    limit = float(np.quantile(reached, 1 - risk, method="higher"))
    combined = combined_distances(generated, [training], labels)
    rows = np.flatnonzero(~np.logical_and.reduce([generated.blank(view) for view in generated.views]))
    return _release(generated, training, combined, (rows, nearer_than_others(combined[rows], labels)), limit, risk)


def _check(risk: float) -> None:
    if not 0 < risk < 1:
        raise ReleaseError(f"the risk must be between 0 and 1, got {risk}")


def _release(
    generated: Collection, training: Collection, combined: Matrix, scored: tuple[Rows, Matrix], limit: float, risk: float
) -> Release:
    """Decisions; images whose row is missing, the blank ones, are withheld."""
    rows, scores = scored
    best = np.full(len(generated), np.nan)
    best[rows] = scores.max(axis=1)
    nearest = combined.argmin(axis=1)
    distance = combined[np.arange(len(combined)), nearest].astype(np.float64)
    withheld = ~(best <= limit)
    return Release(generated.names, withheld, best, limit, [training.names[row] for row in nearest], distance, risk)


# Where decisions go

COLUMNS = ("generated", "decision", "score", "threshold", "nearest_training", "distance")


def write_list(made: Release, path: Path) -> None:
    """The decisions as CSV with a header, readable for its owner only: it names training images. Blank images have no score."""

    columns = (made.names, made.withheld, made.score, made.nearest, made.distance)
    rows = [
        [name, "withhold" if withheld else "keep", _short(score), _short(made.threshold), near, _short(distance)]
        for name, withheld, score, near, distance in zip(*columns, strict=True)
    ]

    def put(file: BinaryIO) -> None:
        write_rows(file, COLUMNS, rows)

    write_atomic(path, put)


def _short(value: float) -> Decimal | None:
    """Six significant digits; nothing for NaN."""
    return None if np.isnan(value) else Decimal(f"{value:.6g}")


def check_new(folder: Path) -> None:
    """Refuse a folder that holds something: what was withheld now might lie there from an earlier time.

    Raises:
        ReleaseError: it does, or it is no folder.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ReleaseError(f"{folder} is no folder; name a new one")
    if folder.exists() and any(folder.iterdir()):
        raise ReleaseError(f"{folder} is not empty; name a new folder: what is withheld now might lie there from before")
    if not folder.parent.is_dir():
        raise ReleaseError(f"{folder}: there is no folder {folder.parent}")


def link_kept(made: Release, generated: Collection, folder: Path, kind: Link) -> int:
    """A new folder with links to the files of kept images under their own names, all of them or none; how many there are.

    A file of several images (frames) is kept if each of them is. Files that could not be read are not linked.

    Raises:
        ReleaseError: the folder is not new, or a file is not what it was when it was indexed.
        OSError: a link cannot be made, for example a hard one to another disk.
    """
    check_new(folder)
    rows: dict[str, list[int]] = defaultdict(list)
    for row, path in enumerate(generated.images["path"].to_pylist()):
        rows[path].append(row)
    failed = set(generated.table.filter(pc.is_null(generated.table["row"]))["path"].to_pylist())
    kept = [path for path, own in rows.items() if path not in failed and not made.withheld[own].any()]
    source = Path(generated.manifest.source).absolute()
    if inside := next((path for path in kept if split(str(source / path))), None):
        raise ReleaseError(f"{source / inside} is no file by itself and cannot be linked: unpack it, or leave out --out")
    digest = dict(zip(generated.images["path"].to_pylist(), generated.images["sha256"].to_pylist(), strict=True))
    with full_disk_named(folder.parent), temporary_folder(folder.parent) as temporary:
        made_here = temporary / "keep"
        make_folder(made_here)
        real: Mapping[str, Path] = {}
        if not all((source / path).exists() for path in kept):  # perhaps their names are not valid UTF-8
            real = find(source).paths
        for path in kept:
            file = real.get(path, source / path)
            _link(file, made_here / os.path.relpath(file, source), digest[path], kind)
        os.replace(made_here, folder)  # takes the place of an empty folder too
    return len(kept)


def _link(source: Path, target: Path, digest: str, kind: Link) -> None:
    make_folder(target.parent)
    links = {target: source}
    links |= {target.parent / piece.name: piece for piece in pieces(source)[1:]}
    for link, file in links.items():
        if kind is Link.HARD:
            os.link(file, link)
        else:
            link.symlink_to(file)
    if hashed(target)[0] != digest:  # of what is linked now: a file that is put there meanwhile is not that of the link
        raise ReleaseError(f"{source} is not the file any more that was indexed; index the generated images again")
