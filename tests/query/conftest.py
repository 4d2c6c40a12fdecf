"""Coarse pictures: drawing and compressing them is most of the work of a small audit."""

from collections.abc import Iterator

import pytest

from query.report.figures import figures


@pytest.fixture(scope="session", autouse=True)
def coarse_pictures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "_DPI", 50)
        yield
