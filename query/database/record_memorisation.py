"""Tests of generated images, and shares that copy real ones, as rows of tables `match_tests` and `memorisation`."""

from collections.abc import Iterator

import numpy as np

from query.comparison.copies import Copies, CopyKind
from query.comparison.matching import Matches
from query.comparison.memorisation import MatchTests, Share, counted_share, matched_share
from query.database.store import Rows


def rows_of_memorisation(copies: Copies | None, matches: Matches | None, generated: int) -> Iterator[Rows]:
    """What is known of both.

    Args:
        generated: how many images were generated; ids of real ones follow.
    """
    shares: dict[str, Share] = {}
    if copies:
        exact = np.array([kind != CopyKind.NEAR for kind in copies.kinds], bool)
        shares["exact copies"] = counted_share(len(np.unique(copies.generated[exact])), generated)
        shares["copies"] = counted_share(len(np.unique(copies.generated)), generated)
    if matches:
        tests = MatchTests.of_matches(matches)
        ids = {"generated_id": tests.generated, "real_id": tests.real + generated}
        yield "match_tests", {**ids, "value": tests.values, "p_value": tests.p, "q_value": tests.q}  # NaN becomes NULL
        if share := matched_share(tests, matches.reference):
            shares["matched"] = share
    for figure, share in shares.items():
        numbers = {"images": [share.images], "of": [share.of], "value": [share.value], "low": [share.low], "high": [share.high]}
        yield "memorisation", {"figure": [figure], **numbers}
