"""Making collections: resumed, brought up to date, honest about every file, equal whatever happened on the way."""

import errno
import gc
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embeddings.files.writing import FullDisk
from embeddings.images.decode import decode_all
from embeddings.images.decoding import Decoding, Frame
from embeddings.images.errors import NoImages, Truncated
from embeddings.images.orientation import Orientation
from embeddings.images.workers import Decoded, Request
from embeddings.phantoms.slices import copy_of
from embeddings.views.whitening import MIN_SAMPLE
from indexer.build import build, commit, files, parts
from indexer.build.build import Settings
from indexer.collection import Collection
from indexer.files import LOCK, Locked, hashed
from indexer.manifest import CollectionError
from indexer.salt import VARIABLE
from indexer.types import IndexSpec
from tests.helpers.dicoms import dicom
from tests.helpers.formats import png, zipped
from tests.helpers.making import QUICK, noise, slice_of, tree, write_frames, write_image, write_images
from tests.helpers.places import ROOT

PHASH = Settings(views={"phash": {}})
COUNT = 24  # images of `finished`: too few to whiten, for speed
SALT = "salt of these tests, and long"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: SALT}


def index(folder: Path, *inputs: Path, **options: Any) -> Collection:
    return build.build(folder, *inputs, device="cpu", **options)


def refit(folder: Path, *inputs: Path, **options: Any) -> Collection:
    return build.refit(folder, *inputs, device="cpu", **options)


def rows_by_name(made: Collection, view: str) -> dict[str, bytes]:
    return {name: vector.tobytes() for name, vector in zip(made.names, made.vectors(view), strict=True)}


def errors(made: Collection) -> dict[str, str]:
    return {row["path"]: row["error"] for row in made.table.to_pylist() if row["status"] == "error"}


@pytest.fixture(scope="module", autouse=True)
def same_salt() -> Iterator[None]:
    """Collections are compared byte for byte, and each would get a random salt of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, SALT)
        yield


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of ten images."""
    write_images(tmp_path / "images", range(10))
    return tmp_path / "images"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file is decoded."""
    counts: Counter[str] = Counter()

    def counting(requests: Sequence[Request]) -> Generator[Decoded, None, None]:
        counts.update(Path(str(request.source)).name for request in requests)
        return decode_all(requests)

    monkeypatch.setattr(build, "decode_all", counting)
    return counts


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of `COUNT` images and two bad files, and its finished collection: copy before changing."""
    folder = tmp_path_factory.mktemp("finished")
    write_images(folder / "images", range(COUNT))
    (folder / "images" / "bad.png").write_bytes(b"no image")
    (folder / "images" / "empty.jpg").touch()
    index(folder / "collection", folder / "images", settings=QUICK)
    return folder / "images", folder / "collection"


