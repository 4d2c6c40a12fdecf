"""Work queues: slow work waits in a queue of its own; requests above its limit are rejected."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from query.service.errors import Refused

T = TypeVar("T")


class WorkQueue:
    """Threads that work one thing after another; all but `run` and `submit` belongs to the event loop.

    Args:
        name: of the threads, and of what is refused.
        threads: how many work at once.
        waiting: how many may wait.
        initializer: called first in each thread.
    """

    def __init__(self, name: str, threads: int, waiting: int, initializer: Callable[[], None] | None = None) -> None:
        self._name, self._most = name, threads + waiting
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"synthtrace-{name}", initializer=initializer)
        self._inside = 0

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """The result of work.

        Raises:
            Refused: too many wait already.
        """
        if self._inside >= self._most:
            raise Refused(503, f"{self._inside} {self._name} are under way; try again in a second", {"Retry-After": "1"})
        self._inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        finally:
            self._inside -= 1

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Begin work that nobody waits for."""
        return self._pool.submit(work)

    def close(self) -> None:
        """What has begun is finished, what waits is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
