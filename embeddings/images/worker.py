"""Child process that decodes image files, so that a decoder crash, hang or memory bomb costs one file only.

It reads requests from standard input and writes answers to standard output; `embeddings.images.workers` starts it, asks it, and
says how both are framed. Each file is read once: the bytes that are hashed are the bytes that are decoded. It imports no more
than it needs, since a look-up waits for it.
"""

import errno
import hashlib
import json
import os
import resource
import signal
import stat
import struct
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from embeddings.images.containers.members import Container, Member
from embeddings.images.containers.names import ARRAYS
from embeddings.images.containers.opened import opened, rest
from embeddings.images.decoding import VOLUME_SUFFIXES, Decoding, Frame
from embeddings.images.errors import Altered, ImageError, NotAnImage, TooManyPixels, Unreadable
from embeddings.images.formats import as_image_error, decode_bytes
from embeddings.images.pairs import voxels_of
from embeddings.images.pieces import pieces

Answer = tuple[dict[str, Any], Any]  # words and pixels

LENGTH = struct.Struct(">I")  # of a request
LENGTHS = struct.Struct(">IQ")  # of the words and of the pixels of an answer
NEXT, STOP = b"n", b"s"  # what is said to a decoder that has sent a frame
ANSWER = 50_000  # characters of members in one answer
_IN, _OUT = 0, 1
_SLACK = 256_000_000  # bytes beyond `Decoding.memory` before the system refuses more: libraries loaded late, and the uncounted


def main() -> None:
    """Answer one request after the other, until nobody asks any more."""
    warnings.simplefilter("ignore")  # of damaged files: the error says more
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold a patient's picture
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # where memory runs out, this process goes first
    _write({"ready": True})
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff and others complain there of damaged files
    own = _data_bytes()
    decodings = lru_cache(maxsize=8)(lambda values: Decoding(**dict(values)))
    while head := _read(LENGTH.size, at_end=True):
        request = json.loads(_read(*LENGTH.unpack(head)))
        body = _read(request["size"]) if request["path"] is None else None
        decoding = decodings(tuple(request["decoding"].items()))
        _limit(own + decoding.memory + _SLACK, request["seconds"])
        _answer(request, body, decoding)


def _answer(request: Mapping[str, Any], body: bytes | None, decoding: Decoding) -> None:
    """Send frame after frame, each when the last was taken unless all are wanted, then why there are no more."""
    about: dict[str, Any] = {}
    _watch(request["seconds"])
    try:
        with closing(_answers(request, body, decoding, about)) as answers:
            for words, pixels in answers:
                _watch(0)  # whoever asks may take time
                if words.get("last"):
                    _write(words | about, pixels)
                    return
                _write(words, pixels)
                if not request["all"] and _read(1) == STOP:
                    return
                _watch(request["seconds"])
        _write({"end": True, **about})
    except Exception as caught:
        error = caught if isinstance(caught, ImageError) else as_image_error(caught)
        _write({"error": type(error).__name__, "reason": str(error), **about})
    finally:
        _watch(0)


def _answers(
    request: Mapping[str, Any], body: bytes | None, decoding: Decoding, about: dict[str, Any]
) -> Generator[Answer, None, None]:
    """Words and pixels of each answer: of the members of a file, or of frames; `about` gets what is known of the whole file."""
    if request["list"]:
        for batch in _opened(request["path"], decoding).members():
            yield from (({"members": part}, b"") for part in _parts(batch))
        return
    for frame in _frames(request, body, decoding, about):
        height, width = frame.pixels.shape
        words = {"height": height, "width": width, "mode": frame.mode, "notes": frame.notes, "patient": frame.patient}
        if frame.last:
            words["last"] = True
        yield words, frame.pixels


def _parts(batch: Sequence[Member]) -> Iterator[list[list[Any]]]:
    """A batch in parts that are short enough for an answer."""
    part: list[list[Any]] = []
    size = 0
    for member in batch:
        if size > ANSWER:
            yield part
            part, size = [], 0
        part.append(member.as_list())
        size += len(json.dumps(part[-1]))
    yield part


def _opened(path: str, decoding: Decoding) -> Container:
    try:
        return opened(path, decoding)
    except OSError as error:
        raise as_image_error(error, path) from error


def _frames(
    request: Mapping[str, Any], body: bytes | None, decoding: Decoding, about: dict[str, Any]
) -> Generator[Frame, None, None]:
    """The frames of the file that the request names, or of its bytes; `about` gets its hash and the number of its bytes.

    Raises:
        ImageError: also where the bytes are not those that were hashed before.
    """
    path = request["path"]
    rest(path)
    if request["member"] is not None:
        reader = _array_frames if path.lower().endswith(ARRAYS) else _member_frames
        yield from reader(request, decoding)
        return
    if path is not None and path.lower().endswith(VOLUME_SUFFIXES):
        yield from _volume_frames(request, decoding, about)
        return
    data = _content(path, decoding) if body is None else body
    beside = voxels_of(path) if path else None
    voxels = None if beside is None else _content(beside, decoding)
    digest = hashlib.sha256(data)
    digest.update(voxels or b"")
    about |= {"sha256": digest.hexdigest(), "size": len(data) + len(voxels or b"")}
    _check_hash(request, digest.hexdigest)
    yield from decode_bytes(data, os.path.basename(path) if path else "", decoding, voxels)


