"""Routes: a pair, its overlay and difference."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from query.comparison.combined import COMBINED
from query.service.backend.runs import gallery
from query.service.backend.runs.pair_distances import distances_of
from query.service.backend.runs.pairing import match_info
from query.service.backend.thumbnails import png
from query.service.routes.dependencies import CurrentService, CurrentSnapshot, RunId
from query.service.routes.images import PNG, check_pair, picture_response
from query.service.schemas import Pair, Review

router = APIRouter(prefix="/v1/pairs/{real}/{generated}")
Ids = Annotated[tuple[int, int], Depends(check_pair)]


@router.get("")
def pair(service: CurrentService, snapshot: CurrentSnapshot, run: RunId, ids: Ids) -> Pair:
    """A pair: distances with their ranks, geometric match and review."""
    real, generated = gallery.described(snapshot.store, run, service.reviews, ids, COMBINED)
    keys = gallery.keys_of(snapshot.store, run, ids)
    kept = service.reviews.get(keys[ids[0]], keys[ids[1]])
    return Pair(
        run=run,
        real=real,
        generated=generated,
        distances=distances_of(snapshot.store, run, *ids),
        match=match_info(snapshot.store, run, *ids, service.pairs.match(snapshot, run, *ids)),
        review=Review(review=kept.review, note=kept.note) if kept else None,
    )


@router.get("/aligned", response_class=Response, responses=PNG)
def aligned(service: CurrentService, snapshot: CurrentSnapshot, run: RunId, ids: Ids) -> Response:
    """The real image aligned with the generated one, at its size; 404 if no transform was found."""
    return picture_response(png(service.pairs.overlay(snapshot, run, *ids)))


@router.get("/difference", response_class=Response, responses=PNG)
def difference(service: CurrentService, snapshot: CurrentSnapshot, run: RunId, ids: Ids) -> Response:
    """Half the difference real minus generated after alignment; grey 128 where equal or outside one of the images."""
    return picture_response(png(service.pairs.difference(snapshot, run, *ids)))
