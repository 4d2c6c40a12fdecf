"""Blinded reading over HTTP: what is hidden is not sent, readers do not see each other, and labels come out by reader."""

import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from query.evaluation.agreement import cohen_kappa
from query.service.backend.reviews.blinded import Blinding
from tests.helpers.serving import COPIED, GENERATED, REAL, World, make_world, serving

PAIRS = 12
LABELS = ["copy", "similar", "unrelated"]
HIDDEN = ("real/", "generated/", "patient", ".png", "sha256", "hubness", "phash", "used", "distance", "match")
Blinded = tuple[TestClient, dict[str, str]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """No test changes it but for a moment."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def own(world: World, tmp_path: Path) -> World:
    """The same with a database, and so with labels, of its own."""
    return world.copied(tmp_path)


@pytest.fixture
def client(own: World) -> Iterator[TestClient]:
    with serving(own, Blinding(seed=3, pairs=PAIRS)) as client:
        yield client


def begin(client: TestClient, reader: str, code: str = "") -> dict[str, str]:
    """The header of a reader's requests."""
    answer = client.post("/v1/blinded/readers", json={"reader": reader, "code": code})
    assert answer.status_code == 200, answer.text
    return {"Synthtrace-Reader": answer.json()["code"]}


def pictures(client: TestClient, who: dict[str, str], place: int) -> list[bytes]:
    """PNG of A and B."""
    answers = [client.get(f"/v1/blinded/pairs/{place}/{side}", headers=who) for side in "ab"]
    assert [answer.status_code for answer in answers] == [200, 200]
    return [answer.content for answer in answers]


def files(world: World) -> dict[bytes, tuple[str, int]]:
    """Pixels -> side and number of the image."""
    found = {}
    for role, count in (("real", REAL), ("generated", GENERATED)):
        for number in range(count):
            with Image.open(world.folder / role / role / f"{number:03d}.png") as image:
                found[np.asarray(image).tobytes()] = (role, number)
    return found


def shown(client: TestClient, who: dict[str, str], world: World) -> list[list[tuple[str, int]]]:
    """What stands at each place as A and B."""
    of = files(world)
    opened = [[np.asarray(Image.open(io.BytesIO(png))).tobytes() for png in pictures(client, who, n)] for n in range(PAIRS)]
    return [[of[pixels] for pixels in pair] for pair in opened]


def test_everything_else_of_the_open_service_is_refused(world: World, own: World, client: TestClient) -> None:
    with serving(world) as other:
        described = other.get("/openapi.json").json()["paths"]
    open_to_all = {"/livez", "/readyz", "/metrics", "/v1/session", "/v1/mode"}
    for path, methods in described.items():
        if path in open_to_all:
            continue
        for method in methods:
            address = path.format(run=1, image=GENERATED, real=GENERATED, generated=0, name="most-copied")
            answer = client.request(method.upper(), address, json={} if method in ("post", "put") else None)
            assert answer.status_code == 403, (method, address)
            assert "blinded" in answer.json()["error"]["reason"]


def test_no_answer_holds_a_name_a_number_or_a_score(client: TestClient) -> None:
    who = begin(client, "Ada")
    put = client.put("/v1/blinded/pairs/0", json={"review": "copy", "note": "n"}, headers=who)
    answers = [client.get("/v1/mode"), client.get("/readyz"), client.get("/metrics"), put]
    answers += [client.get(f"/v1/blinded/pairs{path}", headers=who) for path in ("", "/0", "/1", "/99", "/0/c")]
    for answer in answers:
        text = answer.text + json.dumps(dict(answer.headers))
        assert [word for word in HIDDEN if word in text] == [], answer.url
    assert set(put.json()) == {"place", "review"}
    assert set(answers[4].json()) == {"reader", "total", "labels"}
    for png in pictures(client, who, 0):
        kinds, at = [], 8
        while at < len(png):
            (length,) = struct.unpack(">I", png[at : at + 4])
            kinds.append(png[at + 4 : at + 8])
            at += 12 + length
        assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}  # no text, no date


def test_the_best_ranked_pairs_are_among_others_and_each_reader_has_an_order(own: World) -> None:
    with serving(own, Blinding(seed=3, pairs=PAIRS)) as client:
        ada, ben = (begin(client, name) for name in ("Ada", "Ben"))
        first, second = shown(client, ada, own), shown(client, ben, own)
        assert first != second
        assert {frozenset(pair) for pair in first} == {frozenset(pair) for pair in second}
        code = ada["Synthtrace-Reader"]
        client.put("/v1/blinded/pairs/0", json={"review": "copy"}, headers=ada)
    real = [dict(pair)["real"] for pair in first]
    copied = [number for number in real if number < COPIED]
    assert len(set(real)) == PAIRS
    assert PAIRS // 2 <= len(copied) < PAIRS  # each copy was matched and ranks first; others are drawn
    assert {pair[0][0] for pair in first} == {"real", "generated"}  # A is now the one, now the other
    assert [number < COPIED for number in real] != sorted([number < COPIED for number in real], reverse=True)
    with serving(own, Blinding(seed=3, pairs=PAIRS)) as client:
        assert shown(client, begin(client, "Ada", code), own) == first
    with serving(own, Blinding(seed=4, pairs=PAIRS)) as client:
        assert shown(client, begin(client, "Ada", code), own) != first


