"""Which real images of a collection belong together, and who says so."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from embeddings.images.errors import ImageError
from embeddings.pipeline import in_order
from embeddings.types import GreyImage
from indexer.collection import Collection
from indexer.manifest import CollectionError
from query.database.record import rows_of
from query.inputs.groups import near_duplicate_groups, thumbnail
from query.inputs.pictures import Pictures
from query.report.run_summary import Groups

DUPLICATES = "near-duplicates"  # what the group of images begins with that nobody but their likeness put together
Given = Callable[[Sequence[str]], Mapping[str, str]]  # see `query.inputs.groups.read_groups`


def group(given: Given | None, real: Collection, pictures: Pictures) -> tuple[dict[str, str], Groups]:
    """Name -> group for the database, and the group of each row.

    Groups of rows are named by the contents of their images, so that nothing that is drawn by them depends on the order or the
    names of files.

    Raises:
        CollectionError: a real image is not there any more, or not what it was.
        LabelsError: a group is given for an image that is not there.
    """
    if given is not None:
        named = dict(given(real.names))
        of_row = np.array([f"alone: {name}" for name in real.names], object)
        for name, row in rows_of(real.names, named, "group").items():
            of_row[row] = f"group: {named[name]}"
        return named, Groups(by_content(of_row.astype(str), real), known=True)
    try:
        images = list(in_order(partial(_thumbnail, pictures), range(len(real))))
    except ImageError as error:
        raise CollectionError(f"a real image changed meanwhile ({error}); run it again") from error
    found = near_duplicate_groups(images)
    sizes = np.bincount(found)
    named = {name: f"{DUPLICATES} {number}" for name, number in zip(real.names, found, strict=True) if sizes[number] > 1}
    return named, Groups(by_content(found, real), known=False)


def by_content(groups: NDArray[np.generic], real: Collection) -> NDArray[np.str_]:
    """(nr,) each group by the smallest content hash among its images; groups that share a content are one."""
    contents, content = np.unique(np.array(real.images["sha256"].to_pylist(), str), return_inverse=True)
    names, member = np.unique(groups, return_inverse=True)
    size = len(contents) + len(names)
    graph = coo_array((np.ones(len(groups), bool), (content, member + len(contents))), shape=(size, size))
    component = connected_components(graph, directed=False)[1][content]
    smallest = np.full(size, len(contents))
    np.minimum.at(smallest, component, content)
    return np.asarray(contents[smallest[component]])


def _thumbnail(pictures: Pictures, row: int) -> GreyImage:
    return thumbnail(pictures.read(row))
