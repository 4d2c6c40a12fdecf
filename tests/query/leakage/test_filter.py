"""The filter: scores and thresholds by hand, folds that do not flatter, decisions on drawn slices, and links all or none."""

import csv
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.phantoms.slices import copy_of
from indexer.build.build import build
from indexer.collection import Collection
from query.inputs.groups import groups_from_table
from query.leakage import filter
from query.leakage.draws import RealGroups
from query.leakage.filter import Link, Release, ReleaseError, Scores
from query.leakage.leakage import LeakageError, closest, nearer
from tests.helpers.formats import npy, png, zipped
from tests.helpers.making import QUICK, noise, slice_of, write_frames, write_image, write_images

RNG = np.random.default_rng(0)


def test_nearer_than_others_by_hand() -> None:
    """Held against the second of the nearest other patients; with one other patient, against that one."""
    distances = np.array([[1, 4, 5, 9], [7, 7, 7, 7], [np.nan, 1, 3, np.nan], [np.nan, 2, np.nan, np.nan]], np.float32)
    found = filter.nearer_than_others(distances, np.arange(4))
    assert found[0].tolist() == [5 - 1, 5 - 4, 4 - 5, 4 - 9]
    assert found[1].tolist() == [0, 0, 0, 0]
    assert found[2].tolist() == [-np.inf, 3 - 1, 1 - 3, -np.inf]
    assert found[3].tolist() == [-np.inf] * 4
    of_two = filter.nearer_than_others(distances[:1], np.array([0, 0, 1, 2]))
    assert of_two[0].tolist() == [9 - 1, 9 - 4, 9 - 5, 5 - 9]


def test_it_is_that_of_a_search_among_other_patients() -> None:
    distances, patients = RNG.normal(10, 2, (30, 40)).astype(np.float32), RNG.integers(0, 9, 40)
    found = filter.nearer_than_others(distances, patients)
    for row, own in enumerate(distances):
        for image in range(40):
            others = sorted(own[patients == other].min() for other in set(patients) - {patients[image]})
            assert found[row, image] == pytest.approx(others[1] - own[image], abs=1e-5)


def test_a_patient_of_ten_counts_like_one_of_one() -> None:
    """Near to a patient of one image, or to one of ten copies of it: the image is as much nearer."""
    others = RNG.normal(10, 1, (20, 30)).astype(np.float32)
    once, often = np.hstack([others, np.full((20, 1), 6)]), np.hstack([others, np.full((20, 10), 6)])
    one = filter.nearer_than_others(once.astype(np.float32), np.arange(31))
    ten = filter.nearer_than_others(often.astype(np.float32), np.append(np.arange(31), [30] * 9))
    assert ten[:, :31] == pytest.approx(one, rel=1e-5)


def test_a_copy_of_an_image_of_two_patients_is_nearer() -> None:
    distances = RNG.normal(10, 1, (1, 50)).astype(np.float32)
    distances[0, :2] = 2
    assert filter.nearer_than_others(distances, np.arange(50))[0, :2].min() > 3


@pytest.mark.parametrize("risk", [0.01, 0.05, 0.2])
def test_at_most_the_share_is_above_the_threshold(risk: float) -> None:
    scores = RNG.normal(size=(1000, 30)).astype(np.float32)
    scores[:, 7] = np.round(scores[:, 7])  # ties
    limit = filter.threshold_for(scores, np.arange(30), np.arange(30), risk, RNG)
    assert risk - 0.002 <= np.mean(scores.max(axis=1) > limit) <= risk


def test_fewer_hold_out_images_stand_for_more() -> None:
    """With n images the maximum of 60 is wanted, from 20: the threshold loses no more than asked, and not much less."""
    held, training = RNG.normal(size=(20_000, 20)).astype(np.float32), RNG.normal(size=(20_000, 60)).astype(np.float32)
    limit = filter.threshold_for(held, np.arange(20), np.arange(60), 0.05, RNG)
    assert 0.04 < np.mean(training.max(axis=1) > limit) < 0.056


def test_more_hold_out_images_are_drawn_down() -> None:
    held, training = RNG.normal(size=(5000, 200)).astype(np.float32), RNG.normal(size=(5000, 40)).astype(np.float32)
    limit = filter.threshold_for(held, np.arange(200), np.arange(40), 0.05, RNG)
    assert np.mean(training.max(axis=1) > limit) == pytest.approx(0.05, abs=0.012)
    assert np.mean(training.max(axis=1) > np.quantile(held.max(axis=1), 0.95)) < 0.02  # as if nothing was drawn


