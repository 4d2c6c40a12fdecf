"""Limits of requests, and security headers of responses."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from query.service.errors import Refused, failure
from query.text import many

BODY = 20_000_000  # bytes of a request
AT_ONCE = 256  # requests
TOGETHER = 200_000_000  # bytes of all bodies that are taken at once, and of all answers that are sent
SMALL = 64_000  # bytes of a body or an answer that always finds room: a review is kept while others upload
PIECE = 64_000  # bytes of an answer that are handed on at a time
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",  # no page that opened this one can lead it elsewhere under a click
    "Cache-Control": "no-store",  # nearly every answer holds what patients are called, or their pictures
}
_NO_ROOM = f"{TOGETHER // 1_000_000} MB are being transferred already; try again in two seconds"
_TOO_LARGE = f"the body is larger than {BODY // 1_000_000} MB"


class Room:
    """Budget of bytes held in memory at once. For the event loop only."""

    def __init__(self) -> None:
        self._held = 0

    def take(self, size: int) -> int | None:
        """Number of bytes reserved, to be given back; None if the budget is exhausted."""
        if size <= SMALL:
            return 0
        if self._held + size > TOGETHER:
            return None
        self._held += size
        return size

    def give_back(self, size: int) -> None:
        """Release reserved bytes."""
        self._held -= size


class BodyLimit:
    """Rejects request bodies above the size limit: at once if their length is declared, else when they exceed it.

    A body that exceeds the memory budget of all requests is rejected before it is read. A body of undeclared length counts as
    the largest.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._room = app, Room()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        length = BODY if "transfer-encoding" in headers else int(headers.get("content-length", "0"))
        if length > BODY:
            return await failure(413, _TOO_LARGE, {"Connection": "close"})(scope, receive, send)
        held = self._room.take(length)
        if held is None:
            return await failure(503, _NO_ROOM, {"Retry-After": "2"})(scope, receive, send)
        try:
            return await self._limited(scope, receive, send)
        finally:
            self._room.give_back(held)

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > BODY:
                raise Refused(413, _TOO_LARGE, {"Connection": "close"})
            return message

        return await self._app(scope, counted, send)


class RequestLimit:
    """Rejects requests above the concurrency limit, except liveness checks."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._inside = app, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/livez":
            return await self._app(scope, receive, send)
        if self._inside >= AT_ONCE:
            busy = f"{many(self._inside, 'request is', 'requests are')} being answered; try again in a second"
            return await failure(503, busy, {"Retry-After": "1"})(scope, receive, send)
        self._inside += 1
        try:
            return await self._app(scope, receive, send)
        finally:
            self._inside -= 1


class ChunkedResponses:
    """Sends large responses in chunks, as fast as the client reads.

    Otherwise a client that reads nothing would make the service hold many complete responses. A response that exceeds the memory
    budget of all responses is replaced by an error.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._room = app, Room()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        held: int | None = 0

        async def in_pieces(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start":
                held = self._room.take(int(Headers(raw=message["headers"]).get("content-length", "0")))
                if held is None:
                    return await failure(503, _NO_ROOM, {"Retry-After": "2"})(scope, receive, send)
            if held is None:
                return
            body = message.get("body", b"")
            while len(body) > PIECE:
                await send({**message, "body": bytes(body[:PIECE]), "more_body": True})
                body = memoryview(body)[PIECE:]
            await send({**message, "body": bytes(body)} if "body" in message else message)

        try:
            return await self._app(scope, receive, in_pieces)
        finally:
            self._room.give_back(held or 0)


class SecurityHeaders:
    """Adds headers: same origin only, no caching."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, with_headers)
