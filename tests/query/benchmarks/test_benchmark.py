"""What the truth files say is what lies in the folders."""

import re
from collections.abc import Iterable
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.files.spreadsheet import read_rows
from embeddings.images.errors import NoImages
from embeddings.phantoms.slices import phantom
from embeddings.types import GreyImage
from query.benchmarks.benchmark import (
    DEFAULT_KINDS,
    BenchmarkError,
    BenchmarkSettings,
    Kind,
    Progress,
    Slice,
    compose,
    folder_slices,
    procedural_slices,
    write_benchmark,
)


def write(out: Path, *, slices: list[Slice] | None = None, progress: Progress | None = None, **settings: Any) -> None:
    write_benchmark(out, BenchmarkSettings(**settings), slices=slices, progress=progress, workers=1)


SOURCES = {"warp": [1], "blend": [2], "eigen": [0], "mirror": [1], "crop": [1], "regions": [2, 3], "texture": [2], "three": [3]}


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as handle:
        return list(read_rows(handle))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def small(path: Path) -> NDArray[np.float64]:
    """A standardised 32x32 version, read anew from disk."""
    pixels = read_grey(path)
    assert pixels.shape == (256, 256)
    flat = cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA).ravel().astype(np.float64)
    return np.asarray((flat - flat.mean()) / np.linalg.norm(flat - flat.mean()), np.float64)


def read_grey(path: Path) -> GreyImage:
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None
    return np.asarray(pixels, np.uint8)


def grouped(groups: int, members: int) -> list[Slice]:
    return [Slice(f"{g}_{m}", f"group{g}", partial(phantom, 10 * g + m)) for g in range(groups) for m in range(members)]


def test_counts_and_names(tmp_path: Path) -> None:
    write(tmp_path, generated=30, used=6, unused=5, hidden=4, seed=1)
    generated, real = rows(tmp_path / "truth_generated.csv"), rows(tmp_path / "truth_real.csv")
    assert [r["generated"] for r in generated] == [f"generated_{i:05d}.png" for i in range(1, 31)]
    assert [r["real"] for r in real] == [f"real_unknown_{i:04d}.png" for i in range(1, 12)]
    assert sorted(p.name for p in (tmp_path / "generated").iterdir()) == [r["generated"] for r in generated]
    assert sorted(p.name for p in (tmp_path / "real").iterdir()) == [r["real"] for r in real]
    assert [r["used"] for r in real].count("1") == 6
    assert len({r["source"] for r in real}) == 11
    sources = {"warp": 1, "blend": 2, "eigen": 0}
    for r in generated:
        assert len(r["sources"].split("|") if r["sources"] else []) == sources[r["kind"]]
        assert int(r["strength"]) in {"warp": range(1, 6), "blend": range(1, 4), "eigen": [0]}[r["kind"]]
    assert {r["kind"] for r in generated} == set(sources)


def test_descendants_are_counted_and_only_used_images_have_any(tmp_path: Path) -> None:
    write(tmp_path, generated=40, used=4, unused=4, hidden=2, kinds=("warp", "blend"))
    named = [name for r in rows(tmp_path / "truth_generated.csv") for name in r["sources"].split("|")]
    for r in rows(tmp_path / "truth_real.csv"):
        assert int(r["descendants"]) == named.count(r["real"])
        assert r["used"] == "1" or r["descendants"] == "0"
    assert "-" in named  # hidden sources have no name


def test_all_sources_hidden(tmp_path: Path) -> None:
    write(tmp_path, generated=10, used=3, unused=3, hidden=3, copied=0, kinds=("warp",))
    assert {r["sources"] for r in rows(tmp_path / "truth_generated.csv")} == {"-"}


def test_only_the_copied_share_is_copied(tmp_path: Path) -> None:
    write(tmp_path, generated=60, used=10, unused=1, copied=0.3, kinds=("warp",))
    assert sum(r["descendants"] != "0" for r in rows(tmp_path / "truth_real.csv")) == 3


