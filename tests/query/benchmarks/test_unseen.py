"""Distortions that training never saw: each does what its name says, and all can be asked for in a benchmark."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.phantoms.slices import phantom
from query.benchmarks.benchmark import BenchmarkSettings, Kind, write_benchmark
from query.benchmarks.unseen import SOURCES, Unseen, compose_unseen
from tests.helpers import loading

PAIR = np.stack([phantom(3), phantom(4)])


def made(kind: Unseen, seed: int = 0) -> NDArray[np.uint8]:
    return compose_unseen(kind, PAIR[: SOURCES[kind][0]], np.random.default_rng(seed))


def tiles(picture: NDArray[np.uint8]) -> list[bytes]:
    return [picture[i : i + 64, j : j + 64].tobytes() for i in range(0, 256, 64) for j in range(0, 256, 64)]


@pytest.mark.parametrize("kind", Unseen)
def test_a_draw_repeats_and_changes_the_picture_but_not_its_sources(kind: Unseen) -> None:
    before = PAIR.copy()
    first = made(kind)
    assert first.shape == (256, 256)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, made(kind))
    np.testing.assert_array_equal(PAIR, before)
    assert np.abs(first.astype(int) - PAIR[0]).mean() > 1
    assert kind is Unseen.LIGHTER or any((first != made(kind, seed)).any() for seed in range(1, 5))


def test_tiles_and_turns_keep_every_pixel() -> None:
    shuffled, own = tiles(made(Unseen.SHUFFLED)), tiles(PAIR[0])
    assert sorted(shuffled) == sorted(own)
    assert sum(a == b for a, b in zip(shuffled, own, strict=True)) >= 12
    assert any((made(Unseen.TURNED) == np.rot90(PAIR[0], turns)).all() for turns in (1, 2, 3))


def test_a_swirl_ends_at_its_border_and_a_hole_too() -> None:
    for kind in (Unseen.SWIRL, Unseen.INPAINTED, Unseen.INLAY):
        same = np.abs(made(kind).astype(int) - PAIR[0]) <= 1
        assert 0.2 < same.mean() < 0.97
        assert same[:, :4].mean() > 0.95


def test_a_piece_set_in_has_the_gradients_of_its_source() -> None:
    host, guest = np.full((256, 256), 90, np.uint8), PAIR[1]
    inlaid = compose_unseen(Unseen.INLAY, np.stack([host, guest]), np.random.default_rng(1)).astype(float)
    inside = cv2.erode((np.abs(inlaid - host) > 0).astype(np.uint8), np.ones((9, 9))) > 0
    across, own = (np.gradient(picture.astype(float))[1][inside] for picture in (inlaid, guest))
    assert np.corrcoef(across, own)[0, 1] > 0.7


def test_tones() -> None:
    assert 3 <= len(np.unique(made(Unseen.POSTERISED))) <= 5
    solarised = made(Unseen.SOLARISED)
    turned = solarised != PAIR[0]
    np.testing.assert_array_equal(solarised[turned], 255 - PAIR[0][turned])
    assert PAIR[0][turned].min() > PAIR[0][~turned & (PAIR[0] != 255 - solarised)].max()
    flat = compose_unseen(Unseen.EDGES, np.full((1, 64, 64), 80, np.uint8), np.random.default_rng(0))
    assert flat.std() == 0  # no edge, nothing drawn


def test_ringing_has_no_high_frequencies() -> None:
    power = np.abs(np.fft.fft2(made(Unseen.RINGING) - 128.0)) ** 2
    high = np.abs(np.fft.fftfreq(256)) > 0.14
    assert power[np.ix_(high, high)].sum() < 1e-3 * power.sum()


def test_two_sources_pixel_by_pixel() -> None:
    np.testing.assert_array_equal(made(Unseen.LIGHTER), PAIR.max(axis=0))
    bands = made(Unseen.INTERLACED)
    first, second = ((bands == source).all(axis=1) for source in PAIR)
    assert (first | second).all()
    assert 0.4 < first.mean() < 0.65


def test_a_benchmark_of_both(tmp_path: Path) -> None:
    settings = BenchmarkSettings(generated=30, used=2, unused=1, kinds=(Kind.CROP, *Unseen), seed=1)
    write_benchmark(tmp_path, settings, workers=1)
    with open(tmp_path / "truth_generated.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["kind"] for row in rows} <= {"crop", *Unseen}
    for row in rows:
        assert row["strength"] in {"1", "2", "3"}
        assert row["kind"] == "crop" or len(row["sources"].split("|")) == SOURCES[Unseen(row["kind"])][0]


def test_words_stand_for_kinds() -> None:
    with loading.script("make_benchmark") as script:
        assert script.kinds_of("all,unseen") == [*Kind, *Unseen]
        assert script.kinds_of("swirl,warp") == ["swirl", "warp"]
    assert not set(Kind) & set(Unseen)
