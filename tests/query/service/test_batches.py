"""Questions of several askers become batches, in order; a lone one does not wait, and no more wait than memory allows."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from query.service.backend import batches as module
from query.service.backend.batches import Batches

SECONDS = 10.0


class Held:
    """Answers with the question doubled; holds the first batch until it is let go."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, questions: Sequence[int]) -> list[int]:
        self.seen.append(list(questions))
        self.begun.set()
        assert self.go.wait(SECONDS)
        if -1 in questions:
            raise ValueError("a bad one")
        return [2 * question for question in questions]


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def batches(held: Held) -> Iterator[Batches[int, int]]:
    made = Batches(held)
    yield made
    held.go.set()
    made.close()


def ask(batches: Batches[int, int], question: int, size: int = 0) -> Callable[[], int]:
    with batches.coming() as coming:
        future = coming.put(question, size)
    return lambda: future.result(SECONDS)


def test_what_waits_is_answered_together_and_in_order(batches: Batches[int, int], held: Held) -> None:
    first = ask(batches, 0)
    assert held.begun.wait(SECONDS)
    others = [ask(batches, number) for number in range(1, 40)]
    held.go.set()
    assert [first(), *(other() for other in others)] == [2 * number for number in range(40)]
    assert held.seen == [[0], list(range(1, 33)), list(range(33, 40))]


def test_a_question_waits_for_one_on_its_way_and_not_for_ever(
    batches: Batches[int, int], held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.go.set()
    monkeypatch.setattr(module, "WAIT", 1.0)
    with batches.coming() as late:
        early = ask(batches, 1)
        time.sleep(0.05)
        assert held.seen == []  # it waits
        assert late.put(2).result(SECONDS) == 4
    assert (early(), held.seen) == (2, [[1, 2]])
    monkeypatch.setattr(module, "WAIT", 0.01)
    with batches.coming():  # which never arrives
        assert ask(batches, 3)() == 6
    monkeypatch.setattr(module, "WAIT", 1000.0)
    assert ask(batches, 4)() == 8  # alone


def test_one_that_leaves_is_not_waited_for(batches: Batches[int, int], held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    held.go.set()
    monkeypatch.setattr(module, "WAIT", 1000.0)
    with pytest.raises(ZeroDivisionError), batches.coming():
        _ = 1 / 0
    assert ask(batches, 1)() == 2


def test_one_bad_question_spoils_no_other(batches: Batches[int, int], held: Held) -> None:
    ask(batches, 0)
    assert held.begun.wait(SECONDS)
    asked = [ask(batches, question) for question in (1, -1, 3)]
    held.go.set()
    assert (asked[0](), asked[2]()) == (2, 6)
    with pytest.raises(ValueError, match="a bad one"):
        asked[1]()


def test_who_went_away_is_left_out(batches: Batches[int, int], held: Held) -> None:
    ask(batches, 0)
    assert held.begun.wait(SECONDS)
    with batches.coming() as coming:
        gone = coming.put(1)
    assert gone.cancel()
    last = ask(batches, 2)
    held.go.set()
    assert last() == 4
    assert held.seen == [[0], [2]]


def test_no_more_pixels_wait_than_there_is_room_for(
    batches: Batches[int, int], held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROOM", 100)
    ask(batches, 0, 60)
    assert held.begun.wait(SECONDS)
    ask(batches, 1, 40)
    with ThreadPoolExecutor(1) as pool:
        third = pool.submit(ask, batches, 2, 1)
        time.sleep(0.1)
        assert not third.done()
        held.go.set()
        assert third.result(SECONDS)() == 4
    assert ask(batches, 5, 1000)() == 10  # larger than the room, but alone
