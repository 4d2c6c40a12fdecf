"""Work queues: slow work waits in a queue of its own; requests above its limit are rejected."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from query.service.errors import Refused

T = TypeVar("T")


class WorkQueue:
    """Thread pool with a bounded queue. `submit` is for any thread, the others for the event loop.

    Args:
        name: of the threads, and of the work in error messages.
        threads: number of threads.
        waiting: number of calls that may wait.
    """

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self._name, self._most = name, threads + waiting
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"synthtrace-{name}")
        self._inside = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue, for one call or several one after another.

        Raises:
            Refused: the queue is full.
        """
        if self._inside >= self._most:
            raise Refused(503, f"{self._inside} {self._name} are running or waiting; try again in a second", {"Retry-After": "1"})
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def call(self, work: Callable[..., T], *arguments: Any) -> T:
        """The result of a call, for who has a `place`."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """The result of a call.

        Raises:
            Refused: the queue is full.
        """
        with self.place():
            return await self.call(work, *arguments)

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Start a call without waiting for it; any thread may."""
        return self._pool.submit(work)

    def close(self) -> None:
        """Finish running calls, drop waiting ones."""
        self._pool.shutdown(wait=True, cancel_futures=True)
