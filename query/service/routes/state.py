"""Routes: liveness, readiness, metrics, browser session."""

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from query.service.errors import Refused
from query.service.routes.dependencies import CurrentService
from query.service.schemas import Living, Opened, Ready, Session

router = APIRouter()


@router.get("/livez")
async def livez() -> Living:
    """The process answers."""
    return Living(status="alive")


@router.get("/readyz")
def readyz(service: CurrentService) -> Ready:
    """Everything can be answered; else 503 and the reason."""
    lacking = service.lacking
    with service.snapshots.current() as snapshot:
        if lacking or snapshot is None:
            raise Refused(503, service.without_paths(lacking or service.snapshots.reason), {"Retry-After": "1"})
        return Ready(status="ready", run=snapshot.run)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(service: CurrentService) -> PlainTextResponse:
    """Figures about the service, for Prometheus."""
    return PlainTextResponse(service.metrics.text())


@router.post("/v1/session")
async def session(service: CurrentService, given: Session) -> Opened:
    """Give the token once, and have what opens the service in its place until the service ends."""
    value = service.access.session(given.token)
    if value is None:
        raise Refused(401, "the token is wrong")
    return Opened(session=value)
