"""Work queues: slow work waits in a queue of its own; requests above its limit are rejected."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from query.service.errors import Refused

T = TypeVar("T")


class WorkQueue:
    """Thread pool with a bounded queue. `run` is for the event loop, `submit` for any thread.

    Args:
        name: of the threads, and of the work in error messages.
        threads: number of threads.
        waiting: number of calls that may wait.
        initializer: called first in each thread.
    """

    def __init__(self, name: str, threads: int, waiting: int, initializer: Callable[[], None] | None = None) -> None:
        self._name, self._most = name, threads + waiting
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"synthtrace-{name}", initializer=initializer)
        self._inside = 0

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """The result of a call.

        Raises:
            Refused: the queue is full.
        """
        if self._inside >= self._most:
            raise Refused(503, f"{self._inside} {self._name} are running or waiting; try again in a second", {"Retry-After": "1"})
        self._inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        finally:
            self._inside -= 1

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Start a call without waiting for it."""
        return self._pool.submit(work)

    def close(self) -> None:
        """Finish running calls, drop waiting ones."""
        self._pool.shutdown(wait=True, cancel_futures=True)
