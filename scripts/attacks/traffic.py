"""Attack: idle, slow and greedy clients, and a session in wrong hands."""

import json
import resource
import socket
import struct
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from attacks.tally import Tally
from attacks.target import Memory, Service, Target, copied, until

DESCRIPTORS = 1024  # that the attacked service may open, as is usual
LOG = 100_000  # bytes that a service may write about clients that misbehave
PATIENCE = 20.0  # seconds in which /livez must answer, whatever others do
TOKEN = "a token of this attack"
UPLOADED = 1_500_000_000  # bytes of memory that uploads at once may take together
KEPT = 500_000_000  # bytes more than before that may stay afterwards
LIVED = 90.0  # seconds that a body may take to come


def idle(target: Target, tally: Tally) -> str:
    """More connections than the service has descriptors: idle, half a header, gone without a word."""
    many = 1_200
    _more_descriptors(2 * many)
    with target.serving(target.audit / "generated", _database(target, "idle"), preexec_fn=_few_descriptors) as service:
        opened = [_connected(service) for _ in range(many)]
        for number, connection in enumerate(opened):
            if connection and number % 2:
                with suppress(OSError):
                    connection.sendall(b"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le")
        tally.figures["connected"] = sum(connection is not None for connection in opened)
        for moment in range(4):
            started = time.monotonic()
            answered = until(lambda: service.ask("/livez", timeout=5).status == 200, PATIENCE)
            tally.check(answered, f"/livez does not answer within {PATIENCE:g} s, look {moment} after the connections came")
            seconds = time.monotonic() - started
            tally.figures["slowest_livez_s"] = max(float(tally.figures.get("slowest_livez_s", 0.0)), round(seconds, 2))
            time.sleep(1)
        for connection in opened:
            if connection:
                _gone(connection)
        for _ in range(50):  # whole requests, and nobody waits for the answer
            connection = _connected(service)
            if connection:
                with suppress(OSError):
                    connection.sendall(b"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nabc")
                _gone(connection)
        tally.check(until(service.lives, PATIENCE), "the service does not live afterwards")
        tally.check(until(lambda: service.bugs() == 0, 5), f"{service.bugs()} of them are counted as 500")
        note = service.note()
        tally.figures["log_bytes"] = len(note)
        tally.check(len(note) < LOG, f"the log has {len(note):,} bytes: {note[-150:]}")
        tally.check("Traceback" not in note, f"{note.count('Traceback')} tracebacks in the log")
    return f"{many:,} connections, idle or with half a header, to a service with {DESCRIPTORS:,} descriptors"


def slow_bodies(target: Target, tally: Tally) -> str:
    """Bodies that come a byte a second: others are served meanwhile, and the connections do not stay for ever."""
    many = 40
    upload = sorted(target.generated.iterdir())[0].read_bytes()
    head = b"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10000000\r\n\r\n"
    with target.serving(target.audit / "generated", _database(target, "slow"), preexec_fn=_few_descriptors) as service:
        opened = [connection for connection in (_connected(service) for _ in range(many)) if connection]
        for connection in opened:
            connection.sendall(head)
            connection.settimeout(0)
        stay, started = set(opened), time.monotonic()
        while stay and time.monotonic() < started + LIVED:
            for connection in list(stay):
                if not _takes_more(connection):
                    stay.discard(connection)
            answer = service.ask("/v1/search?k=1", upload, timeout=PATIENCE)
            tally.check(answer.status == 200, f"somebody else's upload is answered {answer.status} meanwhile")
            tally.count("others_answered")
            time.sleep(1)
        tally.figures["ended_after_s"] = round(time.monotonic() - started, 1)
        tally.check(not stay, f"{len(stay)} of {many} bodies are still waited for after {LIVED:g} s")
        tally.check(service.bugs() == 0, f"{service.bugs()} of them are counted as 500")
        for connection in opened:
            connection.close()
    return f"{many} bodies of 10 MB, a byte a second"


