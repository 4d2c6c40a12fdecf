"""Shared state of the routes: newest snapshot, collection, reviews, caches, work queues."""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from embeddings.pipeline import one_thread_each, workers
from indexer.collection import Collection
from indexer.device import Device
from indexer.hits import Hit
from indexer.manifest import CollectionError
from query.comparison.combined import COMBINED_LOOKUP
from query.comparison.lookup import CPU
from query.database.store import StoreError
from query.service.backend.memory import Memory
from query.service.backend.reviews.reviews import Reviews
from query.service.backend.runs.catalogue import short_unit
from query.service.backend.runs.pairing import Pairs
from query.service.backend.searching import Searching
from query.service.backend.snapshot import Snapshot, Snapshots
from query.service.backend.thumbnails import Thumbnails
from query.service.backend.work_queue import WorkQueue
from query.service.errors import Refused
from query.service.guard.access import Access
from query.service.metrics import Metrics
from query.service.schemas import Hit as ShownHit
from query.service.schemas import Hits

WAITING = 128  # searches
Part = TypeVar("Part")
NO_DATABASE = "this service only looks images up: it was started without --db, so it has no runs, no pictures and no reviews"
IDS_NEED_RUN = "there is no database (--db): search results have no ids"
NO_IDS = "run {run} compared other images than this collection holds: search results have no ids"
GONE = "the folder of the {sides} images is not there, so there are no pictures; synthtrace relocate says where it is"
QUESTIONS = 2  # of SQL at once


