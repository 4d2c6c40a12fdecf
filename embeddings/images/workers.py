"""Pool of child processes that decode image files: started on demand, one thread each, replaced when they end.

A request is its length and a JSON object: ``path``, or ``size`` and so many bytes behind it; ``decoding``, ``sha256``,
``seconds``; ``member`` where the path is that of a file of many pictures, ``frame`` of an array, ``list`` for all members.
An answer is two lengths, a JSON object and raw pixels: a frame (``height``, ``width``, ``mode``, ``notes``, ``patient``, ``last``
where no other follows), ``members``, ``end``, or ``error``, the name of one of our errors, with its ``reason``. The last answer
on a file that was read has its ``sha256`` and ``size``. After each frame the child waits to be told to go on or to stop, so that
nothing is decoded that nobody wants, unless ``all`` frames are wanted: then requests may be sent ahead, and the pipe holds the
child back. Nothing that a child sends is run, and its sizes are checked: what decodes hostile files is not trusted.
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
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
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
_SHA256 = re.compile(r"[0-9a-f]{64}")
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

    source: Path | str | bytes
    decoding: Decoding
    sha256: str
    seconds: float
    frame: ArrayFrame | None = None

    @property
    def body(self) -> bytes | None:
        """The bytes to decode; None where there is a path."""
        return self.source if isinstance(self.source, bytes) else None

    def words(self, listed: bool = False, whole: bool = False) -> bytes:
        """As JSON; `listed` for the members of a file, `whole` for all frames without a pause."""
        path = None if isinstance(self.source, bytes) else os.path.abspath(self.source)
        inside = None if path is None or listed else split(path)
        words = {
            "path": inside[0] if inside else path,
            "member": inside[1] if inside else None,
            "frame": None if self.frame is None else [self.frame.number, self.frame.reading],
            "list": listed,
            "all": whole,
            "size": 0 if self.body is None else len(self.body),
            "decoding": _values(self.decoding),
            "sha256": self.sha256,
            "seconds": self.seconds,
        }
        return json.dumps(words).encode()


_values = lru_cache(maxsize=8)(Decoding.as_dict)


def ask(request: Request) -> Iterator[Frame]:
    """The frames of a file, see `embeddings.images.decode.decode`."""
    child = _asked(request, request.words())
    try:
        while (frame := child.frame(request.decoding.max_pixels)) is not None:
            yield frame
            if frame.last:
                return
            child.go_on()
    finally:
        child.leave()


@dataclass
class Decoded:
    """One file, decoded.

    Attributes:
        frames: to be taken once. Raises ImageError where the file is bad.
        sha256: hex, of the bytes that were decoded; known when the frames have ended, empty where the file could not be read.
        size: of the file in bytes, likewise.
    """

    frames: Iterator[Frame]
    sha256: str = ""
    size: int = 0


def ask_all(requests: Iterable[Request]) -> Generator[Decoded, None, None]:
    """File after file, all frames of each; while they are used, a child decodes what comes next. No request has bytes.

    The frames of a file that are not taken before the next file is asked for are lost.
    """
    queue = _Queue(deque(requests))
    try:
        while queue.waiting or queue.asked:
            decoded = Decoded(iter(()))
            decoded.frames = frames = queue.frames(decoded)
            yield decoded
            with suppress(ImageError):
                deque(frames, maxlen=0)
    finally:
        queue.leave()


@dataclass
class _Queue:
    """Requests to one child after the other: a child that ends takes one file with it, the next gets those behind it."""

    waiting: deque[Request]
    asked: deque[tuple[Request, int]] = field(default_factory=deque)  # with the number of bytes that the request took
    ahead: int = 0  # bytes of all of them
    child: "_Child | None" = None

    def frames(self, decoded: Decoded) -> Generator[Frame, None, None]:
        """The frames of the next file; then `decoded` is complete."""
        child = self._send()
        request, _ = self.asked[0]
        child.begin(request.seconds)
        try:
            while (frame := child.frame(request.decoding.max_pixels)) is not None:
                yield frame
                if frame.last:
                    return
        except ImageError:
            if not child.rests:
                self._replace(child)
            raise
        finally:
            if child.rests or self.child is None:
                self.ahead -= self.asked.popleft()[1]
                decoded.sha256, decoded.size = child.digest

    def _send(self) -> "_Child":
        """Send what may be sent ahead; gives the child that works."""
        while self.waiting and (self.child is None or not self.asked or self.ahead < self.child.ahead):
            request = self.waiting.popleft()
            words = request.words(whole=True)
            if self.child is None:
                self.child = _asked(request, words)
            else:
                self.child.ask(request, words)  # if it does not take it, it has ended, which its file will show
            self.asked.append((request, len(words)))
            self.ahead += len(words)
        assert self.child is not None
        return self.child

    def _replace(self, child: "_Child") -> None:
        """Another child gets what this one has not begun."""
        child.end()
        self.child = None
        while len(self.asked) > 1:
            request, size = self.asked.pop()
            self.waiting.appendleft(request)
            self.ahead -= size

    def leave(self) -> None:
        """Nobody wants more."""
        if self.child is not None and self.asked:
            self.child.end()
        elif self.child is not None:
            self.child.leave()


def ask_members(request: Request) -> Iterator[Member]:
    """What a file holds, see `embeddings.images.decode.members`."""
    array = str(request.source).lower().endswith(ARRAYS)
    child = _asked(request, request.words(listed=True))
    try:
        while (found := child.members(array)) is not None:
            yield from found
            child.go_on()
    finally:
        child.leave()


def _asked(request: Request, words: bytes) -> "_Child":
    """A child that has taken the request: an idle one, unless all have been killed meanwhile."""
    while _idle:
        with suppress(IndexError):  # another thread was quicker
            child = _idle.pop()
            if child.ask(request, words):
                return child
            child.end()
    child = _Child()
    if not child.ask(request, words):
        raise child.failed_to_start()
    return child


class _Child:
    """One child. It is at rest, at work (it will answer), or waits (a frame was taken)."""

    def __init__(self) -> None:
        self._process = taken()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self.ahead = 1024  # bytes of requests sent ahead, and then one more: a quarter of what the pipe holds, so that none waits
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with suppress(OSError):
                self.ahead = fcntl.fcntl(self._in, fcntl.F_GETPIPE_SZ) // 4
                fcntl.fcntl(self._out, fcntl.F_SETPIPE_SZ, _PIPE)
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)
        self._ready = False
        self._state = "at rest"
        self._seconds = 0.0
        self._held = memoryview(b"")  # of `_room`: what was read and not taken yet
        self._room = memoryview(bytearray(_PIPE))
        self.digest = ("", 0)  # SHA-256 and size of the last file, when it was read

    def ask(self, request: Request, words: bytes) -> bool:
        """Whether the child took a request."""
        self.begin(request.seconds)
        try:
            if not self._ready:
                self._answer(0, 60.0)
                self._ready = True
            self._send(len(words).to_bytes(_LENGTH, "big") + words)
            self._send(request.body or b"")
        except (_Gone, BrokenPipeError):
            return False
        return True

    def begin(self, seconds: float) -> None:
        """The next answers are about the next file."""
        self._seconds, self._state, self.digest = seconds, "at work", ("", 0)

    @property
    def rests(self) -> bool:
        """Whether it has answered all about a file."""
        return self._state == "at rest"

    def frame(self, max_pixels: int) -> Frame | None:
        """The next frame; None after the last.

        Raises:
            ImageError: there is none, because of the file.
        """
        words, pixels = self._next(max_pixels)
        if words is None:
            return None
        notes = tuple(map(printable, words["notes"]))
        picture = pixels.reshape(words["height"], words["width"])
        return Frame(picture, words["mode"], notes, words["patient"], "last" in words)

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
        if ("mode" in words or "members" in words) and "last" not in words:
            self._state = "waits"
            return words, pixels
        self._state, self.digest = "at rest", (words.get("sha256", ""), words.get("size", 0))
        if "last" in words:
            return words, pixels
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
            words = json.loads(str(text, "utf-8"))
            if "mode" in words:
                texts, size = [words["mode"], words["patient"], *words["notes"]], words["height"] * words["width"]
            else:
                texts, size = [words.get("error", ""), words.get("reason", ""), *words.get("notes", ())], 0
            well_formed = size == count and all(isinstance(text, str) for text in texts) and _is_digest(words)
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
            if self._held:
                count = min(len(room), len(self._held))
                room[:count] = self._held[:count]
                room, self._held = room[count:], self._held[count:]
                continue
            if not self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise _Gone(late=True)
            count = os.readv(self._out.fileno(), [room, self._room])
            if not count:
                raise _Gone(late=False)
            self._held = self._room[: max(0, count - len(room))]
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


def _is_digest(words: Mapping[str, Any]) -> bool:
    """Whether what an answer says of the whole file is a hash and a size, if it says anything."""
    if "sha256" not in words and "size" not in words:
        return True
    sha256, size = words["sha256"], words["size"]
    return isinstance(sha256, str) and _SHA256.fullmatch(sha256) is not None and type(size) is int and size >= 0


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
