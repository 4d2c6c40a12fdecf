"""Executor in this process: a thread for each core, or one piece of work after the other where each takes several."""

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Generic

from embeddings.pipeline import in_order, workers
from indexer.execution.executor import ONE_CORE, Executor, Item, Outcome, Resources, Result, Shared, Value, attempt


@dataclass(frozen=True)
class Held(Generic[Value]):
    """A value in the memory of this process."""

    value: Value


class InProcess(Executor):
    """Threads of this process, one for each core; work that needs several cores, or is to be alone, is done piece by piece."""

    @property
    def here(self) -> bool:
        """See `Executor.here`."""
        return True

    @property
    def note(self) -> str:
        """See `Executor.note`."""
        return f"working in this process on {workers()} cores"

    def outcomes(
        self, work: Callable[[Item], Result], items: Iterable[Item], *, resources: Resources = ONE_CORE
    ) -> Generator[Outcome[Result], None, None]:
        """See `Executor.outcomes`."""
        if resources.alone or resources.cores > 1:
            yield from (attempt(work, item) for item in items)
            return
        with closing(in_order(partial(attempt, work), items)) as done:
            yield from done

    def share(self, value: Value) -> Shared[Value]:
        """See `Executor.share`."""
        return Held(value)
