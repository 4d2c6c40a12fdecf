"""Metrics of the service for Prometheus, without image names."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

GONE = 499  # no answer: the client went away before its request was whole
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Prometheus metrics of one service.

    Args:
        snapshot_age: seconds since the database was copied; None where there is none.
    """

    def __init__(self, snapshot_age: Callable[[], float] | None) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "synthtrace_requests", "Requests by route and status", ["method", "route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "synthtrace_request_seconds", "Seconds by route", ["route"], buckets=_SECONDS, registry=self._registry
        )
        self.searches = Counter("synthtrace_searches", "Images looked up", registry=self._registry)
        self.in_flight = Gauge("synthtrace_in_flight", "Requests under way", registry=self._registry)
        if snapshot_age:
            age = Gauge("synthtrace_snapshot_age_seconds", "Since the database was copied", registry=self._registry)
            age.set_function(snapshot_age)

    def text(self) -> bytes:
        """All figures as Prometheus reads them."""
        return generate_latest(self._registry)


class Counted:
    """Counts requests; a route is named by its pattern, so that ids make no new figures."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        status: int | None = None
        gone, started = False, time.perf_counter()

        async def heard() -> Message:
            nonlocal gone
            message = await receive()
            gone = gone or (message["type"] == "http.disconnect" and status is None)
            return message

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with self._metrics.in_flight.track_inprogress():
                await self._app(scope, heard, noted)
        finally:
            status = GONE if gone else status or 500
            route = getattr(scope.get("route"), "path", "") or "other"
            method = scope["method"] if scope["method"] in ("GET", "POST", "PUT", "DELETE") else "other"
            self._metrics.requests.labels(method, route, status).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)
