"""The pipeline by a toy view: who is shown which frame, in which order, and what becomes of bad files."""

import gc
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from embeddings import pipeline
from embeddings.images.decoding import Frame
from embeddings.images.errors import Truncated
from embeddings.images.orientation import Orientation
from embeddings.images.workers import Decoded
from embeddings.pipeline import BATCH, FileResult, FrameInfo, embed, in_order, one_thread_each, see, workers
from embeddings.types import Embeddings, EmbeddingSpec, Features, GreyImage, Metric


class Corner:
    """A view and embedder that sees the pixel in the top left corner; blank where it is 0. Counts its calls."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.spec = EmbeddingSpec("corner", 8, Metric.HAMMING)

    def features(self, images: Sequence[GreyImage]) -> Features:
        self.sizes.append(len(images))
        corners = [int(image[0, 0]) for image in images]
        return Features([np.array([[corner]], np.uint8) for corner in corners], np.array([c == 0 for c in corners], bool))

    def finish(self, features: Features) -> Embeddings:
        return Embeddings(self.spec, np.array(features.values, np.uint8).reshape(-1, 1), features.blank)

    def embed(self, images: Sequence[GreyImage]) -> Embeddings:
        return self.finish(self.features(images))


class Files:
    """Made-up files: name -> corner of each frame, "bad" where reading fails. Counts what is read."""

    def __init__(self, contents: Mapping[str, Sequence[int | str]]) -> None:
        self.contents = contents
        self.paths = [Path(name) for name in contents]
        self.read_names: list[str] = []

    def read(self, paths: Sequence[Path]) -> Iterator[Decoded]:
        return (Decoded(self.frames(path), path.name, 15) for path in paths)

    def frames(self, path: Path) -> Iterator[Frame]:
        self.read_names.append(path.name)
        for corner in self.contents[path.name]:
            if isinstance(corner, str):
                raise Truncated(f"{corner} half way")
            pixels = np.zeros((3, 5), np.uint8)
            pixels[0, 0], pixels[0, -1] = corner, corner + 1
            yield Frame(pixels, "L")

    def good(self) -> list[int]:
        """Corners of all frames of the files that are good throughout."""
        return [c for frames in self.contents.values() if "bad" not in frames for c in frames if isinstance(c, int)]


def counting(n: int, start: int = 0) -> list[int | str]:
    return [(start + i) % 200 for i in range(n)]


CASES: dict[str, dict[str, Sequence[int | str]]] = {
    "nothing": {},
    "one": {"a": [7]},
    "bad alone": {"a": ["bad"]},
    "bad first and last": {"a": ["bad"], "b": [1], "c": ["bad"]},
    "bad at its second frame": {"a": [1, 2], "b": [3, "bad"], "c": [4]},
    "a full batch before": {"a": counting(BATCH), "b": [3, "bad"], "c": [4]},
    "bad after a full batch": {"a": [9, 8], "b": [*counting(BATCH - 2), "bad"], "c": [4, 5]},
    "bad after two batches": {"a": [9, 8], "b": [*counting(3 * BATCH - 10), "bad"], "c": counting(BATCH + 1, 50)},
    "bad at the border": {"a": [9], "b": [*counting(BATCH - 1), "bad"], "c": [4]},
    "bad next to bad": {"a": [9], "b": [*counting(BATCH + 5), "bad"], "c": [*counting(2 * BATCH), "bad"], "d": [1, 2]},
    "volumes": {"a": counting(5 * BATCH + 3), "b": counting(2 * BATCH, 7), "c": [1]},
}


@pytest.mark.parametrize("contents", CASES.values(), ids=CASES.keys())
def test_frames_of_good_files_are_seen_in_order_and_bad_files_leave_none(contents: dict[str, Sequence[int | str]]) -> None:
    files = Files(contents)
    views = {"one": Corner(), "two": Corner()}
    seen = see(files.paths, views, files.read, Orientation.AS_IS)  # type: ignore[arg-type]
    made = embed(files.paths, views, files.read, Orientation.AS_IS)
    for view in views:
        assert [int(value[0, 0]) for value in seen.features[view].values] == files.good()
        assert made.embeddings[view].vectors[:, 0].tolist() == files.good()
        for blank in (seen.features[view].blank, made.embeddings[view].blank):
            assert blank.tolist() == [corner == 0 for corner in files.good()]
    good = FrameInfo(5, 3, "L")
    expected = [
        FileResult((), "bad half way", name, 15) if "bad" in frames else FileResult((good,) * len(frames), "", name, 15)
        for name, frames in contents.items()
    ]
    assert list(seen.files) == list(made.files) == expected
    assert files.read_names == 2 * list(contents)  # once for `see`, once for `embed`, whatever the number of views
    assert max(views["one"].sizes) <= BATCH


def test_frames_are_shown_flipped() -> None:
    files = Files({"a": [10, 20]})
    seen = see(files.paths, {"corner": Corner()}, files.read, Orientation.FLIP_LEFT_RIGHT)  # type: ignore[dict-item]
    assert [int(value[0, 0]) for value in seen.features["corner"].values] == [11, 21]


def test_large_images_make_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "BATCH_PIXELS", 40)  # three images of 15 pixels
    files, view = Files({"a": counting(10)}), Corner()
    embed(files.paths, {"corner": view}, files.read, Orientation.AS_IS)
    assert view.sizes == [3, 3, 3, 1]


def test_a_file_without_any_frame_is_an_error() -> None:
    files = Files({"a": [], "b": [1]})
    assert embed(files.paths, {"corner": Corner()}, files.read, Orientation.AS_IS).files[0].error


def test_other_errors_are_not_swallowed() -> None:
    def broken(paths: Sequence[Path]) -> Iterator[Decoded]:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        see([Path("a")], {"corner": Corner()}, broken, Orientation.AS_IS)  # type: ignore[dict-item]


# in_order


def test_results_come_in_order_whoever_is_first() -> None:
    def work(item: int) -> int:
        time.sleep(0.01 * (item % 3 == 0))
        return item * item

    assert list(in_order(work, range(50))) == [item * item for item in range(50)]
    assert list(in_order(work, [])) == []


def test_only_a_few_items_are_in_flight() -> None:
    drawn, most = 0, 0

    def items() -> Iterator[int]:
        nonlocal drawn
        for item in range(200):
            drawn += 1
            yield item

    for received, _ in enumerate(in_order(lambda item: item, items())):
        most = max(most, drawn - received)
    assert drawn == 200
    assert most <= 2 * workers() + 1


def test_an_error_comes_after_the_results_before_it_and_stops_the_rest() -> None:
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 5:
            raise ValueError("item 5")
        return item

    received = []
    with pytest.raises(ValueError, match="item 5"):  # noqa: PT012 (results before the error are part of the test)
        for result in in_order(work, range(1000)):
            received.append(result)
    assert received == [0, 1, 2, 3, 4]
    assert len(begun) <= 5 + 2 * workers() + 2


def test_an_error_of_the_items_comes_through() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("no more")

    with pytest.raises(KeyError):
        list(in_order(lambda item: item, items()))


def test_stopping_early_begins_nothing_new_and_leaves_no_thread() -> None:
    begun: list[int] = []
    threads = threading.active_count()
    results = in_order(begun.append, range(1000))
    next(results)
    results.close()
    count = len(begun)
    assert count <= 2 * workers() + 2
    time.sleep(0.05)
    assert len(begun) == count
    assert threading.active_count() == threads


# Threads of libraries


def library_threads() -> tuple[int, list[int]]:
    return cv2.getNumThreads(), [pool["num_threads"] for pool in threadpool_info()]


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Whatever the environment says."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    with threadpool_limits(2):
        assert library_threads()[0] == max(library_threads()[1]) == 2
        yield
    cv2.setNumThreads(before)


@pytest.mark.usefixtures("two_threads")
def test_one_thread_each_is_set_and_restored() -> None:
    before = library_threads()
    with one_thread_each():
        assert library_threads() == (1, [1] * len(before[1]))
        with one_thread_each():
            pass
        assert library_threads() == (1, [1] * len(before[1]))
    assert library_threads() == before
    with pytest.raises(ZeroDivisionError), one_thread_each():
        _ = 1 / 0
    assert library_threads() == before


@pytest.mark.usefixtures("two_threads")
def test_one_thread_each_holds_until_the_last_of_several_threads_leaves() -> None:
    """Entered in one order and left in the same: the first must not restore under the second, nor the second restore 1."""
    before = library_threads()
    first, second = one_thread_each(), one_thread_each()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert library_threads()[0] == 1
    second.__exit__(None, None, None)
    assert library_threads() == before


@pytest.mark.usefixtures("two_threads")
def test_an_abandoned_run_restores_the_threads() -> None:
    before = library_threads()

    def abandon(items: Iterable[Any]) -> None:
        for _ in in_order(lambda item: item, items):
            break

    abandon(range(10))
    gc.collect()
    assert library_threads() == before
