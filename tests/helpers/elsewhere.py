"""Executor whose work travels as to another process, but is done in this one."""

import pickle
from collections.abc import Callable, Generator, Iterable
from typing import Any

from indexer.execution.executor import ONE_CORE, Outcome, Resources
from indexer.execution.in_process import InProcess


class Elsewhere(InProcess):
    """Work, items and results are pickled and read again; `sent` and `back` count the bytes of items and results."""

    def __init__(self) -> None:
        self.sent, self.back = 0, 0

    @property
    def here(self) -> bool:
        return False

    def outcomes(
        self, work: Callable[[Any], Any], items: Iterable[Any], *, resources: Resources = ONE_CORE
    ) -> Generator[Outcome[Any], None, None]:
        content = pickle.dumps(work)
        for item in items:
            parcel = pickle.dumps(item)
            (outcome,) = super().outcomes(pickle.loads(content), [pickle.loads(parcel)], resources=resources)
            answer = pickle.dumps(outcome)
            self.sent, self.back = self.sent + len(parcel), self.back + len(answer)
            yield pickle.loads(answer)
