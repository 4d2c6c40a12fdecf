"""Sharded collections hold what one collection of the same images holds, byte for byte, and survive what ends a run."""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest

from embeddings.files.writing import FullDisk
from indexer import index
from indexer.build.build import Settings, build_shard
from indexer.collection import Collection
from indexer.execution.in_process import InProcess
from indexer.manifest import CollectionError
from indexer.open import open_collection
from indexer.search import brute_force
from indexer.sharded.build import Sharding, index_shards, refit_shards
from indexer.sharded.collection import ShardedCollection
from indexer.sharded.joined import Joined
from indexer.types import IndexSpec, NoGpu
from tests.helpers.dicoms import dicom
from tests.helpers.making import QUICK, slice_of, tree, write_frames, write_images

SMALL = Sharding(size=10)
COLUMNS = ["path", "frame", "name", "sha256", "bytes", "width", "height", "mode", "status", "error", "note", "patient", "blank"]


def make_input(folder: Path) -> Path:
    """Files of every kind: single images, a twin, a broken one, a stack of pages, tar files, an array."""
    write_images(folder / "b", range(23))
    (folder / "a.png").write_bytes((folder / "b" / "003.png").read_bytes())
    (folder / "b" / "broken.png").write_bytes(b"no image")
    write_frames(folder / "b" / "stack.tif", [slice_of(seed) for seed in range(30, 35)])
    for name, seeds in (("x.tar", range(40, 52)), ("x.tar-y.tar", range(52, 56))):
        images = write_images(folder / "tmp", seeds)
        with tarfile.open(folder / name, "w") as archive:
            for image in images:
                archive.addfile(named(image), io.BytesIO(image.read_bytes()))
        shutil.rmtree(folder / "tmp")
    np.save(folder / "z.npy", np.stack([slice_of(seed) for seed in range(60, 66)]))
    return folder