def _check_hash(request: Mapping[str, Any], hashed: Callable[[], str]) -> None:
    if request["sha256"] and hashed() != request["sha256"]:
        raise Altered("the file has changed since it was indexed: index again")


def _volume_frames(request: Mapping[str, Any], decoding: Decoding, about: dict[str, Any]) -> Iterator[Frame]:
    """The slices of a volume that SimpleITK reads by its path, together with the data file that its header names."""
    from embeddings.images.readers.volumes import decode_volume

    try:
        states = [os.stat(path) for path in pieces(Path(request["path"]))]
        if not all(stat.S_ISREG(state.st_mode) for state in states):
            raise Unreadable("not a regular file")
        sha256, frames = decode_volume(Path(request["path"]), decoding)
    except OSError as error:
        raise as_image_error(error, request["path"]) from error
    about |= {"sha256": sha256, "size": sum(state.st_size for state in states)}
    _check_hash(request, lambda: sha256)
    yield from frames


def _member_frames(request: Mapping[str, Any], decoding: Decoding) -> Iterator[Frame]:
    """The frames of an image file in an archive or a table."""
    if not request["member"]:
        raise NotAnImage("it holds many images: name one of them, or index it")
    data = _opened(request["path"], decoding).read(request["member"])
    _check_hash(request, hashlib.sha256(data).hexdigest)
    yield from decode_bytes(data, os.path.basename(request["member"]), decoding)


def _array_frames(request: Mapping[str, Any], decoding: Decoding) -> Iterator[Frame]:
    """The frame of an array that the request names, or all of them."""
    from embeddings.images.containers.arrays import fingerprint, grey_frame

    array, name = _opened(request["path"], decoding), request["member"]
    if request["frame"] is not None:
        number, reading = request["frame"]
        stored = array.frame(name, number)
        _check_hash(request, lambda: fingerprint(stored))
        yield grey_frame(stored, reading, decoding)
        return
    reading, frames = array.reading(name)
    for number in range(frames):
        yield grey_frame(array.frame(name, number), reading, decoding)


def _content(path: str, decoding: Decoding) -> bytes:
    """The bytes of a regular file, in one read.

    Raises:
        Unreadable: it cannot be opened, or is none.
        TooManyPixels: it is larger than decoding may take.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # or opening a FIFO would wait for ever
        try:
            about = os.fstat(file)
            if not stat.S_ISREG(about.st_mode):
                raise Unreadable("not a regular file")
            return _all(file, about.st_size, decoding.memory)
        finally:
            os.close(file)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV):  # a socket, a device that is not there
            raise Unreadable("not a regular file") from error
        raise as_image_error(error, path) from error


def _all(file: int, size: int, most: int) -> bytes:
    """The bytes of a file that may grow meanwhile."""
    parts, total = [], 0
    while part := os.read(file, max(1, min(size + 1 - total, 1 << 30))):
        parts.append(part)
        total += len(part)
        if max(total, size) > most:
            raise TooManyPixels(f"the file has {max(total, size) // 1_000_000} MB, at most {most // 1_000_000} MB are read")
    return parts[0] if len(parts) == 1 else b"".join(parts)


# Limits of this process


def _data_bytes() -> int:
    """Bytes of memory that count against RLIMIT_DATA now; as many as a start takes where the system does not say."""
    with suppress(OSError, ValueError), open("/proc/self/statm") as file:
        return int(file.read().split()[5]) * resource.getpagesize()
    return 256_000_000


def _limit(memory: int, seconds: float) -> None:
    """Have the system end this process where it takes too much memory or processor time."""
    for kind, value in ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_CPU, int(time.process_time() + 10 * seconds) + 1)):
        _, hard = resource.getrlimit(kind)
        with suppress(OSError, ValueError):  # a system without this limit, or with a lower one
            resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _watch(seconds: float) -> None:
    """Have the system end this process after so many seconds, also when it hangs and whoever asked is gone; 0: no more."""
    signal.setitimer(signal.ITIMER_REAL, seconds)


# Pipes


def _read(count: int, at_end: bool = False) -> bytes:
    """So many bytes; none where the pipe ends and may."""
    parts, missing = [], count
    while missing:
        part = os.read(_IN, min(missing, 1 << 24))
        if not part:
            if at_end and missing == count:
                return b""
            os._exit(0)  # whoever asked is gone
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _write(words: Mapping[str, Any], pixels: Any = b"") -> None:
    text = json.dumps(words).encode()
    view = memoryview(pixels).cast("B")
    parts = [memoryview(LENGTHS.pack(len(text), len(view)) + text), view]
    try:
        while parts:
            sent = os.writev(_OUT, parts)
            while parts and sent >= len(parts[0]):
                sent -= len(parts.pop(0))
            if parts:
                parts[0] = parts[0][sent:]
    except BrokenPipeError:
        os._exit(0)  # whoever asked is gone


if __name__ == "__main__":
    main()
