"""Access control: token, host and origin checks."""

import hmac
import ipaddress
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from query.service.errors import failure

SHORTEST = 16  # characters of a token
_OPEN = ("/", "/livez", "/readyz", "/v1/session")  # answered without a token, as is the page itself, which holds no data


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Access:
    """The access token, and the session that the page gets in exchange and sends like a token.

    The session is no cookie: browsers send cookies to every port of a host, so other servers on this machine would receive it.

    Args:
        host: address of the service.
        token: None for no access control.
    """

    def __init__(self, host: str, token: str | None) -> None:
        self._token = token
        self._session = secrets.token_urlsafe(32)
        self._hosts = {"localhost", "127.0.0.1", "[::1]", host, f"[{host}]"} if is_loopback(host) else None

    def session(self, token: str) -> str | None:
        """The session, valid until the service stops; None for a wrong token."""
        return self._session if _same(token, self._token) else None

    def admits(self, path: str, headers: Headers) -> bool:
        """Whether the request has the token or the session, or needs neither."""
        if self._token is None or path in _OPEN or path.startswith("/page/"):
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and (_same(given.strip(), self._token) or _same(given.strip(), self._session))

    def knows(self, host: str) -> bool:
        """Whether a Host header names this address; refusing others prevents DNS rebinding."""
        return self._hosts is None or _without_port(host) in self._hosts


def _same(given: str, expected: str | None) -> bool:
    return expected is None or hmac.compare_digest(given.encode(), expected.encode())


def _without_port(host: str) -> str:
    return host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0].lower()


def _foreign(headers: Headers) -> bool:
    """Whether a page of another origin sends this, also of another port of this host."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host", ""):
        return True
    return headers.get("sec-fetch-site", "none") not in ("same-origin", "none")  # none: typed, or no browser


def _is_link(scope: Scope) -> bool:
    """Whether a link from elsewhere may lead here: to what holds no data and does nothing."""
    path: str = scope["path"]
    return scope["method"] in ("GET", "HEAD") and (path in ("/", "/livez", "/readyz") or path.startswith("/page/"))


class AccessMiddleware:
    """Rejects requests without access."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        refused = self._refused(scope, Headers(scope=scope))
        if refused is None:
            return await self._app(scope, receive, send)
        status, reason, headers = refused
        return await failure(status, reason, headers)(scope, receive, send)

    def _refused(self, scope: Scope, headers: Headers) -> tuple[int, str, dict[str, str]] | None:
        if not self._access.knows(headers.get("host", "")):
            return 421, "the Host header names another machine; use the address that the service printed", {}
        if _foreign(headers) and not _is_link(scope):
            return 403, "requests from pages of another origin are refused", {}
        if not self._access.admits(scope["path"], headers):
            return 401, "the token is missing or wrong; send it as Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
        return None