def test_faint_copies_look_most_like_their_source(tmp_path: Path) -> None:
    write(tmp_path, generated=60, used=8, unused=8, kinds=("warp",), seed=2)
    real = {p.name: small(p) for p in (tmp_path / "real").iterdir()}
    faint = [r for r in rows(tmp_path / "truth_generated.csv") if r["strength"] == "1"]
    assert len(faint) >= 5
    for r in faint:
        image = small(tmp_path / "generated" / r["generated"])
        assert max(real, key=lambda name: real[name] @ image) == r["sources"]


def test_faint_blends_are_explained_best_by_their_two_sources(tmp_path: Path) -> None:
    write(tmp_path, generated=40, used=5, unused=4, kinds=("blend",), seed=3)
    real = {p.name: small(p) for p in (tmp_path / "real").iterdir()}
    faint = [r for r in rows(tmp_path / "truth_generated.csv") if r["strength"] == "1"]
    assert len(faint) >= 5
    right = 0
    for r in faint:
        image = small(tmp_path / "generated" / r["generated"])

        def unexplained(pair: Iterable[str], image: NDArray[np.float64] = image) -> float:
            return float(np.linalg.lstsq(np.stack([real[n] for n in pair], 1), image)[1][0])

        right += set(min(combinations(real, 2), key=unexplained)) == set(r["sources"].split("|"))
    assert right >= 0.9 * len(faint)


def test_eigen_images_are_spread_around_the_mean_of_the_training_images(tmp_path: Path) -> None:
    write(tmp_path, generated=30, used=20, unused=2, kinds=("eigen",))
    used = {r["real"] for r in rows(tmp_path / "truth_real.csv") if r["used"] == "1"}

    def mean(paths: list[Path]) -> NDArray[np.float64]:
        return np.asarray(np.mean([read_grey(path) for path in paths], axis=0), np.float64)

    made = mean(list((tmp_path / "generated").iterdir()))
    trained = mean([tmp_path / "real" / name for name in used])
    assert np.corrcoef(made.ravel(), trained.ravel())[0, 1] > 0.95


def test_groups_fall_on_one_side(tmp_path: Path) -> None:
    write(tmp_path, slices=grouped(8, 4), generated=4, used=11, unused=10, hidden=3, kinds=("warp",))
    sides: dict[str, set[str]] = {}
    real = rows(tmp_path / "truth_real.csv")
    for r in real:
        assert r["group"] == "group" + r["source"].split("_")[0]
        sides.setdefault(r["group"], set()).add(r["used"])
    assert all(len(side) == 1 for side in sides.values())
    assert len(real) == 21


def test_siblings_are_neighbours_of_one_group_of_which_one_was_used(tmp_path: Path) -> None:
    slices = [*grouped(12, 4), Slice("alone", "group_of_one", partial(phantom, 999))]
    seen: dict[str, set[int]] = {"used": set(), "place": set()}
    for seed in range(3):
        out = tmp_path / str(seed)
        write(out, slices=slices[::-1], siblings=True, generated=30, used=10, unused=10, seed=seed)
        groups: dict[str, list[dict[str, str]]] = {}
        for r in rows(out / "truth_real.csv"):
            assert r["group"] == "group" + r["source"].split("_")[0]
            assert r["used"] == "1" or r["descendants"] == "0"
            groups.setdefault(r["group"], []).append(r)
        assert len(groups) == 10
        for pair in groups.values():
            (a, used_a), (b, used_b) = sorted((int(r["source"].split("_")[1]), int(r["used"])) for r in pair)
            assert (b - a, used_a + used_b) == (1, 1)
            seen["used"].add(used_a)
            seen["place"].add(a)
        made = rows(out / "truth_generated.csv")
        assert {r["kind"] for r in made} == {"warp"}
        assert {r["sources"] for r in made} <= {r["real"] for pair in groups.values() for r in pair if r["used"] == "1"}
    assert seen == {"used": {0, 1}, "place": {0, 1, 2}}


