"""The children that decode: what they refuse, what becomes of one that crashes or hangs, and which bytes they decode."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embeddings.images import workers
from embeddings.images.decode import decode, decode_all
from embeddings.images.decoding import Decoding, Frame
from embeddings.images.errors import Altered, Crashed, ImageError, TookTooLong, TooManyPixels
from indexer.build import build
from indexer.collection import Collection
from query.inputs import pictures
from tests.helpers import bombs
from tests.helpers.making import slice_of, write_frames, write_image, write_images
from tests.helpers.pictures import GREY, encoded, every_frame
from tests.helpers.places import ROOT

PEAK = 1_000_000_000  # bytes that a process may take for any of the bombs
PHASH = build.Settings(views={"phash": {}})


@pytest.fixture
def strange(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Children in which the name of a file says what its decoder does."""
    code = """
        import ctypes, os, sys, time
        from embeddings.images import worker
        sound = worker.decode_bytes
        def decode_bytes(data, name, decoding, voxels):
            if "segfault" in name:
                ctypes.string_at(0)
            if "killed" in name:
                os.kill(os.getpid(), 9)
            if "hangs" in name:
                time.sleep(600)
            if "exits" in name:
                os._exit(3)
            if "babbles" in name:
                os.write(1, b"no answer at all" * 10)
            if "hungry" in name:
                bytearray(3_000_000_000)
            yield from sound(data, name, decoding, voxels)
        worker.decode_bytes = decode_bytes
        worker.main()
    """
    workers._end_all()
    monkeypatch.setattr("embeddings.images.child.COMMAND", ("-P", "-c", textwrap.dedent(code)))
    yield
    workers._end_all()


def frames_of(path: Path, **options: Any) -> list[Frame]:
    return list(decode(path, Decoding(), **options))


# Bombs