class Service:
    """Shared state of the routes; a context manager that starts and stops its threads.

    Args:
        collection: of generated images, searched with uploaded images.
        database: DuckDB file of runs; reviews are stored beside it. None for look-ups alone.
        access: who may ask; default everybody on this machine.
        views: to search in; default all of the collection.
        device: where the network computes and FAISS searches; default the CPU.
        say: called once if the latest run compared other images than the collection holds, or if its images are not there.

    Raises:
        Locked: another service uses the reviews of this database.
    """

    def __init__(
        self,
        collection: Collection,
        database: Path | None,
        *,
        access: Access | None = None,
        views: tuple[str, ...] | None = None,
        device: Device = CPU,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.collection = collection
        self.access = access or Access("127.0.0.1", None)
        self.pairs = Pairs()
        self.thumbnails = Thumbnails()
        self.searching = Searching(collection, views, device)
        self._snapshots = Snapshots(database, self._changed) if database else None
        self.metrics = Metrics((lambda: self.snapshots.age) if database else None)
        self._reviews = Reviews(database) if database else None
        self.memory = Memory()
        self._roots = {str(collection.folder), collection.manifest.source}
        self._say, self._same, self._gone = say, True, False
        self._stack = ExitStack()
        self._warm: Future[None] | None = None

    def __enter__(self) -> "Service":
        try:
            return self._begun()
        except BaseException:
            self._stack.close()
            raise

    def _begun(self) -> "Service":
        if self._reviews:
            self._stack.enter_context(self._reviews)
        self.collection.images  # noqa: B018 - loaded now, where somebody is told what is wrong with it
        self._stack.enter_context(one_thread_each())  # asked for once, not by every search
        if self._snapshots:
            self._stack.enter_context(self._snapshots)
        self._stack.callback(self.searching.close)
        self._stack.enter_context(self.memory)
        self.searches = WorkQueue("searches", workers(), WAITING)
        self.questions = WorkQueue("questions", QUESTIONS, 4 * QUESTIONS)
        self._stack.callback(self.searches.close)
        self._stack.callback(self.questions.close)
        self._warm = self.searches.submit(self.searching.warm)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def has_database(self) -> bool:
        """Whether there is more to ask for than look-ups."""
        return self._snapshots is not None

    @property
    def snapshots(self) -> Snapshots:
        """States of the database.

        Raises:
            Refused: there is none.
        """
        return _needed(self._snapshots)

    @property
    def reviews(self) -> Reviews:
        """Reviews of pairs, which lie beside the database.

        Raises:
            Refused: there is none.
        """
        return _needed(self._reviews)

    async def search(self, body: bytes, k: int, match: bool, ids: Sequence[int] | None) -> Hits:
        """Search with the first frame of an image file.

        Args:
            body: the bytes of the file.
            k: hits for each view.
            match: also match it geometrically with the hits, at most 20 of them, nearest first.
            ids: image_id of each row of the collection; None if no run compared this collection.

        Raises:
            ImageError: it cannot be read, or, in matching, an image of the collection cannot.
            Refused: too many searches wait.
        """
        started = time.perf_counter()
        with self.searches.place(), self.searching.batches.coming() as coming:
            upload = await self.searches.call(self.searching.look, body, k, match, coming)
            hits = await asyncio.wrap_future(upload.hits)
            inliers = await self.searches.call(self.searching.inliers, upload.keypoints, hits) if match else {}
        self.memory.used()
        return Hits(
            hits=[self._shown(hit, inliers.get(hit.row), ids) for hit in hits],
            width=upload.shape[1],
            height=upload.shape[0],
            frames=upload.frames,
            seconds=time.perf_counter() - started,
        )

    def _shown(self, hit: Hit, inliers: int | None, ids: Sequence[int] | None) -> ShownHit:
        metric = "" if hit.view == COMBINED_LOOKUP else str(self.collection.spec(hit.view).metric)
        return ShownHit(
            id=ids[hit.row] if ids is not None else None,
            unit=short_unit(hit.view, metric),
            inliers=inliers,
            **{name: getattr(hit, name) for name in ("view", "rank", "name", "distance", "mirrored", "blank")},
        )

    @property
    def not_ready(self) -> str:
        """Reason why the service is not ready; empty if it is."""
        if self._warm is None or not self._warm.done():
            return "the collection is being loaded"
        error = self._warm.exception() or self._changed_files()
        if error:
            return self.without_paths(f"the collection cannot be searched: {error}")
        if not self.has_database:
            return ""
        with self.snapshots.current() as snapshot:
            if snapshot is None:
                return self.snapshots.reason
            if sides := snapshot.missing_folders:
                return GONE.format(sides=" and ".join(sides))
        return self.snapshots.stale or self.reviews.reason

    def _changed_files(self) -> CollectionError | None:
        try:
            self.collection.check_unchanged()
        except CollectionError as error:
            return error
        return None

    def without_paths(self, text: str) -> str:
        """A message without folders: files are named as in the collection."""
        for root in sorted(self._roots, key=len, reverse=True):
            text = text.replace(f"{root.rstrip('/')}/", "").replace(root, "the collection") if root.strip("/") else text
        text = re.sub(r"\S*synthtrace-temporary-\S*?: ", "", text)  # which only says where the copy lies
        text = re.sub(r"\S*synthtrace-temporary-[^\s,;]*", "the database", text)
        return re.sub(r"(?<![\w.:/])/(?:[^\s/'\";,]+/)+", "", text)  # other folders: of a path its name is left

    def _changed(self, snapshot: Snapshot) -> None:
        """Check whether the latest run compared the searched collection."""
        sources = snapshot.store.sql("SELECT real_source, generated_source FROM runs").to_pylist()
        self._roots |= {path for row in sources for path in row.values()}
        (snapshot.folders,) = snapshot.store.sql(
            "SELECT real_source AS real, generated_source AS generated FROM runs WHERE run_id = $run", {"run": snapshot.run}
        ).to_pylist()
        sides = snapshot.missing_folders
        if sides and not self._gone:
            self._say(GONE.format(sides=" and ".join(sides)))
        self._gone = bool(sides)
        compared = snapshot.store.sql(
            "SELECT image_id, name, sha256 FROM images WHERE run_id = $run AND role = 'generated' ORDER BY image_id",
            {"run": snapshot.run},
        )
        try:
            mine = self.collection.images
        except CollectionError as error:  # it was loaded when the service began; but another thread would end with this
            raise StoreError(self.without_paths(str(error))) from error
        same = all(compared[name].to_pylist() == mine[name].to_pylist() for name in ("name", "sha256"))
        snapshot.ids = compared["image_id"].to_pylist() if same else None
        if self._same and not same:
            self._say(NO_IDS.format(run=snapshot.run))
        self._same = same


def _needed(part: Part | None) -> Part:
    """A part of the service that lies in the database.

    Raises:
        Refused: there is none.
    """
    if part is None:
        raise Refused(409, NO_DATABASE)
    return part
