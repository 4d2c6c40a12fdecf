"""Route: look up an uploaded image."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from query.service.routes.dependencies import CurrentService, CurrentSnapshot
from query.service.schemas import Hits

router = APIRouter(prefix="/v1")
_BINARY = {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


async def body_of(request: Request) -> bytes:
    """The body as it came, whatever type it says it has."""
    return await request.body()


@router.post("/search", openapi_extra={"requestBody": _BINARY})
async def search(
    service: CurrentService,
    snapshot: CurrentSnapshot,
    body: Annotated[bytes, Depends(body_of)],
    k: Annotated[int, Query(ge=1, le=50)] = 5,
    match: Annotated[bool, Query(description="also lay the image over what was found; slower")] = False,
) -> Hits:
    """The nearest images of the collection; the body is an image file of any format that is read, of several frames the first."""
    found = await service.searches.run(service.searching.search, body, k, match, snapshot.ids)
    service.metrics.searches.inc()
    return found
