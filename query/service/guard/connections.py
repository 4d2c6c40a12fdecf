"""Connection limits: number, time-outs, and refusal of ambiguous HTTP.

The protocol is uvicorn's. It waits for ever for headers, bodies and readers, and keeps as many connections as come.
"""

import asyncio
import re
import resource
from functools import partial
from http import HTTPStatus
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from query import terminal
from query.service.errors import failure
from query.service.guard.limits import BODY, HEADERS
from query.terminal import LOGGING

MOST = 1024  # connections at once, browsers' idle ones too; requests have a limit of their own
LEAST = 64
BACKLOG = 128  # connections that are accepted in one go, before any of the limits is looked at
RESERVE = 2 * BACKLOG + 128  # descriptors for those, and for all that is no connection: the database, uploads, processes for SQL
HEAD = 10.0  # seconds until the headers are whole, also of the next request on a connection that stays open
GAP = 10.0  # seconds between two pieces of a body
SLOWEST = 100_000.0  # bytes a second of a body, over all of it and GAP seconds more
STALL = 20.0  # seconds without a byte of an answer being taken
ANSWER = 300.0  # seconds until an answer is taken whole
TICK = 0.5  # seconds between two looks at a connection
END = 10  # seconds in which what has begun is answered after the service was told to end
_SLOW = f"the body arrived too slowly: less than {SLOWEST / 1000:g} KB a second, or nothing for {GAP:g} seconds"
_NO_HTTP = "not a valid HTTP request"
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*([^\r\n]*)")
_CODING = re.compile(rb"(?im)^transfer-encoding:")
_FOLDED = re.compile(rb"\n[ \t]")


class TooFewDescriptors(OSError):
    """The limit of open files is too low to serve."""


def room() -> int:
    """Number of connections possible at once; raises the limit of open files as far as needed and allowed.

    Raises:
        TooFewDescriptors: too few.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST + RESERVE
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < raised:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = raised
    most = MOST if soft == resource.RLIM_INFINITY else min(MOST, soft - RESERVE)
    if most < LEAST:
        raise TooFewDescriptors(f"serving needs {LEAST + RESERVE} open files, and {soft} are allowed; raise the limit: ulimit -n")
    return most


def configured(app: Any, most: int) -> uvicorn.Config:
    """Uvicorn configuration for an application with at most `most` connections at once."""
    return uvicorn.Config(
        app,
        http=partial(Connection, {}, most),  # type: ignore[arg-type]  # it is only called
        ws="none",
        log_config=LOGGING,
        access_log=False,  # addresses of requests hold names of patients
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=END,
    )


def tell_briefly(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report system errors of the event loop, such as a lack of file descriptors, in one line at most once a minute."""
    error = context.get("exception")
    if not isinstance(error, OSError):
        return loop.default_exception_handler(context)
    line = f"synthtrace: {context.get('message', 'a connection failed')}: {error.strerror or error}"
    told: dict[str, float] = vars(tell_briefly).setdefault("told", {})
    if loop.time() - told.get(line, -60.0) >= 60:
        told[line] = loop.time()
        terminal.say(line)


class Strict(h11.Connection):
    """Rejects requests that two servers may parse differently (request smuggling)."""

    def next_event(self) -> Any:
        """As h11's."""
        before = self.trailing_data[0] if self.their_state is h11.IDLE else b""
        event = super().next_event()
        if isinstance(event, h11.Request):
            head = _HEAD_END.split(before, maxsplit=1)[0]
            lengths, codings = _LENGTH.findall(head), _CODING.findall(head)
            twice = len(lengths) > 1 or any(b"," in length for length in lengths)
            if twice or (codings and (lengths or event.http_version < b"1.1")) or _FOLDED.search(head):
                raise h11.RemoteProtocolError("the request can be understood in two ways")
        return event


