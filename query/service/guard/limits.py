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
_NO_ROOM = f"{TOGETHER // 1_000_000} MB are being sent already; try again in two seconds"
_TOO_LARGE = f"the body is larger than {BODY // 1_000_000} MB"


class Room:
    """Bytes that are held at once, up to so many. Belongs to the event loop."""

    def __init__(self) -> None:
        self._held = 0

    def take(self, size: int) -> int | None:
        """What is to be given back; None where there is no room."""
        if size <= SMALL:
            return 0
        if self._held + size > TOGETHER:
            return None
        self._held += size
        return size

    def give_back(self, size: int) -> None:
        """Let others have it."""
        self._held -= size


class BodyLimit:
    """Refuses a body that is too large: at once where its length is said, else as soon as it is exceeded.

    A body for which there is no room beside the others is refused before it is read. One whose length is not said counts as the
    largest.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._room = app, Room()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        note = BODY if "transfer-encoding" in headers else int(headers.get("content-length", "0"))
        if note > BODY:
            return await failure(413, _TOO_LARGE, {"Connection": "close"})(scope, receive, send)
        held = self._room.take(note)
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
    """Sends away whoever comes while too many others are answered, but for those who ask whether the process lives."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._inside = app, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/livez":
            return await self._app(scope, receive, send)
        if self._inside >= AT_ONCE:
            busy = f"{many(self._inside, 'request is', 'requests are')} under way; try again in a second"
            return await failure(503, busy, {"Retry-After": "1"})(scope, receive, send)
        self._inside += 1
        try:
            return await self._app(scope, receive, send)
        finally:
            self._inside -= 1


class InPieces:
    """Hands large answers on piece by piece, as fast as they are read, so that a request lasts until its answer is nearly taken.

    Else a client that reads nothing would have the service keep one whole answer after another. An answer for which there is no
    room beside the others becomes a refusal.
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
    """Answers are for this origin only, and no cache keeps them."""

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
