"""Small files from the field that once came out wrong, and what they show by an independent reading of their standards.

`tests/data/formats/real/X.*` were made for this project, `expected/X.png` what dcmtk or a reader written from the standard shows;
none is of a person.
"""

from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image

from embeddings.images.decode import decode
from embeddings.images.decoding import Decoding
from embeddings.images.find import find
from tests.helpers.places import ROOT

FOLDER = ROOT / "tests" / "data" / "formats"
EXACT = {  # to one grey value; the others are shown with another window, or compressed with loss
    *("control0", "control1", "control2", "control3", "high_bit_15_of_12", "modality_lut_empty_item", "nifti_pair"),
    *("padding_unsigned_vr", "palette_4096_entries_of_8_bits", "palette_8bit_padded_to_16", "palette_big_endian", "sigmoid"),
    *("slope_zero", "voi_lut_in_functional_group", "voi_lut_inverting", "voi_lut_sequence", "without_photometric"),
}
NOTED = {"jpeg_420_labelled_rgb", "modality_lut_empty_item", "slope_zero", "window_decimal_comma", "without_photometric"}


@pytest.mark.parametrize("name", find(FOLDER / "real").files)
def test_files_from_the_field_show_what_they_should(name: str) -> None:
    for package in ("pydicom", "nibabel"):
        pytest.importorskip(package)
    stem = Path(name).name.partition(".")[0]
    (frame,) = decode(FOLDER / "real" / name, Decoding())
    with Image.open(FOLDER / "expected" / f"{stem}.png") as picture:
        expected = np.asarray(picture.convert("L")).astype(int)
    assert np.corrcoef(expected.ravel(), frame.pixels.ravel())[0, 1] > 0.99
    hashes = [imagehash.phash(Image.fromarray(pixels.astype(np.uint8)), 16) for pixels in (expected, frame.pixels)]
    assert hashes[0] - hashes[1] <= 6  # of 256 bits
    if stem in EXACT:
        assert np.abs(expected - frame.pixels).max() <= 1
    assert bool(frame.notes) == (stem in NOTED)


def test_every_picture_has_its_file() -> None:
    stems = {Path(name).name.partition(".")[0] for name in find(FOLDER / "real").files}
    assert stems == {path.stem for path in (FOLDER / "expected").iterdir()}
    assert stems >= EXACT | NOTED
