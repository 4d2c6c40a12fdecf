"""The service over a small run: what it answers is what the database and the library say; what it refuses it refuses as JSON."""

import csv
import errno
import io
import os
import re
import resource
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from embeddings.files.temporary import PREFIX
from embeddings.views.keypoints import keypoints
from indexer import checked_file
from indexer.files import Locked
from indexer.search import brute_force
from query.comparison.geometry import aligned, match
from query.comparison.lookup import lookup, read_images
from query.database.store import Store, StoreError
from query.inputs.reviews import Kept, ReviewLabel
from query.service.backend import snapshot
from query.service.backend.reviews.reviews import Reviews
from query.service.backend.snapshot import Snapshot, Snapshots
from query.service.backend.sql import process, queries
from query.service.guard import limits
from query.service.guard.access import Access
from query.service.schemas import Sort
from tests.helpers.making import slice_of, write_frames, write_image
from tests.helpers.serving import COPIED, GENERATED, GROUPS, METHODS, REAL, VALUE, World, add_run, make_world, serving

VIEWS = ("combined", "phash", "toy")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """No test changes it but by reviews, which it takes back."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[TestClient]:
    with serving(world) as client:
        yield client


def ok(client: TestClient, path: str, **parameters: Any) -> Any:
    answer = client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: Any, status: int) -> str:
    """The reason of an answer that must have failed."""
    error = answer.json()["error"]
    assert (answer.status_code, error["status"]) == (status, status), answer.text
    assert set(answer.json()) == {"error"}
    assert set(error) == {"status", "code", "reason"}
    assert "\n" not in error["reason"]
    return str(error["reason"])


def picture(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def file_of(world: World, name: str) -> bytes:
    return (world.folder / name.split("/")[0] / name).read_bytes()


def wait_until(condition: Any, seconds: float = 15) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.05)


# Runs and distances


def test_a_run_is_described(client: TestClient) -> None:
    (short,) = ok(client, "/v1/runs")["runs"]
    run = ok(client, f"/v1/runs/{short['run']}")
    assert run["images"] == {"real": REAL, "generated": GENERATED}
    assert run["labels"] == {"used": 23, "not_used": 23, "unlabelled": 4}
    assert [view["view"] for view in run["views"]] == list(VIEWS)
    assert [(method["method"], method["primary"]) for method in run["methods"]] == [(METHODS[0], True), (METHODS[1], False)]
    assert sum(run["methods"][0]["answers"].values()) == REAL
    first, second = run["answer"]
    assert first["note"] == "With 95% confidence at least 5 of 25 unlabelled patients were used to train the generator."
    assert second["note"] == "5 of 25 unlabelled patients are called used."
    (collection,) = ok(client, "/v1/collections")["collections"]
    assert (collection["images"], collection["run"]) == (GENERATED, short["run"])


def test_patients_are_listed_by_their_p(world: World, client: TestClient) -> None:
    whole = ok(client, "/v1/runs/1/patients", limit=500)
    assert (whole["method"], whole["total"]) == (METHODS[0], REAL // 2)
    kept = {row["patient"]: row for row in world.sql("SELECT * FROM patient_decisions")}
    p_values = [each["p_value"] for each in whole["patients"]]
    assert p_values == sorted(row["p_value"] for row in kept.values())
    nearest = "SELECT query_id, neighbour_id FROM neighbours WHERE view = 'combined' AND rank = 1"
    near = {row["query_id"]: row["neighbour_id"] for row in world.sql(nearest)}
    for each in whole["patients"]:
        row = kept[each["patient"]]
        assert (each["nearest_id"], each["generated_id"]) == (row["image_id"], near[row["image_id"]])
        assert (each["decision"], each["images"]) == (row["decision"], 2)
    used = ok(client, "/v1/runs/1/patients", decision="used", offset=1, limit=2)
    called = [each for each in whole["patients"] if each["decision"] == "used"]
    assert (used["total"], used["patients"]) == (len(called), called[1:3])


@pytest.mark.parametrize("view", VIEWS)
def test_distances_are_those_of_every_pair(world: World, client: TestClient, view: str) -> None:
    rows = world.sql(f"SELECT real_id, generated_id, distance FROM distances WHERE view = '{view}' ORDER BY ALL")
    table = np.array([row["distance"] for row in rows]).reshape(REAL, GENERATED)
    found = ok(client, "/v1/runs/1/distances", view=view)
    assert sum(found["counts"]) == table.size
    assert found["counts"] == np.histogram(table, found["edges"])[0].tolist()
    nearest = np.sort(table.min(axis=1)[23:46])
    rounding = 0 if view == "phash" else brute_force.ROUNDING  # the nearest were searched, the table was computed
    assert found["nearest"]["not used"] == pytest.approx(nearest, rel=0, abs=rounding)
    assert found["nearest"]["generated"] == pytest.approx(np.sort(table.min(axis=0)), rel=0, abs=rounding)
    assert {name: len(values) for name, values in found["nearest"].items()} == {
        "generated": GENERATED, "used": 23, "not used": 23, "unlabelled": 4
    }  # fmt: skip
    (threshold,) = found["thresholds"]
    assert nearest[0] <= threshold["value"] < nearest[1]  # one of 23 is within, and two would be more than 5%


# Lists of images


def test_pieces_of_a_list_are_the_list(client: TestClient) -> None:
    whole = ok(client, "/v1/images", limit=500, sort="distance")
    pieces = [ok(client, "/v1/images", limit=7, offset=offset, sort="distance")["images"] for offset in range(0, REAL, 7)]
    assert [image for piece in pieces for image in piece] == whole["images"]
    assert (whole["total"], len(whole["images"])) == (REAL, REAL)
    beyond = ok(client, "/v1/images", offset=1000)
    assert (beyond["total"], beyond["images"]) == (REAL, [])


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", list(Sort))
def test_lists_are_sorted_with_what_is_unknown_last(client: TestClient, sort: str, order: str) -> None:
    def key(image: dict[str, Any]) -> Any:
        if sort == "distance":
            return image["nearest"]["phash"]["distance"]
        return image["decision"][sort] if sort in image["decision"] else image[sort]

    images = ok(client, "/v1/images", limit=500, sort=sort, order=order, view="phash")["images"]
    keys = [key(image) for image in images]
    known = [each for each in keys if each is not None]
    assert keys == sorted(known, reverse=order == "desc") + [None] * (len(keys) - len(known))


def test_the_surest_matches_come_first_and_then_the_nearest(client: TestClient) -> None:
    images = ok(client, "/v1/images", limit=500, sort="match", order="desc", view="matched")["images"]
    assert [image["match"] for image in images[:COPIED]] == [VALUE + n for n in reversed(range(COPIED))]
    others = images[COPIED:]
    assert {image["match"] for image in others} == {None}
    assert all(image["nearest"]["matched"] == image["nearest"]["combined"] for image in others)  # as if nothing was added
    distances = [image["nearest"]["combined"]["distance"] for image in others]
    assert distances == sorted(distances)
    assert not any("matched" in image["nearest"] for image in ok(client, "/v1/images", view="phash", search="049")["images"])


def test_lists_are_filtered(world: World, client: TestClient) -> None:
    for membership, count in (("used", 23), ("not used", 23), ("unlabelled", 4)):
        found = ok(client, "/v1/images", membership=membership, limit=500)["images"]
        assert [image["membership"] for image in found] == [membership] * count
    answered = ok(client, "/v1/images", answer="used", limit=500)["images"]
    expected = world.sql("SELECT image_id FROM decisions WHERE answer = 'used' ORDER BY 1")
    assert [image["id"] for image in answered] == [row["image_id"] for row in expected]
    searched = ok(client, "/v1/images", search="REAL/01")["images"]
    assert [image["name"] for image in searched] == [f"real/01{n}.png" for n in range(10)]
    assert ok(client, "/v1/images", role="generated", membership="used")["total"] == 0
    assert ok(client, "/v1/images", search="%")["total"] == 0  # no pattern


@pytest.mark.parametrize("role", ["real", "generated"])
def test_images_are_described_as_the_database_has_them(world: World, client: TestClient, role: str) -> None:
    kept = world.sql("SELECT query_id, view, neighbour_id, distance FROM neighbours WHERE rank = 1")
    nearest = {(row["query_id"], row["view"]): (row["neighbour_id"], row["distance"]) for row in kept}
    for image in ok(client, "/v1/images", role=role, limit=500)["images"]:
        assert {view: (near["id"], near["distance"]) for view, near in image["nearest"].items()} == {
            view: near for (number, view), near in nearest.items() if number == image["id"]
        }
        if image["id"] % 7 == 0:
            assert image == ok(client, f"/v1/images/{image['id']}")
        assert image["group"] == GROUPS.get(image["name"])
        assert (image["decision"] is None) == (role == "generated")


def test_neighbours_are_those_of_the_run(world: World, client: TestClient) -> None:
    kept = world.sql("SELECT view, rank, neighbour_id FROM neighbours WHERE query_id = 45 AND rank <= 3 ORDER BY ALL")
    found = ok(client, "/v1/neighbours/45", k=3)["neighbours"]
    assert [(each["view"], each["rank"], each["id"]) for each in found] == [tuple(row.values()) for row in kept]
    assert {each["view"] for each in ok(client, "/v1/neighbours/45", view="phash")["neighbours"]} == {"phash"}
    (verified,) = ok(client, f"/v1/neighbours/{GENERATED + 3}", view="matched")["neighbours"]
    assert (verified["id"], verified["unit"]) == (3, "sd")


# Pictures


def test_pictures_are_those_that_were_indexed(client: TestClient) -> None:
    answer = client.get(f"/v1/images/{GENERATED + 5}/picture")
    assert (picture(answer.content) == slice_of(5)).all()


def test_thumbnails_are_small(client: TestClient) -> None:
    address = f"/v1/images/{GENERATED + 5}/thumbnail"
    answer = client.get(address, params={"size": 32})
    assert picture(answer.content).shape == (32, 32)
    assert picture(client.get(address, params={"size": 48}).content).shape == (48, 48)


def test_a_vanished_or_changed_file_is_named_without_its_folder(world: World, client: TestClient) -> None:
    path = world.folder / "real" / "real" / "049.png"
    before = path.read_bytes()
    address = f"/v1/images/{GENERATED + 49}/picture"
    try:
        path.write_bytes(b"other")
        reason = refused(client.get(address), 422)
        assert "real/049.png: the file has changed since it was indexed: index again" in reason
        assert str(world.folder) not in reason
        path.unlink()
        assert refused(client.get(address), 404).endswith("real/049.png: No such file or directory")
    finally:
        path.write_bytes(before)


def test_a_folder_that_is_gone_is_said_once_and_makes_the_service_unready(world: World, tmp_path: Path) -> None:
    told: list[str] = []
    away = (world.folder / "real").rename(world.folder / "away")
    try:
        with serving(world.copied(tmp_path), say=told.append) as client:
            wait_until(lambda: "loaded" not in client.get("/readyz").text)
            reason = refused(client.get("/readyz"), 503)
            assert reason.startswith("the folder of the real images is not there")
            assert told == [reason]
            for image in (GENERATED, GENERATED + 1):
                reason = refused(client.get(f"/v1/images/{image}/picture"), 404)
                assert "the folder of the images is not there" in reason
                assert "synthtrace relocate" in reason
                assert str(world.folder) not in reason
            ok(client, "/v1/images/0")
    finally:
        away.rename(world.folder / "real")


def test_no_answer_holds_a_path(world: World, client: TestClient) -> None:
    for path in ("runs", "runs/1", "collections", "images?limit=500", "neighbours/45", "pairs/41/1", "reviews", "reviews.csv"):
        assert str(world.folder) not in client.get(f"/v1/{path}").text
    assert str(world.folder) not in client.get("/readyz").text


# Pairs


def test_a_copy_lies_upon_its_source(client: TestClient) -> None:
    pair = ok(client, f"/v1/pairs/{GENERATED + 1}/1")
    real, generated = (picture(client.get(f"/v1/images/{n}/picture").content) for n in (GENERATED + 1, 1))
    expected = match(keypoints(real), keypoints(generated))
    assert pair["match"]["inliers"] == expected.inliers > 0
    assert expected.inliers == len(pair["match"]["points"])
    over = aligned(real, generated, expected.transform)
    assert (picture(client.get(f"/v1/pairs/{GENERATED + 1}/1/aligned").content) == over).all()
    difference = picture(client.get(f"/v1/pairs/{GENERATED + 1}/1/difference").content).astype(int)
    half = (over.astype(int) - generated) / 2
    assert (np.abs(difference - 128 - half) <= 0.5)[difference != 128].all()
    assert (difference != 128).any()


def test_matches_stand_beside_what_calibrates_them(client: TestClient) -> None:
    run = ok(client, "/v1/runs/1")
    assert (run["matched_pairs"], run["match"]["threshold"], run["match"]["controls"]) == (COPIED, 30.0, 20)
    compared, other = (ok(client, f"/v1/pairs/{GENERATED + 3}/{n}")["match"] for n in (3, 4))
    assert (compared["value"], compared["threshold"], compared["calibrated"]) == (VALUE + 3, 30.0, True)
    assert (other["value"], other["threshold"], other["calibrated"]) == (None, 30.0, False)
    best = ok(client, "/v1/images", sort="match", order="desc", limit=1, view="matched")["images"][0]
    assert (best["id"], best["match"]) == (GENERATED + COPIED - 1, VALUE + COPIED - 1)


def test_places_are_counted_among_all_pairs_and_the_reference(world: World, client: TestClient) -> None:
    real = GENERATED + 30  # not used itself, as is 31 of the same patient: neither is its reference
    for view in VIEWS:
        rows = world.sql(f"SELECT distance FROM distances WHERE view = '{view}' ORDER BY real_id, generated_id")
        table = np.array([row["distance"] for row in rows]).reshape(REAL, GENERATED)
        others = np.array([n for n in range(23, 46) if n not in (30, 31)])
        found = ok(client, f"/v1/pairs/{real}/3")["distances"][view]
        d = found["distance"]
        assert d == table[30, 3]
        assert found["place"]["of_all_pairs"] == pytest.approx((table <= d).mean())
        assert found["place"]["of_reference"] == pytest.approx((table[others].min(axis=1) <= d).mean())
        assert found["place"]["reference"] == len(others)


# Looking up


def test_an_upload_finds_what_the_library_finds(world: World, client: TestClient) -> None:
    for name in ("real/003.png", "generated/020.png"):
        answer = client.post("/v1/search", params={"k": 4}, content=file_of(world, name))
        read, _ = read_images(world.collection, [world.folder / name.split("/")[0] / name])
        hits = lookup(world.collection, read, k=4)
        assert [(h["view"], h["rank"], h["id"], h["name"], h["distance"]) for h in answer.json()["hits"]] == [
            (h.view, h.rank, h.row, h.name, h.distance) for h in hits
        ]
    assert answer.json()["hits"][0]["distance"] == 0


def test_an_image_in_a_form_is_refused_with_the_mend(world: World, client: TestClient) -> None:
    answer = client.post("/v1/search", files={"file": ("a.png", file_of(world, "real/003.png"))})
    assert "--data-binary" in refused(answer, 415)


def test_many_searches_at_once_find_what_each_finds_alone(world: World, client: TestClient) -> None:
    files = [file_of(world, f"real/{n:03d}.png") for n in range(32)]

    def hits(body: bytes) -> Any:
        return client.post("/v1/search", params={"k": 2}, content=body).json()["hits"]

    alone = [hits(body) for body in files]
    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(hits, files)) == alone
    assert alone[0] != alone[1]


def test_matching_lays_the_upload_over_what_was_found(world: World, client: TestClient) -> None:
    body = file_of(world, "real/003.png")
    found = client.post("/v1/search", params={"k": 2, "match": True}, content=body).json()["hits"]
    for hit in found:
        other = picture(file_of(world, hit["name"]))
        assert hit["inliers"] == match(keypoints(other), keypoints(slice_of(3))).inliers
    assert all(hit["inliers"] is None for hit in client.post("/v1/search", content=body).json()["hits"])


def test_of_several_frames_the_first_is_looked_up(tmp_path: Path, client: TestClient) -> None:
    body = write_frames(tmp_path / "a.tif", [slice_of(2), slice_of(3)]).read_bytes()
    found = client.post("/v1/search", params={"k": 1}, content=body).json()
    alone = client.post("/v1/search", params={"k": 1}, content=write_image(tmp_path / "b.png", slice_of(2)).read_bytes()).json()
    assert (found["frames"], alone["frames"]) == (2, 1)
    assert found["hits"] == alone["hits"]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_volumes_are_known_by_their_content(tmp_path: Path, client: TestClient, suffix: str) -> None:
    nibabel = pytest.importorskip("nibabel")
    volume = np.stack([slice_of(2), slice_of(3)], axis=-1).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / f"v{suffix}")
    found = client.post("/v1/search", content=(tmp_path / f"v{suffix}").read_bytes())
    assert (found.status_code, found.json()["frames"]) == (200, 2)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no body"),
        (b"no picture", "NotAnImage"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "Truncated"),
        (b"\x1f\x8b" + bytes(50), "NotAnImage"),
        (bytes(128) + b"DICM" + bytes(50), ":"),
    ],
)
def test_what_is_no_image_is_refused(client: TestClient, body: bytes, reason: str) -> None:
    assert reason in refused(client.post("/v1/search", content=body), 422)


def test_too_many_pixels_are_refused(client: TestClient) -> None:
    file = io.BytesIO()
    Image.new("1", (6000, 6000)).save(file, "PNG")
    assert "6000 x 6000" in refused(client.post("/v1/search", content=file.getvalue()), 413)


# Limits


def test_large_bodies_are_refused_whether_they_say_so_or_not(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY", 1000)
    assert "body" in refused(client.post("/v1/search", content=bytes(1001)), 413)
    assert "body" in refused(client.post("/v1/search", content=(bytes(100) for _ in range(11))), 413)
    assert "NotAnImage" in refused(client.post("/v1/search", content=b"x" * 1000), 422)


def test_livez_answers_while_searches_run_and_a_full_line_sends_away(
    world: World, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = client.app.state.service  # type: ignore[attr-defined]
    begun, let_go = threading.Event(), threading.Event()

    def slow(*_: object) -> Any:
        begun.set()
        assert let_go.wait(20)
        raise RuntimeError("this one is ours")

    monkeypatch.setattr(service.searching, "look", slow)
    monkeypatch.setattr(service.searches, "_most", 3)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(client.post, "/v1/search", content=b"x") for _ in range(3)]
        try:
            assert begun.wait(20)
            wait_until(lambda: service.searches._inside == 3)
            assert client.get("/livez").json() == {"status": "alive"}
            assert ok(client, "/v1/images", limit=1)["total"] == REAL
            sent_away = client.post("/v1/search", content=b"x")
            assert "running or waiting" in refused(sent_away, 503)
            assert sent_away.headers["retry-after"] == "1"
        finally:
            let_go.set()
        assert all("bug" in refused(each.result(), 500) for each in waiting)


def test_too_many_requests_are_sent_away_but_livez(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AT_ONCE", 0)
    answer = client.get("/v1/runs")
    assert "being answered" in refused(answer, 503)
    assert answer.headers["retry-after"] == "1"
    assert client.get("/livez").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("GET", "/v1/images/90", None, 404, "no image 90"),
        ("GET", "/v1/images/x", None, 422, "image"),
        ("GET", "/v1/images/-1", None, 422, "image"),
        ("GET", "/v1/images?limit=501", None, 422, "limit"),
        ("GET", "/v1/images?view=nowhere", None, 404, "combined, phash, toy"),
        ("GET", "/v1/images?run=7", None, 404, "no run 7; it holds 1"),
        ("GET", "/v1/runs/7", None, 404, "no run 7"),
        ("GET", "/v1/runs/99999999999999999999", None, 422, "run"),
        ("GET", "/v1/runs/1/distances?view=nowhere", None, 404, "nowhere"),
        ("GET", "/v1/neighbours/90", None, 404, "no image 90"),
        ("GET", "/v1/pairs/3/45", None, 404, "no real image 3"),
        ("GET", "/v1/pairs/45/46", None, 404, "no generated image 46"),
        (
            "GET",
            "/v1/images?limt=5",
            None,
            422,
            "limt: there is no such parameter; this route takes the parameters answer, limit,",
        ),
        ("GET", "/v1/images?limit=5&limit=6", None, 422, "limit: given 2 times"),
        ("POST", "/v1/search?K=3", None, 422, "K: there is no such parameter; this route takes the parameters k, match"),
        ("GET", "/nowhere", None, 404, ""),
        ("GET", "/page/../app.py", None, 404, ""),
        ("GET", "/page/%2e%2e/app.py", None, 404, ""),
        ("POST", "/livez", None, 405, ""),
        ("POST", "/v1/sql", {"query": ""}, 422, "query"),
        ("POST", "/v1/sql", {"sql": "SELECT 1"}, 422, "query"),
        ("POST", "/v1/analyses/nowhere", {}, 404, "source-map"),
        ("POST", "/v1/analyses/source-map", {"parameters": {"x": 1}}, 400, "no parameter 'x'"),
        ("PUT", "/v1/reviews/45/3", {"review": "safe"}, 422, "review"),
        ("PUT", "/v1/reviews/3/45", {"review": "copy"}, 404, "no real image 3"),
        ("DELETE", "/v1/reviews/45/3", None, 404, "no review"),
    ],
)
def test_what_is_asked_wrongly_is_refused(
    client: TestClient, method: str, path: str, body: Any, status: int, reason: str
) -> None:
    assert reason in refused(client.request(method, path, json=body), status)


def test_no_route_passes_over_a_parameter(client: TestClient) -> None:
    for path, methods in ok(client, "/openapi.json")["paths"].items():
        for method, about in methods.items():
            filled = re.sub(r"\{\w+\}", "1", path)
            reason = refused(client.request(method, filled, params={"nonsense": 1}), 422)
            known = sorted(each["name"] for each in about.get("parameters", []) if each["in"] == "query")
            assert reason.startswith("nonsense: there is no such parameter")
            assert reason.endswith(f"parameters {', '.join(known)}" if known else "takes no parameters")


# SQL


def test_sql_and_analyses_give_what_the_database_says(world: World, client: TestClient) -> None:
    query = "SELECT name, frame AS n, sha256 = '' AS n FROM images ORDER BY image_id"
    table = client.post("/v1/sql", json={"query": query}).json()
    assert [column["name"] for column in table["columns"]] == ["name", "n", "n"]
    assert [row[0] for row in table["rows"]] == [row["name"] for row in world.sql("SELECT name FROM images ORDER BY image_id")]
    with Store.open(world.db, read_only=True) as store:
        for name, parameters in ((each["name"], each["parameters"]) for each in ok(client, "/v1/analyses")["analyses"]):
            answer = client.post(f"/v1/analyses/{name}", json={})
            if "search" in parameters:
                assert (answer.status_code, "holds no search for duplicates" in answer.text) == (400, True)
                continue
            found = answer.json()
            expected = store.analyse(name)
            assert ([column["name"] for column in found["columns"]], len(found["rows"])) == (expected.column_names, len(expected))


def test_numbers_that_json_or_a_browser_does_not_have_are_written_otherwise(client: TestClient) -> None:
    query = "SELECT 'nan'::DOUBLE, 9007199254740993, [18446744073709551615::UBIGINT], 1.5::DECIMAL(4,1), DATE '2026-01-02', NULL"
    answer = client.post("/v1/sql", json={"query": query})
    assert answer.json()["rows"] == [[None, "9007199254740993", ["18446744073709551615"], 1.5, "2026-01-02", None]]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "SELECT getenv('HOME')",
        "COPY images TO '/tmp/x.csv'",
        "ATTACH '/tmp/x.duckdb'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "PRAGMA database_list",
        "SET threads = 1",
        "RESET memory_limit",
        "CREATE TEMP TABLE t AS SELECT 1",
        "DELETE FROM images",
        "EXPORT DATABASE '/tmp/x'",
        "CALL pragma_version()",
        "SELECT 1; SELECT 2",
        "SELECT 1; DELETE FROM images",
        "SELEC",
        "--",
    ],
)
def test_sql_reads_the_run_and_nothing_else(world: World, query: str) -> None:
    with Store.open(world.db, read_only=True, settings=process.SETTINGS) as store, pytest.raises(StoreError):
        process.answer(store, query, None, 10)


@pytest.mark.parametrize("value", ["DATE '290000-01-01'", "TIMESTAMP 'infinity'", "'infinity'::DATE"])
def test_days_that_python_does_not_have_are_refused(world: World, value: str) -> None:
    with Store.open(world.db, read_only=True) as store, pytest.raises(StoreError, match="cast it to VARCHAR"):
        process.answer(store, f"SELECT {value}", None, 10)


def test_sql_has_limits_of_rows_time_and_size(world: World, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(query: str) -> Any:
        return client.post("/v1/sql", json={"query": query})

    with Store.open(world.db, read_only=True) as store:
        for count, truncated in ((10_000, False), (10_001, True)):
            table = process.answer(store, f"SELECT * FROM range({count})", None, 10)
            assert (len(table["rows"]), table["truncated"]) == (10_000, truncated)
    assert "MB" in refused(ask("SELECT repeat('x', 30000000)"), 400)
    monkeypatch.setattr(queries, "SECONDS", 0.3)
    started = time.monotonic()
    assert "0.3 seconds" in refused(ask("SELECT count(*) FROM range(1000000000) a, range(1000000) b"), 504)
    assert time.monotonic() - started < 5


def test_a_huge_value_ends_the_question_and_not_the_service(client: TestClient) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    query = "SELECT len(range(800000000))"  # DuckDB does not count it as memory of its own
    assert "memory" in refused(client.post("/v1/sql", json={"query": query}), 400).lower()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 200_000  # KB


def test_what_duckdb_does_not_interrupt_is_ended(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "SECONDS", 0.1)
    monkeypatch.setattr(queries, "_START", 0.3)
    assert "0.1 seconds" in refused(client.post("/v1/sql", json={"query": "SELECT length(repeat('x', 1000000000))"}), 504)


# Reviews


def test_reviews_outlive_the_service_and_a_new_run(tmp_path: Path, world: World) -> None:
    world = world.copied(tmp_path)
    with serving(world) as client:
        for generated, review in ((1, "copy"), (2, "similar"), (1, "unrelated"), (3, "copy")):
            note = {"review": review, "note": 'a "note",\nof two lines'}
            assert client.put(f"/v1/reviews/{GENERATED + 1}/{generated}", json=note).status_code == 200
        assert client.delete(f"/v1/reviews/{GENERATED + 1}/3").status_code == 204
    with Store.open(world.db) as store:
        add_run(world, store)
    with serving(world) as client:
        found = ok(client, "/v1/reviews")
        kept = [(each["real_id"], each["generated_id"], each["review"]) for each in found["reviews"]]
        assert (found["run"], kept) == (2, [(GENERATED + 1, 2, "similar"), (GENERATED + 1, 1, "unrelated")])
        assert ok(client, f"/v1/pairs/{GENERATED + 1}/1")["review"] == {"review": "unrelated", "note": note["note"]}
        text = client.get("/v1/reviews.csv").text
        assert "real/001.png,generated/002.png,similar," in text
    path = tmp_path / "results.reviews.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600


KEYS = [(("a", 0), ("b", 0)), (("a", 1), ("b", 0)), (("c", 0), ("b", 0))]
KEPT = Kept(ReviewLabel.COPY, "", "real", "generated", "now")


def test_a_line_cut_short_is_named_and_the_others_stand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db = tmp_path / "a.duckdb"
    with Reviews(db) as reviews:
        for pair in KEYS[:2]:
            reviews.put(*pair, KEPT)
        with pytest.raises(Locked, match="in use by another service"):
            Reviews(db)
    whole = reviews.path.read_bytes()
    first, second = whole.splitlines(keepends=True)
    reviews.path.write_bytes(first + b"rubbish\n" + second[:-9])  # a kill in the middle of the last line
    with Reviews(db) as reviews:
        assert list(reviews.all()) == KEYS[:1]
        note = capsys.readouterr().err.splitlines()
        assert ["line 2" in note[0], "line 3" in note[1], len(note)] == [True, True, 2]
        reviews.put(*KEYS[2], KEPT)
    with Reviews(db) as reviews:
        assert list(reviews.all()) == [KEYS[0], KEYS[2]]


def test_a_file_that_people_edited_is_taken_as_far_as_it_can_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Reviews(tmp_path / "a.duckdb") as reviews:
        reviews.put(*KEYS[0], KEPT)
    line = reviews.path.read_bytes().strip()
    unknown, long = line.replace(b'"copy"', b'"safe"'), line.replace(b'"note": ""', b'"note": "%s"' % (b"x" * 2001))
    endless, last = line.replace(b'"frame": 0', b'"frame": Infinity'), line.replace(b'"frame": 0', b'"frame": 1', 1)
    reviews.path.write_bytes(b"\n".join([line, unknown, long, endless, last]))  # the editor left the last line without an end
    for after in (KEYS[:2], KEYS):
        with Reviews(tmp_path / "a.duckdb") as reviews:
            assert dict.fromkeys(after, KEPT) == reviews.all()  # a wrong line takes no earlier review back
            assert [f"line {n}" in note for n, note in enumerate(capsys.readouterr().err.splitlines(), 2)] == [True] * 3
            reviews.put(*KEYS[2], KEPT)


def saved(path: Path, content: bytes, way: str) -> None:
    """As an editor saves it: a new file under the old name, or new bytes in the old file."""
    if way == "renamed":
        (path.parent / "new").write_bytes(content)
        (path.parent / "new").replace(path)
    elif way == "deleted and made":
        path.unlink()
        path.write_bytes(content)
    else:
        path.write_bytes(content)


@pytest.mark.parametrize("way", ["renamed", "deleted and made", "written in place"])
def test_reviews_outlive_an_editor_that_saves_the_file(tmp_path: Path, way: str, capsys: pytest.CaptureFixture[str]) -> None:
    db = tmp_path / "a.duckdb"
    with Reviews(db) as reviews:
        reviews.put(*KEYS[0], KEPT)
        opened = reviews.path.read_bytes()
        reviews.put(*KEYS[1], KEPT)
        saved(reviews.path, opened.replace(b'"note": ""', b'"note": "edited"'), way)  # without what was given meanwhile
        assert reviews.all() == {KEYS[0]: replace(KEPT, note="edited"), KEYS[1]: KEPT}
        reviews.put(*KEYS[2], KEPT)
        saved(reviews.path, reviews.path.read_bytes(), way)
        assert reviews.remove(*KEYS[1])
        saved(reviews.path, opened, way)
    with Reviews(db) as reviews:
        assert list(reviews.all()) == [KEYS[0], KEYS[2]]
    assert "2 reviews that it lacked" in capsys.readouterr().err
    assert reviews.path.stat().st_mode & 0o777 == 0o600


def test_a_file_of_reviews_that_is_gone_is_written_again(tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    with Reviews(db) as reviews:
        reviews.put(*KEYS[0], KEPT)
    with Reviews(db) as reviews:
        reviews.path.unlink()
        reviews.put(*KEYS[1], KEPT)
        with pytest.raises(Locked, match="in use by another service"):  # though the file is another one
            Reviews(db)
    with Reviews(db) as reviews:
        assert list(reviews.all()) == KEYS[:2]


def test_an_editor_that_saves_in_the_moment_of_a_review_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = tmp_path / "a.duckdb"
    fsync = os.fsync

    def replaced(descriptor: int) -> None:
        fsync(descriptor)
        monkeypatch.undo()
        saved(reviews.path, b"", "renamed")

    with Reviews(db) as reviews:
        monkeypatch.setattr(os, "fsync", replaced)
        reviews.put(*KEYS[0], KEPT)
        assert b"copy" in reviews.path.read_bytes()


def test_reviews_follow_no_link_and_say_what_stands_in_the_way(tmp_path: Path, world: World) -> None:
    world = world.copied(tmp_path)
    with serving(world) as client:
        path = client.app.state.service.reviews.path  # type: ignore[attr-defined]
        assert client.put(f"/v1/reviews/{GENERATED}/0", json={"review": "copy"}).status_code == 200
        path.rename(tmp_path / "moved")
        path.symlink_to(tmp_path / "moved")
        for answer in (client.put(f"/v1/reviews/{GENERATED}/0", json={"review": "similar"}), client.get("/readyz")):
            assert "reviews cannot be saved" in (reason := refused(answer, 503))
            assert str(tmp_path) not in reason
        assert ok(client, "/v1/reviews")["reviews"][0]["review"] == "copy"
        path.unlink()
        assert client.put(f"/v1/reviews/{GENERATED}/0", json={"review": "similar"}).status_code == 200
        assert client.get("/readyz").status_code == 200
    path.unlink()
    path.symlink_to(tmp_path / "moved")
    with pytest.raises(OSError, match=r"reviews\.jsonl"):
        Reviews(world.db)


def test_a_review_that_finds_no_space_is_not_kept(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(world.copied(tmp_path)) as client:
        path = client.app.state.service.reviews.path  # type: ignore[attr-defined]
        assert client.put(f"/v1/reviews/{GENERATED}/0", json={"review": "copy"}).status_code == 200
        before = path.read_bytes()

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            assert "no space" in refused(client.put(f"/v1/reviews/{GENERATED}/0", json={"review": "similar"}), 507)
        assert (ok(client, "/v1/reviews")["reviews"][0]["review"], path.read_bytes()) == ("copy", before)


def test_a_spreadsheet_runs_nothing_of_the_reviews(tmp_path: Path) -> None:
    with Reviews(tmp_path / "a.duckdb") as reviews:
        for pair, text in zip(KEYS, ("=1+1", "@SUM(A1)", "plain - text"), strict=True):
            reviews.put(*pair, replace(KEPT, note=text, real=text))
        rows = list(csv.DictReader(io.StringIO(reviews.as_csv())))
    assert [row["note"] for row in rows] == [row["real"] for row in rows] == ["'=1+1", "'@SUM(A1)", "plain - text"]


def test_a_list_knows_the_reviews_of_its_nearest_pairs(client: TestClient) -> None:
    image = ok(client, f"/v1/images/{GENERATED + 2}")
    near = image["nearest"]["combined"]["id"]
    assert near == 2
    client.put(f"/v1/reviews/{image['id']}/{near}", json={"review": "similar"})
    try:
        for role, number in (("real", image["id"]), ("generated", near)):
            (found,) = ok(client, "/v1/images", review="similar", role=role)["images"]
            assert (found["id"], found["review"]) == (number, "similar")
        assert ok(client, "/v1/images", review="none")["total"] == REAL - 1
        assert ok(client, "/v1/images", review="copy")["total"] == 0
        assert ok(client, "/v1/images", sort="review", limit=1)["images"][0]["id"] == image["id"]
    finally:
        client.delete(f"/v1/reviews/{image['id']}/{near}")


# Access


TOKEN = "correct horse battery"


def test_a_token_opens_everything_and_nothing_opens_without(world: World, tmp_path: Path) -> None:
    with serving(world.copied(tmp_path), access=Access("0.0.0.0", TOKEN)) as client:
        assert client.get("/livez").status_code == 200
        for path in ("/v1/runs", "/metrics", "/openapi.json", "/v1/images/45/picture", "/nowhere"):
            assert "token" in refused(client.get(path), 401)
            assert "token" in refused(client.get(path, headers={"Authorization": "Bearer wrong"}), 401)
            assert "token" in refused(client.get(path, headers={"Cookie": "synthtrace=wrong"}), 401)
        assert client.get("/v1/runs", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert "wrong" in refused(client.post("/v1/session", json={"token": "wröng"}), 401)
        answer = client.post("/v1/session", json={"token": TOKEN})
        session = answer.json()["session"]
        assert TOKEN not in session
        assert client.get("/v1/images/45/picture", headers={"Authorization": f"Bearer {session}"}).status_code == 200
        assert "set-cookie" not in answer.headers  # a browser would send it to every port of this host
        for cookie in (session, f"synthtrace={session}", f"session={TOKEN}"):
            assert "token" in refused(client.get("/v1/images/45/picture", headers={"Cookie": cookie}), 401)


def test_other_names_and_other_origins_are_turned_away(client: TestClient) -> None:
    assert "Host" in refused(client.get("/v1/runs", headers={"Host": "attacker.example"}), 421)
    assert client.get("/v1/runs", headers={"Host": "localhost:9000"}).status_code == 200
    query = {"query": "SELECT 1"}
    foreign = [{"Origin": origin} for origin in ("http://attacker.example", "http://127.0.0.1:9000", "null")]
    for headers in (*foreign, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        assert "origin" in refused(client.post("/v1/sql", json=query, headers=headers), 403)
        for path in ("/v1/runs", "/v1/reviews.csv", f"/v1/pairs/{GENERATED}/0", "/v1/images/45/picture", "/metrics"):
            assert "origin" in refused(client.get(path, headers=headers), 403)
        for path in ("/", "/page/main.js"):
            assert client.get(path, headers=headers).status_code == 200  # a link may lead to the page
            assert "origin" in refused(client.post(path, headers=headers), 403)
    for headers in ({"Origin": "http://127.0.0.1:8300"}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
        assert client.post("/v1/sql", json=query, headers=headers).status_code == 200


def test_every_answer_keeps_browsers_on_this_origin(client: TestClient) -> None:
    pictures = (f"/v1/images/{GENERATED + 1}/picture", "/v1/images/45/thumbnail", f"/v1/pairs/{GENERATED + 1}/1/aligned")
    for path in ("/", "/livez", "/page/main.js", "/v1/runs", "/v1/reviews.csv", "/nowhere", *pictures):
        headers = client.get(path).headers
        assert (headers["cache-control"], headers["cross-origin-opener-policy"]) == ("no-store", "same-origin")
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


def test_the_description_is_whole_and_metrics_count(client: TestClient) -> None:
    paths = ok(client, "/openapi.json")["paths"]
    assert {"/livez", "/readyz", "/metrics", "/v1/search", "/v1/sql", "/v1/runs/{run}/distances"} <= set(paths)
    before = client.get("/metrics").text
    ok(client, "/v1/images/45")
    line = 'synthtrace_requests_total{method="GET",route="/v1/images/{image}",status="200"}'

    def count(text: str) -> float:
        return sum(float(each.rsplit(" ", 1)[1]) for each in text.splitlines() if each.startswith(line))

    assert count(client.get("/metrics").text) == count(before) + 1


# Snapshots


@pytest.mark.slow
def test_reader_and_writer_do_not_keep_each_other(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "LOOK", 0.1)
    world = world.copied(tmp_path)
    with serving(world) as client:
        assert ok(client, "/v1/runs")["runs"][0]["run"] == 1
        with Store.open(world.db) as store:  # in place; DuckDB would refuse, were the service holding the file
            add_run(world, store)
            assert ok(client, "/v1/images", limit=1)["run"] == 1
        wait_until(lambda: ok(client, "/v1/runs")["runs"][0]["run"] == 2)
        other = tmp_path / "other.part"
        other.write_bytes(world.db.read_bytes())
        with Store.open(other) as store:
            add_run(world, store)
        other.replace(world.db)  # as an audit does it
        wait_until(lambda: ok(client, "/readyz")["run"] == 3)
        world.db.write_bytes(b"rubbish")
        wait_until(lambda: "not a DuckDB file" in client.app.state.service.snapshots.reason)  # type: ignore[attr-defined]
        assert ok(client, "/v1/runs")["runs"][0]["run"] == 3  # the last good one
        assert "last good copy" in refused(client.get("/readyz"), 503)


def test_a_snapshot_in_use_stays_and_then_goes(tmp_path: Path, world: World) -> None:
    db = world.copied(tmp_path).db
    with Snapshots(db) as snapshots:
        wait_until(lambda: snapshots.age > 0)
        with snapshots.current() as before:
            assert before is not None
            db.touch()
            time.sleep(0.25)
            snapshots.look()
            with snapshots.current() as after:
                assert after is not before
            assert len(before.store.sql("SELECT * FROM images")) == REAL + GENERATED
            copy = Path(before.store.path)
            assert copy.exists()
        assert not copy.exists()
        folder = copy.parent
        assert (folder.stat().st_mode & 0o777, folder.name.startswith(PREFIX)) == (0o700, True)
    assert not folder.exists()


def test_a_copy_that_is_no_use_goes_at_once_and_is_made_once(tmp_path: Path, world: World) -> None:
    db = world.copied(tmp_path).db
    seen: list[Path] = []

    def changed(found: Snapshot) -> None:
        seen.append(Path(found.store.path))
        if len(seen) > 1:
            raise StoreError("a block is damaged")

    with Snapshots(db, changed) as snapshots:
        wait_until(lambda: snapshots.age > 0)
        db.touch()
        time.sleep(0.25)
        for _ in range(2):
            snapshots.look()
        assert (len(seen), seen[0].exists(), seen[1].exists()) == (2, True, False)
        assert "damaged" in snapshots.reason
        with snapshots.current() as found:
            assert found is not None
            assert Path(found.store.path) == seen[0]


def test_not_ready_until_there_is_a_run(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "LOOK", 0.1)
    db = tmp_path / "new.duckdb"
    Store.open(db).close()
    with serving(replace(world, db=db)) as client:
        wait_until(lambda: "loaded" not in client.get("/readyz").text)
        assert "holds no run yet" in refused(client.get("/readyz"), 503)
        assert "holds no run yet" in refused(client.get("/v1/images"), 503)
        assert client.get("/livez").status_code == 200
        with Store.open(db) as store:
            add_run(world, store)
        wait_until(lambda: client.get("/readyz").status_code == 200)


def test_not_ready_while_the_database_is_gone(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "LOOK", 0.05)
    world = world.copied(tmp_path)
    with serving(world) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        for away in (True, False):
            content = world.db.read_bytes()
            if away:
                world.db.rename(tmp_path / "away")
            else:
                world.db.write_bytes(b"rubbish")
            wait_until(lambda: client.get("/readyz").status_code == 503)
            assert "last good copy is served" in (reason := refused(client.get("/readyz"), 503))
            assert str(tmp_path) not in reason
            assert ok(client, "/v1/runs")["runs"][0]["run"] == 1
            world.db.write_bytes(content)
            wait_until(lambda: client.get("/readyz").status_code == 200)


def test_not_ready_and_no_answer_from_a_collection_that_changed(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked_file, "IN_MEMORY", 0)  # each file is mapped, as large ones are
    shutil.copytree(world.folder / "generated.c", tmp_path / "generated.c")
    with serving(replace(world.copied(tmp_path), folder=tmp_path)) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        for path in (tmp_path / "generated.c").rglob("*.npy"):
            with open(path, "r+b") as file:
                file.seek(-1, os.SEEK_END)
                file.write(b"changed")
        search = client.post("/v1/search", content=file_of(world, "real/003.png"))
        for answer in (client.get("/readyz"), search):
            assert "was changed while it was in use" in (reason := refused(answer, 503))
            assert str(tmp_path) not in reason


def test_without_a_database_images_are_looked_up_and_nothing_else(world: World, client: TestClient) -> None:
    body = file_of(world, "real/003.png")
    expected = client.post("/v1/search", params={"match": True}, content=body).json()["hits"]
    with serving(world, database=False) as alone:
        wait_until(lambda: alone.get("/readyz").status_code == 200)
        assert ok(alone, "/readyz") == {"status": "ready", "run": None}
        assert ok(alone, "/v1/mode") == {"blinded": False, "reader": None, "database": False}
        (collection,) = ok(alone, "/v1/collections")["collections"]
        assert (collection["images"], collection["run"]) == (GENERATED, None)
        assert "no ids" in collection["note"]
        found = alone.post("/v1/search", params={"match": True}, content=body).json()["hits"]
        assert found == [{**hit, "id": None} for hit in expected]
        assert "snapshot_age" not in alone.get("/metrics").text
        answered = {"/livez", "/readyz", "/metrics", "/v1/session", "/v1/mode", "/v1/collections", "/v1/search", "/v1/analyses"}
        bodies: dict[str, Any] = {"/v1/sql": {"query": "SELECT 1"}, "/v1/analyses/{name}": {}}
        bodies["/v1/reviews/{real}/{generated}"] = {"review": "copy"}
        for path, methods in ok(alone, "/openapi.json")["paths"].items():
            for method in () if path in answered or path.startswith("/v1/blinded/") else methods:
                answer = alone.request(method, re.sub(r"\{\w+\}", "1", path), json=bodies.get(path))
                assert "without --db" in refused(answer, 409)


def test_a_collection_that_the_run_did_not_compare_is_searched_without_ids(tmp_path: Path, world: World) -> None:
    note: list[str] = []

    class Other(World):
        @property
        def collection(self) -> Any:
            return self.real

    db = world.copied(tmp_path).db
    with serving(Other(world.folder, db), say=note.append) as client:
        hits = client.post("/v1/search", content=file_of(world, "real/003.png")).json()["hits"]
        assert {hit["id"] for hit in hits} == {None}
        assert ok(client, "/v1/collections")["collections"][0]["run"] is None
    assert len(note) == 1
    assert "no id" in note[0]
