"""Parameters that several routes share."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi import Path as InPath

from query.database.store import StoreError
from query.service.backend.service import Service
from query.service.backend.snapshot import Snapshot
from query.service.errors import Refused

LARGEST = 2**31 - 1  # of a run's number


async def service_of(request: Request) -> Service:
    """The service of this application."""
    service: Service = request.app.state.service
    return service


async def snapshot_of(service: Annotated[Service, Depends(service_of)]) -> AsyncIterator[Snapshot]:
    """The newest snapshot, kept until the response is sent."""
    with service.snapshots.current() as snapshot:
        if snapshot is None:
            raise Refused(503, service.without_paths(service.snapshots.reason), {"Retry-After": "1"})
        yield snapshot


CurrentService = Annotated[Service, Depends(service_of)]
CurrentSnapshot = Annotated[Snapshot, Depends(snapshot_of)]
RunNumber = Annotated[int | None, Query(ge=1, le=LARGEST, description="number of the run; default: the latest finished one")]


def run_of(snapshot: CurrentSnapshot, run: RunNumber = None) -> int:
    """The run asked for."""
    return known(snapshot, run)


def known(snapshot: Snapshot, run: int | None) -> int:
    """The number of a finished run.

    Raises:
        Refused: there is no such run.
    """
    try:
        return snapshot.known_run(run)
    except StoreError as error:
        raise Refused(404, str(error).replace(snapshot.store.path, "the database")) from error


RunId = Annotated[int, Depends(run_of)]
ImageId = Annotated[int, InPath(ge=0, le=2**62)]
ViewName = Annotated[str, Query(max_length=50)]
