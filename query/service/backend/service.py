"""Shared state of the routes: newest snapshot, collection, reviews, caches, work queues."""

import re
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path

from embeddings.pipeline import one_thread_each, workers
from indexer.collection import Collection
from indexer.manifest import CollectionError
from query.database.store import StoreError
from query.service.backend.reviews.reviews import Reviews
from query.service.backend.runs.pairing import Pairs
from query.service.backend.searching import Searching
from query.service.backend.snapshot import Snapshot, Snapshots
from query.service.backend.thumbnails import Thumbnails
from query.service.backend.work_queue import WorkQueue
from query.service.guard.access import Access
from query.service.metrics import Metrics

WAITING = 128  # searches
NO_IDS = "run {run} compared other images than this collection holds: search results have no ids"
QUESTIONS = 2  # of SQL at once


class Service:
    """Shared state of the routes; a context manager that starts and stops its threads.

    Args:
        collection: of generated images, searched with uploaded images.
        database: DuckDB file of runs; reviews are stored beside it.
        host: address of the service.
        token: access token; None for no access control.
        views: to search in; default all of the collection.
        say: called once if the latest run compared other images than the collection holds.

    Raises:
        Locked: another service uses the reviews of this database.
    """

    def __init__(
        self,
        collection: Collection,
        database: Path,
        *,
        host: str = "127.0.0.1",
        token: str | None = None,
        views: tuple[str, ...] | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.collection = collection
        self.access = Access(host, token)
        self.pairs = Pairs()
        self.thumbnails = Thumbnails()
        self.searching = Searching(collection, views)
        self.snapshots = Snapshots(database, self._changed)
        self.metrics = Metrics(lambda: self.snapshots.age)
        self.reviews = Reviews(database)
        self._roots = {str(collection.folder), collection.manifest.source}
        self._say, self._same = say, True
        self._stack = ExitStack()
        self._warm: Future[None] | None = None

    def __enter__(self) -> "Service":
        try:
            return self._begun()
        except BaseException:
            self._stack.close()
            raise

    def _begun(self) -> "Service":
        self._stack.enter_context(self.reviews)
        self.collection.images  # noqa: B018 - loaded now, where somebody is told what is wrong with it
        self._stack.enter_context(one_thread_each())  # asked for once, not by every search
        self._stack.enter_context(self.snapshots)
        self.searches = WorkQueue("searches", workers(), WAITING, self.searching.prepare_thread)
        self.questions = WorkQueue("questions", QUESTIONS, 4 * QUESTIONS)
        self._stack.callback(self.searches.close)
        self._stack.callback(self.questions.close)
        self._warm = self.searches.submit(self.searching.warm)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def not_ready(self) -> str:
        """Reason why the service is not ready; empty if it is."""
        if self._warm is None or not self._warm.done():
            return "the collection is being loaded"
        error = self._warm.exception() or self._changed_files()
        if error:
            return self.without_paths(f"the collection cannot be searched: {error}")
        with self.snapshots.current() as snapshot:
            if snapshot is None:
                return self.snapshots.reason
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
