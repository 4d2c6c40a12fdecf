"""How good, how private: the block of page and text, what the database keeps of it, and its public form."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from query.database.record_quality import FIGURES
from query.database.store import Store
from query.report.public import publicly
from query.report.quality import QualitySummary, quality_summary
from query.report.run_summary import RunSummary, summarise
from query.report.text.quality import TITLE, quality_lines, quality_rows, quality_sentences, short_quality
from query.report.writing import write_report
from tests.helpers.reporting import State, make_run

pytestmark = pytest.mark.usefixtures("few_pairs")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without quality."""
    return make_run(tmp_path_factory.mktemp("run") / "run", State())


def with_quality(plain: Path, database: Path, reason: str | None = None, gap: float = 0.5) -> Path:
    """A copy with figures of quality: fidelity 0.5 of generated and 0.75 of real images, ends 0.123 apart."""
    shutil.copy(plain, database)
    values = {"value": 0.5, "low": 0.377, "high": 0.623, "real_value": 0.75, "real_low": 0.627, "real_high": 0.873}
    rows = {"run_id": [1] * len(FIGURES), "figure": list(FIGURES)}
    apart = {"difference": gap, "difference_low": gap - 0.1, "difference_high": gap + 0.1}
    told: dict[str, Any] = {"reason": reason} if reason else {"images": 12, **values, **apart}
    about = {"source": "generated", "images": 30, "repeated": 2, "blank": 0, "failed": 0, "mirror": False, "threshold": 40.0}
    chance = {"compared": 90, "usual": 12.0, "expected": 0.25, "by_patient": False, "seed": 0}
    diverse = {name: np.full(3, value) for name, value in values.items()}
    with Store.open(database) as store:
        store.add("fidelity", rows | {name: [value] * len(FIGURES) for name, value in told.items()})
        store.add_search([
            ("duplicate_searches", {name: [value] for name, value in {**about, **chance}.items()}),
            ("duplicate_members", {
                "group_id": [1, 1, 1], "image": ["a", "b", "c"], "keep": [True, False, False], "like_image": [None, "a", "a"],
            }),
            ("diversity", {
                "figure": ["duplicates", "nearest", "vendi"], "view": ["", "resnet", "resnet"], "images": [12] * 3, **diverse,
            }),
        ])  # fmt: skip
    settings = {"quality": {"generated": 30, "real": 24, "view": "resnet", "groups_known": False, "k": 5}}
    with duckdb.connect(str(database)) as connection:
        connection.execute("UPDATE runs SET settings = json_merge_patch(settings, ?)", [json.dumps(settings)])
        connection.execute("UPDATE duplicate_searches SET run_id = 1")
    return database


@pytest.fixture(scope="module")
def database(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_quality(plain, tmp_path_factory.mktemp("quality") / "results.duckdb")


def summary_of(database: Path) -> RunSummary:
    with Store.open(database, read_only=True) as store:
        return summarise(store, 1, database)[0]


def test_the_block_has_every_figure_beside_that_of_real_images(database: Path) -> None:
    rows = quality_rows(summary_of(database))
    assert [row.question for row in rows] == ["how good"] * 6 + ["how diverse"] * 3
    assert [row.figure for row in rows][-3:] == ["Vendi score", "nearest other, distance", "with a duplicate, share"]
    assert {(row.generated, row.real) for row in rows} == {("0.5 [0.377, 0.623]", "0.75 [0.627, 0.873]")}
    assert {row.figure: row.better for row in rows}["Fréchet distance"] == "low"


def test_text_and_page_say_the_same(database: Path, tmp_path: Path) -> None:
    summary = summary_of(database)
    lines = list(quality_lines(summary))
    assert TITLE in lines
    text = "\n".join(lines)
    assert "Drawn: 30 generated images and 24 real ones; fidelity compares 12 images of either side at a time" in text
    assert "2 of 30 generated images repeat another one, in 1 group (near-duplicates agree on 40 points or more)." in text
    assert "read quality and privacy together" in text
    assert "Patients are unknown" in text
    assert "Reference: one half of the real patients, in turn" in text
    short = "\n".join(short_quality(summary.quality))
    assert "precision 0.5 [0.377, 0.623] (real images 0.75 [0.627, 0.873])" in short
    with Store.open(database, read_only=True) as store:
        report = write_report(store, 1, tmp_path / "report.html")
        again = write_report(store, 1, tmp_path / "again.html")
    assert report.as_dict() == again.as_dict()
    page = (tmp_path / "report.html").read_text()
    for row in quality_rows(summary):
        assert row.figure in page
        assert row.generated in page
    values = json.loads((tmp_path / "report.json").read_text())["quality"]
    assert values["fidelity"][0] | {"images": 0} == {
        "figure": "precision", "view": "resnet", "images": 0, "generated": {"value": 0.5, "low": 0.377, "high": 0.623},
        "real": {"value": 0.75, "low": 0.627, "high": 0.873},
    }  # fmt: skip
    assert values["repeated"] == 2


def test_none_found_is_not_worded_as_none_there(database: Path) -> None:
    quality = summary_of(database).quality
    assert quality is not None
    lines = " ".join(quality_sentences(replace(quality, repeated=0, groups=0)))
    assert "None of 30 generated images was found to repeat another one (near-duplicates" in lines
    assert "Heavily changed repeats escape." in lines


def test_a_run_without_quality_has_no_block(plain: Path) -> None:
    summary = summary_of(plain)
    assert summary.quality is None
    assert list(quality_lines(summary)) == list(short_quality(summary.quality)) == []
    with Store.open(plain, read_only=True) as store:
        assert quality_summary(store, 1) is None


def test_why_there_is_no_fidelity_and_a_warning_of_copies(plain: Path, tmp_path: Path) -> None:
    text = "\n".join(quality_lines(summary_of(with_quality(plain, tmp_path / "one.duckdb", "there is no view resnet"))))
    assert "Fidelity was not measured: there is no view resnet." in text
    assert "how diverse" in text
    assert "how good " not in text
    copies = "\n".join(quality_lines(summary_of(with_quality(plain, tmp_path / "copies.duckdb", gap=-0.5))))
    assert "WARNING: generated images lie nearer to real ones than real images of other patients do" in copies


def public_quality(database: Path, least: int) -> QualitySummary | None:
    return publicly(summary_of(database), least).quality


def test_the_public_form_is_coarse_and_counts_nothing_small(plain: Path, database: Path, tmp_path: Path) -> None:
    found = public_quality(database, 12)
    assert found is not None
    assert (found.repeated, found.groups) == (None, None)  # two images
    coarse = {each.figure: each.generated.ends for each in (*found.fidelity, *found.diversity)}
    assert coarse["precision"] == (0.9167, 0, 0.9167)  # in steps of 11 of 12 images
    assert coarse["frechet_distance"] == (0.5, 0.38, 0.62)
    assert public_quality(database, 13).fidelity == []  # type: ignore[union-attr]
    assert public_quality(database, 25) is None  # of 24 real images
    secret = with_quality(plain, tmp_path / "results.duckdb", "secret: it was indexed without view resnet")
    with Store.open(secret, read_only=True) as store:
        write_report(store, 1, tmp_path / "public.html", public=True)
    for file in ("public.html", "public.json"):
        assert "secret" not in (tmp_path / file).read_text()
