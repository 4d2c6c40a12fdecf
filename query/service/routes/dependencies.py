"""Parameters that several routes share, and the refusal of others."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi import Path as InPath

from query.database.store import StoreError
from query.service.backend.service import Service
from query.service.backend.snapshot import Snapshot
from query.service.errors import Refused

LARGEST = 2**31 - 1  # of a run's number
_SHOWN = 50  # characters of a parameter that nobody knows


async def service_of(request: Request) -> Service:
    """The service of this application."""
    service: Service = request.app.state.service
    return service


async def refuse_unknown(request: Request) -> None:
    """Refuse query parameters that the route does not know, or that come twice: ignored, they would seem to have counted."""
    if not request.query_params:
        return
    path = request.app.openapi()["paths"].get(request.scope["route"].path)
    if path is None:  # what blinded reading hides
        return
    known = [each["name"] for each in path[request.method.lower()].get("parameters", ()) if each["in"] == "query"]
    for given, count in Counter(given for given, _ in request.query_params.multi_items()).items():
        if given not in known:
            takes = f"the parameters {', '.join(sorted(known))}" if known else "no parameters"
            raise Refused(422, f"{given[:_SHOWN]}: there is no such parameter; this route takes {takes}")
        if count > 1:
            raise Refused(422, f"{given}: given {count} times; give it once")


@contextmanager
def _newest(service: Service) -> Iterator[Snapshot]:
    with service.snapshots.current() as snapshot:
        if snapshot is None:
            raise Refused(503, service.without_paths(service.snapshots.reason), {"Retry-After": "1"})
        yield snapshot


async def snapshot_of(service: Annotated[Service, Depends(service_of)]) -> AsyncIterator[Snapshot]:
    """The newest snapshot, kept until the response is sent."""
    with _newest(service) as snapshot:
        yield snapshot


async def snapshot_if_any(service: Annotated[Service, Depends(service_of)]) -> AsyncIterator[Snapshot | None]:
    """The same; None where the service has no database."""
    if not service.has_database:
        yield None
        return
    with _newest(service) as snapshot:
        yield snapshot


CurrentService = Annotated[Service, Depends(service_of)]
CurrentSnapshot = Annotated[Snapshot, Depends(snapshot_of)]
SnapshotIfAny = Annotated[Snapshot | None, Depends(snapshot_if_any)]
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