@pytest.fixture
def copied(finished: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Both of `finished`, to be changed."""
    images, made = (Path(shutil.copytree(path, tmp_path / path.name)) for path in finished)
    index(made, images)  # the images lie elsewhere now
    return images, made


# What is in a collection


@pytest.mark.parametrize("view", QUICK.views)
def test_planted_copies_are_found(view: str, finished: tuple[Path, Path]) -> None:
    made = Collection(finished[1])
    rng = np.random.default_rng(0)
    seeds = range(0, COUNT, 5)
    queries = made.embed(view, [copy_of(slice_of(seed), 1, rng) for seed in seeds])
    found = [made.names[row] for row in made.nearest(view, queries.vectors, 1).rows[:, 0]]
    assert found == [f"{seed:03d}.png" for seed in seeds]


@pytest.mark.parametrize("view", QUICK.views)
@pytest.mark.parametrize(("count", "sample_size"), [(10, 5), (MIN_SAMPLE + 10, MIN_SAMPLE)], ids=["plain", "whitened"])
def test_vectors_are_those_of_the_images(view: str, count: int, sample_size: int, tmp_path: Path) -> None:
    """Decoded, batched and kept on several ways, they are bit for bit what the view makes of the pixels."""
    write_images(tmp_path / "images", range(count))
    made = index(tmp_path / "c", tmp_path / "images", settings=replace(QUICK, sample_size=sample_size))
    embedder = made.embedder(view)
    expected = embedder.embed([slice_of(seed) for seed in range(count)])
    assert np.array_equal(made.vectors(view), expected.vectors)
    assert np.array_equal(made.blank(view), expected.blank)
    assert made.spec(view).fingerprint == embedder.spec.fingerprint


def test_every_file_has_a_row(finished: tuple[Path, Path]) -> None:
    made = Collection(finished[1])
    rows = made.table.to_pylist()
    assert [row["path"] for row in rows] == sorted(path.name for path in finished[0].iterdir())
    good = [row for row in rows if row["status"] == "ok"]
    assert [row["row"] for row in good] == list(range(COUNT))
    assert {(row["width"], row["height"], row["mode"], row["frame"], row["error"]) for row in good} == {(64, 64, "L", 0, None)}
    bad = [row for row in rows if row["status"] == "error"]
    assert [(row["path"], row["row"], row["bytes"]) for row in bad] == [("bad.png", None, 8), ("empty.jpg", None, 0)]
    assert all(row["error"] and len(row["sha256"]) == 64 for row in bad)
    assert (made.manifest.images, made.manifest.failed) == (len(made), 2) == (COUNT, 2)


def test_everything_is_for_the_owner_only_and_nothing_is_left_over(finished: tuple[Path, Path]) -> None:
    found = {name: mode for name, (mode, _) in tree(finished[1]).items()}
    names = [f"{view}/{name}" for view in QUICK.views for name in ("index.faiss", "learned.safetensors", "vectors.npy")]
    names.append("sift/keypoints.npy")
    assert sorted(found) == sorted([LOCK, "images.parquet", "manifest.json", "salt", *QUICK.views, *names])
    assert all(mode == (0o700 if name in QUICK.views else 0o600) for name, mode in found.items())
    assert finished[1].stat().st_mode & 0o777 == 0o700


def test_each_file_is_decoded_once_for_all_views(images: Path, tmp_path: Path, decoded: Counter[str]) -> None:
    for sample_size in (5, 100):  # with files outside the sample, and without
        decoded.clear()
        index(tmp_path / str(sample_size), images, settings=replace(QUICK, sample_size=sample_size))
        assert decoded == dict.fromkeys(os.listdir(images), 1)


def test_duplicates_are_rows_of_their_own_with_equal_vectors(images: Path, tmp_path: Path, decoded: Counter[str]) -> None:
    for name in ("copy.png", "sub.png", "another name.jpg"):  # content decides, not the suffix
        shutil.copy(images / "003.png", images / name)
    made = index(tmp_path / "c", images, settings=QUICK)
    assert len(made) == 13
    assert decoded.total() == 10
    for view in made.views:
        same = {name for name, vector in rows_by_name(made, view).items() if vector == rows_by_name(made, view)["003.png"]}
        assert same == {"003.png", "copy.png", "sub.png", "another name.jpg"}


def test_every_frame_is_a_row(images: Path, tmp_path: Path) -> None:
    frames = [slice_of(seed) for seed in range(100, 170)]  # more than one batch
    write_frames(images / "005 volume.tif", frames)
    shutil.copy(images / "005 volume.tif", images / "again.tif")
    made = index(tmp_path / "c", images, settings=QUICK)
    names = [f"005 volume.tif#{number}" for number in range(70)]
    assert made.names[5:75] == names
    assert len(made) == 10 + 2 * 70
    for view in made.views:
        expected = made.embed(view, frames).vectors
        assert np.array_equal(made.vectors(view)[5:75], expected)
        assert np.array_equal(made.vectors(view)[-70:], expected)
    (images / "000.png").unlink()  # everything moves up
    again = index(tmp_path / "c", images)
    assert all(np.array_equal(again.vectors(view), made.vectors(view)[1:]) for view in made.views)
    assert [row["frame"] for row in made.images.to_pylist()[5:75]] == list(range(70))


def test_a_file_that_breaks_half_way_leaves_no_frame(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_frames(tmp_path / "whole.tif", [noise(seed, (64, 64)) for seed in range(80)])
    (images / "004 cut.tif").write_bytes(whole.read_bytes())

    def cut_off(frames: Iterator[Frame]) -> Iterator[Frame]:
        yield from islice(frames, 70)
        raise Truncated("cut off")

    def cut(requests: Sequence[Request]) -> Generator[Decoded, None, None]:
        for request, decoded in zip(requests, decode_all(requests), strict=False):
            if "cut" in str(request.source):
                decoded.frames = cut_off(decoded.frames)
            yield decoded

    monkeypatch.setattr(build, "decode_all", cut)
    for sample_size in (2, 100):
        made = index(tmp_path / str(sample_size), images, settings=replace(QUICK, sample_size=sample_size))
        assert errors(made) == {"004 cut.tif": "cut off"}
        expected = made.embed("sift", [slice_of(seed) for seed in range(10)]).vectors
        assert np.array_equal(made.vectors("sift"), expected)


@pytest.mark.parametrize("count", [0, 1])
def test_one_image_or_none_that_can_be_read(count: int, tmp_path: Path) -> None:
    write_images(tmp_path / "images", range(count))
    (tmp_path / "images").mkdir(exist_ok=True)
    for name in ("a.png", "b.png"):
        (tmp_path / "images" / name).write_bytes(name.encode())
    made = index(tmp_path / "c", tmp_path / "images", settings=QUICK)
    assert (len(made), made.manifest.failed, sorted(errors(made))) == (count, 2, ["a.png", "b.png"])
    assert made.check() == []
    for view in made.views:
        assert made.vectors(view).shape[0] == count
        found = made.nearest(view, made.embed(view, [slice_of(0)]).vectors, 3)
        assert found.rows.tolist() == [[0, -1, -1] if count else [-1, -1, -1]]
    before = tree(tmp_path / "c")
    index(tmp_path / "c", tmp_path / "images")
    assert tree(tmp_path / "c") == before
    write_images(tmp_path / "images", [5])  # seen with the eyes that had nothing to learn from
    assert len(index(tmp_path / "c", tmp_path / "images")) == count + 1


def test_no_images_at_all_leave_no_folder(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(NoImages):
        index(tmp_path / "c", tmp_path / "images")
    assert not (tmp_path / "c").exists()


def test_names_of_every_kind(tmp_path: Path) -> None:
    folder = os.fsencode(write_images(tmp_path / "images", [0])[0].parent)
    pictures = {"ü ß 画像.png".encode(): 1, b"\xff\xfe.png": 2, b"new\nline.png": 3, rb"\xff\xfe.png": 4, b"a.png\xff": 5}
    for name, seed in pictures.items():
        os.rename(write_image(tmp_path / "x.png", slice_of(seed)), os.path.join(folder, name))
    named = os.path.join(os.fsdecode(folder), "a.png\udcff")  # its suffix is none of an image's: has to be named
    made = index(tmp_path / "c", tmp_path / "images", Path(named), settings=PHASH)
    assert errors(made) == {}
    expected = {seed: made.embed("phash", [slice_of(seed)]).vectors.tobytes() for seed in range(6)}
    assert rows_by_name(made, "phash")["ü ß 画像.png"] == expected[1]
    assert sorted(made.names) == sorted(
        ["000.png", "ü ß 画像.png", r"\xff\xfe.png", "new\nline.png", r"\xff\xfe.png", r"a.png\xff"]
    )
    # two names look the same when printed: both images are there all the same
    same = {v.tobytes() for n, v in zip(made.names, made.vectors("phash"), strict=True) if n == r"\xff\xfe.png"}
    assert same == {expected[2], expected[4]}
    before = tree(tmp_path / "c")
    index(tmp_path / "c", tmp_path / "images", Path(named))
    assert tree(tmp_path / "c") == before


def test_a_source_whose_name_is_not_unicode(tmp_path: Path) -> None:
    source = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    write_images(source, range(3))
    made = index(tmp_path / "c", source, settings=PHASH)
    before = tree(tmp_path / "c")
    assert made.manifest.source == rf"{tmp_path}/\xff"
    index(tmp_path / "c", source)
    assert tree(tmp_path / "c") == before


@pytest.mark.parametrize("sample_size", [2, 100])
def test_a_file_that_vanishes_or_changes_under_the_indexer_is_an_error(
    sample_size: int, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meddled(requests: Sequence[Request]) -> Generator[Decoded, None, None]:
        for path in (Path(str(request.source)) for request in requests):
            if path.name == "001.png":
                path.unlink(missing_ok=True)
            if path.name == "002.png":
                write_image(path, slice_of(99))
        return decode_all(requests)

    monkeypatch.setattr(build, "decode_all", meddled)
    settings = replace(QUICK, sample_size=sample_size)
    made = index(tmp_path / "c", images, settings=settings)
    changed = "the file has changed since it was indexed: index again"
    assert errors(made) == {"001.png": "No such file or directory", "002.png": changed}
    for view in made.views:
        assert np.array_equal(made.vectors(view), made.embed(view, [slice_of(seed) for seed in (0, *range(3, 10))]).vectors)
    monkeypatch.undo()
    again = index(tmp_path / "c", images)
    assert errors(again) == {}
    assert np.array_equal(again.vectors("sift")[1], made.embed("sift", [slice_of(99)]).vectors[0])


def test_files_that_cannot_be_opened_are_rows(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.symlink(images / "nowhere.png", images / "link.png")

    def refusing(path: Path) -> tuple[str, int]:
        if path.name == "004.png":
            raise PermissionError(errno.EACCES, "Permission denied")
        return hashed(path)

    monkeypatch.setattr(files, "hashed", refusing)
    made = index(tmp_path / "c", images, settings=QUICK)
    assert errors(made) == {"004.png": "Permission denied", "link.png": "No such file or directory"}
    assert len(made) == 9


# What makes no difference


def test_files_that_are_hashed_as_they_are_decoded_give_the_collection_of_those_hashed_before(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: Counter[str]
) -> None:
    shutil.copy(images / "003.png", images / "twice.png")
    (images / "bad.png").write_bytes(b"no image")
    os.symlink(images / "nowhere.png", images / "link.png")
    write_frames(images / "many.tif", [slice_of(seed) for seed in range(3)])
    (images / "set.zip").write_bytes(zipped({"in.png": png(slice_of(50)), "again.png": png(slice_of(50))}))
    with monkeypatch.context() as patch:
        patch.setattr(build, "learns", lambda view: True)
        before = index(tmp_path / "before", images, settings=PHASH)
    decoded.clear()
    monkeypatch.setattr(files, "hashed", lambda path: hashed(path) if "link" in path.name else pytest.fail("read twice"))
    at_once = index(tmp_path / "at once", images, settings=PHASH)
    assert at_once.table.equals(before.table)
    assert np.array_equal(at_once.vectors("phash"), before.vectors("phash"))
    assert set(decoded.values()) == {1}


def test_two_builds_give_the_same_bytes(finished: tuple[Path, Path], tmp_path: Path) -> None:
    index(tmp_path / "c", finished[0], settings=QUICK)
    assert tree(tmp_path / "c") == tree(finished[1])


def test_names_and_order_change_no_vector(images: Path, tmp_path: Path) -> None:
    settings = replace(QUICK, sample_size=7)  # which images are learned from must not hang on names either
    made = index(tmp_path / "c", images, settings=settings)
    (tmp_path / "renamed" / "sub").mkdir(parents=True)
    for number, name in enumerate(sorted(os.listdir(images), reverse=True)):
        shutil.copy(images / name, tmp_path / "renamed" / ("sub" if number % 2 else ".") / f"{number}.png")
    other = index(tmp_path / "d", tmp_path / "renamed", settings=settings)
    named = index(tmp_path / "e", *sorted(images.iterdir(), reverse=True), settings=settings)
    for view in made.views:
        assert made.spec(view).fingerprint == other.spec(view).fingerprint == named.spec(view).fingerprint
        by_content = [dict(zip(c.images["sha256"].to_pylist(), c.vectors(view).tolist(), strict=True)) for c in (made, other)]
        assert by_content[0] == by_content[1]
        assert np.array_equal(made.vectors(view), named.vectors(view))


def test_the_order_of_views_makes_no_difference(images: Path, tmp_path: Path) -> None:
    for name, order in (("c", 1), ("d", -1)):
        index(tmp_path / name, images, settings=replace(QUICK, views=dict(list(QUICK.views.items())[::order])))
    assert tree(tmp_path / "c") == tree(tmp_path / "d")


@pytest.mark.parametrize(("chunk", "size"), [(1, 1 << 30), (3, 1 << 30), (100, 1)])
def test_the_size_of_chunks_makes_no_difference(
    chunk: int, size: int, finished: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "CHUNK", chunk)
    monkeypatch.setattr(build, "CHUNK_BYTES", size)
    index(tmp_path / "c", finished[0], settings=QUICK)
    assert tree(tmp_path / "c") == tree(finished[1])


def test_a_sample_of_volumes_is_cut_to_size(tmp_path: Path, decoded: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Volumes hold many images: of many volumes only as many are looked at before learning as give enough images."""
    monkeypatch.setattr(build, "CHUNK", 1)
    monkeypatch.setattr("embeddings.pipeline.workers", lambda: 1)
    (tmp_path / "images").mkdir()
    for seed in range(8):
        write_frames(tmp_path / "images" / f"{seed}.tif", [slice_of(seed + number) for number in range(3)])
    looked = []
    original = parts.Parts.add_features

    def counted(*arguments: Any) -> None:
        looked.append(1)
        original(*arguments)

    monkeypatch.setattr(parts.Parts, "add_features", counted)
    index(tmp_path / "c", tmp_path / "images", settings=replace(QUICK, sample_size=4))
    assert len(looked) < 8
    assert decoded == {f"{seed}.tif": 1 for seed in range(8)}


# Killed, full, locked


def killed_and_resumed(tmp_path: Path, images: Path, first: int, stride: int, *before: Path) -> list[list[str]]:
    """Output of `killing.py`: [step, exit status of the resumed run, *what differs from an undisturbed build]."""
    arguments = [str(value) for value in (tmp_path, images, first, stride, *before)]
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "helpers" / "killing.py", *arguments], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def changed(images: Path) -> None:
    """Files come, go, change and are renamed."""
    write_images(images, range(COUNT, COUNT + 10))
    (images / "005.png").unlink()
    write_image(images / "006.png", slice_of(200))
    (images / "007.png").rename(images / "zzz.png")
    write_image(images / "bad.png", slice_of(201))


