"""Route: look up an uploaded image."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from query.service.errors import Refused
from query.service.routes.dependencies import CurrentService, SnapshotIfAny
from query.service.schemas import Hits

router = APIRouter(prefix="/v1")
_BINARY = {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


async def body_of(request: Request) -> bytes:
    """The raw body, whatever its content type says, but no form: an image in a form is not the image.

    Raises:
        Refused: it is a form.
    """
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise Refused(415, "send the file itself as the body, not in a form (curl: --data-binary @FILE, not -F)")
    return await request.body()


@router.post("/search", openapi_extra={"requestBody": _BINARY})
async def search(
    service: CurrentService,
    snapshot: SnapshotIfAny,
    body: Annotated[bytes, Depends(body_of)],
    k: Annotated[int, Query(ge=1, le=50)] = 5,
    match: Annotated[bool, Query(description="also match the image with the hits geometrically (slower)")] = False,
) -> Hits:
    """Search the collection with an image file, sent as the body. Of several frames only the first is searched."""
    found = await service.search(body, k, match, snapshot.ids if snapshot else None)
    service.metrics.searches.inc()
    return found
