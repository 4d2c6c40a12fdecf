"""Executor: apply a function to many items, wherever there are cores, and give the results in the order of the items."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from embeddings.errors import SynthtraceError

Item = TypeVar("Item")
Result = TypeVar("Result")
Value = TypeVar("Value")
Value_co = TypeVar("Value_co", covariant=True)


class ExecutionError(SynthtraceError):
    """Work cannot be handed out as asked: Ray is missing, or cannot be reached; the message names the mend."""


class WorkLost(SynthtraceError):
    """A piece of work ended the process that did it, again and again."""


@dataclass(frozen=True)
class Resources:
    """What one piece of work needs.

    Attributes:
        cores: threads that it computes with.
        gpus: share of a GPU, or number of GPUs; Ray shows the work those alone, as ``cuda:0`` and so on.
        memory: bytes; 0 where nobody has measured it. Ray starts no more work on a machine than its memory suffices for.
        alone: it keeps all cores busy that it finds, so within one process one piece is done after the other.

    Raises:
        ValueError: no core, or a negative number.
    """

    cores: int = 1
    gpus: float = 0
    memory: int = 0
    alone: bool = False

    def __post_init__(self) -> None:
        if self.cores < 1 or self.gpus < 0 or self.memory < 0:
            raise ValueError(f"work needs at least one core, and no negative number of anything; got {self}")

    def __str__(self) -> str:
        return f"{self.cores} cores, {self.gpus:g} GPUs and {self.memory / 1e9:.1f} GB of memory"


ONE_CORE = Resources()


class Shared(Protocol[Value_co]):
    """A value that all work can read, sent once to each machine. Arrays are read-only there."""

    @property
    def value(self) -> Value_co:
        """The value, or an equal copy of it."""


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What became of a piece of work: its result, or the error that it ended with."""

    value: Result | None = None
    error: Exception | None = None

    def result(self) -> Result:
        """The result.

        Raises:
            Exception: the error, where there is one.
        """
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # a result may be None itself


class Executor(ABC):
    """Where work is done. A context manager: what it started ends with it.

    Work is a function of one item, or an object that can be called so. On Ray it travels as a pickle, its items and results too:
    so it is defined at the top of a module (`functools.partial` of such a function, or a frozen dataclass with `__call__`), and
    does not depend on what else its process did before. It may be done twice, where a machine is lost in the middle; so it
    writes whole files or none.
    """

    @property
    @abstractmethod
    def note(self) -> str:
        """One line: where work is done."""

    @property
    @abstractmethod
    def here(self) -> bool:
        """Whether work is done in this process, and shares its devices."""

    @property
    def gpus(self) -> float:
        """How many GPUs can be asked for, where work is done elsewhere."""
        return 0

    @abstractmethod
    def outcomes(
        self, work: Callable[[Item], Result], items: Iterable[Item], *, resources: Resources = ONE_CORE
    ) -> Generator[Outcome[Result], None, None]:
        """What became of each item, in the order of the items, a few of them in flight.

        Work whose process or machine is lost is done again. An error that it raises is an answer and never tried again.
        """

    def map(
        self, work: Callable[[Item], Result], items: Iterable[Item], *, resources: Resources = ONE_CORE
    ) -> Generator[Result, None, None]:
        """The results, in the order of the items. When it is closed early, what has not begun yet is dropped.

        Raises:
            WorkLost: an item ended its process again and again.
            Exception: what `work` raised for the first item that it raised for.
        """
        outcomes = self.outcomes(work, items, resources=resources)
        try:
            for outcome in outcomes:
                yield outcome.result()
        finally:
            outcomes.close()

    @abstractmethod
    def share(self, value: Value) -> Shared[Value]:
        """The value, to be given to work as part of it or of its items."""

    def close(self) -> None:  # noqa: B027 - not each has something to end
        """End what was started."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def attempt(work: Callable[[Item], Result], item: Item) -> Outcome[Result]:
    """Do the work; an error becomes part of the answer."""
    try:
        return Outcome(work(item))
    except Exception as error:
        return Outcome(error=error)
