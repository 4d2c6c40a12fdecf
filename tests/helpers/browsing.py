"""A small audit, a service over it, and a browser that looks at it: for tests of the review page."""

import csv
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from embeddings.phantoms.slices import copy_of, phantom
from indexer.build.build import Settings
from indexer.collection import Collection
from query.comparison.matching import Budget, MatchSettings
from query.database.store import Store
from query.flow import DATABASE, AuditSettings, audit
from query.service.app import create_app
from query.service.backend.reviews.blinded import Blinding
from query.service.backend.service import Service
from query.service.guard.access import Access
from query.service.guard.connections import configured
from tests.helpers.making import write_image

REAL, GENERATED, COPIED = 56, 40, 12
LOOKED = 6  # generated images that the audit matches
ODD = "<img src=x onerror=alert(1)>.png"  # a name that must never become an element
SIZE = 128
VIEWS = Settings(views={"phash": {}, "pixels": {}}, sample_size=100)


def make_audit(folder: Path) -> Path:
    """An audit of drawn slices: 24 used (12 of them copied), 24 not used, 8 of which nothing is known. Its folder."""
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
    sides = [folder / "real"], [folder / "generated"]
    settings = AuditSettings(VIEWS, folder / "labels.csv", matching=MatchSettings(Budget(images=LOOKED)), device="cpu")
    audit(*sides, out, settings)
    return out


def make_large(small: Path, folder: Path, images: int) -> Path:
    """The run of an audit with its real images repeated until there are so many. The database."""
    folder.mkdir()
    db = folder / DATABASE
    shutil.copy(small / DATABASE, db)
    with Store.open(db) as store:
        for table, column in (("images", "image_id"), ("neighbours", "query_id"), ("scores", "image_id"), ("labels", "image_id")):
            named = ", name || '#' || n AS name" if table == "images" else ""
            store._execute(
                f"""INSERT INTO {table} SELECT t.* REPLACE ({column} + {REAL} * n AS {column}{named})
                FROM {table} AS t, range(1, {-(-images // REAL)}) AS repeated(n)
                WHERE {column} >= {GENERATED} ORDER BY n, {column}"""
            )
        store._execute(f"UPDATE runs SET real_images = {images}")
    return db


@contextmanager
def serving(collection: Path, db: Path | None, token: str | None = None, blinding: Blinding | None = None) -> Iterator[str]:
    """The service in a thread of its own, on a free port; its address."""
    with (
        Service(Collection(collection), db, access=Access("127.0.0.1", token)) as service,
        socket.create_server(("127.0.0.1", 0)) as listening,
    ):
        server = uvicorn.Server(configured(create_app(service, blinding), 1024))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            _wait_until(lambda: server.started and not service.not_ready)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _wait_until(ready: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not ready():
        if time.monotonic() > until:
            raise TimeoutError("the service does not get ready")
        time.sleep(0.02)


@dataclass
class Watched:
    """A page, with everything that it complained about or asked another origin for."""

    page: Any
    origin: str
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._read)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._look)

    def _read(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _look(self, request: Any) -> None:
        if not request.url.startswith((self.origin, "data:", f"blob:{self.origin}")):
            self.complaints.append(f"asked {request.url}")

    def open(self, hash_: str = "") -> Any:
        """Goes to a place of the page, from the start, and waits until it is drawn. The page."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.origin}/{hash_}")
        self.page.wait_for_selector("main .view h1")
        return self.page
