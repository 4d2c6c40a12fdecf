"""Routes: images, their pixels, their nearest neighbours."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from query.comparison.combined import COMBINED
from query.service.backend.runs import gallery
from query.service.backend.thumbnails import png
from query.service.errors import Refused
from query.service.routes.dependencies import CurrentService, CurrentSnapshot, ImageId, RunId, ViewName
from query.service.schemas import Image, Images, Neighbours, Role, Wanted

router = APIRouter(prefix="/v1")
PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "the image as PNG"}}


@dataclass(frozen=True)
class FilterQuery(gallery.Filter):
    """Filter and order of a list of images, as parameters of the query."""

    search: Annotated[str, Query(max_length=200, description="part of the file name")] = ""
    answer: Annotated[str | None, Query(max_length=50, description="decision of the primary method")] = None
    review: Annotated[Wanted | None, Query(description="review of the image and its nearest neighbour in this view")] = None
    view: ViewName = COMBINED


@router.get("/images")
def images(
    service: CurrentService,
    snapshot: CurrentSnapshot,
    run: RunId,
    asked: Annotated[FilterQuery, Depends()],
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Images:
    """One page of a list of images."""
    return gallery.listed(snapshot.store, run, service.reviews, asked, offset, limit)


@router.get("/images/{image}")
def image(service: CurrentService, snapshot: CurrentSnapshot, run: RunId, image: ImageId, view: ViewName = COMBINED) -> Image:
    """One image."""
    return gallery.one(snapshot.store, run, service.reviews, image, view)


@router.get("/images/{image}/picture", response_class=Response, responses=PNG)
def picture(snapshot: CurrentSnapshot, run: RunId, image: ImageId) -> Response:
    """The full-size image, as decoded by the run."""
    gallery.key_of(snapshot.store, run, image)
    return picture_response(png(snapshot.pictures(run).read(image)))


@router.get("/images/{image}/thumbnail", response_class=Response, responses=PNG)
def thumbnail(
    service: CurrentService,
    snapshot: CurrentSnapshot,
    run: RunId,
    image: ImageId,
    size: Annotated[int, Query(ge=16, le=256)] = 96,
) -> Response:
    """The image, scaled to at most `size` pixels on its longer side."""
    key = gallery.key_of(snapshot.store, run, image)
    return picture_response(service.thumbnails.png(run, key, size, lambda: snapshot.pictures(run).read(image)))


@router.get("/neighbours/{image}")
def neighbours(
    snapshot: CurrentSnapshot,
    run: RunId,
    image: ImageId,
    view: Annotated[str | None, Query(max_length=50, description="default: all")] = None,
    k: Annotated[int, Query(ge=1, le=1000)] = 10,
) -> Neighbours:
    """Nearest neighbours on the other side, by view and rank."""
    return gallery.neighbours(snapshot.store, run, image, view, k)


def picture_response(content: bytes) -> Response:
    """A PNG response."""
    return Response(content, media_type="image/png")


def check_pair(snapshot: CurrentSnapshot, run: RunId, real: ImageId, generated: ImageId) -> tuple[int, int]:
    """Ids of a real and a generated image.

    Raises:
        Refused: there is none of an id, or it is of the other side.
    """
    roles = gallery.roles_of(snapshot.store, run, [real, generated])
    for image, role in ((real, Role.REAL), (generated, Role.GENERATED)):
        if roles.get(image) != role:
            raise Refused(404, f"run {run} has no {role} image {image}")
    return real, generated