def patients_of(patients: int, images: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scores of 2,000 generated images, alike for the images of a patient."""
    own = np.repeat(RNG.normal(size=(2000, patients)), images, axis=1) + 0.1 * RNG.normal(size=(2000, patients * images))
    return own.astype(np.float32), np.repeat(np.arange(patients), images)


@pytest.mark.parametrize(("training", "hold_out"), [((60, 1), (12, 10)), ((12, 10), (60, 1)), ((6, 10), (100, 1))])
def test_the_risk_is_held_whatever_patients_have(training: tuple[int, int], hold_out: tuple[int, int]) -> None:
    """By images, 12 patients of ten would stand for more than 60 of one, of which some is far more often near."""
    (ours, groups), (theirs, held) = patients_of(*training), patients_of(*hold_out)
    limit = filter.threshold_for(theirs, held, groups, 0.1, RNG)
    assert 0 < np.mean(ours.max(axis=1) > limit) < 0.13


# Folds

GROUPS = RealGroups(np.arange(40) // 2, np.arange(40) // 2 + 20)


def scores(copies: int = 0) -> Scores:
    """Of 400 generated images before 40 + 40 real ones; so many are copies of one training image each, of any likeness."""
    made = RNG.normal(size=(400, 80)).astype(np.float32)
    made[np.arange(copies), RNG.integers(40, size=copies)] += np.linspace(0, 6, copies, dtype=np.float32)
    return Scores(np.arange(400), made[:, :40], made[:, 40:])


def share_nearer(found: Scores, training: NDArray[np.int64], hold_out: NDArray[np.int64], kept: NDArray[np.int64]) -> float:
    return nearer(closest(-found.training[np.ix_(kept, training)]), closest(-found.hold_out[np.ix_(kept, hold_out)]))


def test_folds_hold_every_real_image_once_and_no_group_twice() -> None:
    parts = filter.folds(scores(), GROUPS, 0.1)
    assert sorted(np.concatenate([part.training for part in parts])) == list(range(40))
    assert sorted(np.concatenate([part.hold_out for part in parts])) == list(range(40))
    assert not set(GROUPS.training[parts[0].training]) & set(GROUPS.training[parts[1].training])
    assert not set(GROUPS.hold_out[parts[0].hold_out]) & set(GROUPS.hold_out[parts[1].hold_out])


def test_the_images_that_judge_did_not_choose() -> None:
    """Other scores of a fold's own hold-out images, but for what they withhold, change nothing in it."""
    found = scores()
    first = filter.folds(found, GROUPS, 0.1)[0]
    lower = found.hold_out.copy()
    lower[:, first.hold_out] = -9
    again = filter.folds(Scores(found.rows, found.training, lower), GROUPS, 0.1)[0]
    gone = np.setdiff1d(again.generated, first.generated)
    assert set(first.generated) < set(again.generated)
    limit = found.hold_out[np.ix_(first.generated, first.hold_out)].max()
    assert found.hold_out[np.ix_(gone, first.hold_out)].max(axis=1).min() > limit


def test_where_nothing_was_copied_folds_find_nothing_and_a_filter_alone_would_mislead() -> None:
    shares, naive = [], []
    for _ in range(30):
        found = scores()
        for part in filter.folds(found, GROUPS, 0.3):
            shares.append(share_nearer(found, part.training, part.hold_out, part.generated))
            limit = found.training.max(axis=1) <= np.quantile(found.hold_out.max(axis=1), 0.7)
            naive.append(share_nearer(found, part.training, part.hold_out, np.flatnonzero(limit)))
    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)
    assert np.mean(naive) < 0.45


def test_copies_that_the_filter_misses_show() -> None:
    shares = []
    for _ in range(10):
        found = scores(copies=400)
        shares += [share_nearer(found, p.training, p.hold_out, p.generated) for p in filter.folds(found, GROUPS, 0.001)]
    assert np.mean(shares) > 0.55


def test_too_few_groups_cannot_judge() -> None:
    with pytest.raises(LeakageError, match="at least 2 of each"):
        filter.folds(scores(), RealGroups(np.zeros(40, int), GROUPS.hold_out), 0.1)