def test_procedural_siblings_are_two_slices_of_a_patient(tmp_path: Path) -> None:
    write(tmp_path, siblings=True, generated=4, used=5, unused=5, kinds=("mirror",))
    real = rows(tmp_path / "truth_real.csv")
    for r in real:
        number = int(r["source"].split("_")[1])
        expected = phantom(number, sibling=int(r["source"].endswith("_sibling")))
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / "real" / r["real"]), cv2.IMREAD_GRAYSCALE), expected)
    assert sorted(r["group"] for r in real if r["used"] == "1") == sorted(r["group"] for r in real if r["used"] == "0")
    assert {r["kind"] for r in rows(tmp_path / "truth_generated.csv")} == {"mirror"}
    write(tmp_path / "again", siblings=True, generated=0, used=5, unused=5, excluded={r["group"] for r in real})
    assert not {r["group"] for r in rows(tmp_path / "again" / "truth_real.csv")} & {r["group"] for r in real}


def test_excluded_names_and_groups_stay_out(tmp_path: Path) -> None:
    for seed in range(5):
        out = tmp_path / str(seed)
        write(out, slices=grouped(6, 2), generated=0, used=4, unused=3, excluded={"group1", "3_0"}, seed=seed)
        shown = {r["source"] for r in rows(out / "truth_real.csv")}
        assert not shown & {"1_0", "1_1", "3_0"}
        assert len(shown) == 7


def test_excluded_phantoms_are_replaced_by_others(tmp_path: Path) -> None:
    write(tmp_path / "a", generated=0, used=3, unused=3)
    first = {r["source"] for r in rows(tmp_path / "a" / "truth_real.csv")}
    write(tmp_path / "b", generated=0, used=3, unused=3, excluded=first)
    second = {r["source"] for r in rows(tmp_path / "b" / "truth_real.csv")}
    assert len(second) == 6
    assert not first & second


def test_same_arguments_same_files_with_any_number_of_workers(tmp_path: Path) -> None:
    for name, workers in (("a", 1), ("b", 2)):
        write_benchmark(tmp_path / name, BenchmarkSettings(generated=40, used=5, unused=4, hidden=2, seed=4), workers=workers)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    write(tmp_path / "c", generated=40, used=5, unused=4, hidden=2, seed=5)
    assert contents(tmp_path / "c") != contents(tmp_path / "a")


def test_real_images_are_the_slices_themselves(tmp_path: Path) -> None:
    write(tmp_path, slices=grouped(4, 1), generated=0, used=2, unused=2)
    for r in rows(tmp_path / "truth_real.csv"):
        expected = phantom(10 * int(r["source"].split("_")[0]))
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / "real" / r["real"]), cv2.IMREAD_GRAYSCALE), expected)


def test_seeds_share_no_phantoms() -> None:
    assert not {s.name for s in procedural_slices(50, 0)} & {s.name for s in procedural_slices(50, 1)}


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write(tmp_path, generated=130, used=2, unused=1, kinds=("warp",), progress=lambda done, total: told.append((done, total)))
    assert told == [(100, 130), (130, 130)]


def test_folders_are_for_their_owner_only(tmp_path: Path) -> None:
    write(tmp_path / "new", generated=1, used=2, unused=1)
    for folder in ("new", "new/real", "new/generated"):
        assert (tmp_path / folder).stat().st_mode & 0o077 == 0


