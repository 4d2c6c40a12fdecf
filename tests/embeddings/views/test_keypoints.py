"""Keypoints: found once for view and matching, kept in a collection in 16 kB an image, without loss."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from embeddings.types import GreyImage
from embeddings.views.keypoints import COUNT, RECORD, SIZE, Keypoints, detected, kept, keypoints, recorded, resized
from indexer.build.build import Settings, build
from tests.helpers.making import noise, slice_of, write_image

MANY = np.random.default_rng(3).integers(0, 256, (96, 128), dtype=np.uint8)
IMAGES = [slice_of(1), slice_of(2)[:100], np.zeros((70, 30), np.uint8), MANY, noise(4, (1, 5))]
VIEWS = {"sift": {"words": 4}}


def same(one: Keypoints, other: Keypoints) -> bool:
    fields = ("picture", "places", "descriptors")
    return one.size == other.size and all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in fields)


def test_what_is_kept_is_what_was_found() -> None:
    seen = [keypoints(image) for image in IMAGES]
    records = recorded(seen)
    assert records.shape == (len(IMAGES), 16384)
    assert records.dtype == np.uint8
    assert all(same(kept(record), each) for record, each in zip(records.view(RECORD)[:, 0], seen, strict=True))
    assert [len(each) for each in seen][2:] == [0, COUNT, 0]
    assert recorded([]).shape == (0, 16384)


@pytest.mark.parametrize("image", [slice_of(1), MANY])
def test_the_strongest_of_all_come_first(image: GreyImage) -> None:
    small = resized(image, SIZE)
    found = detected(small)
    every = cv2.SIFT.create(contrastThreshold=0.01).detect(small, None)
    strongest = sorted((point.response for point in every), reverse=True)[:COUNT]
    assert found.responses.tolist() == pytest.approx(strongest)
    places = keypoints(image).places
    assert np.abs(places - found.places).max() <= 1 / 256


def test_a_picture_is_the_whole_image_made_small() -> None:
    for image in (slice_of(1), MANY):
        expected = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
        assert np.array_equal(keypoints(image).picture, expected)


def test_a_collection_keeps_them_also_when_it_is_brought_up_to_date(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in (0, 1, 2):
        write_image(folder / f"{number}.png", slice_of(number))
    build(tmp_path / "c", folder, settings=Settings(views=VIEWS))
    write_image(folder / "0a.png", slice_of(7))
    (folder / "2.png").unlink()
    changed = build(tmp_path / "c", folder)
    records = changed.records
    assert records is not None
    assert changed.names == ["0.png", "0a.png", "1.png"]
    expected = [keypoints(slice_of(number)) for number in (0, 7, 1)]
    assert all(same(kept(record), each) for record, each in zip(records, expected, strict=True))
    assert changed.check() == []
    again = build(tmp_path / "d", folder, fitted_on=changed)
    assert (again.folder / "sift/keypoints.npy").read_bytes() == (changed.folder / "sift/keypoints.npy").read_bytes()


def test_a_collection_without_them_is_smaller_and_has_the_same_vectors(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in (0, 1, 2):
        write_image(folder / f"{number}.png", slice_of(number))
    one = build(tmp_path / "c", folder, settings=Settings(views=VIEWS))
    other = build(tmp_path / "d", folder, settings=Settings(views={"sift": {"words": 4, "keep": False}}))
    assert other.records is None
    assert not (other.folder / "sift/keypoints.npy").exists()
    assert one.vectors("sift").tobytes() == other.vectors("sift").tobytes()
    one.comparable(other, ["sift"])