@pytest.mark.slow
def test_every_bomb_is_refused_and_takes_little_memory(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    pytest.importorskip("nibabel")
    files = bombs.bombs()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    code = """
        import json, resource, sys
        from pathlib import Path
        from embeddings.images import workers
        from embeddings.images.decoding import Decoding
        from embeddings.images.errors import ImageError
        from embeddings.images.decode import decode, decode_all
        found = {}
        for path in sorted(Path(sys.argv[1]).iterdir()):
            try:
                found[path.name] = ["taken", len(list(decode(path, Decoding())))]
            except ImageError as error:
                found[path.name] = [type(error).__name__, str(error)]
        workers._end_all()
        # not ru_maxrss of itself: a process begins with the peak of the one that started it
        own = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
        print(json.dumps([found, [kb << 10 for kb in (own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)]]))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), tmp_path], capture_output=True, text=True, check=True)
    found, peaks = json.loads(done.stdout)
    assert len(found) == len(files) >= 50
    typed = ("TooManyPixels", "Truncated", "BadPixels", "NotAnImage")
    assert {name: why for name, why in found.items() if why[0] not in typed or len(why[1]) < 10} == {}
    assert max(peaks) < PEAK


def test_an_upload_has_smaller_limits() -> None:
    pytest.importorskip("nibabel")
    volume = bombs._gzipped(bombs.nifti((1000, 1000, 240), b"", 4), 480)  # sound
    with pytest.raises(TooManyPixels, match="of memory"):
        next(decode(volume, Decoding(max_pixels=25_000_000)))
    picture = next(decode(encoded(GREY, "PNG"), Decoding()))
    np.testing.assert_array_equal(picture.pixels, GREY)


def test_mutated_files_end_no_process(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    pytest.importorskip("nibabel")
    good = bad = 0
    for name, data in bombs.mutated(400, seed=1):
        (tmp_path / name).write_bytes(data)
        try:
            list(every_frame(tmp_path / name, Decoding(max_pixels=1_000_000)))
            good += 1
        except ImageError:
            bad += 1
    assert min(good, bad) > 50
    for name, data in bombs.samples().items():
        (tmp_path / name).write_bytes(data)
        assert list(every_frame(tmp_path / name, Decoding()))


# Strange decoders


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("segfault.png", Crashed, "the decoder ended (signal 11, SIGSEGV)"),
        ("killed.png", Crashed, "the decoder ended (signal 9, SIGKILL, most likely for lack of memory)"),
        ("exits.png", Crashed, "the decoder ended (exit code 3)"),
        ("babbles.png", Crashed, "the decoder sent what is no answer"),
        ("hangs.png", TookTooLong, "decoding was ended: it took longer than 2 seconds"),
        ("hungry.png", TooManyPixels, "decoding needs more memory than there is"),
    ],
)
@pytest.mark.usefixtures("strange")
def test_a_decoder_that_ends_costs_its_file(tmp_path: Path, name: str, kind: type[ImageError], reason: str) -> None:
    paths = [write_image(tmp_path / each, slice_of(0)) for each in ("a.png", name, "b.png")]
    assert len(frames_of(paths[0])) == 1
    with pytest.raises(kind) as caught:
        frames_of(paths[1], seconds=2 if "hangs" in name else 60)
    assert str(caught.value) == reason
    assert len(frames_of(paths[2])) == 1


@pytest.mark.usefixtures("strange")
def test_a_decoder_that_crashes_costs_one_row_of_a_collection(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", range(4))
    images[2].rename(tmp_path / "images" / "segfault.png")
    found = build.build(tmp_path / "c", tmp_path / "images", settings=PHASH, device="cpu")
    rows = found.table.to_pylist()
    assert [row["path"] for row in rows if row["status"] == "ok"] == ["000.png", "001.png", "003.png"]
    assert [row["error"] for row in rows if row["status"] == "error"] == ["the decoder ended (signal 11, SIGSEGV)"]


def test_children_can_write_no_file_and_dump_no_core(tmp_path: Path) -> None:
    child = workers._Child()
    path = write_image(tmp_path / "a.png", slice_of(0))
    request = workers.Request(path, Decoding(), "", 60.0)
    assert child.ask(request, request.words())
    assert child.frame(1_000_000) is not None
    limits = Path(f"/proc/{child._process.pid}/limits").read_text()
    child.end()
    for line in ("Max file size             0 ", "Max core file size        0 "):
        assert line in limits
    assert "Max data size             unlimited" not in limits


def test_children_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", slice_of(0))
    code = """
        import sys, time
        from pathlib import Path
        from embeddings.images import workers
        from embeddings.images.decoding import Decoding
        from embeddings.images.decode import decode, decode_all
        frames = decode(Path(sys.argv[1]), Decoding())
        next(frames)  # one child waits
        workers.start()  # one is idle
        print(workers._idle[0]._process.pid, frames.gi_frame.f_locals["child"]._process.pid, flush=True)
        time.sleep(600)
    """
    command: list[str | Path] = [sys.executable, "-c", textwrap.dedent(code), tmp_path / "a.png"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
    for _ in range(600):
        if not any(_lives(pid) for pid in pids):
            return
        time.sleep(0.1)
    pytest.fail(f"a child outlives its parent: {pids}")


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# File after file


def requests_of(paths: list[Path], **options: Any) -> list[workers.Request]:
    return [workers.Request(path, Decoding(), options.get("sha256", ""), options.get("seconds", 60.0)) for path in paths]


def outcome(decoded: workers.Decoded) -> tuple[int, str]:
    """How many frames a file has, or why it has none."""
    try:
        return len(list(decoded.frames)), ""
    except ImageError as error:
        return 0, f"{type(error).__name__}: {error}"


def test_files_come_in_order_with_the_hash_and_size_of_their_bytes(tmp_path: Path) -> None:
    paths = [write_image(tmp_path / f"{seed:03d}.png", slice_of(seed % 7)) for seed in range(300)]  # more than pipes hold
    paths[5] = write_frames(tmp_path / "many.tif", [slice_of(seed) for seed in range(40)])
    (tmp_path / "bad.png").write_bytes(b"no image")
    paths[9] = tmp_path / "bad.png"
    paths[11] = tmp_path / "gone.png"
    for number, (path, decoded) in enumerate(zip(paths, decode_all(requests_of(paths)), strict=True)):
        if number == 20:
            time.sleep(0.5)  # the child goes on until the pipe is full
        frames, reason = outcome(decoded)
        assert (frames, reason.partition(":")[0]) == {5: (40, ""), 9: (0, "NotAnImage"), 11: (0, "Unreadable")}.get(
            number, (1, "")
        )
        content = path.read_bytes() if path.exists() else b""
        assert (decoded.sha256, decoded.size) == ((hashlib.sha256(content).hexdigest(), len(content)) if content else ("", 0))


@pytest.mark.usefixtures("strange")
@pytest.mark.parametrize("name", ["segfault.png", "killed.png", "babbles.png", "hangs.png"])
def test_a_decoder_that_ends_costs_its_file_of_many(tmp_path: Path, name: str) -> None:
    paths = [write_image(tmp_path / f"{seed:03d}.png", slice_of(seed)) for seed in range(12)]
    paths[4] = write_image(tmp_path / name, slice_of(0))
    outcomes = [outcome(decoded) for decoded in decode_all(requests_of(paths, seconds=2.0))]
    assert outcomes[4][1].startswith("TookTooLong" if "hangs" in name else "Crashed")
    assert [each for number, each in enumerate(outcomes) if number != 4] == [(1, "")] * 11
    np.testing.assert_array_equal(frames_of(paths[3])[0].pixels, slice_of(3))  # the child in its place is sound


def test_frames_that_nobody_takes_belong_to_no_other_file(tmp_path: Path) -> None:
    many = write_frames(tmp_path / "a.tif", [slice_of(seed) for seed in range(5)])
    one = write_image(tmp_path / "b.png", slice_of(9))
    for decoded, first in zip(decode_all(requests_of([many, one, many])), (0, 9, 0), strict=True):
        np.testing.assert_array_equal(next(decoded.frames).pixels, slice_of(first))
    left = decode_all(requests_of([many, one, many]))
    next(next(left).frames)
    left.close()  # in the middle of a file
    np.testing.assert_array_equal(next(decode(one, Decoding())).pixels, slice_of(9))


# Children are kept, and replaced


def test_one_child_decodes_file_after_file_also_where_nobody_wants_all_frames(tmp_path: Path) -> None:
    workers._end_all()
    path = write_frames(tmp_path / "a.tif", [slice_of(seed) for seed in range(5)])
    for _ in range(4):
        np.testing.assert_array_equal(next(decode(path, Decoding())).pixels, slice_of(0))
    (child,) = workers._idle
    assert len(frames_of(path)) == 5
    with pytest.raises(ImageError):
        frames_of(tmp_path / "gone.png")
    assert list(workers._idle) == [child]


def test_a_child_that_was_killed_while_idle_is_replaced(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", slice_of(0))
    frames_of(path)
    for child in workers._idle:
        os.kill(child._process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, child._process.pid, os.WEXITED | os.WNOWAIT)
    np.testing.assert_array_equal(next(decode(path, Decoding())).pixels, slice_of(0))


def test_a_child_that_does_not_start_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    workers._end_all()
    monkeypatch.setattr("embeddings.images.child.COMMAND", ("-c", "raise SystemExit(5)"))
    with pytest.raises(RuntimeError, match="does not start"):
        frames_of(write_image(tmp_path / "a.png", slice_of(0)))


def test_a_forked_process_uses_children_of_its_own(tmp_path: Path) -> None:
    code = """
        import os, sys
        from pathlib import Path
        from embeddings.images.decoding import Decoding
        from embeddings.images.decode import decode, decode_all
        list(decode(Path(sys.argv[1]), Decoding()))
        child = os.fork()
        if not child:
            os._exit(len(list(decode(Path(sys.argv[1]), Decoding()))))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(list(decode(Path(sys.argv[1]), Decoding()))))
    """
    path = write_image(tmp_path / "a.png", slice_of(0))
    done = subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(code), path], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1 1\n", "")


# Hash and pixels


def test_other_bytes_than_those_that_were_hashed_are_refused(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", slice_of(0))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(frames_of(path, sha256=digest)) == 1
    write_image(path, slice_of(1))
    with pytest.raises(Altered, match="the file has changed since it was indexed: index again"):
        frames_of(path, sha256=digest)


def test_files_that_are_swapped_by_renaming_never_give_another_picture(tmp_path: Path) -> None:
    names = [write_image(tmp_path / f"{seed}.png", slice_of(seed)) for seed in range(2)]
    digests = [hashlib.sha256(name.read_bytes()).hexdigest() for name in names]
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            names[0].rename(tmp_path / "spare")
            names[1].rename(names[0])
            (tmp_path / "spare").rename(names[1])

    thread = threading.Thread(target=swap)
    thread.start()
    seen = {"right": 0, "refused": 0}
    try:
        for turn in range(300):
            try:
                (frame,) = frames_of(names[turn % 2], sha256=digests[turn % 2])
            except ImageError:
                seen["refused"] += 1
                continue
            np.testing.assert_array_equal(frame.pixels, slice_of(turn % 2))
            seen["right"] += 1
    finally:
        done.set()
        thread.join()
    assert seen["right"]
    assert seen["refused"]


def test_a_file_that_grows_without_end_is_refused(tmp_path: Path) -> None:
    with open(tmp_path / "a.png", "wb") as file:
        file.truncate(70_000_000)
    with pytest.raises(TooManyPixels, match="the file has 70 MB, at most 64 MB are read"):
        next(decode(tmp_path / "a.png", Decoding(max_pixels=1_000_000)))


def test_pictures_of_a_collection_are_those_that_were_indexed(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", range(3))
    build.build(tmp_path / "c", tmp_path / "images", settings=PHASH, device="cpu")
    shown = pictures.Pictures(Collection(tmp_path / "c"))
    np.testing.assert_array_equal(shown.read(1), slice_of(1))
    images[1].replace(images[0])
    with pytest.raises(Altered, match=r"000\.png: the file has changed since it was indexed: index again"):
        shown.read(0)


def test_frames_of_one_file_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    write_frames(tmp_path / "images" / "a.tif", [slice_of(seed) for seed in range(20)])
    write_image(tmp_path / "images" / "b.png", slice_of(50))
    build.build(tmp_path / "c", tmp_path / "images", settings=PHASH, device="cpu")
    asked = []

    def counted(path: Path, *rest: Any) -> Iterator[Frame]:
        asked.append(path.name)
        return decode(path, *rest)

    monkeypatch.setattr(pictures, "decode", counted)
    shown = pictures.Pictures(Collection(tmp_path / "c"))
    for row in (*range(20), 20, 3):
        np.testing.assert_array_equal(shown.read(row), slice_of(row if row < 20 else 50))
    assert asked == ["a.tif", "b.png"]
    monkeypatch.setattr(pictures, "_AHEAD", 5 * 64 * 64)  # room for six
    shown = pictures.Pictures(Collection(tmp_path / "c"))
    for row in range(20):
        np.testing.assert_array_equal(shown.read(row), slice_of(row))
    assert asked[2:] == ["a.tif"] * 4


def test_a_child_that_was_begun_is_taken_first_and_none_outlives_us() -> None:
    code = """
import sys
from embeddings.images import child
assert "numpy" not in sys.modules
child.begin()
child.begin()
(first, second) = child._begun
assert child.taken() is first
first.kill()
first.communicate()
print(second.pid)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert not Path(f"/proc/{done.stdout.strip()}").exists()