def test_folder_slices_take_paths_groups_and_the_middle_square(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    wide = np.zeros((100, 300), np.uint8)
    wide[:, 100:200] = 200
    cv2.imwrite(str(tmp_path / "a.png"), wide)
    cv2.imwrite(str(tmp_path / "sub" / "b.png"), phantom(1))
    slices = folder_slices(tmp_path, {"a.png": "g1", "b.png": "g2"})
    assert [(s.name, s.group) for s in slices] == [("a.png", "g1"), ("sub/b.png", "g2")]
    np.testing.assert_array_equal(slices[0].load(), np.full((256, 256), 200))
    np.testing.assert_array_equal(slices[1].load(), phantom(1))
    assert folder_slices(tmp_path, {"sub/b.png": "by path", "b.png": "by name"})[1].group == "by path"
    assert folder_slices(tmp_path, {})[1].group == "sub/b.png"


def test_a_bad_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.png").write_bytes(b"nothing of an image")
    with pytest.raises(BenchmarkError, match=r"bad\.png: "):
        write(tmp_path / "out", slices=folder_slices(tmp_path / "in", {}), generated=0, used=1, unused=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoImages):
        folder_slices(tmp_path / "empty", {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"generated": -1}, "generated must not be negative, got -1"),
        ({"used": -2}, "used must not be negative, got -2"),
        ({"seed": -3}, "seed must not be negative, got -3"),
        ({"copied": 1.5}, "copied must be a share from 0 to 1, got 1.5"),
        ({"copied": float("nan")}, "copied must be a share"),
        ({"kinds": ("warp", "morph")}, "unknown kind 'morph'; there are warp, blend, eigen"),
        ({"copied": 0.0, "kinds": ("warp",)}, "'warp' needs at least 1"),
        ({"used": 1, "kinds": ("blend",)}, "'blend' needs at least 2"),
        ({"used": 1, "kinds": ("eigen",)}, "'eigen' needs at least 2"),
        ({"used": 2, "kinds": ("regions",)}, "'regions' needs at least 3"),
        ({"used": 2, "kinds": ("three",)}, "'three' needs at least 3"),
        ({"used": 1, "kinds": ("texture",)}, "'texture' needs at least 2"),
        ({"siblings": True}, "as many unused as used images, and none hidden; got used 3, unused 1, hidden 0"),
        ({"siblings": True, "unused": 3, "hidden": 2}, "got used 3, unused 3, hidden 2"),
        ({"siblings": True, "unused": 3, "slices": grouped(9, 1)}, "only 0 of 3 groups of two images or more"),
        ({"siblings": True, "unused": 3, "slices": grouped(3, 2), "excluded": {"1_0"}}, "only 2 of 3 groups"),
        ({"slices": grouped(2, 2), "used": 9}, "of 9 images for 'used'"),
    ],
)
def test_bad_arguments_are_told_before_anything_is_written(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchmarkError, match=re.escape(message)):
        write(tmp_path / "out", **{"generated": 5, "used": 3, "unused": 1, **arguments})
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(BenchmarkError, match="not an empty folder"):
        write(tmp_path, generated=1, used=2, unused=1)
    assert contents(tmp_path) == {"mine.txt": b"keep"}


def test_kinds_are_named_in_one_place() -> None:
    assert list(Kind) == ["warp", "blend", "eigen", "mirror", "crop", "regions", "texture", "three"]
    assert list(DEFAULT_KINDS) == ["warp", "blend", "eigen"]  # figures stay comparable with earlier ones