class Connection(H11Protocol):
    """One connection.

    Args:
        idle: connections on which nothing is being answered, the longest idle first; all connections share it.
        most: connections at once. Beyond, the longest idle one makes room for the newest.
    """

    def __init__(self, idle: "dict[Connection, None]", most: int, **given: Any) -> None:
        super().__init__(**given)
        self.conn = Strict(h11.SERVER)
        self._idle, self._most = idle, most
        self._timer: asyncio.TimerHandle | None = None
        self._since = self._heard = self._moved = self._filled = self.loop.time()  # see `_look`
        self._taken = self._unsent = 0  # bytes of the request, and of the answer

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept it, closing the longest idle connection if needed, or refuse it."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(TICK, self._look)
        if len(self.connections) > self._most:
            longest = next(iter(self._idle), None)
            if longest is None:
                self._refuse(503, f"{self._most} connections are open; try again in a second", {"Retry-After": "1"})
                return
            longest.drop()
        self._idle[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if self._timer:
            self._timer.cancel()
        self._idle.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Note when."""
        before = self.cycle
        self._heard = self.loop.time()
        self._taken += len(data)
        super().data_received(data)
        if self.cycle is not before:
            self._begin(len(data))
        self._sort()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        before = self.cycle
        if self.conn.their_state is not h11.SEND_BODY:  # else the rest of a body that was not wanted is still to come
            self._begin(0)
        super().on_response_complete()
        if self.cycle is not before:
            self._begin(0)
        self._sort()

    def send_400_response(self, msg: str) -> None:
        """Answer 400 if no response has begun."""
        self._refuse(400, _NO_HTTP)

    def shutdown(self) -> None:
        """End it; what is being answered is answered first, what is still being sent is not waited for."""
        if self._busy and self.conn.their_state is h11.SEND_BODY:
            self._refuse(503, "the service ends", {"Retry-After": "10"})
        elif not self.transport.is_closing():
            super().shutdown()

    def drop(self) -> None:
        """End it at once."""
        self._idle.pop(self, None)
        self.connections.discard(self)
        self.transport.abort()

    @property
    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _begin(self, taken: int) -> None:
        self._since, self._taken = self.loop.time(), taken

    def _sort(self) -> None:
        if self._busy or self.transport.is_closing():
            self._idle.pop(self, None)
        else:
            self._idle.setdefault(self)

    def _look(self) -> None:
        """End it where it keeps the service waiting."""
        now = self.loop.time()
        self._timer = self.loop.call_later(TICK, self._look)
        if self._stalls(now):
            self.drop()
        elif self.transport.is_closing():
            pass
        elif self.conn.their_state is h11.IDLE and not self._busy:
            if now - self._since > HEAD and self.conn.trailing_data[0]:
                self._refuse(408, f"the headers took longer than {HEAD:g} seconds")
            elif now - self._since > HEAD:
                self.transport.close()
        elif self.conn.their_state is h11.SEND_BODY:
            if self.flow.read_paused:  # it is us who keep it waiting
                self._heard, self._since = now, self._since + TICK
            if now - self._heard > GAP or now - self._since > GAP + self._taken / SLOWEST:
                self._refuse(408, _SLOW)
            elif self._taken > 2 * BODY:  # of a request that was answered already
                self.drop()

    def _stalls(self, now: float) -> bool:
        """Whether an answer is not taken: none of it for a while, or not all of it in a long while."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent:
            self._filled = now
        if unsent != self._unsent or not unsent:
            self._unsent, self._moved = unsent, now
        return now - self._moved > STALL or now - self._filled > ANSWER

    def _refuse(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        """Answer where no answer has begun, and end the connection; to whoever works on the request the client is gone."""
        busy = self._busy
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = failure(status, reason, {**HEADERS, **(headers or {}), "Connection": "close"})
            begun = h11.Response(status_code=status, headers=answer.raw_headers, reason=HTTPStatus(status).phrase.encode())
            for event in (begun, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self._idle.pop(self, None)
        self.transport.close()
        if busy:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
