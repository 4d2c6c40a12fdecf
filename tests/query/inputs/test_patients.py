"""Patients from the files: groups by DICOM headers and by folders, slices of one file, pictures of a set, and warnings."""

import io
import json
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from indexer.build.build import Settings, build
from indexer.collection import IMAGES, Collection
from indexer.salt import VARIABLE
from query.comparison.explainer import panel_of
from query.comparison.matching import Budget, MatchSettings
from query.flow import AuditSettings, audit
from query.inputs.groups import GroupsError, folder_of, given_groups, group, groups_from_table, read_groups
from query.inputs.images import images_of
from query.inputs.patients import count_patients
from query.leakage.leakage import LeakageSets, grouped
from tests.helpers.dicoms import dicom
from tests.helpers.making import slice_of, write_frames, write_image

PHASH = Settings(views={"phash": {}})
COUNT = 50


@pytest.fixture(autouse=True)
def salt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "salt of these tests, and long")


def noise(number: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.random.default_rng(number).integers(0, 256, (16, 16), np.uint8)


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(noise(number)).save(buffer, "PNG")
    return buffer.getvalue()


def write_set(folder: Path, kind: str) -> None:
    """50 different pictures in one file."""
    folder.mkdir()
    stack = np.stack([noise(number) for number in range(COUNT)])
    array = io.BytesIO()
    np.save(array, stack)
    if kind == "npy":
        np.save(folder / "set.npy", stack)
    elif kind in ("npz", "npz-compressed"):
        (np.savez if kind == "npz" else np.savez_compressed)(folder / "set.npz", images=stack)
    elif kind in ("zip", "npy-in-zip"):
        with zipfile.ZipFile(folder / "set.zip", "w") as archive:
            for number in range(COUNT if kind == "zip" else 0):
                archive.writestr(f"{number}.png", png(number))
            if kind == "npy-in-zip":
                archive.writestr("set.npy", array.getvalue())
    elif kind in ("tar", "npy-in-tar"):
        with tarfile.open(folder / "set.tar", "w") as archive:
            members = {"set.npy": array.getvalue()} if kind == "npy-in-tar" else {f"{n}.png": png(n) for n in range(COUNT)}
            for name, data in members.items():
                about = tarfile.TarInfo(name)
                about.size = len(data)
                archive.addfile(about, io.BytesIO(data))
    else:
        pq.write_table(pa.table({"image": [png(number) for number in range(COUNT)]}), folder / "set.parquet")


@pytest.mark.parametrize("kind", ["npy", "npz", "npz-compressed", "zip", "npy-in-zip", "tar", "npy-in-tar", "parquet"])
def test_pictures_of_a_set_are_no_group(tmp_path: Path, kind: str) -> None:
    write_set(tmp_path / "real", kind)
    made = build(tmp_path / "c", tmp_path / "real", settings=PHASH)
    assert len(made) == len(set(made.digests)) == COUNT
    real = images_of(made)
    for groups in (group(None, real), given_groups(None, real), given_groups(groups_from_table({made.names[0]: "p"}), real)):
        assert len(set(groups.of_row.tolist())) == COUNT
        assert len(groups.named) <= 1
    assert len(panel_of(real.digests, given_groups(None, real).of_row)) == 8
    with pytest.raises(GroupsError, match="all images lie in one folder"):
        read_groups("folder")(made)


@pytest.mark.parametrize("name", ["pages.tif", "frames.dcm", "volume.nii"])
def test_slices_of_one_file_are_a_group_whoever_gives_groups(tmp_path: Path, name: str) -> None:
    (tmp_path / "real").mkdir()
    slices = np.stack([slice_of(number) for number in range(4)])
    if name.endswith(".tif"):
        write_frames(tmp_path / "real" / name, list(slices))
    elif name.endswith(".dcm"):
        (tmp_path / "real" / name).write_bytes(dicom(slices, frames=4))
    else:
        nibabel = pytest.importorskip("nibabel")
        nibabel.save(nibabel.Nifti1Image(slices.transpose(2, 1, 0), np.eye(4)), tmp_path / "real" / name)
    write_image(tmp_path / "real" / "z.png", slice_of(9))
    real = images_of(build(tmp_path / "c", tmp_path / "real", settings=PHASH))
    by_frame = groups_from_table({f"{name}#1": "p1", "z.png": "p2"})
    for grouping, named in ((None, f"file {name}"), (by_frame, "p1")):
        groups = given_groups(grouping, real)
        assert groups.of_row[:4].tolist() == [groups.of_row[0]] * 4
        assert groups.of_row[4] != groups.of_row[0]
        assert [groups.named[row] for row in range(4)] == [named] * 4
    assert len(set(group(None, real).of_row.tolist())) == 2
    assert len(set(given_groups(groups_from_table({f"{name}#1": "p1", "z.png": "p1"}), real).of_row.tolist())) == 1


def write_patients(folder: Path, patients: str, first: int = 0) -> Path:
    """A DICOM file of each of the patients named by a letter; ``-`` has no patient."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, patient in enumerate(patients):
        pixels = slice_of(first + number)
        data = dicom(pixels) if patient == "-" else dicom(pixels, PatientID=f"MRN-{patient}-4711")
        (folder / f"{number:02d}.dcm").write_bytes(data)
    return folder


def test_groups_of_dicom_files_are_their_patients(tmp_path: Path) -> None:
    real = images_of(build(tmp_path / "c", write_patients(tmp_path / "real", "abab-c-"), settings=PHASH))
    groups = group(read_groups("dicom"), real)
    sizes = sorted(Counter(groups.of_row.tolist()).values())
    assert sizes == [1, 1, 1, 2, 2]
    assert groups.of_row[0] == groups.of_row[2] != groups.of_row[1] == groups.of_row[3]
    assert groups.known
    assert sorted(groups.named) == [0, 1, 2, 3, 5]


@pytest.mark.parametrize(("patients", "reason"), [("---", "no file has a PatientID"), ("aaa", "all files name the same patient")])
def test_without_patients_the_alternative_is_named(tmp_path: Path, patients: str, reason: str) -> None:
    made = build(tmp_path / "c", write_patients(tmp_path / "real", patients), settings=PHASH)
    with pytest.raises(GroupsError, match=f"^groups by dicom: {reason}.*; name the groups by --groups folder"):
        group(read_groups("dicom"), images_of(made))


def test_a_folder_is_a_group(tmp_path: Path) -> None:
    for number, name in enumerate(["p1/a.png", "p1/b.png", "p2/a.png", "p2/more/a.png", "a.png", "b.png"]):
        (tmp_path / "real" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "real" / name, slice_of(number))
    made = build(tmp_path / "c", tmp_path / "real", settings=PHASH)
    groups = group(read_groups("folder"), images_of(made))
    of = dict(zip(made.names, groups.of_row.tolist(), strict=True))
    assert of["p1/a.png"] == of["p1/b.png"]
    assert len(set(of.values())) == 5
    assert groups.named[made.names.index("p1/a.png")] == made.salt.hashed("folder", "p1")


@pytest.mark.parametrize(
    ("name", "folder"),
    [("a.png", ""), ("p/a.tif#3", "p"), ("p/q/a.png", "p/q"), ("a.zip/x.png", ""), ("p/a.zip/x.png", "p"),
     ("a.zip/p1/x.png", "a.zip/p1"), ("s/set.npz/images#3", "s"), ("s/t.parquet/7.png", "s")],
)  # fmt: skip
def test_files_of_many_pictures_are_no_folders(name: str, folder: str) -> None:
    assert folder_of(name) == folder


def test_equal_names_of_different_patients_are_told_apart(tmp_path: Path) -> None:
    """Training and hold-out files may have the same names; a table by name could not tell whose they are."""
    sides = LeakageSets(*three_sides(tmp_path, "aabb", "ccdd"))
    groups = grouped(sides, read_groups("dicom"))
    assert len(set(groups.training)) == len(set(groups.hold_out)) == 2
    assert not set(groups.training) & set(groups.hold_out)


def test_numbers_of_groups_do_not_depend_on_the_salt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for number in range(4):
        monkeypatch.setenv(VARIABLE, f"another salt for each, number {number}")
        groups = grouped(LeakageSets(*three_sides(tmp_path / str(number), "aabbee", "ccddff")), read_groups("dicom"))
        found.append((groups.training.tolist(), groups.hold_out.tolist()))
    assert found == [found[0]] * 4


def three_sides(folder: Path, training: str, hold_out: str) -> tuple[Collection, Collection, Collection]:
    generated = build(folder / "g", write_patients(folder / "generated", "----", 60), settings=PHASH)
    return (
        generated,
        build(folder / "t", write_patients(folder / "training", training), fitted_on=generated),
        build(folder / "h", write_patients(folder / "hold-out", hold_out, 30), fitted_on=generated),
    )


def test_patients_on_both_sides_and_under_both_labels_are_counted(tmp_path: Path) -> None:
    generated = build(tmp_path / "g", write_patients(tmp_path / "generated", "a--c", 60), settings=PHASH)
    real = build(tmp_path / "r", write_patients(tmp_path / "real", "aabbcd"), fitted_on=generated)
    counts = count_patients(real, generated, {0: True, 1: False, 2: True, 3: True}, {})
    assert (counts.real, counts.generated, counts.shared, counts.both_labels) == (4, 2, 2, 1)
    assert len(counts.warnings) == 2
    by_groups = count_patients(real, generated, {4: True, 5: False}, {4: "given", 5: "given", 0: "near-duplicates 1"})
    assert by_groups.both_labels == 1


def test_different_salts_cannot_be_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generated = build(tmp_path / "g", write_patients(tmp_path / "generated", "ab", 60), settings=PHASH)
    monkeypatch.setenv(VARIABLE, "quite another salt, as long")
    real = build(tmp_path / "r", write_patients(tmp_path / "real", "ab"), settings=PHASH)
    counts = count_patients(real, generated, {}, {})
    assert counts.shared is None
    assert counts.warnings == ["WARNING: patients of both sides cannot be compared: different salts; index both again."]


def test_an_audit_of_dicom_files(tmp_path: Path) -> None:
    """Counts and one warning for each matter at the top of summary and report, and no identifier anywhere in the output."""
    write_patients(tmp_path / "real", "aabbccddee")
    write_patients(tmp_path / "generated", "a-------", 60)
    (tmp_path / "labels.csv").write_text("image,used\n00.dcm,1\n01.dcm,0\n02.dcm,1\n04.dcm,0\n05.dcm,0\n")
    settings = AuditSettings(PHASH, tmp_path / "labels.csv", groups="dicom", matching=MatchSettings(Budget(images=0)))
    lines: list[str] = []
    found = audit(tmp_path / "real", tmp_path / "generated", tmp_path / "out", settings, say=lines.append)
    assert {"10 real images of 5 patients, by DICOM headers", "8 generated images of 1 patient, by DICOM headers"} <= set(lines)
    top = found.details.split("\nDistance", 1)[0]
    assert "WARNING: 1 patient has real and generated images by DICOM headers" in top
    assert "WARNING: 1 patient has images that were used and others that were not" in top
    assert "10 real images of 5 patients" in top
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.index("1 patient has real and generated images") < page.index('id="compared"')
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [line.startswith("WARNING") for line in report["warnings"]] == [True, True, True, False]
    assert "too few patients to check" in report["warnings"][0]
    assert report["known"]["groups"] == 5
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"4711" not in path.read_bytes(), path
    assert (tmp_path / "out" / "real" / IMAGES).exists()
