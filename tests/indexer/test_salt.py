"""The salt: a collection holds hashed identifiers only, which compare between collections made for each other."""

import hashlib
import hmac
from pathlib import Path

import numpy as np
import pytest

from indexer.build.build import Settings, build, refit
from indexer.collection import IMAGES, Collection
from indexer.salt import NAME, VARIABLE, Salt, SaltError, is_hashed, salt_for
from tests.helpers.dicoms import dicom
from tests.helpers.making import slice_of, write_image

PHASH = Settings(views={"phash": {}})
PATIENTS = ("MRN-77123", "MRN-77123", "MRN-88456")
SERIES = "1.2.826.0.1.3680043.99.7"


def write_patients(folder: Path, first: int = 0, patients: tuple[str, ...] = PATIENTS) -> Path:
    """A file for each, in order of names, and one of no patient but a series."""
    folder.mkdir(parents=True)
    for number, patient in enumerate(patients):
        (folder / f"{number}.dcm").write_bytes(
            dicom(slice_of(first + number), PatientID=patient, SeriesInstanceUID=f"1.2.{number}")
        )
    (folder / "series.dcm").write_bytes(dicom(slice_of(first + 50), PatientID=" ", SeriesInstanceUID=SERIES))
    return folder


def test_a_value_is_the_hmac_of_kind_and_identifier() -> None:
    salt = Salt(b"0123456789abcdef")
    expected = hmac.new(b"0123456789abcdef", b"patient\0A:1", hashlib.sha256).hexdigest()[:32]
    assert salt.of_patient("patient:A:1") == f"patient {expected}"
    assert salt.of_patient("series:A:1") != salt.of_patient("patient:A:1")
    assert salt.of_patient("") == ""
    assert is_hashed(salt.of_patient("patient:A:1"))
    assert not is_hashed("patient 12")
    assert "0123456789abcdef" not in repr(salt)


def test_a_collection_holds_hashed_patients_and_no_identifier(tmp_path: Path) -> None:
    write_image(write_patients(tmp_path / "images") / "plain.png", slice_of(9))
    made = build(tmp_path / "c", tmp_path / "images", settings=PHASH)
    salt = Salt((tmp_path / "c" / NAME).read_bytes())
    kinds = [f"patient:{patient}" for patient in PATIENTS]
    assert made.patients == [*map(salt.of_patient, kinds), "", salt.of_patient(f"series:{SERIES}")]
    assert made.manifest.salt == salt.fingerprint
    assert (tmp_path / "c" / NAME).stat().st_mode & 0o777 == 0o600
    for path in (tmp_path / "c").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not any(text.encode() in content for text in (*PATIENTS, SERIES)), path
        assert path.name == NAME or salt.value not in content


def test_checkpoints_hold_no_identifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that ends between parts and commit leaves parts; they say what the finished collection says."""
    write_patients(tmp_path / "images")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("indexer.build.build.write_next", killed)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "c", tmp_path / "images", settings=PHASH)
    parts = [path.read_bytes() for path in (tmp_path / "c" / "parts").iterdir()]
    assert any(b"patient " in part for part in parts)
    assert not any(text.encode() in part for part in parts for text in (*PATIENTS, SERIES))
    made = build(tmp_path / "c", tmp_path / "images", settings=PHASH)  # from those parts
    assert made.patients[0] == made.salt.of_patient(f"patient:{PATIENTS[0]}")


def test_both_sides_have_one_salt(tmp_path: Path) -> None:
    generated = build(tmp_path / "g", write_patients(tmp_path / "fakes"), settings=PHASH)
    real = build(tmp_path / "r", write_patients(tmp_path / "reals", 20, ("MRN-88456", "X")), fitted_on=generated)
    assert real.patients[0] == generated.patients[2]
    other = build(tmp_path / "o", tmp_path / "reals", settings=PHASH)
    assert not set(other.patients) & set(real.patients)
    assert other.manifest.salt != real.manifest.salt


def test_another_salt_hashes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_patients(tmp_path / "images")
    first = build(tmp_path / "c", tmp_path / "images", settings=PHASH).patients
    assert refit(tmp_path / "c", tmp_path / "images", settings=PHASH).patients == first
    monkeypatch.setenv(VARIABLE, "a phrase that is long enough")
    again = build(tmp_path / "c", tmp_path / "images")
    assert again.patients[0] == Salt(b"a phrase that is long enough").of_patient(f"patient:{PATIENTS[0]}") != first[0]
    files = [(tmp_path / name / IMAGES).read_bytes() for name in ("c", "d") if build(tmp_path / name, tmp_path / "images")]
    assert files[0] == files[1]


def test_a_salt_that_is_too_short_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "short")
    with pytest.raises(SaltError, match=r"^the salt has 5 bytes, at least 16 are needed; see SYNTHTRACE_SALT$"):
        salt_for(tmp_path, None)


def test_without_its_salt_a_collection_still_opens(tmp_path: Path) -> None:
    build(tmp_path / "c", write_patients(tmp_path / "images"), settings=PHASH)
    (tmp_path / "c" / NAME).unlink()
    handed_on = Collection(tmp_path / "c")
    assert handed_on.check() == []
    assert len(set(handed_on.patients)) == 3


def test_frames_of_a_file_have_its_patient(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    frames = np.stack([slice_of(0), slice_of(1)])
    (tmp_path / "images" / "a.dcm").write_bytes(dicom(frames, frames=2, PatientID="A\\B"))
    made = build(tmp_path / "c", tmp_path / "images", settings=PHASH)
    assert made.patients == [made.salt.of_patient("patient:A\\B")] * 2