@pytest.mark.parametrize(("first", "stride"), [(5, 23), pytest.param(0, 2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("update", [False, True], ids=["new", "update"])
def test_killed_before_any_step_and_resumed_it_is_as_if_undisturbed(
    update: bool, first: int, stride: int, tmp_path: Path
) -> None:
    images = write_images(tmp_path / "images", range(COUNT))[0].parent
    (images / "bad.png").write_bytes(b"no image")
    before = []
    if update:
        index(tmp_path / "before", images, settings=replace(QUICK, sample_size=14))
        before = [tmp_path / "before"]
        changed(images)
    outcomes = killed_and_resumed(tmp_path, images, first, stride, *before)
    assert len(outcomes) >= (2 if stride > 1 else 30)
    assert [outcome for outcome in outcomes if outcome[1:] != ["0"]] == []


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed_it_is_as_if_undisturbed(finished: tuple[Path, Path], tmp_path: Path) -> None:
    program = (
        "import sys; from indexer.build import build; from tests.helpers.making import QUICK; build.CHUNK = 8\n"
        "build.build(sys.argv[1], sys.argv[2], settings=QUICK, device='cpu')"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "undisturbed"), str(finished[0])]
    started = time.monotonic()
    subprocess.run(command, env=ENVIRONMENT, check=True)
    whole = time.monotonic() - started
    command[3] = str(tmp_path / "c")
    chance = random.Random(4)
    kills = 0
    for _ in range(8):
        process = subprocess.Popen(command, env=ENVIRONMENT)
        time.sleep(chance.uniform(0.3, 0.9) * whole)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills > 0
    index(tmp_path / "c", finished[0], settings=QUICK)
    assert tree(tmp_path / "c") == tree(finished[1])


class Stop(BaseException):
    """Thrown by a progress callback in the place of Ctrl-C."""


def stop_at(stage: str, count: int = 1) -> build.Progress:
    calls = Counter[str]()

    def progress(now: str, done: int, total: int) -> None:
        calls[now] += 1
        if calls[stage] == count:
            raise Stop

    return progress


@pytest.mark.parametrize("stage", ["hashing", "looking at a sample", "learning", "embedding"])
def test_interrupted_it_leaves_no_half_file_and_carries_on(
    stage: str, finished: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "CHUNK", 10)
    with pytest.raises(Stop):
        index(tmp_path / "c", finished[0], settings=QUICK, progress=stop_at(stage))
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} <= {"", ".safetensors"}
    if stage != "hashing":
        with pytest.raises(CollectionError, match="is an unfinished collection; run synthtrace index again to finish it"):
            Collection(tmp_path / "c")
    index(tmp_path / "c", finished[0], settings=QUICK)
    assert tree(tmp_path / "c") == tree(finished[1])


def test_resuming_uses_what_is_finished(
    finished: tuple[Path, Path], tmp_path: Path, decoded: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "CHUNK", 4)
    settings = replace(QUICK, sample_size=8)
    with pytest.raises(Stop):
        index(tmp_path / "c", finished[0], settings=settings, progress=stop_at("embedding", 2))
    first = decoded.total()
    assert 16 <= first <= COUNT + 2
    index(tmp_path / "c", finished[0], settings=settings)
    assert decoded.total() <= COUNT + 2 + 2 * 2  # only bad files are tried again


def test_parts_of_another_sample_are_not_mixed_in(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that come between a kill and the next run change the sample, and with it every learned vector."""
    monkeypatch.setattr(build, "CHUNK", 3)
    settings = replace(QUICK, sample_size=8)
    with pytest.raises(Stop):
        index(tmp_path / "c", images, settings=settings, progress=stop_at("embedding"))
    write_images(images, range(20, 40))
    made = index(tmp_path / "c", images, settings=settings)
    index(tmp_path / "d", images, settings=settings)
    assert tree(tmp_path / "c") == tree(tmp_path / "d")
    assert np.array_equal(made.vectors("sift")[:10], made.embed("sift", [slice_of(seed) for seed in range(10)]).vectors)


def test_parts_of_other_settings_are_not_mixed_in(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "CHUNK", 3)
    for started in (
        replace(QUICK, decoding=Decoding(low=5)),
        replace(QUICK, views={"phash": {"bits": 64}, "sift": {"words": 3}}),
    ):
        with pytest.raises(Stop):
            index(tmp_path / "c", images, settings=replace(started, sample_size=4), progress=stop_at("embedding", 2))
    settings = replace(QUICK, sample_size=4)
    index(tmp_path / "c", images, settings=settings)
    index(tmp_path / "d", images, settings=settings)
    assert tree(tmp_path / "c") == tree(tmp_path / "d")


def test_another_index_of_the_same_vectors_needs_no_image_again(
    images: Path, tmp_path: Path, decoded: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that cannot be trained is known at the very end: what was computed is not lost."""
    with pytest.raises(Exception, match="FAISS cannot make the index 'IVF50,Flat'"):
        index(tmp_path / "c", images, settings=replace(QUICK, index=IndexSpec(factory="IVF50,Flat")))
    assert decoded.total() == 10
    index(tmp_path / "c", images, settings=QUICK)
    assert decoded.total() == 10


def test_an_index_without_sense_is_refused_before_the_long_work(images: Path, tmp_path: Path, decoded: Counter[str]) -> None:
    settings = replace(QUICK, index=IndexSpec(factory="Nonsense"), sample_size=3)
    with pytest.raises(Exception, match="FAISS cannot make the index 'Nonsense'"):
        index(tmp_path / "c", images, settings=settings)
    assert decoded.total() <= 3


def test_damaged_parts_are_made_again(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "CHUNK", 3)
    with pytest.raises(Stop):
        index(tmp_path / "c", images, settings=QUICK, progress=stop_at("looking at a sample", 3))
    for number, path in enumerate(sorted((tmp_path / "c" / "parts").iterdir())):
        path.write_bytes(b"" if number % 2 else path.read_bytes()[:50])
    index(tmp_path / "c", images, settings=QUICK)
    index(tmp_path / "d", images, settings=QUICK)
    assert tree(tmp_path / "c") == tree(tmp_path / "d")


def test_a_whole_next_of_another_version_does_not_block(copied: tuple[Path, Path]) -> None:
    images, folder = copied
    (folder / "next").mkdir()
    (folder / "next" / "manifest.json").write_text('{"format_version": 99}')
    index(folder, images)
    assert not (folder / "next").exists()


def small_disk(folder: Path, kilobytes: int) -> bool:
    """Mount a file system of that size; False where that is not allowed."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={kilobytes}k,mode=755", "tmpfs", str(folder)]
    try:
        return subprocess.run(["mount", *options], capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.mark.parametrize("kilobytes", [8, 100, pytest.param(300, marks=pytest.mark.slow)])
def test_a_full_disk_is_told_in_one_line_and_the_next_run_carries_on(
    kilobytes: int, finished: tuple[Path, Path], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    if not small_disk(disk, kilobytes):
        pytest.skip("no file system can be mounted here")
    try:
        with pytest.raises(FullDisk, match=r"no space left in .*; free some and run the same command again") as caught:
            index(disk / "c", finished[0], settings=QUICK)
        assert "\n" not in str(caught.value)
        assert not (disk / "c" / "next").exists()
        assert list(disk.rglob("*.part")) == []
        subprocess.run(["mount", "-o", "remount,size=50M", str(disk)], check=True)
        index(disk / "c", finished[0], settings=QUICK)
        assert tree(disk / "c") == tree(finished[1])
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_disk_that_is_full_at_the_end_gets_its_space_back(
    copied: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    images, folder = copied
    changed(images)
    before = tree(folder)
    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(FullDisk, match="no space left"):
        index(folder, images)
    assert {name: entry for name, entry in tree(folder).items() if not name.startswith("parts")} == before
    monkeypatch.undo()
    assert index(folder, images).check() == []


def test_files_may_be_limited_in_size(finished: tuple[Path, Path], tmp_path: Path) -> None:
    """As by `ulimit -f` or a quota: the same outcome, where no file system can be mounted."""
    program = """
import resource, sys
from tests.helpers.making import QUICK
from indexer.build.build import build
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    build(sys.argv[1], sys.argv[2], settings=QUICK, device="cpu")
except OSError as error:
    print(type(error).__name__, error)
"""
    for limit in (1000, 30_000):
        command = [sys.executable, "-c", program, str(tmp_path / "c"), str(finished[0]), str(limit)]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
        (line,) = done.stdout.splitlines()
        assert line.startswith(f"FullDisk no space left in {tmp_path}")
        assert done.stderr == ""
    index(tmp_path / "c", finished[0], settings=QUICK)
    assert tree(tmp_path / "c") == tree(finished[1])


def test_a_second_indexer_is_refused_at_once(images: Path, tmp_path: Path) -> None:
    refused = []

    def meanwhile(stage: str, done: int, total: int) -> None:
        start = time.monotonic()
        with pytest.raises(Locked, match="is in use by another process"):
            index(tmp_path / "c", images, settings=PHASH)
        refused.append(time.monotonic() - start)

    index(tmp_path / "c", images, settings=PHASH, progress=meanwhile)
    assert refused
    assert max(refused) < 5
    index(tmp_path / "c", images)


# Bringing up to date


def test_indexing_again_touches_nothing(
    copied: tuple[Path, Path], decoded: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, folder = copied

    def state() -> dict[str, tuple[int, int]]:
        return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}

    before, contents = state(), tree(folder)
    made = index(folder, images)
    assert state() == before
    assert tree(folder) == contents
    assert decoded == {"bad.png": 1, "empty.jpg": 1}  # might be readable by now
    assert len(made) == COUNT
    for name in decoded:
        (images / name).unlink()
    index(folder, images)
    decoded.clear()
    monkeypatch.setattr(commit, "write_next", lambda *_: pytest.fail("written again"))
    index(folder, images)
    assert decoded == {}


def test_leftovers_of_a_killed_run_go_when_nothing_has_changed(copied: tuple[Path, Path]) -> None:
    images, folder = copied
    before = tree(folder)
    for name in ("parts", "next"):
        (folder / name).mkdir()
        (folder / name / "x.safetensors").write_bytes(b"x")
    index(folder, images)
    assert tree(folder) == before


def test_changes_are_brought_in_and_only_new_contents_decoded(copied: tuple[Path, Path], decoded: Counter[str]) -> None:
    images, folder = copied
    frozen = Collection(folder)
    embedders = {view: frozen.embedder(view) for view in frozen.views}
    changed(images)
    made = index(folder, images)
    assert set(decoded) == {"006.png", "bad.png", "empty.jpg", *(f"{seed:03d}.png" for seed in range(COUNT, COUNT + 10))}
    seeds = {f"{seed:03d}.png": seed for seed in range(COUNT + 10) if seed not in (5, 7)} | {
        "006.png": 200,
        "zzz.png": 7,
        "bad.png": 201,
    }
    assert made.names == sorted(seeds)
    pictures = [slice_of(seeds[name]) for name in made.names]
    for view, embedder in embedders.items():
        assert made.spec(view).fingerprint == embedder.spec.fingerprint
        assert np.array_equal(made.vectors(view), embedder.embed(pictures).vectors)
    assert list(errors(made)) == ["empty.jpg"]
    assert made.check() == []


def test_a_source_that_moved_is_recorded_without_decoding(
    copied: tuple[Path, Path], tmp_path: Path, decoded: Counter[str]
) -> None:
    images, folder = copied
    images.rename(tmp_path / "elsewhere")
    made = index(folder, tmp_path / "elsewhere")
    assert made.manifest.source == str(tmp_path / "elsewhere")
    assert made.path(3).exists()
    assert set(decoded) == {"bad.png", "empty.jpg"}


def test_removing_all_but_one(copied: tuple[Path, Path]) -> None:
    images, folder = copied
    for path in images.iterdir():
        if path.name != "012.png":
            path.unlink()
    made = index(folder, images)
    assert made.names == ["012.png"]
    assert np.array_equal(made.vectors("sift"), made.embed("sift", [slice_of(12)]).vectors)


def test_refit_is_a_fresh_start(copied: tuple[Path, Path], tmp_path: Path) -> None:
    images, folder = copied
    changed(images)
    index(folder, images)
    fresh = index(tmp_path / "fresh", images, settings=QUICK)
    assert Collection(folder).spec("sift").fingerprint != fresh.spec("sift").fingerprint
    refit(folder, images)  # with the settings it has
    assert tree(folder) == tree(tmp_path / "fresh")
    refit(folder, images, settings=PHASH)
    index(tmp_path / "other", images, settings=PHASH)
    assert tree(folder) == tree(tmp_path / "other")  # the other view is gone


def test_refit_in_one_process_reads_no_part_of_the_run_before(images: Path, tmp_path: Path) -> None:
    """The files of parts have the same names again: a handle kept open would show the old vectors."""
    settings = replace(QUICK, sample_size=5)
    index(tmp_path / "c", images, settings=settings)
    for seed in range(3):
        write_image(images / "000.png", slice_of(100 + seed))
        made = refit(tmp_path / "c", images, settings=settings)
        assert np.array_equal(
            made.vectors("sift"), made.embed("sift", [slice_of(s) for s in (100 + seed, *range(1, 10))]).vectors
        )


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc")
def test_no_file_stays_open(images: Path, tmp_path: Path) -> None:
    def opened() -> int:
        gc.collect()
        return sum(str(tmp_path) in os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd"))

    for number in range(3):
        write_images(images, [20 + number])
        made = index(tmp_path / "c", images, settings=PHASH)
    del made
    assert opened() == 0


def test_damage_is_noticed_and_refit_mends_it(copied: tuple[Path, Path]) -> None:
    images, folder = copied
    data = bytearray((folder / "sift" / "vectors.npy").read_bytes())
    data[-5] ^= 1
    (folder / "sift" / "vectors.npy").write_bytes(data)
    write_images(images, [99])
    with pytest.raises(CollectionError, match=r"sift/vectors.npy: its bytes have changed .* anew with --refit"):
        index(folder, images)
    assert refit(folder, images).check() == []
    (folder / "manifest.json").write_text("{")
    with pytest.raises(CollectionError, match="build the collection again"):
        index(folder, images)
    assert refit(folder, images, settings=QUICK).check() == []


# What is refused


@pytest.mark.parametrize(
    "names", [["letter.txt"], ["parts/x"], ["next/x"], ["manifest.json"], ["manifest.json", "next/x"], ["sift/index.faiss"]]
)
@pytest.mark.parametrize("make", [index, refit])
def test_a_folder_with_something_else_is_refused_and_left_alone(
    names: list[str], make: Callable[..., Collection], images: Path, tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / "c" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "c" / name).write_text('{"name": "an app"}')
    before = tree(tmp_path / "c")
    with pytest.raises(CollectionError, match=r"name a new folder|build the collection again"):
        make(tmp_path / "c", images, settings=PHASH)
    assert tree(tmp_path / "c") == before


def test_a_file_in_the_place_of_the_folder_is_refused(images: Path) -> None:
    for place in (images / "000.png", images / "000.png" / "c"):
        with pytest.raises(CollectionError, match="no folder"):
            index(place, images, settings=PHASH)


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        (replace(QUICK, views={"phash": {}, "sift": {"words": 5}}), "views.sift.words: 5 asked for, 4 there"),
        (PHASH, "views.sift.words: nothing asked for, 4 there"),
        (replace(QUICK, decoding=Decoding(low=1)), "decoding.low: 1.0 asked for, 0.5 there"),
        (replace(QUICK, seed=1), "seed: 1 asked for, 0 there"),
        (replace(QUICK, index=IndexSpec("HNSW16")), "index.factory: HNSW16 asked for, Flat there"),
    ],
)
def test_other_settings_are_refused_by_name(settings: Settings, difference: str, finished: tuple[Path, Path]) -> None:
    before = tree(finished[1])
    with pytest.raises(CollectionError) as caught:
        index(finished[1], finished[0], settings=settings)
    assert difference in str(caught.value)
    assert "phash.bits" not in str(caught.value)  # does not differ
    assert tree(finished[1]) == before
    index(finished[1], finished[0], settings=QUICK)  # its own are welcome


def test_settings_without_sense_are_refused() -> None:
    senseless: list[dict[str, Any]] = [
        {"views": {}},
        {"sample_size": 0},
        {"views": {"orb": {}}},
        {"views": {"phash": {"bit": 8}}},
    ]
    for wrong in senseless:
        with pytest.raises(ValueError, match=r"view|sample_size"):
            Settings(**wrong)


# Like another collection, mirrored


@pytest.mark.parametrize("view", QUICK.views)
def test_like_sees_with_the_same_eyes(view: str, finished: tuple[Path, Path], images: Path, tmp_path: Path) -> None:
    teacher = Collection(finished[1])
    made = index(tmp_path / "c", images, fitted_on=teacher)
    teacher.comparable(made, teacher.views)
    assert np.array_equal(made.vectors(view), teacher.embed(view, [slice_of(seed) for seed in range(10)]).vectors)
    write_images(images, [20])
    again = index(tmp_path / "c", images, fitted_on=teacher)
    assert np.array_equal(again.vectors(view)[10], teacher.vectors(view)[20])
    own = index(tmp_path / "d", images, settings=QUICK)
    with pytest.raises(CollectionError, match=r"cannot be compared: sift learned: .* here, .* there"):
        teacher.comparable(own, teacher.views)


def test_like_takes_no_other_settings(finished: tuple[Path, Path], images: Path, tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match=r"views\.sift\.words"):
        index(tmp_path / "c", images, fitted_on=Collection(finished[1]), settings=PHASH)


def test_like_another_collection_than_before_makes_all_anew(finished: tuple[Path, Path], images: Path, tmp_path: Path) -> None:
    own = index(tmp_path / "own", images, settings=QUICK)
    index(tmp_path / "c", images, fitted_on=own)
    index(tmp_path / "c", images, fitted_on=Collection(finished[1]))
    index(tmp_path / "d", images, fitted_on=Collection(finished[1]))
    assert tree(tmp_path / "c") == tree(tmp_path / "d")


@pytest.mark.parametrize("orientation", [Orientation.FLIP_LEFT_RIGHT, Orientation.ROTATE_90])
def test_vectors_are_those_of_turned_images(
    finished: tuple[Path, Path], images: Path, tmp_path: Path, orientation: Orientation
) -> None:
    teacher = Collection(finished[1])
    turned = index(tmp_path / "c", images, fitted_on=teacher, settings=Settings.of(teacher.manifest, orientation))
    assert Collection(tmp_path / "c").manifest.orientation == orientation
    for view in turned.views:
        expected = teacher.embed(view, [orientation.apply(slice_of(seed)) for seed in range(10)])
        assert np.array_equal(turned.vectors(view), expected.vectors)


@pytest.mark.parametrize(("first", "then"), [("as-is", "transpose"), ("rotate-90", "as-is")])
def test_one_folder_does_not_hold_both(first: str, then: str, images: Path, tmp_path: Path) -> None:
    before, after = (replace(PHASH, orientation=Orientation(name)) for name in (first, then))
    index(tmp_path / "c", images, settings=before)
    with pytest.raises(CollectionError, match=f"holds images under orientation {first}, not {then}; name a new folder"):
        index(tmp_path / "c", images, settings=after)
    refit(tmp_path / "c", images, settings=after)
    index(tmp_path / "d", images, settings=after)
    assert tree(tmp_path / "c") == tree(tmp_path / "d")


def save_weights(path: Path, seed: int) -> None:
    import torch

    from embeddings.views import network

    torch.manual_seed(seed)
    torch.save(network._torchvision_models().resnet18(weights=None).state_dict(), path)


def test_weights_that_changed_on_disk_are_noticed(images: Path, tmp_path: Path) -> None:
    """The options name a file: its contents decide, when resuming as when bringing up to date."""
    save_weights(tmp_path / "w.pth", 0)
    settings = Settings(views={"resnet": {"weights": str(tmp_path / "w.pth"), "size": 32}})
    index(tmp_path / "c", images, settings=settings)
    for stage in ("learning", "looking at a sample"):
        with pytest.raises(Stop):
            index(tmp_path / stage, images, settings=settings, progress=stop_at(stage))
    save_weights(tmp_path / "w.pth", 1)
    for stage in ("learning", "looking at a sample"):
        resumed = index(tmp_path / stage, images, settings=settings)
        expected = resumed.embed("resnet", [slice_of(seed) for seed in range(10)]).vectors
        assert np.array_equal(resumed.vectors("resnet"), expected)
    write_images(images, [20])
    with pytest.raises(CollectionError, match=r"resnet weights: .* here, .* there; bring that back, or build .* --refit"):
        index(tmp_path / "c", images)


def test_progress_tells_each_stage_to_its_end(images: Path, tmp_path: Path) -> None:
    told: dict[str, list[tuple[int, int]]] = {}
    (images / "bad.png").write_bytes(b"no image")
    index(tmp_path / "c", images, settings=QUICK, progress=lambda stage, *counts: told.setdefault(stage, []).append(counts))
    assert list(told) == ["hashing", "looking at a sample", "learning", "embedding"]
    for counts in told.values():
        assert counts == sorted(counts)
        assert all(0 < done <= total for done, total in counts)
    assert [told[stage][-1] for stage in ("hashing", "learning", "embedding")] == [(11, 11), (2, 2), (11, 11)]


def test_collection_stays_usable_while_its_folder_is_brought_up_to_date(copied: tuple[Path, Path]) -> None:
    """Mapped files stay those that were opened; what is opened later is refused rather than mixed."""
    images, folder = copied
    before = Collection(folder)
    vectors = before.vectors("phash")
    kept = np.array(vectors)
    write_images(images, range(100, 110))
    for path in sorted(images.iterdir())[:10]:
        path.unlink()
    index(folder, images)
    assert np.array_equal(vectors, kept)
    assert np.array_equal(before.vectors("phash"), kept)
    with pytest.raises(CollectionError, match="its bytes have changed"):
        before.vectors("sift")


SLOW_VIEWS: dict[str, Callable[[], Settings]] = {
    "all views": Settings,
    "bag of words": lambda: Settings(views={"sift": {"encoding": "bow", "words": 50}, "phash": {"bits": 64}}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_VIEWS)
def test_delivered_settings_find_planted_copies(name: str, tmp_path: Path) -> None:
    write_images(tmp_path / "images", range(70))
    made = index(tmp_path / "c", tmp_path / "images", settings=SLOW_VIEWS[name]())
    rng = np.random.default_rng(0)
    for view in made.views:
        queries = made.embed(view, [copy_of(slice_of(seed), 1, rng) for seed in range(70)])
        found = made.nearest(view, queries.vectors, 1).rows[:, 0]
        assert np.mean(found == np.arange(70)) > 0.9
        flat = made.embed(view, [slice_of(seed) for seed in range(70)])
        assert np.array_equal(made.vectors(view), flat.vectors)


# Notes, and settings that leave nothing


def test_notes_stand_in_the_table_and_survive_another_build(tmp_path: Path) -> None:
    deep = slice_of(0).astype(np.uint16) * 16
    images = tmp_path / "images"
    write_images(images, range(2))
    (images / "broken.dcm").write_bytes(dicom(deep, bits=12, RescaleSlope="0", RescaleIntercept="0"))
    (images / "good.dcm").write_bytes(dicom(deep + 1, bits=12))
    made = index(tmp_path / "c", images, settings=PHASH)
    told = "RescaleSlope is 0, which would leave no picture"
    expected = {"000.png": None, "001.png": None, "good.dcm": None, "broken.dcm": told}
    for _ in range(2):
        notes = dict(zip(made.table["path"].to_pylist(), made.table["note"].to_pylist(), strict=True))
        assert {path: note and note.partition(":")[0] for path, note in notes.items()} == expected
        write_images(images, range(2, 3))
        expected["002.png"] = None
        made = index(tmp_path / "c", images)  # the old vectors and their notes are used again


@pytest.mark.parametrize(
    ("decoding", "option"), [(Decoding(centre=40000, width=10), "--window 40000,10"), (Decoding(low=0, high=1e-9), "")]
)
def test_a_setting_that_leaves_every_image_blank_is_named(decoding: Decoding, option: str, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for seed in range(3):
        (images / f"{seed}.dcm").write_bytes(dicom(slice_of(seed).astype(np.uint16) * 16, bits=12))
    settings = Settings(views={"phash": {}, "pixels": {}}, decoding=decoding)
    if option:
        with pytest.raises(CollectionError, match=f"every image of .*images is blank with {option}"):
            index(tmp_path / "c", images, settings=settings)
        assert not (tmp_path / "c" / "manifest.json").exists()
        write_image(images / "plain.png", slice_of(7))  # of 8 bits: not windowed
    assert len(index(tmp_path / "c", images, settings=settings)) == 3 + bool(option)
