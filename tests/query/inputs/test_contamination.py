"""Pictures and patients on two sides: found against NumPy's correlations, refused in one message before anything is indexed."""

import csv
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from embeddings.images.decoding import Decoding
from embeddings.images.find import find
from embeddings.images.orientation import Orientation
from embeddings.phantoms.slices import phantom
from indexer.build.build import Settings, build
from indexer.salt import Salt
from query.cli.group import program
from query.database.store import Store
from query.inputs.contamination import (
    APART,
    Contamination,
    ContaminationError,
    Finding,
    Kind,
    Role,
    Side,
    contamination,
    contamination_of_labels,
)
from query.inputs.near_duplicates import nearest_alike, thumbnail
from query.inputs.seen import Seen, see_collection, see_files
from query.notebook import compare
from query.report.run_summary import run_warnings
from tests.helpers.making import slice_of, write_frames, write_image, write_images

PHASH = Settings(views={"phash": {}})
ODD = "j'\x1b[31m\u202e"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


def refused(done: Result) -> str:
    """The one line behind which nothing was indexed."""
    assert done.exit_code == 2, (done.exit_code, done.stdout, done.stderr)
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("synthtrace: error: ")
    assert line.isprintable()
    return line


def predicted(folder: Path, *more: object) -> Result:
    """With exit code 0 where the reference is clean: method phash predicts with any number of images."""
    sides = (folder / "unknown", folder / "generated", "--unused", folder / "unused")
    return run("predict", *sides, "--db", folder / "r.duckdb", "--method", "phash", "--device", "cpu", *more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of disjoint sides; those in `generated` are a collection."""
    write_images(tmp_path / "unknown", range(14))
    write_images(tmp_path / "unused", range(100, 104))
    build(tmp_path / "generated", *write_images(tmp_path / "fakes", range(200, 204)), settings=PHASH)
    return tmp_path


# Likeness


def test_the_nearest_is_that_of_all_pairs_in_all_orientations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("query.inputs.near_duplicates._BLOCK", 7)
    rng = np.random.default_rng(0)
    others = rng.integers(0, 256, (20, 64, 64)).astype(np.uint8)
    others[3] = 90
    turned = [np.rot90(others[n][:, ::-1] if n % 2 else others[n], n) for n in range(8)]
    images = np.array([*turned, *rng.integers(0, 256, (9, 64, 64))]).clip(0, 255).astype(np.uint8)
    images[:8] = np.clip(images[:8] + rng.normal(0, 8, (8, 64, 64)), 0, 255)
    found = nearest_alike(images, others, 0.9)
    seen = [row for row, other in enumerate(others) if other.std() > 1]
    for at, image in enumerate(images):
        ways = [np.rot90(way, turns).ravel() for turns in range(4) for way in (image, image[:, ::-1])]
        best = np.array([max(np.corrcoef(way, others[row].ravel())[0, 1] for way in ways) for row in seen])
        assert found.row[at] == (seen[int(best.argmax())] if best.max() >= 0.9 else -1)
        if found.row[at] >= 0:
            shown = list(Orientation)[found.orientation[at]].apply(image)
            assert abs(np.corrcoef(shown.ravel(), others[found.row[at]].ravel())[0, 1] - best.max()) < 1e-6
            assert abs(found.correlation[at] - best.max()) < 1e-5
    assert (found.row >= 0).sum() == 7  # all but the blank one


def test_copies_are_alike_and_most_other_slices_of_a_patient_are_not() -> None:
    """JPEG, other sizes and a cut of half a percent; a sibling is another slice of the patient."""
    seeds = range(12)
    originals = np.array([thumbnail(phantom(seed)) for seed in seeds])
    siblings = nearest_alike(originals, np.array([thumbnail(phantom(seed, sibling=1)) for seed in seeds])).row
    assert ((siblings < 0) | (siblings == seeds)).all()  # no other patient's
    assert (siblings < 0).sum() > 6
    for size in ((100, 90), (512, 512)):
        copies = np.array([thumbnail(np.asarray(Image.fromarray(phantom(seed)).resize(size))) for seed in seeds])
        np.testing.assert_array_equal(nearest_alike(originals, copies).row, seeds)
    cut = np.array([thumbnail(phantom(seed)[1:-1, 1:-1]) for seed in seeds])
    assert (nearest_alike(originals, cut).row == np.array(seeds)).mean() > 0.8


# What sides share


def side(*names: str, groups: str = "", digests: str = "") -> Side:
    return Side(names, list(digests) or [f"content of {name}" for name in names], list(groups))


def test_sides_without_images_share_nothing() -> None:
    assert contamination({}).findings == []
    empty = Side([], [], [], np.zeros((0, 64, 64), np.uint8))
    assert contamination(dict.fromkeys(Role, empty)).findings == []
    full = Side(["a"], ["1"], ["p"], np.zeros((1, 64, 64), np.uint8))
    assert contamination({Role.REFERENCE: full, Role.UNLABELLED: empty, Role.USED: empty}).findings == []
    assert Contamination().settled() == 0


def test_what_no_two_sides_may_share() -> None:
    """One picture of one patient everywhere: the pairs of sides and kinds that count."""
    picture = Side(["a"], ["1"], ["p"], np.random.default_rng(0).integers(0, 256, (1, 64, 64)).astype(np.uint8))
    found = contamination(dict.fromkeys(Role, picture)).findings
    told: dict[tuple[Role, Role], list[Kind]] = {(each.role, each.other_role): [] for each in found}
    for each in found:
        told[each.role, each.other_role].append(each.kind)
    assert told == {
        (Role.REFERENCE, Role.UNLABELLED): [Kind.FILE, Kind.PATIENT],  # an equal file is not said to be alike too
        (Role.REFERENCE, Role.USED): [Kind.FILE],
        (Role.REFERENCE, Role.GENERATED): [Kind.FILE],
        (Role.HOLD_OUT, Role.TRAINING): [Kind.FILE, Kind.PATIENT],
        (Role.HOLD_OUT, Role.GENERATED): [Kind.FILE],
    }
    assert set(told) == set(APART)


def test_each_image_and_patient_is_named_once() -> None:
    sides = {
        Role.REFERENCE: side("a", "b", "c", groups="ppq", digests="112"),
        Role.UNLABELLED: side("x", "y", "z", groups="pps", digests="133"),
    }
    assert contamination(sides).findings == [
        Finding(Kind.FILE, Role.REFERENCE, "a", Role.UNLABELLED, "x"),
        Finding(Kind.FILE, Role.REFERENCE, "b", Role.UNLABELLED, "x"),
        Finding(Kind.PATIENT, Role.REFERENCE, "a", Role.UNLABELLED, "x", "p"),
    ]


def test_the_message_names_ten_of_many_and_the_list_has_all(tmp_path: Path) -> None:
    names = [f"{ODD}{n}" for n in range(25)]
    found = contamination({Role.HOLD_OUT: side(*names), Role.TRAINING: side(*names)})
    with pytest.raises(ContaminationError) as caught:
        found.settled(listing=tmp_path / "list.csv")
    assert str(caught.value).startswith("25 hold-out images are among the training images too: ")
    assert str(caught.value).count("is byte for byte") == 10
    assert "and 15 more" in str(caught.value)
    assert str(tmp_path / "list.csv") in str(caught.value)
    with open(tmp_path / "list.csv", newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 25
    Contamination().settled(listing=tmp_path / "list.csv")
    assert not (tmp_path / "list.csv").exists()


def test_slices_of_one_file_on_two_sides_are_refused(tmp_path: Path) -> None:
    """Nobody has to name the patient of a volume."""
    write_frames(tmp_path / "v.tif", [slice_of(n) for n in range(3)])
    seen = see_files(find(tmp_path / "v.tif"), Decoding(), Salt.random())
    (found,) = contamination_of_labels(seen, {0: False, 1: True, 2: False}, {}, lambda: side()).findings[:1]
    assert (found.kind, found.image, found.other) == (Kind.FILE, "v.tif#0", "v.tif#1")


# Files as they are seen


def test_files_are_seen_as_their_collection_has_them(tmp_path: Path) -> None:
    images = tmp_path / "images"
    write_images(images, range(3))
    write_frames(images / "pages.tif", [slice_of(n) for n in (10, 11)])
    np.save(images / "set.npy", np.stack([slice_of(n) for n in (20, 21, 22)]))
    np.savez(images / "set.npz", images=np.stack([slice_of(n) for n in (30, 31)]))
    shutil.make_archive(str(tmp_path / "zipped"), "zip", images, "000.png")
    shutil.move(tmp_path / "zipped.zip", images / "zipped.zip")
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    collection = build(tmp_path / "c", images, settings=PHASH)
    seen, again = see_files(find(images), Decoding(), collection.salt), see_collection(collection)

    def rows(of: Seen) -> dict[str, Any]:
        entries = zip(of.names, of.paths, of.digests, of.patients, map(bytes, of.thumbnails), strict=True)
        return {name: rest for name, *rest in entries}

    assert len(seen) == 3 + 2 + 3 + 2 + 1
    assert rows(seen) == rows(again)


# The commands


def test_all_kinds_of_copies_are_in_one_message_before_anything_is_indexed(folder: Path) -> None:
    images, reference = folder / "unknown", folder / "unused"
    shutil.copy(images / "000.png", reference / "bytes.png")
    shutil.copy(folder / "fakes" / "200.png", reference / "made.png")
    picture = Image.open(images / "001.png")
    picture.save(reference / f"{ODD}.jpg", quality=60)
    picture.resize((90, 120)).save(reference / "small.png")
    picture.transpose(Image.Transpose.TRANSVERSE).save(reference / "turned.png")
    (folder / "groups.csv").write_text("image,group\n005.png,p1\n100.png,p1\n")
    line = refused(predicted(folder, "--groups", folder / "groups.csv"))
    assert "4 reference images are among the unlabelled images too" in line
    for text in (
        "'unused/bytes.png' is byte for byte unlabelled '000.png'",
        "'unused/small.png' is like (correlation",
        ", transverse) unlabelled '001.png'",
        "1 patient has reference and unlabelled images: 'p1'",
        "1 reference image is among the generated images too: 'unused/made.png' is byte for byte generated '200.png'",
        str(folder / "r.contamination.csv"),
    ):
        assert text in line
    assert not (folder / "r.real").exists()
    assert not (folder / "r.duckdb").exists()
    with open(folder / "r.contamination.csv", newline="", encoding="utf-8") as file:
        kinds = [row["kind"] for row in csv.DictReader(file)]
    assert sorted(kinds) == sorted(["the same file"] * 2 + ["near-duplicate"] * 3 + ["the same patient"])


def test_near_duplicates_can_be_gone_on_with_and_the_run_says_so(folder: Path) -> None:
    Image.open(folder / "unknown" / "001.png").save(folder / "unused" / "alike.jpg", quality=60)
    assert "--near-duplicates warn" in refused(predicted(folder))
    done = predicted(folder, "--near-duplicates", "warn", "--json")
    assert done.exit_code == 0, done.stderr
    (line,) = [line for line in json.loads(done.stdout)["warnings"] if "near-duplicate" in line]
    assert line.startswith("WARNING: 1 reference image is a near-duplicate of unlabelled or used images")
    with Store.open(folder / "r.duckdb", read_only=True) as store:
        assert line in run_warnings(store, 1)
    shutil.copy(folder / "unknown" / "000.png", folder / "unused" / "bytes.png")
    line = refused(predicted(folder, "--near-duplicates", "warn"))
    assert line.count("unlabelled '") == 1  # what is a fact is refused all the same


def test_a_clean_reference_is_predicted_with(folder: Path) -> None:
    (folder / "groups.csv").write_text("image,group\n005.png,p1\n006.png,p1\n100.png,p2\n101.png,p2\n")
    assert predicted(folder, "--groups", folder / "groups.csv").exit_code == 0
    assert not (folder / "r.contamination.csv").exists()


def test_one_picture_under_both_labels_is_refused_in_a_collection_too(folder: Path) -> None:
    Image.open(folder / "unknown" / "001.png").save(folder / "unknown" / "again.bmp")
    real = build(folder / "c", folder / "unknown", fitted_on=build(folder / "generated", folder / "fakes"))
    (folder / "labels.csv").write_text("001.png,1\nagain.bmp,0\n")
    for command in ("predict", "compare"):
        line = refused(
            run(command, real.folder, folder / "generated", "--labels", folder / "labels.csv", "--db", folder / "a.duckdb")
        )
        assert "1 reference image is among the used images too: 'again.bmp' is like (correlation 1.000) used '001.png'" in line


def test_notebooks_refuse_and_warn(folder: Path) -> None:
    Image.open(folder / "unknown" / "001.png").save(folder / "unknown" / "again.bmp")
    generated = build(folder / "generated", folder / "fakes")
    found = compare(build(folder / "c", folder / "unknown", fitted_on=generated), generated, groups=r"^(00|\w+)")
    with pytest.raises(ContaminationError, match=r"'again\.bmp' is like"):
        found.predict({"again.bmp": False}, methods=("phash",))
    with pytest.warns(UserWarning, match="1 reference image is a near-duplicate"):
        found.predict({"again.bmp": False}, methods=("phash",), near_duplicates="warn")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.predict({"again.bmp": True}, methods=("phash",))  # it is known that the picture was used


@pytest.mark.parametrize("command", ["leakage", "filter"])
def test_a_hold_out_set_with_copies_is_refused_before_anything_is_indexed(command: str, tmp_path: Path) -> None:
    for name, first in (("training", 0), ("held", 100), ("generated", 200)):
        write_images(tmp_path / name, range(first, first + 4))
    Image.open(tmp_path / "training" / "001.png").save(tmp_path / "held" / "alike.jpg", quality=60)
    shutil.copy(tmp_path / "generated" / "200.png", tmp_path / "held" / "made.png")
    write_image(tmp_path / "held" / "own.png", slice_of(300))
    training, held, generated = (tmp_path / name for name in ("training", "held", "generated"))
    work = tmp_path / "work"
    arguments = {
        "leakage": ("leakage", training, held, generated, "--work", work, "-q"),
        "filter": ("filter", training, generated, "--hold-out", held, "--list", work / "leakage.csv", "-q"),
    }
    work.mkdir()
    line = refused(run(*arguments[command]))
    assert "1 hold-out image is among the training images too: 'alike.jpg' is like" in line
    assert "1 hold-out image is among the generated images too: 'made.png' is byte for byte generated '200.png'" in line
    assert [path.name for path in work.iterdir()] == ["leakage.contamination.csv"]


@pytest.mark.parametrize(("groups", "count"), [(("p", "p"), 0), (("p", "q"), 1), (("", ""), 1)])
def test_slices_of_one_patient_may_be_alike(groups: tuple[str, str], count: int) -> None:
    """A used slice and its neighbour that was not used: a sibling, which is no reference."""
    picture = thumbnail(slice_of(3))[None]
    sides = {
        role: Side([str(role)], [str(role)], [group], picture)
        for role, group in zip((Role.USED, Role.REFERENCE), groups, strict=True)
    }
    assert [each.kind for each in contamination(sides).findings] == [Kind.ALIKE] * count
