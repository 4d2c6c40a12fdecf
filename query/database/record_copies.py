"""The exact and near-exact copies of a run as rows of tables `copies` and `copy_search`."""

from collections.abc import Iterator

from query.comparison.copies import Copies
from query.database.store import Rows


def rows_of_copies(copies: Copies, first: int) -> Iterator[Rows]:
    """The pairs, and what a pair had to be alike to count.

    Args:
        first: number of the first real image.
    """
    yield "copy_search", {"threshold": [copies.threshold], "largest": [copies.largest], "failed": [len(copies.failed)]}
    if len(copies.real):
        yield (
            "copies",
            {
                "real_id": copies.real + first,
                "generated_id": copies.generated,
                "kind": list(map(str, copies.kinds)),
                "similarity": copies.similarity,
                "mirrored": copies.mirrored,
                "quarter_turns": copies.quarter_turns,
            },
        )
