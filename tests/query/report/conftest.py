"""What tests of reports share."""

from collections.abc import Iterator

import pytest

import query.report.pairs


@pytest.fixture(scope="module")
def few_pairs() -> Iterator[None]:
    """Runs that keep no matches have pairs matched anew for what is withheld; for speed few."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(query.report.pairs, "SHOWN", 1)
        yield
