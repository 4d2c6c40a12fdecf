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
from indexer.collection import Collection
from query.comparison.combined import COMBINED
from query.comparison.geometry import Keypoints, keypoints, model
from query.comparison.lookup import Hit, look
from query.inputs.pictures import Pictures
from query.service.backend.cache import Cache
from query.service.backend.runs.catalogue import short_unit
from query.service.schemas import Hit as ShownHit
from query.service.schemas import Hits

PIXELS = 25_000_000  # of an upload
SECONDS = 20.0  # to decode it
MATCHED = 20  # images at most that one upload is laid over
_KEYPOINTS = 500  # images whose keypoints are kept


class Searching:
    """Looks uploaded images up in a collection.

    Args:
        collection: what is searched.
        views: of it; default all.
    """

    def __init__(self, collection: Collection, views: tuple[str, ...] | None = None) -> None:
        self.collection = collection
        self._views = views or collection.views
        self._decoding = Decoding(**collection.manifest.decoding)
        self._limited = replace(self._decoding, max_pixels=min(PIXELS, self._decoding.max_pixels))
        self._pictures = Pictures(collection)
        self._keypoints: Cache[Keypoints] = Cache(_KEYPOINTS)

    def prepare_thread(self) -> None:
        """To be called first in each thread that searches, so that each computes with one thread.

        OpenMP counts its threads for each calling thread, as PyTorch does: libraries are loaded first, and then told in here.
        """
        import_module("indexer.search.faiss_index")
        if "resnet" in self._views:
            import_module("embeddings.views.resnet")
        prepare_thread()
        threadpool_limits(1)

    def warm(self) -> None:
        """Load all that the first search would wait for."""
        import numpy as np

        workers.start()
        look(self.collection, [np.zeros((64, 64), np.uint8)], [""], views=self._views, k=1)

    def search(self, body: bytes, k: int, match: bool, ids: Sequence[int] | None) -> Hits:
        """The hits of an image file's first frame.

        Args:
            body: the bytes of the file.
            k: hits for each view.
            match: also lay it over the hits, at most 20 of them, nearest first.
            ids: image_id of each row of the collection; None where the run did not compare this collection.

        Raises:
            ImageError: it cannot be read; in verifying, a picture of the collection cannot.
        """
        started = time.perf_counter()
        image, frames = self._decoded(body)
        found = look(self.collection, [image], [""], views=self._views, k=k)
        places = self._verified(image, found) if match else {}
        return Hits(
            hits=[self._shown(hit, places.get(hit.row), ids) for hit in found],
            width=image.shape[1],
            height=image.shape[0],
            frames=frames,
            seconds=time.perf_counter() - started,
        )

    def _decoded(self, body: bytes) -> tuple[GreyImage, int]:
        """The first frame, and 2 where there are more."""
        if not body:
            raise EmptyFile("the request has no body; send the bytes of an image file")
        frames = [frame.pixels for frame in islice(decode(body, self._limited, seconds=SECONDS), 2)]
        if not frames:
            raise NotAnImage("the file holds no image")
        return frames[0], len(frames)

    def _verified(self, image: GreyImage, found: list[Hit]) -> dict[int, int]:
        """Row -> matching places, the nearest by any view first."""
        mine = keypoints(image)
        ordered = sorted(found, key=lambda hit: (hit.rank, hit.view != COMBINED))
        rows = list(dict.fromkeys(hit.row for hit in ordered))[:MATCHED]
        return {row: model(mine, self._keypoints_of(row)).inliers for row in rows}

    def _keypoints_of(self, row: int) -> Keypoints:
        return self._keypoints.get(row, lambda: keypoints(self._pictures.read(row)))

    def _shown(self, hit: Hit, places: int | None, ids: Sequence[int] | None) -> ShownHit:
        metric = "" if hit.view == COMBINED else str(self.collection.spec(hit.view).metric)
        return ShownHit(
            id=ids[hit.row] if ids is not None else None,
            unit=short_unit(hit.view, metric),
            places=places,
            **{name: getattr(hit, name) for name in ("view", "rank", "name", "distance", "mirrored", "blank")},
        )
