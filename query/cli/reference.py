"""Check the reference of a command before anything is indexed: it must share no image with the other sides."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embeddings.images.find import Source
from indexer.collection import Collection
from indexer.salt import Salt
from query.cli.inputs import decoding_for, see
from query.cli.progress import Reporter

if TYPE_CHECKING:
    from query.inputs.groups import Given


@dataclass(frozen=True)
class KnownImages:
    """What the caller knows of real images.

    Attributes:
        labels: name -> whether it was used.
        grouping: gives their patients.
        used, unused: folders of images that were used, and that were not.
        all_used: all other images were used.
        near_duplicates: see `query.inputs.contamination.NearDuplicates`.
    """

    labels: Mapping[str, bool]
    grouping: "Given | None"
    used: Path | None = None
    unused: Path | None = None
    near_duplicates: str = "refuse"
    all_used: bool = False


def check_reference(
    real: Collection | Source, generated: Collection | Source, db: Path, known: KnownImages, report: Reporter
) -> int:
    """Refuse a reference that holds images of the other sides; how many near-duplicates the user goes on with.

    Raises:
        ContaminationError: it does; all are listed beside the database.
        LabelsError, GroupsError: labels or groups cannot be used.
        CollectionError: an image of a collection changed since it was indexed.
    """
    from query.inputs.contamination import contamination_of_labels, unseen
    from query.inputs.groups import groups_by_row
    from query.inputs.labels import labels_of_folders

    if not (known.labels or known.unused):
        return 0
    decoding = decoding_for(generated, db.with_suffix(".generated"))
    seen = see(real, decoding, Salt.random(), report)
    labels = labels_of_folders(seen, known.labels, known.used, known.unused, known.all_used)
    groups = groups_by_row(known.grouping, seen) if known.grouping else {}
    found = contamination_of_labels(seen, labels, groups, lambda: unseen(generated, decoding))
    return found.settled(known.near_duplicates, db.with_suffix(".contamination.csv"))
