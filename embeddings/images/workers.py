"""Pool of child processes that decode image files: started on demand, one thread each, replaced when they end.

A request is its length and a JSON object: ``path``, or ``size`` and so many bytes behind it; ``decoding``, ``sha256``,
``seconds``; ``member`` where the path is that of a file of many pictures, ``frame`` of an array, ``list`` for all members.
An answer is two lengths, a JSON object and raw pixels: a frame (``height``, ``width``, ``mode``, ``notes``, ``patient``),
``members``, ``end``, or ``error``, the name of one of our errors, with its ``reason``. After each frame the child waits to be
told to go on or to stop, so that nothing is decoded that nobody wants. Nothing that a child sends is run, and its sizes are
checked: what decodes hostile files is not trusted.
"""

import atexit
import fcntl
import json
import os
import re
import select
import signal
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embeddings.images.child import taken
from embeddings.images.containers.members import Member
from embeddings.images.containers.names import ARRAYS, leads_out, split
from embeddings.images.decoding import ArrayFrame, Decoding, Frame
from embeddings.images.errors import Crashed, ImageError, TookTooLong, printable

_LENGTH, _LENGTHS = 4, 12
_WORDS = 100_000  # bytes at most of an answer but for pixels
_LATE = 10.0  # seconds after which a child is ended that should have ended itself
_PIPE = 1 << 20
_READING = re.compile(r"array [A-Z]+ \w+ [\w.-]+")  # see `embeddings.images.containers.arrays`
_ERRORS = {kind.__name__: kind for kind in ImageError.__subclasses__()}
_idle: "deque[_Child]" = deque()  # its append and pop need no lock, which a generator that is collected might wait for


def start() -> None:
    """Begin to start a child that will soon be needed, if there is none; returns at once."""
    if not _idle:
        _idle.append(_Child())


@dataclass(frozen=True)
class Request:
    """What a child is asked for; attributes as of `embeddings.images.decode.decode`."""

    source: Path | bytes
    decoding: Decoding
    sha256: str
    seconds: float
    frame: ArrayFrame | None = None

    @property
    def body(self) -> bytes | None:
        """The bytes to decode; None where there is a path."""
        return self.source if isinstance(self.source, bytes) else None

    def words(self, listed: bool) -> dict[str, Any]:
        """As JSON-able values."""
        path = None if isinstance(self.source, bytes) else os.path.abspath(self.source)
        inside = None if path is None or listed else split(path)
        return {
            "path": inside[0] if inside else path,
            "member": inside[1] if inside else None,
            "frame": None if self.frame is None else [self.frame.number, self.frame.reading],
            "list": listed,
            "size": 0 if self.body is None else len(self.body),
            "decoding": self.decoding.as_dict(),
            "sha256": self.sha256,
            "seconds": self.seconds,
        }


def ask(request: Request) -> Iterator[Frame]:
    """The frames of a file, see `embeddings.images.decode.decode`."""
    child = _asked(request.words(listed=False), request.body)
    try:
        while (frame := child.frame(request.decoding.max_pixels)) is not None:
            yield frame
            child.go_on()
    finally:
        child.leave()


def ask_members(request: Request) -> Iterator[Member]:
    """What a file holds, see `embeddings.images.decode.members`."""
    array = str(request.source).lower().endswith(ARRAYS)
    child = _asked(request.words(listed=True), None)
    try:
        while (found := child.members(array)) is not None:
            yield from found
            child.go_on()
    finally:
        child.leave()


def _asked(request: Mapping[str, Any], body: bytes | None) -> "_Child":
    """A child that has taken the request: an idle one, unless all have been killed meanwhile."""
    while _idle:
        with suppress(IndexError):  # another thread was quicker
            child = _idle.pop()
            if child.ask(request, body):
                return child
            child.end()
    child = _Child()
    if not child.ask(request, body):
        raise child.failed_to_start()
    return child


