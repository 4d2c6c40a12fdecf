"""Batches: questions of clients that ask at the same time are answered together, by one thread."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")

MOST = 32  # questions of a batch
WAIT = 0.002  # seconds that the first question of a batch waits for those on their way
ROOM = 25_000_000  # pixels that may wait; whoever brings more waits itself


class Batches(Generic[Question, Answer]):
    """Gathers questions and answers them in a thread of its own: what that thread uses need not be shared with others.

    A question that comes alone is answered at once: it waits only while others are known to be on their way.

    Args:
        answer: the answers to some questions, in order. Where it raises, each question is tried by itself.
    """

    def __init__(self, answer: Callable[[Sequence[Question]], Sequence[Answer]]) -> None:
        self._answer = answer
        self._waiting: queue.SimpleQueue[_Waiting[Question, Answer] | None] = queue.SimpleQueue()
        self._changed = threading.Condition()  # guards the next two
        self._coming = 0
        self._size = 0
        self._thread = threading.Thread(target=self._run, name="synthtrace-batches", daemon=True)
        self._thread.start()

    @contextmanager
    def coming(self) -> Iterator["Coming[Question, Answer]"]:
        """A question that is being prepared; it need not come."""
        coming = Coming(self)
        try:
            yield coming
        finally:
            coming.arrive()

    def close(self) -> None:
        """End the thread; what still waits is never answered."""
        self._waiting.put(None)
        self._thread.join()

    def _arrived(self, step: int) -> None:
        with self._changed:
            self._coming += step

    def _put(self, question: Question, size: int) -> "Future[Answer]":
        with self._changed:
            self._changed.wait_for(lambda: self._size == 0 or self._size + size <= ROOM)
            self._size += size
        asked = _Waiting[Question, Answer](question, size)
        self._waiting.put(asked)
        return asked.future

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = self._gathered(first)
            self._settle([each for each in batch if each.future.set_running_or_notify_cancel()])
            with self._changed:
                self._size -= sum(each.size for each in batch)
                self._changed.notify_all()

    def _gathered(self, first: "_Waiting[Question, Answer]") -> "list[_Waiting[Question, Answer]]":
        """The first question and those that come in time."""
        batch, end = [first], time.monotonic() + WAIT
        while len(batch) < MOST:
            left = end - time.monotonic() if self._coming else 0
            try:
                following = self._waiting.get(timeout=left) if left > 0 else self._waiting.get_nowait()
            except queue.Empty:
                break
            if following is None:  # the end; it comes again after this batch
                self._waiting.put(None)
                break
            batch.append(following)
        return batch

    def _settle(self, batch: "list[_Waiting[Question, Answer]]") -> None:
        if not batch:  # whoever asked is gone
            return
        try:
            answers = self._answer([each.question for each in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0].future.set_exception(error)
            else:
                for each in batch:
                    self._settle([each])
            return
        for each, answer in zip(batch, answers, strict=True):
            each.future.set_result(answer)


class _Waiting(Generic[Question, Answer]):
    """A question, its size, and where its answer will be."""

    def __init__(self, question: Question, size: int) -> None:
        self.question, self.size = question, size
        self.future: Future[Answer] = Future()


class Coming(Generic[Question, Answer]):
    """A question on its way."""

    def __init__(self, batches: Batches[Question, Answer]) -> None:
        self._batches, self._there = batches, False
        batches._arrived(1)

    def put(self, question: Question, size: int = 0) -> "Future[Answer]":
        """Hand the question in. Waits while too much waits already.

        Args:
            question: to be answered.
            size: pixels that it holds.
        """
        self.arrive()
        return self._batches._put(question, size)

    def arrive(self) -> None:
        """Nobody need wait for it any more."""
        if not self._there:
            self._there = True
            self._batches._arrived(-1)
