"""A small audit, a service over it, and a browser that looks at it: for tests of the review page."""

import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from making import write_image

from embeddings.phantoms import copy_of, phantom
from indexer.build import Settings
from query.audit import DATABASE, audit
from query.store import Store

REAL, GENERATED, COPIED = 50, 70, 12
ODD = "<img src=x onerror=alert(1)>.png"  # a name that must never become an element
SIZE = 128
VIEWS = Settings(views={"phash": {}, "pixels": {}}, sample_size=100)
ENTRY = "from query.cli import main; main()"


def make_audit(folder: Path) -> Path:
    """An audit of drawn slices: 24 used (12 of them copied), 24 not used, 2 of which nothing is known. Its folder."""
    rng = np.random.default_rng(0)
    names = [ODD, *(f"real_{i:03d}.png" for i in range(1, REAL))]
    (folder / "real").mkdir(parents=True)
    (folder / "generated").mkdir()
    for i, name in enumerate(names):
        write_image(folder / "real" / name, phantom(i, SIZE))
    for i in range(GENERATED):
        pixels = copy_of(phantom(i, SIZE), 1, rng) if i < COPIED else phantom(1000 + i, SIZE)
        write_image(folder / "generated" / f"generated_{i:03d}.png", pixels)
    with open(folder / "labels.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image", "used"], *([name, int(i < 24)] for i, name in enumerate(names[:48]))])
    out = folder / "audit"
    audit([folder / "real"], [folder / "generated"], out, settings=VIEWS, labels=folder / "labels.csv", device="cpu")
    return out


def make_large(small: Path, folder: Path, images: int) -> Path:
    """The run of an audit with its real images repeated until there are so many. The database."""
    folder.mkdir()
    db = folder / DATABASE
    shutil.copy(small / DATABASE, db)
    with Store.open(db) as store:
        for table, column in (("images", "image_id"), ("neighbours", "query_id"), ("scores", "image_id"), ("labels", "image_id")):
            named = ", name || '#' || n AS name" if table == "images" else ""
            store.sql(
                f"""INSERT INTO {table} SELECT t.* REPLACE ({column} + {REAL} * n AS {column}{named})
                FROM {table} AS t, range(1, {images // REAL}) AS repeated(n)
                WHERE {column} >= {GENERATED} ORDER BY n, {column}"""
            )
        store.sql(f"UPDATE runs SET real_images = {images}")
    return db


@contextmanager
def serving(collection: Path, db: Path, *options: str, **environment: str) -> Iterator[str]:
    """The service in a process of its own, on a free port; its address."""
    port = _free_port()
    command = [sys.executable, "-c", ENTRY, "serve", str(collection), "--db", str(db), "--port", str(port), *options]
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=os.environ | environment, **pipes) as process:
        try:
            _wait(f"http://127.0.0.1:{port}/livez", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def _wait(address: str, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the service ended: {process.stderr.read() if process.stderr else ''}")
        try:
            with urllib.request.urlopen(address.replace("livez", "readyz")):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise TimeoutError("the service does not get ready")


@dataclass
class Watched:
    """A page, with everything that it complained about or asked another origin for."""

    page: Any
    origin: str
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: message.type in ("error", "warning") and self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._look)

    def _look(self, request: Any) -> None:
        if not request.url.startswith((self.origin, "data:", f"blob:{self.origin}")):
            self.complaints.append(f"asked {request.url}")

    def open(self, hash_: str = "") -> Any:
        """Goes to a place of the page, from the start, and waits until it is drawn. The page."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.origin}/{hash_}")
        self.page.wait_for_selector("main .view h1")
        return self.page
