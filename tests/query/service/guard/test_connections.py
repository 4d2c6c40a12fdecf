"""Connections to the service: idle, slow, half-sent, ambiguous, and gone; answers that nobody reads; bodies beside bodies."""

import json
import re
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import uvicorn

from query.service.app import create_app
from query.service.backend.service import Service
from query.service.guard import connections, limits
from tests.helpers.serving import World, make_world

GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\n"
ROOM = 20  # connections


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def service(world: World) -> Iterator[Service]:
    with Service(world.collection, world.db) as begun:
        yield begun


@pytest.fixture(scope="module")
def port(service: Service) -> Iterator[int]:
    """Of the service as it is served; it has room for few connections."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(connections.configured(create_app(service), ROOM))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            until = time.monotonic() + 60
            while not server.started or service.not_ready:
                assert time.monotonic() < until, service.not_ready
                time.sleep(0.02)
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(autouse=True)
def quiet(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing that a client does is worth a word, let alone a traceback."""
    yield
    assert capfd.readouterr().err == ""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("HEAD", 0.5), ("GAP", 0.5), ("STALL", 1.0), ("TICK", 0.05)):
        monkeypatch.setattr(connections, name, seconds)


def connected(port: int, sent: bytes = b"") -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", port), timeout=20)
    opened.sendall(sent)
    return opened


def answered(opened: socket.socket) -> tuple[int, bytes]:
    """Status and body of the last answer until the other side ends; 0 where it ends without one."""
    received = b""
    try:
        while piece := opened.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body


def asked(port: int, sent: bytes) -> tuple[int, bytes]:
    with connected(port, sent.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)) as opened:
        return answered(opened)


def reason(body: bytes) -> str:
    return str(json.loads(body)["error"]["reason"])


def counted(service: Service, status: int) -> float:
    line = re.compile(rf'^synthtrace_requests_total\{{.*status="{status}"\}} (\S+)$', re.M)
    return sum(map(float, line.findall(service.metrics.text().decode())))


def wait_until(condition: Any) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("sent", [b"", GET[:20], GET], ids=["nothing", "half a head", "kept open"])
def test_the_service_answers_while_others_hold_more_connections_than_there_are(port: int, sent: bytes) -> None:
    with ExitStack() as stack:
        held = []
        for _ in range(3 * ROOM):
            held.append(stack.enter_context(connected(port, sent)))
            if sent == GET:  # while one is answered it is under way, and makes no room
                assert held[-1].recv(65536).startswith(b"HTTP/1.1 200")
        for _ in range(3):
            assert asked(port, GET) == (200, b'{"status":"alive"}')
            assert asked(port, GET.replace(b"livez", b"v1/runs"))[0] == 200
        assert len(held) == 3 * ROOM


def test_what_is_under_way_is_not_ended_for_a_newer_connection(port: int, service: Service) -> None:
    with ExitStack() as stack:
        busy = [stack.enter_context(connected(port, POST + b"Content-Length: 5\r\n\r\n")) for _ in range(ROOM)]
        wait_until(lambda: service.metrics.in_flight._value.get() == ROOM)
        late = stack.enter_context(connected(port, GET))
        status, body = answered(late)
        assert (status, f"{ROOM} connections" in reason(body)) == (503, True)
        for each in busy:
            each.sendall(b"hello")
        assert [each.recv(65536).split()[1] for each in busy] == [b"422"] * ROOM


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("begun", "more", "note"),
    [
        (b"GET / HT", b"TP/1.1\r\nX: ", "headers"),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nX", b"x", "headers"),  # a byte now and then
        (POST + b"Content-Length: 9\r\n\r\n", b"", "body"),
        (POST + b"Content-Length: 900\r\n\r\n", b"x", "body"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", "body"),
    ],
)
def test_who_sends_slowly_is_not_waited_for(port: int, begun: bytes, more: bytes, note: str) -> None:
    with connected(port, begun) as opened:
        began = time.monotonic()
        opened.settimeout(0.1)
        while time.monotonic() < began + 20:
            try:
                first = opened.recv(1, socket.MSG_PEEK)
                break
            except TimeoutError:
                opened.sendall(more)
        opened.settimeout(20)
        assert first
        status, body = answered(opened)
        assert (status, note in reason(body)) == (408, True)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("sent", [b"", GET])
