#!/usr/bin/env python3
"""Measure look-ups over HTTP against the same look-ups without it.

AUDIT is a folder that `synthtrace audit` or `synthtrace demo` made; its real images, as PNG, are the uploads. The service runs
in a process of its own. Without HTTP, as many clients hand the same bytes to the same search in this process, through the same
line of threads. Both take turns.

p50, p99      of the time that a client waits
resident      memory of the server's process alone, and with the processes that decode; after all, and with --large so many
              uploads of nearly 20 MB later, most at once and ten seconds after the last
CPU           of the server's process for one upload, and of this one for one bare search: the difference is what HTTP costs
"""

import argparse
import http.client
import multiprocessing
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from result_file import write_results

from embeddings.pipeline import one_thread_each, workers
from indexer.collection import Collection
from indexer.manifest import CollectionError
from query.database.pictures import RunPictures
from query.database.store import Store, StoreError
from query.flow import DATABASE
from query.service.app import create_app
from query.service.backend.memory import share_heaps
from query.service.backend.searching import Searching
from query.service.backend.service import Service
from query.service.backend.thumbnails import png
from query.service.guard.connections import configured, room

UPLOADS = 64
REST = 10.0  # seconds until memory should have been given back
MS = 1000


@dataclass(frozen=True)
class Figures:
    """What so many clients saw: seconds that each search took, seconds of all, and CPU seconds."""

    waits: list[float]
    wall: float
    cpu: float

    @property
    def rate(self) -> float:
        """Searches a second."""
        return len(self.waits) / self.wall

    @property
    def cost(self) -> float:
        """CPU of one, ms."""
        return self.cpu / len(self.waits) * MS

    def wait(self, percent: float) -> float:
        """ms."""
        return float(np.percentile(self.waits, percent)) * MS


def uploads(audit: Path) -> list[bytes]:
    """Real images of the latest run as PNG."""
    with Store.open(audit / DATABASE) as store:
        run = store.known_run()
        query = "SELECT image_id FROM images WHERE run_id = $run AND role = 'real' ORDER BY 1 LIMIT $most"
        ids = store.sql(query, {"run": run, "most": UPLOADS})["image_id"].to_pylist()
        pictures = RunPictures(store, run)
        return [png(pictures.read(image)) for image in ids]


def serve(audit: Path, views: tuple[str, ...] | None, listening: socket.socket) -> None:
    """The service, as `synthtrace serve` runs it, until it is ended."""
    share_heaps()
    with Service(Collection(audit / "generated"), audit / DATABASE, views=views) as service:
        uvicorn.Server(configured(create_app(service), room())).run([listening])


@contextmanager
def serving(audit: Path, views: tuple[str, ...] | None) -> Iterator[tuple[int, int]]:
    """Port and process of a service that is ready."""
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(audit, views, listening), daemon=True)
        process.start()
        try:
            while _status(port) != 200:
                if not process.is_alive():
                    raise RuntimeError("the service ended before it was ready")
                time.sleep(0.1)
            yield port, int(process.pid or 0)
        finally:
            process.terminate()
            process.join()


