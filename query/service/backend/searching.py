"""Look up an uploaded image in the collection."""

import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from itertools import islice

from threadpoolctl import threadpool_limits

from embeddings.images import workers
from embeddings.images.decode import decode
from embeddings.images.decoding import Decoding
from embeddings.images.errors import EmptyFile, NotAnImage
from embeddings.pipeline import prepare_thread
from embeddings.types import GreyImage
from embeddings.views.keypoints import Keypoints, keypoints
from indexer.collection import Collection
from indexer.hits import Hit
from query.comparison.combined import COMBINED
from query.comparison.lookup import lookup
from query.comparison.models import models
from query.inputs.pictures import Pictures
from query.service.backend.cache import Cache
from query.service.backend.runs.catalogue import short_unit
from query.service.schemas import Hit as ShownHit
from query.service.schemas import Hits

PIXELS = 25_000_000  # of an upload
SECONDS = 20.0  # to decode it
MATCHED = 20  # images at most that one upload is matched with
_KEYPOINTS = 500  # images whose keypoints are cached


class Searching:
    """Searches a collection with uploaded images.

    Args:
        collection: to search.
        views: to search in; default all of the collection.
    """

    def __init__(self, collection: Collection, views: tuple[str, ...] | None = None) -> None:
        self.collection = collection
        self._views = views or collection.views
        self._decoding = Decoding(**collection.manifest.decoding)
        self._limited = replace(self._decoding, max_pixels=min(PIXELS, self._decoding.max_pixels))
        self._pictures = Pictures(collection)
        self._keypoints: Cache[Keypoints] = Cache(_KEYPOINTS)

    def prepare_thread(self) -> None:
        """Initialise a search thread, so that libraries use one thread in it.

        OpenMP and PyTorch count threads per calling thread: libraries are loaded first, then limited here.
        """
        import_module("indexer.search.faiss_index")
        if "resnet" in self._views:
            import_module("embeddings.views.resnet")
        prepare_thread()
        threadpool_limits(1)

    def warm(self) -> None:
        """Load everything that the first search needs."""
        import numpy as np

        workers.start()
        lookup(self.collection, [("", np.zeros((64, 64), np.uint8))], views=self._views, k=1)

    def search(self, body: bytes, k: int, match: bool, ids: Sequence[int] | None) -> Hits:
        """Search with the first frame of an image file.

        Args:
            body: the bytes of the file.
            k: hits for each view.
            match: also match it geometrically with the hits, at most 20 of them, nearest first.
            ids: image_id of each row of the collection; None if the run did not compare this collection.

        Raises:
            ImageError: it cannot be read, or, in matching, an image of the collection cannot.
        """
        started = time.perf_counter()
        image, frames = self._decoded(body)
        hits = lookup(self.collection, [("", image)], views=self._views, k=k)
        inliers = self._inliers(image, hits) if match else {}
        return Hits(
            hits=[self._shown(hit, inliers.get(hit.row), ids) for hit in hits],
            width=image.shape[1],
            height=image.shape[0],
            frames=frames,
            seconds=time.perf_counter() - started,
        )

    def _decoded(self, body: bytes) -> tuple[GreyImage, int]:
        """The first frame, and the number of frames: 1, or 2 for several."""
        if not body:
            raise EmptyFile("the request has no body; send the bytes of an image file")
        frames = [frame.pixels for frame in islice(decode(body, self._limited, seconds=SECONDS), 2)]
        if not frames:
            raise NotAnImage("the file holds no image")
        return frames[0], len(frames)

    def _inliers(self, image: GreyImage, hits: list[Hit]) -> dict[int, int]:
        """Row -> inliers of the geometric match, nearest hits first."""
        mine = keypoints(image)
        ordered = sorted(hits, key=lambda hit: (hit.rank, hit.view != COMBINED))
        rows = list(dict.fromkeys(hit.row for hit in ordered))[:MATCHED]
        found = models([self._keypoints_of(row) for row in rows], mine)
        return {row: model.inliers for row, model in zip(rows, found, strict=True)}

    def _keypoints_of(self, row: int) -> Keypoints:
        return self._keypoints.get(row, lambda: keypoints(self._pictures.read(row)))

    def _shown(self, hit: Hit, inliers: int | None, ids: Sequence[int] | None) -> ShownHit:
        metric = "" if hit.view == COMBINED else str(self.collection.spec(hit.view).metric)
        return ShownHit(
            id=ids[hit.row] if ids is not None else None,
            unit=short_unit(hit.view, metric),
            inliers=inliers,
            **{name: getattr(hit, name) for name in ("view", "rank", "name", "distance", "mirrored", "blank")},
        )
