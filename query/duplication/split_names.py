"""Which split each image of one collection belongs to."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.collection import Collection
from query.inputs.names import matched
from query.inputs.tables import AS_FOUND, IMAGE, Column, TableError, TableForm, read_sheet, read_values

FOLDERS = "folders"
SPLIT = Column("split", ("splits", "set", "subset", "fold", "partition", "phase", "usage"), "train, test or the like")


def split_labels(
    images: Collection, splits: str | Path | Mapping[str, str] | None, form: TableForm = AS_FOUND
) -> NDArray[np.str_]:
    """(n,) split of each image, empty where it has none.

    Args:
        images: all of them.
        splits: a CSV of image,split, ``folders``, or name -> split.
        form: how a CSV file is written, where that is not to be found out.

    Raises:
        TableError: nothing says which image is in which split, the CSV cannot be read, or none of its names is that of an image.
    """
    if splits is None:
        raise TableError("one collection or folder needs splits: a CSV of image,split, or folders")
    if splits == FOLDERS:
        return np.array([name.partition("/")[0] if "/" in name else "" for name in images.names], str)
    known = splits if isinstance(splits, Mapping) else read_splits(Path(splits), form)
    (by_row,) = matched([images.names], known, "split", TableError)
    return np.array([by_row.get(row, "") for row in range(len(images))], str)


def read_splits(path: Path, form: TableForm = AS_FOUND) -> dict[str, str]:
    """Image -> split, from a CSV with columns for both.

    Raises:
        TableError: the file cannot be read, lacks a column or splits, or names two splits for an image.
    """
    return read_values(read_sheet(path, (IMAGE, SPLIT), form), (IMAGE, SPLIT), str)
