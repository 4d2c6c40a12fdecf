"""Align two images when a pair is opened: match, overlay, difference."""

import numpy as np
from numpy.typing import NDArray

from embeddings.images.decoding import flip
from embeddings.types import GreyImage
from embeddings.views.keypoints import keypoints
from query.comparison.geometry import Match, aligned, laid_over, match
from query.database.store import Store
from query.service.backend.cache import Cache
from query.service.backend.runs.catalogue import match_reference
from query.service.backend.runs.gallery import keys_of
from query.service.backend.runs.pair_distances import mirrors
from query.service.backend.snapshot import Snapshot
from query.service.errors import Refused
from query.service.schemas import MatchInfo
from query.text import plain

NOT_CALIBRATED = "not calibrated: a larger value means more certainly the same picture, but not how certain"
EQUAL = 128  # grey of a difference of nothing
_MATCHES = 500  # pairs whose matches are kept


class Pairs:
    """Pairs of images, matched once."""

    def __init__(self) -> None:
        self._matches: Cache[Match] = Cache(_MATCHES)

    def match(self, snapshot: Snapshot, run: int, real: int, generated: int) -> Match:
        """How the real image can be laid over the generated one; flipped too, where the run looked for that.

        Raises:
            ImageError: a picture is not there any more, or not what it was.
        """
        keys = keys_of(snapshot.store, run, [real, generated])
        read = snapshot.pictures(run).read
        mirror = mirrors(snapshot.store, run)

        def make() -> Match:
            ours = read(real)
            flipped = keypoints(flip(ours)) if mirror else None
            return match(keypoints(ours), keypoints(read(generated)), flipped)

        return self._matches.get((keys[real], keys[generated], mirror), make)

    def overlay(self, snapshot: Snapshot, run: int, real: int, generated: int) -> GreyImage:
        """The real image laid over the generated one, of its size; black where there is nothing.

        Raises:
            Refused: no way was found to lay one over the other.
            ImageError: as of `match`.
        """
        transform, read = self._transform(snapshot, run, real, generated), snapshot.pictures(run).read
        return aligned(read(real), read(generated), transform)

    def difference(self, snapshot: Snapshot, run: int, real: int, generated: int) -> GreyImage:
        """Half of real minus generated after alignment, 128 where they are equal and where only one shows something.

        Raises:
            Refused, ImageError: as of `overlay`.
        """
        transform, read = self._transform(snapshot, run, real, generated), snapshot.pictures(run).read
        theirs = read(generated)
        over, seen = laid_over(read(real), theirs, transform)
        half = (over.astype(np.int16) - theirs) // 2
        return np.where(seen, np.clip(half + EQUAL, 0, 255), EQUAL).astype(np.uint8)

    def _transform(self, snapshot: Snapshot, run: int, real: int, generated: int) -> NDArray[np.float64]:
        found = self.match(snapshot, run, real, generated)
        if not found.transform.size:
            raise Refused(404, "no transform aligns these two images")
        return found.transform


def match_info(store: Store, run: int, real: int, generated: int, found: Match) -> MatchInfo:
    """A match as it is answered, with its value where the run kept the pair."""
    query = "SELECT value FROM matches WHERE run_id = $run AND real_id = $real AND generated_id = $generated"
    kept = store.sql(query, {"run": run, "real": real, "generated": generated})["value"].to_pylist()
    reference = match_reference(store, run)
    return MatchInfo(
        value=kept[0] if kept else None,
        matches=found.matches,
        inliers=found.inliers,
        inlier_ratio=found.inlier_ratio,
        area=plain(found.area),
        residual=plain(found.residual),
        correlation=plain(found.correlation),
        ssim=plain(found.ssim),
        quarter_turns=found.quarter_turns,
        mirrored=found.mirrored,
        threshold=reference.threshold if reference else None,
        calibrated=bool(kept) and reference is not None and reference.level is not None,
        note=reference.note if reference else NOT_CALIBRATED,
        tiles=[[plain(float(value)) for value in row] for row in found.tiles],
        ssim_tiles=[[plain(float(value)) for value in row] for row in found.ssim_tiles],
        transform=found.transform.tolist() if found.transform.size else None,
        points=found.points.round(2).tolist(),
    )