def uploads(target: Target, tally: Tally) -> str:
    """As many uploads of 20 MB as can be sent at once."""
    many, size = (40 if target.quick else 200), 20_000_000
    image = sorted(target.generated.iterdir())[0].read_bytes()
    body = image + bytes(size - len(image))  # decoders stop at the end of the image
    with target.serving(target.audit / "generated", _database(target, "uploads")) as service:
        service.ask("/v1/search?k=1", image)
        with Memory(service.process.pid) as memory:
            before = memory.look()
            with ThreadPoolExecutor(many) as pool:
                statuses = Counter(pool.map(lambda _: service.ask("/v1/search?k=1", body, timeout=120).status, range(many)))
            time.sleep(2)
            after = memory.look()
        tally.figures["peak_mb"] = memory.peak // 1_000_000
        tally.figures["stayed_mb"] = max(0, after - before) // 1_000_000
        tally.figures["answers"] = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
        tally.check(memory.peak < UPLOADED, f"memory of the service and its children: {memory.peak / 1e9:.1f} GB")
        tally.check(after - before < KEPT, f"{(after - before) / 1e9:.1f} GB stay afterwards")
        tally.check(statuses[200] > 0, f"nobody is served: {dict(statuses)}")
        tally.check(not statuses.keys() - {0, 200, 408, 413, 429, 503}, f"answers {dict(statuses)}")
        tally.check(service.lives(), "the service does not live")
        tally.check(service.bugs() == 0, f"{service.bugs()} are counted as 500")
        tally.check(service.ask("/v1/search?k=1", image).status == 200, "the next upload is not answered")
    return f"{many} uploads of 20 MB at once"


def cookie(target: Target, tally: Tally) -> str:
    """What a browser sends of a session to another port of this host opens nothing there."""
    token = target.folder / "token"
    token.write_text(TOKEN)
    database, other = _database(target, "cookie"), _database(target, "cookie-other")
    options = ("--token-file", token)
    with target.serving(target.audit / "generated", database, *options, ready=False) as service:
        service.wait()
        tally.check(service.ask("/v1/images/0/picture").status == 401, "without a token a picture is shown")
        sent = json.dumps({"token": TOKEN}).encode()
        login = service.ask(
            "/v1/session", sent, headers={"Content-Type": "application/json", "Origin": f"http://127.0.0.1:{service.port}"}
        )
        tally.check(login.status in (200, 204), f"the token opens no session: {login.status}")
        cookies = "; ".join(
            value.partition(";")[0] for name, value in (login.headers or {}).items() if name.lower() == "set-cookie"
        )
        # what a local server on another port has of the visitor: the cookies, and any header that a program can write
        of_the_page = {
            "Origin": f"http://127.0.0.1:{service.port}",
            "Referer": f"http://127.0.0.1:{service.port}/",
            "Sec-Fetch-Site": "same-origin",
            "Sec-Fetch-Mode": "cors",
            "Sec-Fetch-Dest": "empty",
        }
        sent_by = {"nobody": {}, "itself": {"Origin": "http://127.0.0.1:1"}, "the page": of_the_page}
        with target.serving(target.audit / "generated", other, *options, ready=False) as second:
            second.wait()
            opened = (login.json() or {}).get("session")
            if opened:  # no cookie at all: what the page keeps opens this service, and no other
                bearer = {"Authorization": f"Bearer {opened}"}
                own, foreign = (each.ask("/v1/runs", headers=bearer).status for each in (service, second))
                tally.check((own, foreign) == (200, 401), f"a session opens its own service {own}, another one {foreign}")
            for whose, more in sent_by.items():
                for where, asked in (("the same service", service), ("another service", second)):
                    for path in ("/v1/images/0/picture", "/v1/images/0/thumbnail", "/v1/runs"):
                        status = asked.ask(path, headers={"Cookie": cookies, **more}).status
                        tally.check(status in (401, 403), f"{path} of {where}: {status} to the cookies and headers of {whose}")
                        tally.count("requests")
                    status = asked.sql("SELECT 1", headers={"Cookie": cookies, **more}).status
                    tally.check(status in (401, 403), f"SQL of {where}: {status} to the cookies and headers of {whose}")
    return "the cookies of a session, sent by another local server"


def _database(target: Target, name: str) -> Path:
    return copied(target.database, target.room(f"traffic-{name}") / "r.duckdb")


def _few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


def _more_descriptors(wanted: int) -> None:
    """For this process, which holds the other ends.

    Raises:
        RuntimeError: it may not have so many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise RuntimeError(f"this user may open {hard} files, {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _connected(service: Service) -> socket.socket | None:
    """A connection, or None where the service takes no more."""
    try:
        return socket.create_connection(("127.0.0.1", service.port), timeout=2)
    except OSError:
        return None


def _gone(connection: socket.socket) -> None:
    """Closed as a dead machine closes it."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _takes_more(connection: socket.socket) -> bool:
    """Whether a byte more can be sent, and nothing was answered yet."""
    try:
        connection.send(b"a")
        return connection.recv(1000) is None
    except BlockingIOError:
        return True
    except OSError:
        return False
