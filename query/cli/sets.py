"""Several generated sets on the command line: their names, their collections, their runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from indexer.collection import Collection
from query.cli.progress import Reporter
from query.text import name

if TYPE_CHECKING:
    from embeddings.images.find import Source
    from query.database.store import Store
    from query.inputs.groups import Given
    from query.leakage.leakage import LeakageSets
    from query.leakage.sets import LeakageOfSets

TAKEN = ("training", "hold_out", "hold-out")  # names that sets cannot have


def named_sets(arguments: Sequence[str]) -> dict[str, str]:
    """Name of a set -> its folder or collection; ``NAME=FOLDER`` names it, else its last folder does.

    Raises:
        UsageError: two sets have one name, or a name is taken.
    """
    found: dict[str, str] = {}
    for argument in arguments:
        given, equals, path = argument.partition("=")
        if not equals or Path(argument).exists():
            given, path = Path(argument).absolute().name, argument
        if not given or not path or given in TAKEN:
            raise click.UsageError(f"{name(argument)!r} cannot name a set; write NAME=FOLDER, with a name of its own")
        if given in found:
            raise click.UsageError(f"two sets are named {name(given)!r}; name them by NAME=FOLDER, such as A={name(path)}")
        found[given] = path
    return found


def place_of(base: Path, number: int) -> str:
    """Folder of the collection of a set; sets are numbered from 1."""
    return f"{base}.set-{number}"


def collections_of_sets(
    base: Path,
    real: "Mapping[str, Collection | Source]",
    sets: "Mapping[str, Collection | Source]",
    device: str,
    report: Reporter,
) -> dict[str, Collection]:
    """Collections of the real sides and of the sets, all embedded by views that were fitted on equally many images of each set.

    Ready collections of the sets are taken where all are ready; then they must have been fitted alike.

    Raises:
        UsageError: some sets are collections and some are folders.
    """
    from indexer.build.together import fit_together
    from query.cli.inputs import collection_of

    options: dict[str, Any] = {"device": device, "progress": report}
    ready = [isinstance(images, Collection) for images in sets.values()]
    if any(ready) and not all(ready):
        raise click.UsageError("some sets are collections and some are not; name the folders of all sets, which are fitted alike")
    if all(ready):
        found = {each: images for each, images in sets.items() if isinstance(images, Collection)}
        fitted = next(iter(found.values()))
        for other in found.values():
            _check_alike(fitted, other)
    else:
        sources = [images for images in sets.values() if not isinstance(images, Collection)]
        fitted = fit_together(sources, Path(f"{base}.fitted"), **options)
        found = {
            each: collection_of(images, Path(place_of(base, number)), fitted_on=fitted, **options)
            for number, (each, images) in enumerate(sets.items(), 1)
        }
    reals = {
        side: collection_of(images, Path(f"{base}.{side.replace('_', '-')}"), fitted_on=fitted, **options)
        for side, images in real.items()
    }
    report.close()
    return {**reals, **found}


def _check_alike(first: Collection, other: Collection) -> None:
    """Refuse sets of which one may be seen better than the other.

    Raises:
        UsageError: their views were fitted on different images.
    """
    if any(view not in other.views or first.spec(view).fingerprint != other.spec(view).fingerprint for view in first.views):
        raise click.UsageError(
            f"{first.folder} and {other.folder} were fitted on different images, which favours one of them; name the folders of "
            "their images instead, which are fitted alike"
        )


def with_copies(
    found: "LeakageOfSets", sides: "Mapping[str, LeakageSets]", grouping: "Given | None", store: "Store | None", report: Reporter
) -> "tuple[LeakageOfSets, dict[str, int]]":
    """The copies of training images in each set; and where there is a database, a run for each set: name -> its number."""
    from query.comparison.comparison import compare
    from query.comparison.copies import find_copies
    from query.database.record import Results, record
    from query.database.record_sets import RecordedSet
    from query.inputs.contamination import Role
    from query.inputs.sides import sides_of
    from query.leakage.leakage import labels_of_both, real_sides

    runs: dict[str, int] = {}
    for each, images in sides.items():
        real = images.training, images.hold_out
        labels = labels_of_both(*real, grouping)
        patients = real_sides(real, labels)[Role.TRAINING].groups
        compared = compare(sides_of(images.training, images.generated), progress=report)
        copies = find_copies(compared, np.array(labels[0]), progress=report)
        found = found.with_copies(each, len(np.unique(copies.generated)))
        if store:
            groups = {row: patient for row, patient in enumerate(patients) if patient}
            of_set = RecordedSet(each, found, next(iter(runs.values()), None))
            runs[each] = record(store, Results(compared, groups=groups, copies=copies, of_set=of_set), command="leakage")
    report.close()
    return found, runs