def test_an_idle_connection_is_ended_without_a_word(port: int, sent: bytes) -> None:
    with connected(port, sent) as opened:
        assert answered(opened) == ((200, b'{"status":"alive"}') if sent else (0, b""))


def test_a_client_that_goes_away_is_no_error_of_ours(port: int, service: Service) -> None:
    failures, gone = counted(service, 500), counted(service, 499)
    for head in (POST, POST.replace(b"search", b"sql")):
        for body in (b"Content-Length: 9\r\n\r\nxx", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhe", b"Content-Length: 9\r\n\r\n"):
            connected(port, head + b"Content-Type: application/json\r\n" + body).close()
    bad = connected(port, POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert answered(bad)[0] == 400
    bad.close()
    wait_until(lambda: counted(service, 499) == gone + 7)
    assert counted(service, 500) == failures


AMBIGUOUS = [
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    b"Content-Length: 5, 5\r\n\r\nhello",
    b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"content-length: +5\r\n\r\nhello",
    b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    b"X: a\r\n folded\r\nContent-Length: 5\r\n\r\nhello",
    b"X: a\r\n\tTransfer-Encoding: chunked\r\n\r\n",
    b"Content-Length : 5\r\n\r\nhello",
    b"Host: other\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("headers", AMBIGUOUS)
def test_what_two_servers_may_understand_differently_is_refused(port: int, headers: bytes) -> None:
    with connected(port, POST + headers + GET) as opened:
        status, body = answered(opened)  # the other side ends: what follows is no request
    assert status in (400, 501)
    assert body.count(b"HTTP/1.1") == 0
    assert "HTTP" in reason(body)


def test_http_1_0_has_no_chunks(port: int) -> None:
    with connected(port, POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n") as opened:
        assert answered(opened)[0] == 400


@pytest.mark.usefixtures("impatient")
def test_an_answer_that_nobody_reads_is_kept_for_a_while_only(port: int, service: Service) -> None:
    query = json.dumps({"query": "SELECT repeat('x', 15000000)"}).encode()
    head = POST.replace(b"search", b"sql") + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(query)
    with connected(port) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.sendall(head + query)
        inside = service.metrics.in_flight._value
        wait_until(lambda: opened.recv(1, socket.MSG_PEEK))
        assert inside.get() == 1  # it holds its place among the requests
        wait_until(lambda: inside.get() == 0)
    status, body = asked(port, head + query)
    assert (status, len(json.loads(body)["rows"][0][0])) == (200, 15_000_000)


def test_bodies_and_answers_have_room_together(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TOGETHER", 100_000)
    large = POST + b"Content-Length: 70000\r\n"
    with connected(port, large + b"\r\n") as first:
        time.sleep(0.2)
        for more in (large + b"Expect: 100-continue\r\n\r\n", POST + b"Transfer-Encoding: chunked\r\n\r\n"):
            with connected(port, more) as second:
                answer = second.recv(65536)  # before a byte of the body was sent
                assert answer.startswith(b"HTTP/1.1 503")
                assert b"retry-after: 2" in answer.lower()
        assert asked(port, POST + b"Content-Length: 5\r\n\r\nhello")[0] == 422  # a small one always finds room
        first.sendall(bytes(70000))
        assert first.recv(65536).startswith(b"HTTP/1.1 422")
    assert asked(port, large + b"\r\n" + bytes(70000))[0] == 422  # there is room again
    query = b'{"query": "SELECT repeat(\'x\', 150000)"}'
    sql = POST.replace(b"search", b"sql") + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(query)
    status, body = asked(port, sql + query)
    assert (status, "being transferred" in reason(body)) == (503, True)


def test_descriptors_are_raised_as_far_as_allowed_and_some_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: asked_for.append(limits))
    wanted = connections.MOST + connections.RESERVE
    for soft, hard, raised, most in (
        (256, 10**6, [(wanted, 10**6)], connections.MOST),
        (256, resource.RLIM_INFINITY, [(wanted, resource.RLIM_INFINITY)], connections.MOST),
        (10**6, 10**6, [], connections.MOST),
        (1024, 1024, [], 1024 - connections.RESERVE),
    ):
        asked_for.clear()
        monkeypatch.setattr(resource, "getrlimit", lambda what, limits=(soft, hard): limits)
        assert (connections.room(), asked_for) == (most, raised)
    monkeypatch.setattr(resource, "getrlimit", lambda what: (256, 256))
    with pytest.raises(connections.TooFewDescriptors, match="ulimit -n"):
        connections.room()
