"""Small sets as three users have them, for the walkthroughs in docs/walkthroughs: `python tests/helpers/walks.py FOLDER`."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from embeddings.phantoms.slices import copy_of, phantom
from embeddings.types import GreyImage

SIZE = 96  # pixels of a side
_PATIENTS, _SLICES = 24, 2  # of the steward's folders
_REALS, _GENERATED = 20, 120


def steward(folder: Path) -> None:
    """DICOM files of a folder for each patient, of whom some trained a generator and some did not, and what it made."""
    for role, first in (("training", 0), ("never-used", 1000)):
        for patient in range(first, first + _PATIENTS):
            for number in range(_SLICES):
                path = folder / role / f"PAT{patient:04d}" / f"IM{number:04d}.dcm"
                _write_dicom(path, phantom(patient, SIZE, number), f"PAT{patient:04d}")
    _write_generated(folder / "generated", range(_PATIENTS // 2))


def challenge(folder: Path) -> None:
    """As the ImageCLEFmedical GANs task of 2023 handed images out: a development set with labels, a test set without."""
    for part, first in (("development", 2000), ("test", 3000)):
        used, unused = range(first, first + _REALS), range(first + 500, first + 500 + _REALS)
        _write_generated(folder / part / "generated", used)
        if part == "development":
            _write_slices(folder / part / "real_used", used)
            _write_slices(folder / part / "real_not_used", unused)
        else:
            _write_slices(folder / part / "real_unknown", np.random.default_rng(0).permutation([*used, *unused]).tolist())


def operator(folder: Path) -> None:
    """Generated images to be searched, and two suspects: a training image that was copied, and one of nobody."""
    _write_generated(folder / "generated", range(4000, 4000 + _REALS))
    _write_slices(folder / "suspects", [4000, 4999])


def _write_slices(folder: Path, seeds: Iterable[int]) -> None:
    for number, seed in enumerate(seeds):
        _write_png(folder / f"{folder.name}_{number:03d}.png", phantom(seed, SIZE))


def _write_generated(folder: Path, copied: Iterable[int]) -> None:
    """Two thirds of new patients, one third distorted copies, in random order."""
    rng, sources = np.random.default_rng(1), list(copied)
    count = _GENERATED // 3
    pictures = [copy_of(phantom(sources[number % len(sources)], SIZE), 1 + number % 4, rng) for number in range(count)]
    pictures += [phantom(10_000 + number, SIZE) for number in range(_GENERATED - count)]
    for number, which in enumerate(rng.permutation(_GENERATED)):
        _write_png(folder / f"generated_{number:03d}.png", pictures[which])


def _write_png(path: Path, pixels: GreyImage) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _write_dicom(path: Path, pixels: GreyImage, patient: str) -> None:
    import pydicom

    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[str(path)])
    dataset.PatientID, dataset.Modality = patient, "CT"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


USERS: dict[str, Callable[[Path], None]] = {each.__name__: each for each in (steward, challenge, operator)}

if __name__ == "__main__":
    for name, make in USERS.items():
        make(Path(sys.argv[1], name))