# Decisions on drawn slices


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Collection]:
    """60 generated slices: the first 20 copies of training images, the rest of their own; and one blank image."""
    folder = tmp_path_factory.mktemp("world")
    for name, seeds in (("training", range(100, 124)), ("hold_out", range(200, 224)), ("generated", range(300, 360))):
        write_images(folder / name, seeds)
    for number in range(20):
        made = copy_of(slice_of(100 + number), 1, np.random.default_rng(number))
        write_image(folder / "generated" / f"{300 + number}.png", made)
    write_image(folder / "generated" / "blank.png", np.zeros((64, 64), np.uint8))
    generated = build(folder / "g", folder / "generated", settings=QUICK)
    return {"generated": generated} | {
        name: build(folder / name[0], folder / name, fitted_on=generated) for name in ("training", "hold_out")
    }


def sorted_out(world: dict[str, Collection], risk: float) -> Release:
    return filter.sort_out(world["generated"], world["training"], world["hold_out"], risk=risk)


@pytest.fixture(scope="module")
def made(world: dict[str, Collection]) -> Release:
    return sorted_out(world, 0.05)


def test_copies_are_withheld_and_others_kept(made: Release) -> None:
    assert made.names[:3] == ["300.png", "301.png", "302.png"]
    assert made.withheld[:20].mean() >= 0.9
    assert made.withheld[20:60].mean() <= 0.2
    right = [near == f"{100 + number}.png" for number, near in enumerate(made.nearest[:20])]
    assert np.mean(right) >= 0.9
    assert made.calibrated


def test_a_blank_image_is_withheld(made: Release) -> None:
    assert made.names[60] == "blank.png"
    assert made.withheld[60]
    assert np.isnan(made.score[60])
    assert made.blank == 1


def test_blank_images_alone_cannot_be_judged(world: dict[str, Collection], tmp_path: Path) -> None:
    write_image(tmp_path / "blank.png", np.zeros((64, 64), np.uint8))
    blank = build(tmp_path / "c", tmp_path / "blank.png", fitted_on=world["generated"])
    with pytest.raises(LeakageError, match="every generated image is blank"):
        filter.sort_out(blank, world["training"], world["hold_out"])


def test_a_greater_risk_withholds_more(world: dict[str, Collection], made: Release) -> None:
    more = sorted_out(world, 0.3)
    assert more.threshold < made.threshold
    assert set(np.flatnonzero(made.withheld)) < set(np.flatnonzero(more.withheld))


def test_leakage_before_and_after(made: Release) -> None:
    found = made.as_dict()
    assert found["kept"] + found["withheld"] == found["generated"] == 61
    before, after = (found["leakage"][key]["views"]["combined"]["memorised_excess"]["value"] for key in ("before", "after"))
    assert before > 0.1 > after


def test_without_hold_out_images_it_is_uncalibrated(world: dict[str, Collection]) -> None:
    found = filter.sort_out_alone(world["generated"], world["training"], risk=0.05)
    assert not found.calibrated
    assert found.before is None
    assert found.withheld[:20].mean() > 0.5 > 0.2 > found.withheld[20:60].mean()
    with pytest.raises(ReleaseError, match="at least 3 groups"):
        filter.sort_out_alone(
            world["generated"], world["training"], groups=groups_from_table(dict.fromkeys(world["training"].names, "one patient"))
        )


@pytest.mark.parametrize("risk", [0, 1, -0.1, float("nan")])
def test_a_risk_is_a_share(world: dict[str, Collection], risk: float) -> None:
    with pytest.raises(ReleaseError, match="between 0 and 1"):
        sorted_out(world, risk)


# Lists and links


