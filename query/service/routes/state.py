"""Routes: liveness, readiness, metrics, browser session."""

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from query.service.errors import Refused
from query.service.routes.dependencies import CurrentService
from query.service.schemas import Living, Opened, Ready, Session

router = APIRouter()


@router.get("/livez")
async def livez() -> Living:
    """Liveness: the process responds."""
    return Living(status="alive")


@router.get("/readyz")
def readyz(service: CurrentService) -> Ready:
    """Readiness: 200 if the service can answer all requests that it was started for, else 503 with the reason."""
    if reason := service.not_ready:
        raise Refused(503, service.without_paths(reason), {"Retry-After": "1"})
    if not service.has_database:
        return Ready(status="ready", run=None)
    with service.snapshots.current() as snapshot:
        if snapshot is None:  # closed meanwhile
            raise Refused(503, service.without_paths(service.snapshots.reason), {"Retry-After": "1"})
        return Ready(status="ready", run=snapshot.run)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(service: CurrentService) -> PlainTextResponse:
    """Metrics of the service, for Prometheus."""
    return PlainTextResponse(service.metrics.text())


@router.post("/v1/session")
async def session(service: CurrentService, given: Session) -> Opened:
    """Exchange the token for a session, valid until the service stops."""
    value = service.access.session(given.token)
    if value is None:
        raise Refused(401, "the token is wrong")
    return Opened(session=value)
