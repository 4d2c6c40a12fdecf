"""Contamination: the same picture or patient on two sides that must not share any, such as reference and unlabelled images.

Files of equal bytes and patients on both sides are facts, and refused. Near-duplicates are found by likeness, so whoever knows
that different pictures look alike (registered scans) may go on with a warning.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import SynthtraceError
from embeddings.files.spreadsheet import write_rows
from embeddings.files.writing import write_atomic
from embeddings.images.decoding import Decoding
from embeddings.images.errors import printable
from embeddings.images.find import Source
from embeddings.images.orientation import Orientation
from indexer.collection import Collection
from query.inputs.near_duplicates import nearest_alike
from query.inputs.seen import Seen, digest_of, files_of
from query.text import many

SHOWN = 10  # images, and patients, named in a message
SETTING = "near_duplicates"  # among the settings of a run: how many the user went on with
FILE = "contamination.csv"


class ContaminationError(SynthtraceError):
    """Sides share pictures or patients; the message is one line that names the first of them, and the file that has all."""


class Role(StrEnum):
    """What images are there for."""

    REFERENCE = "reference"
    USED = "used"
    UNLABELLED = "unlabelled"
    TRAINING = "training"
    HOLD_OUT = "hold-out"
    GENERATED = "generated"


class Kind(StrEnum):
    """What two sides share."""

    FILE = "the same file"
    ALIKE = "near-duplicate"
    PATIENT = "the same patient"


class NearDuplicates(StrEnum):
    """What becomes of near-duplicates on two sides."""

    REFUSE = "refuse"
    WARN = "warn"


# What no two sides may share. A used and an unlabelled image may be alike: it is then known that this picture was used. A used
# patient may have images in the reference: its siblings. And a real image that is a generated one is what an audit looks for,
# except where it is said that it was not used.
APART: Mapping[tuple[Role, Role], Sequence[Kind]] = {
    (Role.REFERENCE, Role.UNLABELLED): tuple(Kind),
    (Role.REFERENCE, Role.USED): (Kind.FILE, Kind.ALIKE),
    (Role.REFERENCE, Role.GENERATED): (Kind.FILE,),
    (Role.HOLD_OUT, Role.TRAINING): tuple(Kind),
    (Role.HOLD_OUT, Role.GENERATED): (Kind.FILE,),
}


@dataclass(frozen=True, eq=False)
class Side:
    """The n images of one role.

    Attributes:
        names: of the images.
        digests: see `indexer.collection.Collection.digests`: slices of one file share theirs.
        groups: patient of each image, empty where nobody named one; none for no image.
        thumbnails: (n, 64, 64) uint8; None where likeness does not count.
    """

    names: Sequence[str]
    digests: Sequence[str]
    groups: Sequence[str] = ()
    thumbnails: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Finding:
    """An image of one side, or a patient, that stands on another side too.

    Attributes:
        kind, role, image: what was found, and where it can be left out.
        other_role, other: the image of the other side; of a patient, its first.
        group: the patient.
        correlation, orientation: of near-duplicates: of their thumbnails, the first one turned or flipped so.
    """

    kind: Kind
    role: Role
    image: str
    other_role: Role
    other: str
    group: str = ""
    correlation: float | None = None
    orientation: str = ""

    @property
    def text(self) -> str:
        """As a message names it."""
        if self.kind is Kind.PATIENT:
            return repr(self.group)
        turned = f", {self.orientation}" if self.orientation not in ("", Orientation.AS_IS) else ""
        how = "is byte for byte" if self.kind is Kind.FILE else f"is like (correlation {self.correlation:.3f}{turned})"
        return f"{self.image!r} {how} {self.other_role} {self.other!r}"


@dataclass(frozen=True)
class Contamination:
    """All that the sides share, an image at most once in each kind and pair of sides."""

    findings: Sequence[Finding] = ()

    def settled(self, near_duplicates: str = NearDuplicates.REFUSE, listing: Path | None = None) -> int:
        """How many near-duplicates there are to warn of.

        Args:
            near_duplicates: one of `NearDuplicates`.
            listing: CSV file for all findings; an earlier one goes where there are none.

        Raises:
            ContaminationError: sides share a file or a patient; or are alike, and that is to be refused.
        """
        go_on = NearDuplicates(near_duplicates) is NearDuplicates.WARN
        refused = [each for each in self.findings if not (go_on and each.kind is Kind.ALIKE)]
        if listing and self.findings:
            self._write(listing)
        elif listing:
            listing.unlink(missing_ok=True)
        if refused:
            alike = any(each.kind is Kind.ALIKE for each in refused)
            mend = " (--near-duplicates warn goes on with those that are only alike)" if alike else ""
            where = f"; all of them are listed in {listing}" if listing else ""
            raise ContaminationError(printable(f"{_told(refused)}. Leave them out of one side{mend}{where}"))
        return len({each.image for each in self.findings})

    def _write(self, listing: Path) -> None:
        header = ("kind", "role", "image", "other_role", "other_image", "group", "correlation", "orientation")
        rows = [
            (str(f.kind), str(f.role), f.image, str(f.other_role), f.other, f.group or None, f.correlation, f.orientation or None)
            for f in self.findings
        ]
        write_atomic(listing, lambda file: write_rows(file, header, rows))


def contamination(sides: Mapping[Role, Side]) -> Contamination:
    """What sides share that must not, see `APART`. Likeness is `query.inputs.near_duplicates.nearest_alike`."""
    findings: list[Finding] = []
    for (role, other), kinds in APART.items():
        if role in sides and other in sides:
            for kind in kinds:
                findings += _FINDERS[kind](role, sides[role], other, sides[other])
    same = {(each.role, each.image) for each in findings if each.kind is Kind.FILE}
    return Contamination([each for each in findings if each.kind is not Kind.ALIKE or (each.role, each.image) not in same])


def contamination_of_labels(
    seen: Seen, labels: Mapping[int, bool], groups: Mapping[int, str], generated: Callable[[], Side]
) -> Contamination:
    """What the reference shares with other real images, and with generated ones.

    Args:
        seen: the real images.
        labels: row -> whether it was used; those that were not are the reference.
        groups: row -> patient, where somebody named one.
        generated: asked only where there is a reference; thumbnails of generated images are not looked at.
    """
    if False not in labels.values():
        return Contamination()
    roles = {None: Role.UNLABELLED, True: Role.USED, False: Role.REFERENCE}
    rows: dict[Role, list[int]] = {role: [] for role in roles.values()}
    for row in range(len(seen)):
        rows[roles[labels.get(row)]].append(row)
    sides = {role: side_of(seen, [groups.get(row, "") for row in range(len(seen))], of) for role, of in rows.items()}
    return contamination({**sides, Role.GENERATED: generated()})


def side_of(seen: Seen, groups: Sequence[str], rows: Sequence[int]) -> Side:
    """These rows of images, with the patients (n,) of all."""
    names, digests, patients = ([values[row] for row in rows] for values in (seen.names, seen.digests, groups))
    return Side(names, digests, patients, seen.thumbnails[np.array(rows, np.int64)])


def unseen(images: Collection | Source, decoding: Decoding) -> Side:
    """Images of which only the bytes count."""
    if isinstance(images, Collection):
        return Side(images.names, images.digests)
    files = files_of(images, decoding)
    return Side([printable(images.name(file.path)) for file in files], [digest_of(file) for file in files])


def warned(settings: Mapping[str, Any]) -> list[str]:
    """A sentence on near-duplicates that the user went on with, from the settings of a run."""
    count = settings.get(SETTING, 0)
    which = many(count, "reference image is a near-duplicate", "reference images are near-duplicates")
    return [f"WARNING: {which} of unlabelled or used images: p-values are less certain."] if count else []


def _same_files(role: Role, side: Side, other_role: Role, other: Side) -> Iterable[Finding]:
    first = _first(other.digests, other.names)
    for name, digest in zip(side.names, side.digests, strict=True):
        if digest in first:
            yield Finding(Kind.FILE, role, name, other_role, first[digest])


def _alike(role: Role, side: Side, other_role: Role, other: Side) -> Iterable[Finding]:
    if side.thumbnails is None or other.thumbnails is None:
        return
    found, orientations = nearest_alike(side.thumbnails, other.thumbnails), list(Orientation)
    for at in np.flatnonzero(found.row >= 0).tolist():
        if side.groups[at] and side.groups[at] == other.groups[found.row[at]]:
            continue  # slices of one patient are alike; where a patient must not stand on both sides, that is found by itself
        likeness, turned = round(float(found.correlation[at]), 4), str(orientations[found.orientation[at]])
        yield Finding(Kind.ALIKE, role, side.names[at], other_role, other.names[found.row[at]], "", likeness, turned)


def _same_patients(role: Role, side: Side, other_role: Role, other: Side) -> Iterable[Finding]:
    ours, theirs = _first(side.groups, side.names), _first(other.groups, other.names)
    for group in ours:
        if group and group in theirs:
            yield Finding(Kind.PATIENT, role, ours[group], other_role, theirs[group], group)


_FINDERS = {Kind.FILE: _same_files, Kind.ALIKE: _alike, Kind.PATIENT: _same_patients}


def _first(keys: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Key -> the first image that has it."""
    first: dict[str, str] = {}
    for key, name in zip(keys, names, strict=bool(keys)):
        first.setdefault(key, name)
    return first


def _told(findings: Sequence[Finding]) -> str:
    """Sentences: for each pair of sides the images that they share, and the patients."""
    parts = []
    for role, other in APART:
        here = [each for each in findings if (each.role, each.other_role) == (role, other)]
        images = [each.text for each in here if each.kind is not Kind.PATIENT]
        patients = [each.text for each in here if each.kind is Kind.PATIENT]
        if images:
            count = many(len(images), f"{role} image is", f"{role} images are")
            parts.append(f"{count} among the {other} images too: {_some(images)}")
        if patients:
            count = many(len(patients), "patient has", "patients have")
            parts.append(f"{count} {role} and {other} images: {_some(patients)}")
    return "; ".join(parts)


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - SHOWN:,} more" if len(texts) > SHOWN else ""
    return f"{', '.join(texts[:SHOWN])}{more}"