def test_the_list_names_every_image_and_is_the_owners(made: Release, tmp_path: Path) -> None:
    filter.write_list(made, tmp_path / "list.csv")
    assert stat.S_IMODE((tmp_path / "list.csv").stat().st_mode) == 0o600
    with open(tmp_path / "list.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["generated"] for row in rows] == list(made.names)
    assert [row["decision"] == "withhold" for row in rows] == made.withheld.tolist()
    scored = [row for row in rows if row["score"]]
    assert len(scored) == 60
    assert all((float(row["score"]) > float(row["threshold"])) == (row["decision"] == "withhold") for row in scored)


def kept_names(made: Release) -> set[str]:
    return {name for name, withheld in zip(made.names, made.withheld, strict=True) if not withheld}


@pytest.mark.parametrize("kind", list(Link))
def test_links_of_what_is_kept_and_nothing_else(made: Release, world: dict[str, Collection], tmp_path: Path, kind: Link) -> None:
    assert filter.link_kept(made, world["generated"], tmp_path / "out", kind) == len(kept_names(made))
    assert {path.name for path in (tmp_path / "out").iterdir()} == kept_names(made)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    for path in (tmp_path / "out").iterdir():
        source = Path(world["generated"].manifest.source, path.name)
        assert path.is_symlink() == (kind is Link.SYMBOLIC)
        assert path.samefile(source)


@pytest.mark.parametrize("what", ["full", "file", "link", "orphan"])
def test_a_folder_that_is_not_new_is_left_alone(made: Release, world: dict[str, Collection], tmp_path: Path, what: str) -> None:
    out = tmp_path / "out"
    if what == "full":
        write_images(out, [1])
    elif what == "file":
        out.write_text("mine")
    elif what == "link":
        out.symlink_to(tmp_path)
    else:
        out = tmp_path / "none" / "out"
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ReleaseError, match="out"):
        filter.link_kept(made, world["generated"], out, Link.SYMBOLIC)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_is_taken(made: Release, world: dict[str, Collection], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert filter.link_kept(made, world["generated"], tmp_path / "out", Link.SYMBOLIC) == len(list((tmp_path / "out").iterdir()))


def decided(names: list[str], withheld: list[bool]) -> Release:
    many = len(names)
    return Release(names, np.array(withheld), np.zeros(many), 1.0, ["t"] * many, np.zeros(many), 0.01)


@pytest.fixture
def frames(tmp_path: Path) -> Collection:
    """Files in a folder and below; one of two frames, and one that cannot be read."""
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    write_frames(folder / "many.tif", [noise(2), noise(3)])
    write_image(folder / "sub" / "one.png", noise(4))
    (folder / "bad.png").write_bytes(b"no image")
    return build(tmp_path / "c", folder, settings=QUICK)


@pytest.mark.parametrize(
    ("withheld", "kept"),
    [([False] * 3, ["many.tif", "sub/one.png"]), ([False, True, False], ["sub/one.png"]), ([True] * 3, [])],
)
def test_a_file_is_kept_if_all_its_frames_are(frames: Collection, tmp_path: Path, withheld: list[bool], kept: list[str]) -> None:
    assert frames.names == ["many.tif#0", "many.tif#1", "sub/one.png"]
    filter.link_kept(decided(frames.names, withheld), frames, tmp_path / "out", Link.HARD)
    found = [path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert sorted(found) == kept


def test_a_file_that_has_changed_stops_everything(frames: Collection, tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "sub" / "one.png", noise(5))
    with pytest.raises(ReleaseError, match=r"one\.png is not the file any more that was indexed"):
        filter.link_kept(decided(frames.names, [False] * 3), frames, tmp_path / "out", Link.SYMBOLIC)
    assert sorted(os.listdir(tmp_path)) == ["c", "images"]


@pytest.mark.parametrize(
    ("name", "content"), [("a.zip", zipped({"b.png": png(noise(1))})), ("a.npy", npy(noise(1)))], ids=["archive", "array"]
)
def test_what_is_no_file_by_itself_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / name).write_bytes(content)
    made = build(tmp_path / "c", tmp_path / "images", settings=QUICK)
    with pytest.raises(ReleaseError, match="no file by itself"):
        filter.link_kept(decided(made.names, [False]), made, tmp_path / "out", Link.SYMBOLIC)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", list(Link))
def test_names_that_are_no_utf8_are_linked_too(kind: Link, tmp_path: Path) -> None:
    (tmp_path / "images" / "sub").mkdir(parents=True)
    odd = os.fsdecode(b"\xff\xfe.png")
    for number, name in enumerate((odd, "sub/" + odd, "plain.png")):
        write_image(tmp_path / "images" / name, slice_of(number))
    made = build(tmp_path / "c", tmp_path / "images", settings=QUICK)
    assert filter.link_kept(decided(made.names, [False] * 3), made, tmp_path / "out", kind) == 3
    linked = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert linked == sorted([odd, f"sub/{odd}", "plain.png"])
    assert all(
        path.read_bytes() == (tmp_path / "images" / path.relative_to(tmp_path / "out")).read_bytes()
        for path in (tmp_path / "out").rglob("*.png")
    )


@pytest.mark.parametrize("kind", list(Link))
def test_both_files_of_a_pair_are_linked(kind: Link, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    (tmp_path / "images").mkdir()
    nibabel.save(nibabel.Nifti1Pair(slice_of(0).astype(np.int16)[:, :, None], np.eye(4)), tmp_path / "images" / "a.hdr")
    made = build(tmp_path / "c", tmp_path / "images", settings=QUICK)
    assert made.names == ["a.hdr"]
    assert filter.link_kept(decided(made.names, [False]), made, tmp_path / "out", kind) == 1
    for name in ("a.hdr", "a.img"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "images" / name).read_bytes()