def composed(kind: Kind, seed: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Sources and what becomes of them."""
    sources = np.stack([phantom(100 * seed + n) for n in range(count)])
    return sources, compose(kind, sources, np.random.default_rng(seed))


def correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def weights_in(image: NDArray[np.uint8], sources: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Least squares: how much of each source is in the image."""
    flat = sources.reshape(len(sources), -1).T.astype(np.float64)
    return np.asarray(np.linalg.lstsq(flat, image.ravel().astype(np.float64))[0])


@pytest.mark.parametrize(("kind", "count"), [(k, n) for k in Kind for n in SOURCES[k] if n])
def test_composed_images(kind: Kind, count: int) -> None:
    sources, image = composed(kind, 3, count)
    before = sources.copy()
    assert image.shape == (256, 256)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(sources, before)
    np.testing.assert_array_equal(image, composed(kind, 3, count)[1])


def test_a_mirrored_copy_shows_its_source_flipped(tmp_path: Path) -> None:
    write(tmp_path, generated=20, used=6, unused=2, kinds=("mirror",), seed=2)
    nearer = 0
    for r in rows(tmp_path / "truth_generated.csv"):
        image = small(tmp_path / "generated" / r["generated"])
        source = small(tmp_path / "real" / r["sources"])
        nearer += int(image @ source.reshape(32, 32)[:, ::-1].ravel() > image @ source)
    assert nearer >= 19


def test_a_crop_is_a_window_of_its_source_or_its_source_in_a_window() -> None:
    """Measured on a ramp, where grey tells the place; the middle belongs to the source in any case."""
    grey = np.linspace(55, 255, 256)
    ramp = np.broadcast_to(np.rint(grey).astype(np.uint8), (1, 256, 256))
    images = [compose(Kind.CROP, ramp, np.random.default_rng(seed)) for seed in range(60)]
    spans = [(grey[1] - grey[0]) / np.polyfit(np.arange(80, 176), image[128, 80:176], 1)[0] for image in images]
    black = sum((image == 0).any() for image in images)
    enlarged, shrunk = [s for s in spans if s > 1], [s for s in spans if s < 1]
    assert min(len(enlarged), len(shrunk)) > 15
    assert 1 / 0.95 - 0.02 < min(enlarged) < max(enlarged) < 1 / 0.70 + 0.02
    assert 0.70 - 0.02 < min(shrunk) < max(shrunk) < 0.95 + 0.02
    assert 0 < black < len(shrunk)


@pytest.mark.parametrize("count", [2, 3])
def test_regions_have_a_fifth_of_the_area_each_and_the_largest_comes_first(count: int) -> None:
    alone = np.zeros((count, count, 256, 256), np.uint8)
    alone[range(count), range(count)] = 255  # with all sources but one black the image shows that one's region
    for seed in range(50):
        regions = np.stack([compose(Kind.REGIONS, sources, np.random.default_rng(seed)) for sources in alone]) / 255
        np.testing.assert_allclose(regions.sum(axis=0), 1, atol=0.01)
        areas = regions.mean(axis=(1, 2))
        assert areas.min() >= 0.2
        assert (np.diff(areas) <= 0.005).all()
        assert 0.5 < ((regions < 0.01) | (regions > 0.99)).all(axis=0).mean() < 0.99  # soft borders, not everywhere
        owner = regions.argmax(axis=0)
        assert (owner[:, 1:] != owner[:, :-1]).sum(axis=1).mean() < 8  # large areas, no speckles


def test_texture_takes_low_frequencies_from_the_first_and_high_ones_from_the_second() -> None:
    for seed in range(10):
        (anatomy, other), image = composed(Kind.TEXTURE, seed, 2)

        def low(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.asarray(cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), 12))

        def high(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.asarray(pixels - cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), 2), np.float32)

        assert correlation(low(image), low(anatomy)) > max(0.9, correlation(low(image), low(other)))
        assert correlation(high(image), high(other)) > max(0.6, correlation(high(image), high(anatomy)))


def test_each_of_three_has_a_fifth_of_the_weight() -> None:
    for seed in range(20):
        sources, image = composed(Kind.THREE, seed, 3)
        weights = weights_in(image, sources)
        assert weights.min() > 0.195
        assert weights.sum() == pytest.approx(1, abs=0.01)


def test_all_kinds_have_their_number_of_sources(tmp_path: Path) -> None:
    write(tmp_path, generated=120, used=5, unused=1, hidden=1, kinds=tuple(Kind), seed=4)
    counts: dict[str, set[int]] = {}
    for r in rows(tmp_path / "truth_generated.csv"):
        counts.setdefault(r["kind"], set()).add(len(r["sources"].split("|")) if r["sources"] else 0)
        assert int(r["strength"]) in {"warp": range(1, 6), "eigen": [0]}.get(r["kind"], range(1, 4))
    assert counts == {kind: set(SOURCES[kind]) for kind in Kind}


def test_more_kinds_are_the_same_with_any_number_of_workers(tmp_path: Path) -> None:
    for name, workers in (("a", 1), ("b", 2)):
        write_benchmark(tmp_path / name, BenchmarkSettings(generated=40, used=5, unused=1, kinds=tuple(Kind)), workers=workers)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
