"""Object stores: what is copied there and back is the same, whole or not at all; only what is missing is copied."""

import secrets
import shutil
import sys
from pathlib import Path

import fsspec
import pytest

from indexer.manifest import CollectionError
from indexer.sharded.build import Sharding, index_shards
from indexer.sharded.collection import ShardedCollection
from indexer.sharded.store import Store, StoreError, pull, push
from tests.helpers.making import QUICK, tree, write_images

SMALL = Sharding(size=10)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> ShardedCollection:
    folder = tmp_path_factory.mktemp("sharded")
    write_images(folder / "in", range(30))
    return index_shards(folder / "in", folder / "c", settings=QUICK, sharding=SMALL)


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty place in a store."""
    name = secrets.token_hex(4)
    return f"memory://bucket/{name}" if request.param == "memory" else f"file://{tmp_path}/store"


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Files with their bytes, but for locks and salts."""
    return {name: value for name, value in tree(folder).items() if not name.endswith(("salt", "-lock", "sample.txt"))}


def puts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are copied to a store from now on."""
    names: list[str] = []
    real = Store.put

    def put(self: Store, name: str, path: Path) -> None:
        names.append(name)
        real(self, name, path)

    monkeypatch.setattr(Store, "put", put)
    return names


def test_there_and_back_is_the_same(sharded: ShardedCollection, url: str, tmp_path: Path) -> None:
    push(sharded.folder, url)
    back = pull(url, tmp_path / "back")
    assert back.check() == []
    assert content(back.folder) == content(sharded.folder)
    files, prefix = fsspec.core.url_to_fs(url)
    assert [path for path in files.find(prefix) if path.endswith("salt")] == []


def test_only_what_is_missing_is_copied(
    sharded: ShardedCollection, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(sharded.folder, url)
    names = puts(monkeypatch)
    push(sharded.folder, url)
    assert names == ["shards.json"]
    back = pull(url, tmp_path / "back").folder
    shutil.rmtree(back / "shard-00001")
    kept = (back / "shard-00000" / "manifest.json").stat().st_mtime_ns
    assert pull(url, back).check() == []
    assert (back / "shard-00000" / "manifest.json").stat().st_mtime_ns == kept


def test_what_is_half_there_is_no_collection_and_is_finished(
    sharded: ShardedCollection, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = Store.put, 0

    def put(self: Store, name: str, path: Path) -> None:
        nonlocal count
        count += 1
        if count > 12:
            raise StoreError("the network is gone")
        real(self, name, path)

    monkeypatch.setattr(Store, "put", put)
    with pytest.raises(StoreError, match="the network is gone"):
        push(sharded.folder, url)
    with pytest.raises(StoreError, match=r"is no collection in shards: it has no shards.json"):
        pull(url, tmp_path / "back")
    monkeypatch.undo()
    push(sharded.folder, url)
    assert pull(url, tmp_path / "back").check() == []


def test_a_file_that_was_changed_there_is_refused(sharded: ShardedCollection, url: str, tmp_path: Path) -> None:
    push(sharded.folder, url)
    files, prefix = fsspec.core.url_to_fs(url)
    files.pipe_file(f"{prefix}/shard-00001/phash/vectors.npy", b"other")
    with pytest.raises(StoreError, match=r"shard-00001/phash/vectors.npy: its bytes are not those that were written"):
        pull(url, tmp_path / "back")
    with pytest.raises(CollectionError, match="no finished collection in shards"):
        ShardedCollection(tmp_path / "back")


def test_shards_that_are_gone_here_go_there(sharded: ShardedCollection, url: str, tmp_path: Path) -> None:
    shutil.copytree(sharded.folder, tmp_path / "c")
    push(tmp_path / "c", url)
    write_images(tmp_path / "in", range(8))
    less = index_shards(tmp_path / "in", tmp_path / "c", sharding=SMALL)
    push(less.folder, url)
    assert content(pull(url, tmp_path / "back").folder) == content(less.folder)
    files, prefix = fsspec.core.url_to_fs(url)
    assert len([path for path in files.ls(prefix, detail=False) if "shard-" in path]) == 1


@pytest.mark.parametrize("url", ["nonsense://a/b", "file:///nowhere/at/all", "s3:/bucket/c", "s3:bucket"])
def test_a_store_that_is_none_is_told_in_one_line(url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        pull(url, tmp_path / "back")
    assert str(caught.value).startswith(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError("https://a/b"), "there is no such bucket or folder (https://a/b)"),
        (PermissionError("Forbidden"), "access is refused (Forbidden); check the credentials and their rights"),
        (OSError("two\nlines"), "two lines"),
        (OSError(), "OSError"),
    ],
)
def test_what_a_store_says_is_told_so_that_one_understands(error: OSError, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "pipe_file", refuse)
    with pytest.raises(StoreError) as caught:
        Store("memory://bucket/c").check_usable()
    assert str(caught.value) == f"memory://bucket/c: {told}"


def test_a_store_is_tried_before_and_left_as_it_was(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(url).check_usable()
    files, prefix = fsspec.core.url_to_fs(url)
    assert files.find(prefix) == []
    monkeypatch.setattr(type(files), "rm_file", lambda *_: files.nothing_of_this_name)
    with pytest.raises(StoreError, match=f"{url}: .*nothing_of_this_name"):
        Store(url).check_usable()


def test_without_fsspec_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(StoreError) as caught:
        pull("s3://bucket/c", Path("nowhere"))
    assert str(caught.value) == "s3://bucket/c needs fsspec: pip install '.[distributed]' in the project folder"
