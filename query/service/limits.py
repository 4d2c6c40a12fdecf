"""What no request may exceed, and what every answer says to browsers."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from query.service.problems import Refused, failure

BODY = 20_000_000  # bytes of a request
AT_ONCE = 256  # requests
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
_TOO_LARGE = f"the body is larger than {BODY // 1_000_000} MB"


class BodyLimit:
    """Refuses a body that is too large: at once where its length is said, else as soon as it is exceeded."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        said = Headers(scope=scope).get("content-length", "0")
        if said.isdecimal() and int(said) > BODY:
            return await failure(413, _TOO_LARGE, {"Connection": "close"})(scope, receive, send)
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
            busy = f"{self._inside} requests are under way; try again in a second"
            return await failure(503, busy, {"Retry-After": "1"})(scope, receive, send)
        self._inside += 1
        try:
            return await self._app(scope, receive, send)
        finally:
            self._inside -= 1


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
