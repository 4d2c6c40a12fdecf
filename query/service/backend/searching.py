"""Look up uploaded images in the collection: each is decoded and seen by itself, and all that wait are searched together."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import groupby, islice

import numpy as np
from threadpoolctl import threadpool_limits

from embeddings.images import workers
from embeddings.images.decode import decode
from embeddings.images.decoding import Decoding
from embeddings.images.errors import EmptyFile, NotAnImage
from embeddings.pipeline import prepare_thread
from embeddings.types import Embeddings, GreyImage
from embeddings.views.keypoints import Keypoints, keypoints
from indexer.collection import Collection
from indexer.device import Device
from indexer.hits import Hit
from query.comparison.combined import COMBINED_LOOKUP
from query.comparison.lookup import CPU, hits_of
from query.comparison.models import models
from query.inputs.pictures import Pictures, keypoints_of
from query.service.backend.batches import Batches, Coming
from query.service.backend.cache import Cache

PIXELS = 25_000_000  # of an upload
SECONDS = 20.0  # to decode it
MATCHED = 20  # images at most that one upload is matched with
_PAIRS = 4_000_000  # of uploads and images of the collection, searched at once: a pair takes some 80 bytes in four views
_KEYPOINTS = 500  # images whose keypoints are cached
_TOGETHER = ("resnet",)  # views that see many images in less time than each by itself


@dataclass(frozen=True)
class Question:
    """What is searched for.

    Attributes:
        image: (H, W) uint8, while a view has not seen it; else nothing.
        seen: view -> the image's vector, of views that have seen it.
        k: hits for each view.
    """

    image: Sequence[GreyImage]
    seen: dict[str, Embeddings]
    k: int


@dataclass(frozen=True)
class Upload:
    """An uploaded image, without its pixels.

    Attributes:
        shape: height and width, pixels.
        frames: of the file: 1, or 2 for several.
        keypoints: for the geometric match; None where none is asked for.
        hits: of the search, once it is done.
    """

    shape: tuple[int, int]
    frames: int
    keypoints: Keypoints | None
    hits: "Future[list[Hit]]"


class Searching:
    """Searches a collection with uploaded images; `close` it at last.

    Args:
        collection: to search. On a GPU nobody else may search it.
        views: to search in; default all of the collection.
        device: where the network computes and FAISS searches; default the CPU.
    """

    def __init__(self, collection: Collection, views: tuple[str, ...] | None = None, device: Device = CPU) -> None:
        self.collection = collection
        self.batches = Batches(self._searched)
        self._views = views or collection.views
        self._device = device
        self._decoding = Decoding(**collection.manifest.decoding)
        self._limited = replace(self._decoding, max_pixels=min(PIXELS, self._decoding.max_pixels))
        self._pictures = Pictures(collection)
        self._keypoints: Cache[Keypoints] = Cache(_KEYPOINTS)
        self._prepared = False

    def close(self) -> None:
        """End the thread that searches."""
        self.batches.close()

    def warm(self) -> None:
        """Load everything that the first search needs."""
        workers.start()
        with self.batches.coming() as coming:
            self._asked(np.zeros((64, 64), np.uint8), 1, coming).result()

    def look(self, body: bytes, k: int, match: bool, coming: Coming[Question, list[Hit]]) -> Upload:
        """Decode the first frame of an image file, and hand it in to be searched for. Any thread may call it.

        Args:
            body: the bytes of the file.
            k: hits for each view.
            match: it will be matched, see `inliers`.
            coming: where to hand it in.

        Raises:
            ImageError: it cannot be read.
        """
        image, frames = self._decoded(body)
        mine = keypoints(image) if match else None
        return Upload((image.shape[0], image.shape[1]), frames, mine, self._asked(image, k, coming))

    def inliers(self, mine: Keypoints, hits: Sequence[Hit]) -> dict[int, int]:
        """Row -> inliers of the geometric match with an upload's keypoints, of at most 20 hits, nearest first.

        Raises:
            ImageError: an image of the collection cannot be read.
        """
        ordered = sorted(hits, key=lambda hit: (hit.rank, hit.view != COMBINED_LOOKUP))
        rows = list(dict.fromkeys(hit.row for hit in ordered))[:MATCHED]
        found = models([self._keypoints_of(row) for row in rows], mine)
        return {row: model.inliers for row, model in zip(rows, found, strict=True)}

    def _decoded(self, body: bytes) -> tuple[GreyImage, int]:
        """The first frame, and the number of frames: 1, or 2 for several."""
        if not body:
            raise EmptyFile("the request has no body; send the bytes of an image file")
        frames = [frame.pixels for frame in islice(decode(body, self._limited, seconds=SECONDS), 2)]
        if not frames:
            raise NotAnImage("the file holds no image")
        return frames[0], len(frames)

    def _asked(self, image: GreyImage, k: int, coming: Coming[Question, list[Hit]]) -> "Future[list[Hit]]":
        """The image, seen by each view that gains nothing from companions, handed in."""
        alone = {view: self.collection.embed(view, [image]) for view in self._views if view not in _TOGETHER}
        held = [image] if len(alone) < len(self._views) else []
        return coming.put(Question(held, alone, k), sum(each.size for each in held))

    def _searched(self, questions: Sequence[Question]) -> list[list[Hit]]:
        """The hits of each question. One thread alone calls it: what is on a GPU belongs to that."""
        if not self._prepared:
            self._prepare()
        found: list[list[Hit]] = []
        together = max(1, _PAIRS // len(self.collection))
        for k, group in groupby(questions, key=lambda question: question.k):
            while asked := list(islice(group, together)):
                found += self._hits(asked, k)
        return found

    def _hits(self, questions: Sequence[Question], k: int) -> list[list[Hit]]:
        """The hits of each question, all of them searched for at once."""
        seen = {view: self._seen_together(view, questions) for view in self._views}
        hits = hits_of(self.collection, [str(number) for number in range(len(questions))], seen, {}, k, self._device.search)
        by_name = {name: list(theirs) for name, theirs in groupby(hits, key=lambda hit: hit.image)}
        return [by_name.get(str(number), []) for number in range(len(questions))]

    def _seen_together(self, view: str, questions: Sequence[Question]) -> Embeddings:
        if view in _TOGETHER:
            return self.collection.embed(
                view, [image for question in questions for image in question.image], self._device.network
            )
        parts = [question.seen[view] for question in questions]
        vectors, blank = (np.concatenate(arrays) for arrays in ([p.vectors for p in parts], [p.blank for p in parts]))
        return Embeddings(parts[0].spec, vectors, blank)

    def _prepare(self) -> None:
        """Limit libraries to one thread in this one, whose cores others need.

        OpenMP and PyTorch count threads per calling thread: libraries are loaded first.
        """
        import_module("indexer.search.faiss_index")
        for view in self._views:
            self.collection.embedder(view, self._device.network if view in _TOGETHER else "cpu")
        prepare_thread()
        threadpool_limits(1)
        self._prepared = True

    def _keypoints_of(self, row: int) -> Keypoints:
        return self._keypoints.get(row, lambda: keypoints_of(self.collection, self._pictures.read, row))
