"""Sides that lie a quarter turn apart, as a user meets them: NIfTI volumes against pictures of their arrays."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from embeddings.images.decoding import Decoding, Layout
from embeddings.images.orientation import Orientation
from embeddings.types import GreyImage
from indexer.build.build import build
from indexer.collection import Collection
from query.cli.group import program
from query.comparison.matching import Budget, MatchSettings
from query.database.pictures import RunPictures
from query.database.store import Store
from query.flow import AuditSettings, audit
from tests.helpers.making import slice_of
from tests.helpers.toy import TOY

REALS = [slice_of(seed) for seed in range(30)]
MATCHING = MatchSettings(Budget(images=0))


def write(folder: Path, images: list[GreyImage]) -> Path:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:02d}.png")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real slices, and as generated ones the same after a quarter turn."""
    folder = tmp_path_factory.mktemp("turned")
    write(folder / "real", REALS)
    write(folder / "generated", [Orientation.ROTATE_90.apply(image) for image in REALS])
    build(folder / "g.c", folder / "generated", settings=TOY)
    return folder


def test_compare_says_so_first_and_auto_mends_it(world: Path) -> None:
    silent = run("compare", world / "real", world / "g.c", "--db", world / "a.duckdb")
    assert silent.stdout.startswith("WARNING: one side is turned or flipped.")
    assert "--orient rotate-90" in silent.stdout
    mended = json.loads(
        run("compare", world / "real", world / "g.c", "--db", world / "b.duckdb", "--orient", "auto", "--json").stdout
    )
    assert mended["warnings"] == ["Real images were compared under rotate-90."]
    with Store.open(world / "b.duckdb") as store:
        nearest = store.sql(
            "SELECT real_image, generated_image, distance FROM nearest_generated WHERE view = 'phash'"
        ).to_pylist()
        assert all(row["real_image"] == row["generated_image"] and row["distance"] == 0 for row in nearest)
        applied = store.sql("SELECT settings->'orientation'->>'applied' AS o FROM runs")["o"].to_pylist()
        assert applied == ["rotate-90"]
        (real,) = store.sql("SELECT min(image_id) AS id FROM images WHERE role = 'real'")["id"].to_pylist()
        assert np.array_equal(RunPictures(store, 1).read(real), Orientation.ROTATE_90.apply(REALS[0]))  # as it was compared


def test_a_named_orientation_is_applied_and_flipped_copies_are_of_it(world: Path) -> None:
    found = run("compare", world / "real", world / "g.c", "--db", world / "c.duckdb", "--orient", "rotate-90", "--mirror")
    assert "WARNING" not in found.stdout
    assert found.exit_code == 0, found.stderr
    flipped = Collection(world / "c.mirrored-rotate-90")
    assert flipped.manifest.orientation == Orientation.ROTATE_90.then(Orientation.FLIP_LEFT_RIGHT)


def test_an_audit_says_so_at_the_top_of_summary_and_report(world: Path) -> None:
    settings = AuditSettings(index=TOY, matching=MATCHING)
    plain = audit(world / "real", world / "generated", world / "out", settings)
    assert plain.summary.startswith("WARNING: one side is turned or flipped.")
    report = (world / "out" / "report.html").read_text(encoding="utf-8")
    assert report.index("one side is turned or flipped") < report.index('id="answer"')
    said: list[str] = []
    auto = AuditSettings(index=TOY, matching=MATCHING, orient="auto")
    mended = audit(world / "real", world / "generated", world / "out", auto, say=said.append)
    assert "real images are compared under rotate-90" in said
    assert mended.summary.startswith("Real images were compared under rotate-90.")


def test_volumes_against_pictures_of_their_arrays(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    (tmp_path / "real").mkdir()
    volume = np.stack(REALS, axis=2)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "real" / "v.nii.gz")
    write(tmp_path / "generated", [volume[:, :, k] for k in range(volume.shape[2])])
    stored = replace(TOY, decoding=Decoding(layout=Layout.STORED))
    for name, settings in (("display", TOY), ("stored", stored)):
        found = audit(
            tmp_path / "real", tmp_path / "generated", tmp_path / name, AuditSettings(index=settings, matching=MATCHING)
        )
        assert found.summary.startswith("WARNING: one side is turned") == (name == "display")