def _status(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def cpu_of(pid: int) -> float:
    """CPU seconds of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_of(pid: int) -> tuple[int, int]:
    """MB of resident memory, of a process alone and with its children (Linux)."""
    found = []
    for each in (pid, *children_of(pid)):
        with suppress(OSError):  # it has ended
            words = Path(f"/proc/{each}/status").read_text().partition("VmRSS:")[2].split()
            found.append(int(words[0]) // 1024)
    return found[0], sum(found)


def children_of(pid: int) -> list[int]:
    """Processes that a process has started and that run (Linux)."""
    return [int(each) for task in Path(f"/proc/{pid}/task").iterdir() for each in (task / "children").read_text().split()]


def large() -> bytes:
    """A PNG of noise, as large as an upload may be."""
    return png(np.random.default_rng(0).integers(0, 256, (4400, 4400), np.uint8))


def after_large(port: int, pid: int, count: int) -> dict[str, float]:
    """Upload large files, twenty clients at once, and print what memory the server has at most, and at last."""
    body, most, done = large(), [0, 0], threading.Event()

    def look() -> None:
        while not done.wait(0.05):
            most[:] = map(max, most, resident_of(pid))

    def upload(_: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while True:
            connection.request("POST", "/v1/search", body)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 503:  # all bodies at once are limited: try again
                return
            time.sleep(0.5)

    watcher = threading.Thread(target=look)
    watcher.start()
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(upload, range(count)))
    done.set()
    watcher.join()
    time.sleep(REST)
    last = resident_of(pid)
    print(f"  {count} uploads of {len(body) / 1e6:.0f} MB, resident without and with the processes that decode:")
    print(f"    at most {most[0]:,} and {most[1]:,} MB, {REST:g} s later {last[0]:,} and {last[1]:,} MB")
    return {"at most MB": most[0], "with children at most MB": most[1], "later MB": last[0], "with children later MB": last[1]}


def measure(clients: int, seconds: float, ask: Callable[[int], Callable[[int], Any]], cpu: Callable[[], float]) -> Figures:
    """Let clients ask as quickly as they are answered.

    Args:
        clients: how many at once.
        seconds: how long they begin new searches.
        ask: number of a client -> what asks with the upload of a number.
        cpu: CPU seconds so far.
    """
    numbers = count()
    began, spent = time.perf_counter(), cpu()

    def client(number: int) -> list[float]:
        one, waits = ask(number), []
        while (at := time.perf_counter()) < began + seconds:
            one(next(numbers))
            waits.append(time.perf_counter() - at)
        return waits

    with ThreadPoolExecutor(clients) as pool:
        waits = [wait for each in pool.map(client, range(clients)) for wait in each]
    return Figures(waits, time.perf_counter() - began, cpu() - spent)


def over_http(port: int, bodies: list[bytes]) -> Callable[[int], Callable[[int], None]]:
    """Clients that keep their connection."""

    def connected(_: int) -> Callable[[int], None]:
        connection = http.client.HTTPConnection("127.0.0.1", port)

        def one(number: int) -> None:
            connection.request("POST", "/v1/search", bodies[number % len(bodies)])
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{answer.status}: {text.decode()}")

        return one

    return connected


def bare(searching: Searching, pool: ThreadPoolExecutor, bodies: list[bytes]) -> Callable[[int], Callable[[int], None]]:
    """The same searches in this process."""

    def one(number: int) -> None:
        with searching.batches.coming() as coming:
            pool.submit(searching.look, bodies[number % len(bodies)], 5, False, coming).result().hits.result()

    return lambda _: one


def compare(
    audit: Path, views: tuple[str, ...] | None, clients: list[int], seconds: float, uploaded: int
) -> dict[str, dict[str, float]]:
    """Print a line for each number of clients, and one of memory; their figures."""
    figures: dict[str, dict[str, float]] = {}
    bodies = uploads(audit)
    searching = Searching(Collection(audit / "generated"), views)
    size = np.mean([len(body) for body in bodies]) / 1000
    named = ", ".join(views or searching.collection.views)
    print(f"{named}: uploads of {size:.0f} KB against {len(searching.collection):,} images on {workers()} cores")
    line = ThreadPoolExecutor(workers())
    with one_thread_each(), line as pool, serving(audit, views) as (port, pid):
        pool.submit(searching.warm).result()
        for number in clients:
            plain = measure(number, seconds, bare(searching, pool, bodies), time.process_time)
            found = measure(number, seconds, over_http(port, bodies), lambda: cpu_of(pid))
            rates = f"{found.rate:.1f} searches/s, without HTTP {plain.rate:.1f} ({found.rate / plain.rate:.0%})"
            print(
                f"  {number:2} clients: {rates}; "
                f"p50 {found.wait(50):.0f} ms, p99 {found.wait(99):.0f} ms; "
                f"CPU {found.cost:.1f} ms, without HTTP {plain.cost:.1f} ms: HTTP costs {found.cost - plain.cost:.1f} ms"
            )
            waits = {"p50 ms": found.wait(50), "p99 ms": found.wait(99)}
            costs = {"cpu ms": found.cost, "cpu ms without": plain.cost}
            values = {"searches/s": found.rate, "searches/s without": plain.rate, **waits, **costs}
            figures[f"{number} clients"] = {name: round(float(value), 2) for name, value in values.items()}
        alone, whole = resident_of(pid)
        print(f"  resident {alone:,} MB, with the processes that decode {whole:,} MB")
        figures["memory"] = {"MB": alone, "with children MB": whole}
        if uploaded:
            figures["large uploads"] = after_large(port, pid, uploaded)
    searching.close()
    return figures


def main() -> int:
    """Parse, measure, print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audit", type=Path, help="folder that `synthtrace audit` or `synthtrace demo` made")
    parser.add_argument("--views", action="append", help="views, with commas between; repeat it to compare; default: all at once")
    parser.add_argument("--clients", default="1,8,32", help="numbers of clients, with commas between")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--large", type=int, default=0, metavar="N", help="then upload so many files of nearly 20 MB")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too, with commit and machine")
    given = parser.parse_args()
    try:
        numbers = [int(number) for number in given.clients.split(",")]
        if min(numbers) < 1 or given.seconds <= 0:
            raise ValueError
    except ValueError:
        parser.error("clients and seconds must be positive")
    try:
        sets = [(each, tuple(each.split(","))) if each else ("all views", None) for each in given.views or [""]]
        figures = {name: compare(given.audit, views, numbers, given.seconds, given.large) for name, views in sets}
    except (StoreError, CollectionError) as error:
        parser.error(str(error))
    if given.json:
        write_results(given.json, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