def named(image: Path) -> tarfile.TarInfo:
    """The header of a member of the same bytes always."""
    info = tarfile.TarInfo(image.name)
    info.size = image.stat().st_size
    return info


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_input(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def single(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return index(images, tmp_path_factory.mktemp("one") / "c", settings=QUICK)


@pytest.fixture(scope="module")
def sharded(images: Path, tmp_path_factory: pytest.TempPathFactory) -> ShardedCollection:
    return index_shards(images, tmp_path_factory.mktemp("many") / "c", settings=QUICK, sharding=SMALL)


def assert_equal(sharded: ShardedCollection, single: Collection) -> None:
    """The rows, vectors, learned arrays and specs of both are the same."""
    shards = list(sharded.shards)
    assert len(sharded) == sum(map(len, shards)) == len(single)
    assert sharded.manifest.failed == single.manifest.failed
    for column in COLUMNS:
        assert [value for shard in shards for value in shard.table[column].to_pylist()] == single.table[column].to_pylist()
    for view in single.views:
        assert sharded.spec(view) == single.spec(view)
        assert b"".join(shard.vectors(view).tobytes() for shard in shards) == single.vectors(view).tobytes()
        if single.records is not None:
            assert b"".join(shard.records.tobytes() for shard in shards if shard.records is not None) == single.records.tobytes()
        for collection in (sharded.fitted, *shards):
            assert {name: array.tobytes() for name, array in collection.learned(view).items()} == {
                name: array.tobytes() for name, array in single.learned(view).items()
            }


def test_shards_hold_what_one_collection_holds(sharded: ShardedCollection, single: Collection) -> None:
    assert len(sharded.shards) > 4
    assert_equal(sharded, single)
    assert sharded.check() == []
    assert sharded.left_out == single.left_out
    assert sharded.manifest.source == single.manifest.source


def test_rows_are_found_in_their_shards(sharded: ShardedCollection, single: Collection) -> None:
    names = []
    for row in range(len(sharded)):
        shard, place = sharded.locate(row)
        names.append(sharded.shards[shard].names[place])
    assert names == single.names
    assert sharded.offsets[0] == 0
    assert sharded.offsets[-1] == len(sharded)
    for row in (-1, len(sharded)):
        with pytest.raises(IndexError):
            sharded.locate(row)


def test_a_small_sample_is_the_same_too(images: Path, tmp_path: Path) -> None:
    """The sample ends in the middle of the files, so that which ones are drawn decides."""
    settings = replace(QUICK, sample_size=12)
    single = index(images, tmp_path / "one", settings=settings)
    assert_equal(index_shards(images, tmp_path / "many", settings=settings, sharding=SMALL), single)


def test_shards_take_the_centroids_of_the_sample(images: Path, tmp_path: Path) -> None:
    """Whose index is read from its file: FAISS ends a process that adds to such a one."""
    settings = replace(QUICK, index=IndexSpec(factory="IVF4,SQ8;nprobe=4", binary_factory="BIVF4;nprobe=4"))
    many = index_shards(images, tmp_path / "c", settings=settings, sharding=SMALL)
    joined = Joined(many)
    for view in joined.views:
        indexes = [each.index(view) for each in (many.fitted, *many.shards)]
        written = faiss.serialize_index_binary if view == "phash" else faiss.serialize_index
        centroids = [written(each.quantizer) for each in indexes]
        assert {each.tobytes() for each in centroids} == {centroids[0].tobytes()}
        vectors = np.asarray(joined.vectors(view))
        truth = brute_force.neighbours(joined.spec(view).metric, vectors, vectors, 5)
        np.testing.assert_allclose(joined.nearest(view, vectors, 5).distances, truth.distances, atol=brute_force.ROUNDING)


def test_a_few_real_images_take_the_centroids_too(images: Path, tmp_path: Path) -> None:
    """Four could not train five."""
    settings = replace(QUICK, index=IndexSpec(factory="IVF5,SQ8;nprobe=5", binary_factory="BIVF5;nprobe=5"))
    many = index_shards(images, tmp_path / "c", settings=settings, sharding=SMALL)
    write_images(tmp_path / "real", range(70, 74))
    for number, fitted in enumerate((Joined(many), many.fitted)):
        real = index(tmp_path / "real", tmp_path / str(number), fitted_on=fitted)
        for view in real.views:
            assert real.manifest.views[view].factory == many.manifest.views[view].factory
            assert real.nearest(view, real.vectors(view), 1).rows.tolist() == [[0], [1], [2], [3]]


def test_a_repeated_run_changes_nothing(sharded: ShardedCollection, images: Path) -> None:
    before = tree(sharded.folder)
    again = index_shards(images, sharded.folder, sharding=SMALL)
    assert tree(sharded.folder) == before
    assert again.manifest.fingerprint == sharded.manifest.fingerprint


def test_it_can_be_opened_and_is_no_collection_in_one_piece(sharded: ShardedCollection) -> None:
    assert isinstance(open_collection(sharded.folder), ShardedCollection)
    with pytest.raises(CollectionError, match="is a collection in shards"):
        Collection(sharded.folder)


def test_files_that_come_and_go_change_their_shard_only(tmp_path: Path) -> None:
    write_images(tmp_path / "in", range(0, 60, 2))
    first = index_shards(tmp_path / "in", tmp_path / "c", settings=QUICK, sharding=SMALL)
    before = {shard.name: shard for shard in first.manifest.shards}
    write_images(tmp_path / "in", [1])
    (tmp_path / "in" / "058.png").unlink()
    after = index_shards(tmp_path / "in", tmp_path / "c", sharding=SMALL)
    changed = [shard.name for shard in after.manifest.shards if shard != before[shard.name]]
    assert changed == ["shard-00000", "shard-00002"]
    assert [name for shard in after.shards for name in shard.names] == sorted(os.listdir(tmp_path / "in"))
    assert after.check() == []


def test_a_shard_that_has_grown_is_cut_and_an_empty_one_goes(tmp_path: Path) -> None:
    write_images(tmp_path / "in", range(20))
    index_shards(tmp_path / "in", tmp_path / "c", settings=QUICK, sharding=SMALL)
    write_images(tmp_path / "in", range(100, 125))
    for seed in range(5):
        (tmp_path / "in" / f"{seed:03d}.png").unlink()
    grown = index_shards(tmp_path / "in", tmp_path / "c", sharding=SMALL)
    assert len(grown.shards) == 5
    assert [name for shard in grown.shards for name in shard.names] == sorted(os.listdir(tmp_path / "in"))
    for seed in range(5, 10):
        (tmp_path / "in" / f"{seed:03d}.png").unlink()
    less = index_shards(tmp_path / "in", tmp_path / "c", sharding=SMALL)
    assert [shard.name for shard in less.manifest.shards] == [shard.name for shard in grown.manifest.shards[1:]]
    assert sorted(path.name for path in (tmp_path / "c").glob("shard-*")) == sorted(s.name for s in less.manifest.shards)
    assert less.check() == []


def test_a_shard_that_cannot_be_made_is_a_row(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = build_shard

    def fail(folder: Path, *rest: object) -> Collection:
        if folder.name == "shard-00001":
            raise CollectionError("it is\nbad")
        return real(folder, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("indexer.sharded.build.build_shard", fail)
    partly = index_shards(images, tmp_path / "c", settings=QUICK, sharding=SMALL)
    (bad,) = partly.failed_shards
    assert (bad.name, bad.error, bad.images) == ("shard-00001", "it is bad", 0)
    assert bad.failed > 0
    assert len(partly.shards) == len(partly.manifest.shards) - 1
    assert partly.check() == [f"{partly.folder}/shard-00001: it was not made: it is bad"]
    monkeypatch.undo()
    whole = index_shards(images, tmp_path / "c", sharding=SMALL)
    assert whole.failed_shards == ()
    assert whole.check() == []


def test_where_no_shard_can_be_made_the_reason_is_raised(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Collection:
        raise CollectionError("nothing works")

    monkeypatch.setattr("indexer.sharded.build.build_shard", fail)
    with pytest.raises(CollectionError, match="nothing works"):
        index_shards(images, tmp_path / "c", settings=QUICK, sharding=SMALL)


@pytest.mark.parametrize("damage", ["gone", "a bit", "manifest", "another"])
def test_a_shard_that_is_taken_away_or_damaged_is_found_and_made_again(
    damage: str, sharded: ShardedCollection, images: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "c"
    shutil.copytree(sharded.folder, folder)
    shard = folder / "shard-00002"
    if damage == "gone":
        shutil.rmtree(shard)
    elif damage == "another":
        shutil.rmtree(shard)
        shutil.copytree(folder / "shard-00003", shard)
    else:
        path = shard / ("phash/vectors.npy" if damage == "a bit" else "manifest.json")
        content = bytearray(path.read_bytes())
        content[-3] ^= 1
        path.write_bytes(content)
    (problem,) = ShardedCollection(folder).check()
    assert str(shard) in problem
    if damage != "a bit":
        with pytest.raises(CollectionError, match="run synthtrace index again"):
            _ = ShardedCollection(folder).shards[2]
    again = index_shards(images, folder, sharding=SMALL)
    assert again.check() == []
    assert again.manifest.fingerprint == sharded.manifest.fingerprint


def test_a_full_disk_ends_the_run_and_what_is_finished_stays(
    images: Path, sharded: ShardedCollection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = build_shard
    made: list[str] = []

    def full(folder: Path, *rest: object) -> Collection:
        if len(made) == 2:
            raise FullDisk(f"no space left in {folder}")
        made.append(folder.name)
        return real(folder, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("indexer.sharded.build.build_shard", full)
    with pytest.raises(FullDisk):
        index_shards(images, tmp_path / "c", settings=QUICK, sharding=SMALL)
    with pytest.raises(CollectionError, match="no finished collection in shards"):
        ShardedCollection(tmp_path / "c")
    before = {name: (tmp_path / "c" / name / "manifest.json").stat().st_mtime_ns for name in made}
    monkeypatch.undo()
    done = index_shards(images, tmp_path / "c", settings=QUICK, sharding=SMALL)
    assert done.manifest.fingerprint == sharded.manifest.fingerprint
    assert {name: (tmp_path / "c" / name / "manifest.json").stat().st_mtime_ns for name in made} == before


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("stage", ["hashing", "learning", "indexing shards"])
def test_an_interrupted_run_carries_on(stage: str, images: Path, sharded: ShardedCollection, tmp_path: Path) -> None:
    def progress(now: str, done: int, total: int) -> None:
        if now == stage and done >= total / 2:
            raise Killed

    with pytest.raises(Killed):
        index_shards(images, tmp_path / "c", settings=QUICK, sharding=SMALL, progress=progress)
    done = index_shards(images, tmp_path / "c", settings=QUICK, sharding=SMALL)
    assert done.manifest.fingerprint == sharded.manifest.fingerprint
    assert done.check() == []


def test_files_that_changed_before_an_interrupted_run_was_finished_count(tmp_path: Path) -> None:
    """The sample is drawn again, and what was made with the other one is not used."""

    def progress(now: str, done: int, total: int) -> None:
        if now == "indexing shards" and done:
            raise Killed

    write_images(tmp_path / "in", range(30))
    with pytest.raises(Killed):
        index_shards(tmp_path / "in", tmp_path / "c", settings=QUICK, sharding=SMALL, progress=progress)
    write_images(tmp_path / "in", range(25, 40))
    done = index_shards(tmp_path / "in", tmp_path / "c", settings=QUICK, sharding=SMALL)
    assert_equal(done, index(tmp_path / "in", tmp_path / "one", settings=QUICK))


def test_other_settings_are_refused_and_refit_takes_them(sharded: ShardedCollection, images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(sharded.folder, folder)
    other = replace(QUICK, sample_size=20)
    with pytest.raises(CollectionError, match="other settings"):
        index_shards(images, folder, settings=other, sharding=SMALL)
    anew = refit_shards(images, folder, settings=other, sharding=SMALL)
    assert anew.manifest.sample["size"] == 20
    assert anew.check() == []


def test_other_folders_are_refused(images: Path, single: Collection, tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match="a collection in one piece"):
        index_shards(images, single.folder, sharding=SMALL)
    (tmp_path / "sample.txt").touch()
    for make in (index_shards, refit_shards):
        with pytest.raises(CollectionError, match="not empty and no collection"):
            make(images, tmp_path, sharding=SMALL)
    assert (tmp_path / "sample.txt").exists()


def test_a_damaged_manifest_is_refused(sharded: ShardedCollection, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(sharded.folder, folder)
    text = (folder / "shards.json").read_text(encoding="utf-8")
    values = json.loads(text)
    values["shards"][0]["images"] += 1
    (folder / "shards.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(CollectionError, match="has changed since it was written"):
        ShardedCollection(folder)
    (folder / "shards.json").write_text(text[:-9], encoding="utf-8")
    with pytest.raises(CollectionError, match="is damaged"):
        ShardedCollection(folder)


def test_views_that_learn_nothing_have_an_empty_sample(images: Path, tmp_path: Path) -> None:
    settings = Settings(views={"phash": {}})
    single = index(images, tmp_path / "one", settings=settings)
    many = index_shards(images, tmp_path / "many", settings=settings, sharding=SMALL)
    assert_equal(many, single)
    assert len(many.fitted) == 0


def test_patients_are_hashed_with_one_salt_and_never_told(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(24):
        data = dicom(np.full((32, 32), number * 9, np.uint16), PatientID=f"Meier {number % 3}")
        (tmp_path / "in" / f"{number:02d}.dcm").write_bytes(data)
    many = index_shards(tmp_path / "in", tmp_path / "c", settings=Settings(views={"phash": {}}), sharding=SMALL)
    patients = [patient for shard in many.shards for patient in shard.patients]
    assert len(many.shards) == 3
    assert len(set(patients)) == 3
    assert patients == patients[:3] * 8
    assert many.manifest.salt == next(iter(many.shards)).salt.fingerprint
    assert [path for path in many.folder.rglob("*") if path.is_file() and b"Meier" in path.read_bytes()] == []


class Elsewhere(InProcess):
    """Work is done in this process, as if it was done on machines without a GPU."""

    here = False


def test_a_gpu_that_no_machine_has_is_refused_and_auto_does_without(images: Path, tmp_path: Path) -> None:
    with pytest.raises(NoGpu, match="Ray has no GPU"):
        index_shards(images, tmp_path / "a", settings=QUICK, sharding=Sharding(10, device="cuda"), executor=Elsewhere())
    index_shards(images, tmp_path / "b", settings=QUICK, sharding=Sharding(30), executor=Elsewhere())


def stages(calls: Sequence[tuple[str, int, int]]) -> list[str]:
    """Each stage once, in order."""
    return list(dict.fromkeys(stage for stage, _, _ in calls))


def test_progress_counts_the_files_of_all_shards(images: Path, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    index_shards(
        images, tmp_path / "c", settings=QUICK, sharding=SMALL, executor=InProcess(), progress=lambda *call: calls.append(call)
    )
    assert stages(calls) == ["hashing", "looking at a sample", "learning", "indexing shards"]
    done = [done for stage, done, _ in calls if stage == "indexing shards"]
    assert done == sorted(done)
    assert calls[-1][1] == calls[-1][2] == 48
