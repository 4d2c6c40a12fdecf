"""The application: routes, middleware, review page."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import Depends, FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from query.service.backend.reviews.blinded import BlindedReading, Blinding
from query.service.backend.service import Service
from query.service.errors import FAILURES, hide_names, register_handlers
from query.service.guard.access import AccessMiddleware
from query.service.guard.connections import tell_briefly
from query.service.guard.limits import BodyLimit, ChunkedResponses, RequestLimit, SecurityHeaders
from query.service.metrics import Counted
from query.service.routes import blinded, images, pairs, reviews, runs, search, state
from query.service.routes.dependencies import refuse_unknown

PAGE = Path(__file__).parent / "page"
_ABOUT = """Runs of synthtrace: images, distances, pairs and reviews, and search with uploaded images.
Images have ids; nothing is served by file path.
Query parameters that a route does not take are refused.
Every error is `{"error": {"status", "code", "reason"}}`. If the service needs a token, send `Authorization: Bearer TOKEN`."""


def create_app(service: Service, blinding: Blinding | None = None) -> FastAPI:
    """The application of a started service; with `blinding` it has the routes of blinded reading and no others on the run."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_exception_handler(tell_briefly)
        yield

    # /docs would load from a CDN
    app = FastAPI(title="synthtrace", version="1", description=_ABOUT, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    app.state.blinded = blinding and BlindedReading(blinding, service.reviews)
    register_handlers(app)
    open_routers = [routes.router for routes in (search, state, runs, images, pairs, reviews, blinded)]
    for router in [state.router, blinded.router, blinded.closed] if blinding else open_routers:  # in order; searches are many
        app.include_router(router, responses=FAILURES, dependencies=[Depends(refuse_unknown)])
    if blinding:
        hide_names(app)
    app.add_middleware(ChunkedResponses)
    app.add_middleware(BodyLimit)
    app.add_middleware(AccessMiddleware, access=service.access)
    app.add_middleware(RequestLimit)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Counted, metrics=service.metrics)  # the outermost
    app.mount("/page", StaticFiles(directory=PAGE, check_dir=False))

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        """The review page."""
        return FileResponse(PAGE / "index.html")

    return app