class _Child:
    """One child. It is at rest, at work (it will answer), or waits (a frame was taken)."""

    def __init__(self) -> None:
        self._process = taken()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with suppress(OSError):
                fcntl.fcntl(self._out, fcntl.F_SETPIPE_SZ, _PIPE)
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)
        self._ready = False
        self._state = "at rest"
        self._seconds = 0.0

    def ask(self, request: Mapping[str, Any], body: bytes | None) -> bool:
        """Whether the child took a request."""
        text = json.dumps(request).encode()
        self._seconds, self._state = request["seconds"], "at work"
        try:
            if not self._ready:
                self._answer(0, 60.0)
                self._ready = True
            self._send(len(text).to_bytes(_LENGTH, "big") + text)
            self._send(body or b"")
        except (_Gone, BrokenPipeError):
            return False
        return True

    def frame(self, max_pixels: int) -> Frame | None:
        """The next frame; None after the last.

        Raises:
            ImageError: there is none, because of the file.
        """
        words, pixels = self._next(max_pixels)
        if words is None:
            return None
        notes = tuple(map(printable, words["notes"]))
        return Frame(pixels.reshape(words["height"], words["width"]), words["mode"], notes, words["patient"])

    def members(self, array: bool) -> list[Member] | None:
        """The next members of a file, of an array file or another; None after the last.

        Raises:
            ImageError: there are none, because of the file.
        """
        words, _ = self._next(0)
        if words is None:
            return None
        try:
            found = [Member(*values) for values in words["members"]]
            sound = all(_is_sound(member, array) for member in found)
        except (KeyError, TypeError) as error:
            raise self._nonsense() from error
        if not sound:
            raise self._nonsense()
        return found

    def _next(self, max_pixels: int) -> tuple[dict[str, Any] | None, Any]:
        """Words and pixels of the next answer; None after the last."""
        try:
            words, pixels = self._answer(max_pixels, self._seconds + _LATE)
        except _Gone as gone:
            raise self._reason(gone.late) from None
        if "mode" in words or "members" in words:
            self._state = "waits"
            return words, pixels
        self._state = "at rest"
        if "error" in words:
            raise _ERRORS.get(words["error"], ImageError)(words["reason"])
        return None, pixels

    def go_on(self) -> None:
        """Have the next frame decoded."""
        self._state = "at work"
        with suppress(BrokenPipeError):  # `frame` says what became of it
            self._send(b"n")

    def leave(self) -> None:
        """Nobody wants more of this file: keep the child for the next one, or end it where it cannot be."""
        if self._state == "waits":
            self._state = "at rest"
            with suppress(BrokenPipeError):
                self._send(b"s")
        if self._state == "at rest":
            _idle.append(self)
        else:
            self.end()

    def end(self, kill: bool = True) -> int:
        """End the child; gives its exit status."""
        if kill:
            self._process.kill()
        self._in.close()
        self._out.close()
        return self._process.wait()

    def forget(self) -> None:
        """It is a child of the process that forked us."""
        self._process.returncode = 0
        self._in.close()
        self._out.close()

    def failed_to_start(self) -> RuntimeError:
        """What to raise where not even a new child takes a request."""
        return RuntimeError(f"the process that decodes images does not start ({_ending(self.end())}); its errors are above")

    def _reason(self, late: bool) -> ImageError:
        """Why the child is no more, as an error of the file."""
        code = self._process.wait() if not late else self.end()
        if late or code in (-signal.SIGALRM, -signal.SIGXCPU):
            return TookTooLong(f"decoding was ended: it took longer than {self._seconds:g} seconds")
        hint = ", most likely for lack of memory" if code == -signal.SIGKILL else ""
        return Crashed(f"the decoder ended ({_ending(code)}{hint})")

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._in.write(view) :]

    def _answer(self, max_pixels: int, seconds: float) -> tuple[dict[str, Any], Any]:
        """Words and pixels of the next answer, held against the form that answers have."""
        deadline = time.monotonic() + seconds
        lengths = bytearray(_LENGTHS)
        self._fill(memoryview(lengths), deadline)
        length, count = int.from_bytes(lengths[:4], "big"), int.from_bytes(lengths[4:], "big")
        if length > _WORDS or count > max_pixels:
            raise self._nonsense()
        text = bytearray(length)
        self._fill(memoryview(text), deadline)
        pixels = np.empty(count, np.uint8)
        self._fill(memoryview(pixels.data), deadline)
        try:
            words = json.loads(text)
            size = words["height"] * words["width"] if "mode" in words else 0
            texts = [words.get(name, "") for name in ("mode", "error", "reason", "patient")] + list(words.get("notes", []))
            whole = len({name in words for name in ("mode", "notes", "patient")}) == 1
            well_formed = whole and size == count and all(isinstance(text, str) for text in texts)
        except (ValueError, TypeError, KeyError) as error:
            raise self._nonsense() from error
        if not well_formed:
            raise self._nonsense()
        return words, pixels

    def _fill(self, room: memoryview, deadline: float) -> None:
        """Read until the room is full.

        Raises:
            _Gone: the child ended, or did not answer in time.
        """
        while room:
            if not self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise _Gone(late=True)
            count = self._out.readinto(room)  # type: ignore[attr-defined]
            if not count:
                raise _Gone(late=False)
            room = room[count:]

    def _nonsense(self) -> ImageError:
        self.end()
        return Crashed("the decoder sent what is no answer")


class _Gone(Exception):
    """The child does not answer any more."""

    def __init__(self, late: bool) -> None:
        super().__init__()
        self.late = late


def _is_sound(member: Member, array: bool) -> bool:
    """Whether a member is of the form that members have: its name becomes part of a path."""
    texts = (member.name, member.sha256, member.reading, member.error)
    if not all(isinstance(text, str) for text in texts) or (member.reading and not _READING.fullmatch(member.reading)):
        return False
    if member.sha256.strip("0123456789abcdef") or len(member.sha256) > 64:
        return False
    numbers = (member.frames, member.size, 0 if member.frame is None else member.frame)
    if not all(type(number) is int and number >= 0 for number in numbers) or type(member.ignored) is not bool:
        return False
    return not leads_out(member.name) or (array and not member.name)


def _ending(code: int) -> str:
    """``signal 11, SIGSEGV`` or ``exit code 1``."""
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"signal {-code}, {signal.Signals(-code).name}"
    return f"signal {-code}"


def _end_all() -> None:
    while _idle:
        _idle.pop().end()


def _forget_all() -> None:
    while _idle:
        _idle.pop().forget()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_forget_all)