def test_readers_do_not_see_each_other(client: TestClient) -> None:
    ada, ben = begin(client, "Ada"), begin(client, "Ben")
    for place in range(PAIRS):
        assert client.put(f"/v1/blinded/pairs/{place}", json={"review": "copy", "note": "mine"}, headers=ada).status_code == 200
    assert client.get("/v1/blinded/pairs", headers=ada).json()["labels"] == ["copy"] * PAIRS
    assert client.get("/v1/blinded/pairs", headers=ben).json()["labels"] == [None] * PAIRS
    assert client.get("/v1/blinded/pairs/0", headers=ben).json()["review"] is None
    assert client.delete("/v1/blinded/pairs/0", headers=ben).status_code == 404
    for name in ("Ada", " ada "):  # nobody reads under another's name
        assert client.post("/v1/blinded/readers", json={"reader": name}).status_code == 409
        assert client.post("/v1/blinded/readers", json={"reader": name, "code": ben["Synthtrace-Reader"]}).status_code == 409
    for wrong in ({}, {"Synthtrace-Reader": "Ada"}):
        assert client.get("/v1/blinded/pairs", headers=wrong).status_code == 403
        assert client.get("/v1/blinded/pairs/0/a", headers=wrong).status_code == 403
    assert client.post("/v1/blinded/readers", json={"reader": "  "}).status_code == 422


def test_labels_are_kept_by_reader_and_opened_afterwards(own: World) -> None:
    rng = np.random.default_rng(0)
    with serving(own, Blinding(pairs=PAIRS)) as client:
        given: dict[str, dict[frozenset[Any], str]] = {}
        for name in ("Ada", "Ben"):
            who = begin(client, name)
            pairs = shown(client, who, own)
            given[name] = {frozenset(pair): LABELS[rng.integers(3)] for pair in pairs}
            for place, pair in enumerate(pairs):
                label = {"review": given[name][frozenset(pair)]}
                client.put(f"/v1/blinded/pairs/{place}", json=label, headers=who)
        client.delete("/v1/blinded/pairs/0", headers=who)
        client.put("/v1/blinded/pairs/0", json={"review": given["Ben"][frozenset(pairs[0])]}, headers=who)
    with serving(own) as client:
        assert client.get("/v1/reviews").json()["reviews"] == []  # an open review is another thing
        found = client.get("/v1/readers").json()
        rows = client.get("/v1/reviews.csv").text.splitlines()
    assert len(rows) == 1 + 2 * PAIRS
    assert {row.split(",")[5] for row in rows[1:]} == {"Ada", "Ben"}
    for pair in found["pairs"]:
        key = frozenset({("real", pair["real_id"] - GENERATED), ("generated", pair["generated_id"])})
        assert pair["labels"] == {name: labels[key] for name, labels in given.items()}
    (kappa,) = found["agreements"]
    table = [[LABELS.index(pair["labels"][name]) for name in ("Ada", "Ben")] for pair in found["pairs"]]
    assert (kappa["coefficient"], kappa["pairs"]) == ("Cohen's kappa", PAIRS)
    assert kappa["value"] == pytest.approx(cohen_kappa(table))
    assert kappa["low"] < kappa["value"] < kappa["high"]


def test_one_reader_can_be_named_when_the_service_starts(own: World) -> None:
    with serving(own, Blinding(pairs=PAIRS, reader="Ada")) as client:
        assert client.get("/v1/mode").json() == {"blinded": True, "reader": "Ada", "database": True}
        assert client.get("/v1/blinded/pairs").json()["total"] == PAIRS
        assert client.put("/v1/blinded/pairs/0", json={"review": "similar"}).status_code == 200
        assert client.post("/v1/blinded/readers", json={"reader": "Ben"}).status_code == 409
    with serving(own) as client:
        assert client.get("/v1/mode").json() == {"blinded": False, "reader": None, "database": True}
        assert [each["reader"] for each in client.get("/v1/readers").json()["readers"]] == ["Ada"]


def test_an_error_names_no_file(own: World) -> None:
    hidden = own.folder / "elsewhere"
    with serving(own, Blinding(pairs=PAIRS)) as client:
        who = begin(client, "Ada")
        (own.folder / "real" / "real").rename(hidden)
        try:
            answers = [client.get(f"/v1/blinded/pairs/{place}/{side}", headers=who) for place in range(PAIRS) for side in "ab"]
        finally:
            hidden.rename(own.folder / "real" / "real")
    failed = [answer for answer in answers if answer.status_code != 200]
    assert {answer.status_code for answer in failed} == {404}
    assert len(failed) == PAIRS
    assert {answer.json()["error"]["reason"] for answer in failed} == {failed[0].json()["error"]["reason"]}
    assert [word for word in HIDDEN if word in failed[0].text] == []
