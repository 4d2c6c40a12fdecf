"""What is said of exact and near-exact copies, in the right number, and nothing that clears an image."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from query.comparison.copies import Copies, CopyKind
from query.database.record_copies import rows_of_copies
from query.database.store import Store
from query.report.copies import copies_summary
from query.report.public import publicly
from query.report.run_summary import summarise
from query.report.text.copies import copies_sentences
from query.report.writing import write_report
from tests.helpers.reporting import GENERATED, State, make_run

NOTHING = "No generated image is an exact or near-exact copy of a real one. Changed copies are not counted here."


def planted(database: Path, pairs: list[tuple[int, int, CopyKind]], largest: float = 0.9) -> None:
    """Write copies into the run: pairs of generated and real rows."""
    generated, real, kinds = zip(*pairs, strict=True) if pairs else ((), (), ())
    count = len(pairs)
    copies = Copies(
        np.array(real, np.int64), np.array(generated, np.int64), list(kinds), np.full(count, 0.995), np.zeros(count, bool),
        np.zeros(count, np.int64), max(0.99, 1 - (1 - largest) / 2), largest, [],
    )  # fmt: skip
    with Store.open(database) as store:
        for table, columns in rows_of_copies(copies, GENERATED):
            rows = pa.table(columns)
            store.add(table, rows.append_column("run_id", pa.array([1] * len(rows), pa.int32())))


def said(database: Path) -> list[str]:
    with Store.open(database, read_only=True) as store:
        return copies_sentences(copies_summary(store, 1))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return make_run(tmp_path, State())


def test_nothing_is_said_where_nobody_looked(database: Path) -> None:
    assert said(database) == []


def test_no_copy_clears_nothing(database: Path) -> None:
    planted(database, [])
    assert said(database) == [NOTHING]


def test_copies_are_counted_once_for_each_image(database: Path) -> None:
    pairs = [(0, 0, CopyKind.FILE), (1, 0, CopyKind.PIXELS), (1, 1, CopyKind.NEAR), (2, 3, CopyKind.NEAR)]
    planted(database, pairs)
    assert said(database) == [
        "2 generated images are exact copies of 1 real image (1 patient): this is evidence by itself.",
        "1 generated image is a near-exact copy of 1 real image (1 patient): pixels correlate at 0.9900 or more, as no two real "
        "images of different patients do; this is evidence by itself, too.",
    ]


def test_real_images_that_are_alike_are_said(database: Path) -> None:
    planted(database, [], largest=0.998)
    assert said(database)[1:] == [
        "Two real images of different patients correlate at 0.9980 themselves, so only pairs from 0.9990 on count as near-exact "
        "copies. Is one picture there twice?"
    ]


def test_copies_come_first_in_the_report_and_are_withheld(database: Path, tmp_path: Path) -> None:
    planted(database, [(0, 0, CopyKind.PIXELS), (5, 2, CopyKind.NEAR)])
    with Store.open(database, read_only=True) as store:
        told = write_report(store, 1, tmp_path / "report.html").as_dict()
    assert told["copies"]["note"][0].startswith("1 generated image is an exact copy of 1 real image (1 patient):")
    html = (tmp_path / "report.html").read_text()
    assert html.index("1 generated image is an exact copy") < html.index("1 The answer")
    reasons = {image["id"]: [reason["rule"] for reason in image["reasons"]] for image in told["withheld"]["images"]}
    assert "copy" in reasons[0]
    assert "copy" in reasons[5]


@pytest.mark.parametrize(("count", "shown"), [(0, 0), (3, None), (12, 12)])
def test_the_public_report_shows_no_small_number(database: Path, count: int, shown: int | None) -> None:
    planted(database, [(row, row % 2, CopyKind.FILE) for row in range(count)])
    with Store.open(database, read_only=True) as store:
        public = publicly(summarise(store, 1, database, 11)[0], 11)
    assert public.copies is not None
    assert (public.copies.exact.generated, public.copies.pairs, public.copies.threshold) == (shown, [], None)
    (note, *_) = copies_sentences(public.copies)
    if shown is None:
        assert "not shown" in note
    elif count:
        assert public.copies.exact.real is None  # two
        assert note == "12 generated images are exact copies of real images: this is evidence by itself."
