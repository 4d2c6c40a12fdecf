"""The service over a collection in shards answers what it answers over one collection, and holds a few shards at a time."""

import gc
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from indexer.collection import Collection
from indexer.sharded.build import Sharding, index_shards
from indexer.sharded.joined import OPEN, Joined, open_joined
from query.service.backend.searching import Searching
from tests.helpers.serving import GENERATED, World, make_world, serving
from tests.helpers.toy import TOY

ASKED = ["real/003.png", "real/049.png", "generated/000.png", "generated/039.png"]


class InShards(World):
    """The same world, its generated images in 20 shards of two."""

    @property
    def collection(self) -> Collection:
        return open_joined(self.folder / "shards.c")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("world"))
    index_shards(world.folder / "generated", world.folder / "shards.c", settings=TOY, sharding=Sharding(size=2))
    return world


@pytest.fixture(scope="module")
def whole(world: World) -> Iterator[TestClient]:
    with serving(world) as client:
        yield client


@pytest.fixture(scope="module")
def client(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with serving(InShards(**vars(world.copied(tmp_path_factory.mktemp("db"))))) as client:
        yield client


def hits(client: TestClient, world: World, name: str, **asked: Any) -> list[dict[str, Any]]:
    answer = client.post("/v1/search", params=asked, content=(world.folder / name.split("/")[0] / name).read_bytes())
    assert answer.status_code == 200, answer.text
    return [{**hit, "distance": pytest.approx(hit["distance"], abs=1e-5)} for hit in answer.json()["hits"]]


@pytest.mark.parametrize("name", ASKED)
def test_searches_find_what_they_find_in_one_collection(whole: TestClient, client: TestClient, world: World, name: str) -> None:
    assert isinstance(client.app.state.service.collection, Joined)  # type: ignore[attr-defined]
    for asked in ({"k": 1}, {"k": 7, "match": True}, {"k": 50}):
        found = hits(client, world, name, **asked)
        assert found == hits(whole, world, name, **asked)
        assert all(hit["id"] is not None for hit in found)
        assert {hit["view"] for hit in found} == {"phash", "toy", "combined-lookup"}
    assert len(found) == 3 * GENERATED


@pytest.mark.parametrize("path", ["/readyz", "/v1/runs", "/v1/images?limit=500", "/v1/images/3", "/v1/neighbours/45", "/"])
def test_other_routes_answer_the_same(whole: TestClient, client: TestClient, path: str) -> None:
    ours, theirs = client.get(path), whole.get(path)
    assert (ours.status_code, ours.content) == (200, theirs.content)


def test_pictures_are_the_same(whole: TestClient, client: TestClient) -> None:
    for path in ("images/5/picture", "images/5/thumbnail?size=32", "pairs/45/5/aligned", "pairs/45/5/difference", "pairs/45/5"):
        ours, theirs = client.get(f"/v1/{path}"), whole.get(f"/v1/{path}")
        assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content)
        assert ours.status_code == 200


def test_the_collection_is_named(client: TestClient) -> None:
    (collection,) = client.get("/v1/collections").json()["collections"]
    assert (collection["name"], collection["images"]) == ("shards.c", GENERATED)


def test_many_searches_at_once_find_what_each_finds_alone_and_few_shards_are_open(
    client: TestClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"generated/{number:03d}.png" for number in range(24)]
    alone = [hits(client, world, name, k=3, match=True) for name in names]
    monkeypatch.setattr("query.service.backend.searching._PAIRS", 3 * GENERATED)  # three questions together at most
    most: list[int] = []
    searched = Searching._hits

    def watched(self: Searching, questions: Any, k: int) -> Any:
        assert len(questions) <= 3
        found = searched(self, questions, k)
        joined = self.collection
        assert isinstance(joined, Joined)
        most.append(len(joined._opened))
        return found

    monkeypatch.setattr(Searching, "_hits", watched)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda name: hits(client, world, name, k=3, match=True), names))
    assert together == alone
    assert 0 < max(most) <= OPEN
    gc.collect()
    shards = [each for each in gc.get_objects() if type(each) is Collection and world.folder / "shards.c" == each.folder.parent]
    assert len(shards) <= OPEN


def test_a_shard_that_is_gone_or_another_one_is_told_without_its_folder(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.folder / "shards.c", tmp_path / "moved" / "shards.c")
    moved = replace(InShards(**vars(world.copied(tmp_path))), folder=tmp_path / "moved")
    with serving(moved) as client:
        body = (world.folder / "real" / "real" / "003.png").read_bytes()
        assert client.post("/v1/search", content=body).status_code == 200
        shutil.rmtree(tmp_path / "moved" / "shards.c" / "shard-00011")
        for answer in (client.get("/readyz"), client.post("/v1/search", content=body)):
            assert answer.status_code == 503
            reason = answer.json()["error"]["reason"]
            assert "shard-00011" in reason
            assert str(tmp_path) not in reason
