"""Errors as JSON with one reason, without file paths."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from embeddings.files.writing import FullDisk
from embeddings.images.errors import ImageError, Missing, TooManyPixels
from indexer.manifest import CollectionError
from query.database.store import StoreError, TookTooLong
from query.service.backend.reviews.reviews import Unusable
from query.service.schemas import Failure
from query.text import name

CODES = {
    400: "bad_request",
    401: "token",
    403: "forbidden",
    404: "not_found",
    405: "method",
    408: "slow",
    409: "conflict",
    413: "too_large",
    415: "media_type",
    421: "host",
    422: "invalid",
    500: "bug",
    503: "busy",
    504: "time",
    507: "full",
}
FAILURES: dict[int | str, dict[str, Any]] = {"4XX": {"model": Failure}, "5XX": {"model": Failure}}  # for OpenAPI


class Refused(HTTPException):
    """A request that the service refuses, with status and reason."""


def failure(status: int, reason: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Error response as JSON."""
    code = CODES.get(status, "error")
    return JSONResponse({"error": {"status": status, "code": code, "reason": name(reason)}}, status, headers)


def hide_names(app: FastAPI) -> None:
    """Have errors of pictures name no file: in blinded reading a name may be what is hidden."""

    @app.exception_handler(ImageError)
    def unnamed(request: Request, error: ImageError) -> JSONResponse:
        return failure(404, "this picture cannot be read any more: the file is missing or changed")


def register_handlers(app: FastAPI) -> None:
    """Register handlers that turn every error into the same JSON."""

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> JSONResponse:
        return failure(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = " ".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return failure(422, f"{where}: {first['msg']}")

    @app.exception_handler(StoreError)
    def store(request: Request, error: StoreError) -> JSONResponse:
        return failure(504 if isinstance(error, TookTooLong) else 400, request.app.state.service.without_paths(str(error)))

    @app.exception_handler(ImageError)
    def image(request: Request, error: ImageError) -> JSONResponse:
        reason = request.app.state.service.without_paths(str(error))
        if isinstance(error, Missing):
            return failure(404, reason)
        return failure(413 if isinstance(error, TooManyPixels) else 422, f"{type(error).__name__}: {reason}")

    @app.exception_handler(CollectionError)
    def collection(request: Request, error: CollectionError) -> JSONResponse:
        return failure(503, request.app.state.service.without_paths(str(error)))

    @app.exception_handler(FullDisk)
    def full(request: Request, error: FullDisk) -> JSONResponse:
        return failure(507, "not saved: no space left on the disk of the database; free some and try again")

    @app.exception_handler(Unusable)
    def unusable(request: Request, error: Unusable) -> JSONResponse:
        return failure(503, str(error), {"Retry-After": "1"})

    @app.exception_handler(ClientDisconnect)
    def gone(request: Request, error: ClientDisconnect) -> JSONResponse:
        return failure(499, "the client went away")  # which nobody reads

    @app.exception_handler(Exception)
    def bug(request: Request, error: Exception) -> JSONResponse:
        return failure(500, "this is a bug of the service; its standard error says more")
