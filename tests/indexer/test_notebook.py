"""What a notebook calls and sees: look-ups of everything that is an image, HTML, a bar, and pools of forked processes."""

import base64
import io
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embeddings.images.errors import ImageError
from indexer.build.build import Settings, build
from indexer.collection import Collection
from indexer.notebook import SHOWN, Bar
from query.comparison.lookup import lookup, read_images
from tests.helpers.making import slice_of, write_images
from tests.helpers.places import ROOT


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    folder = tmp_path_factory.mktemp("c")
    write_images(folder / "in <b>", range(6))
    return build(folder / "c", folder / "in <b>", settings=Settings(views={"phash": {}}))


def test_a_look_up_takes_whatever_is_an_image(collection: Collection, tmp_path: Path) -> None:
    path = collection.path(3)
    colour = Image.merge("RGB", [Image.fromarray(slice_of(3))] * 3)
    with Image.open(path) as opened:
        many: list[Any] = [path, str(path), slice_of(3), opened, colour, Image.fromarray(slice_of(3).astype(np.uint16) * 257)]
        everything: list[Any] = [*many, many, tuple(many), iter(many)]
        for images in everything:
            hits = collection.search(images, view="phash", k=1)
            assert {(hit.name, hit.row) for hit in hits} == {("003.png", 3)}
            assert all(hit.distance <= 2 for hit in hits)
        assert collection.search(opened, k=1)[0].image == str(path)
    assert len(collection.search([], k=1)) == 0
    assert [hit.name for hit in lookup(collection, read_images(collection, str(path))[0], k=1)] == ["003.png"]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (3, "images must be a path, an array .* or a list of these; got int"),
        (b"x.png", "got bytes"),
        ({"a": 1}, "got dict"),
        ([None], "image 0 must be a path, an array .*; got NoneType"),
        ([["a.png"]], "image 0 must be .*; got list"),
    ],
)
def test_anything_else_is_an_error_that_says_what_is_wanted(collection: Collection, images: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        collection.search(images)
    with pytest.raises(ImageError, match=r"image 0 must be an array \(H, W\) of uint8"):
        collection.search(np.zeros((4, 4)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("k", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError), ("3", TypeError), (True, TypeError)]
)
def test_k_is_a_whole_number_of_at_least_1(collection: Collection, k: Any, error: type[Exception]) -> None:
    named = [("a", slice_of(0))]
    for call in (lambda: collection.search(slice_of(0), k=k), lambda: lookup(collection, named, k=k)):
        with pytest.raises(error, match=f"k must be a whole number of at least 1, got {k!r}"):
            call()
    two: Any = np.int64(2)
    assert len(collection.search(slice_of(0), k=two)) == 2
    with pytest.raises(TypeError, match="view must be the name of one view"):
        collection.search(slice_of(0), view=["phash"])  # type: ignore[arg-type]


def pictures(html: str) -> list[np.ndarray]:
    found = re.findall(r"base64,([^\"]+)", html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def test_hits_are_shown_with_pictures(collection: Collection) -> None:
    html = collection.search([slice_of(3), slice_of(1)], k=2)._repr_html_()
    shown = pictures(html)
    assert len(shown) == 6
    np.testing.assert_array_equal(shown[0], shown[1])  # what was looked up, and itself
    assert "003.png" in html
    many = collection.search([slice_of(n) for n in range(6)], k=6)
    assert f"and {len(many) - SHOWN} more" in many._repr_html_()
    assert "more" not in many[:3]._repr_html_()


def test_a_picture_that_is_gone_is_left_out(tmp_path: Path) -> None:
    write_images(tmp_path / "in", range(2))
    made = build(tmp_path / "c", tmp_path / "in", settings=Settings(views={"phash": {}}))
    (tmp_path / "in" / "001.png").unlink()
    html = made.search(slice_of(0), k=2)._repr_html_()
    assert len(pictures(html)) == 2
    assert html.count("(no picture)") == 1


def test_a_collection_says_what_it_holds(collection: Collection) -> None:
    assert repr(collection) == f"Collection('{collection.folder}': 6 images, phash)"
    html = collection._repr_html_()
    assert "6 images" in html
    assert "in &lt;b&gt;" in html
    assert "<td>phash</td><td>256</td><td>hamming</td>" in html


def test_a_notebook_has_a_bar_for_each_stage_and_others_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[str]] = []

    def display(text: str, display_id: bool) -> Any:
        drawn.append([text])
        return SimpleNamespace(update=drawn[-1].append)

    shell = type("ZMQInteractiveShell", (), {})()
    module, inner = ModuleType("IPython"), ModuleType("IPython.display")
    module.get_ipython, inner.HTML, inner.display = lambda: shell, str, display  # type: ignore[attr-defined]
    bar = Bar()
    bar("indexing", 0, 2)
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", inner)
    for stage in ("indexing", "<b>"):
        for done in (0, 1, 2):
            bar(stage, done, 2)
    assert [bars[0] for bars in drawn] == [
        '<progress value="0" max="2"></progress> indexing: 0 of 2',
        '<progress value="0" max="2"></progress> &lt;b&gt;: 0 of 2',
    ]
    assert drawn[0][-1] == '<progress value="2" max="2"></progress> indexing: 2 of 2'


FORKED = """
    import multiprocessing, sys
    import numpy as np
    from indexer import open_collection
    collection = open_collection(sys.argv[1])
    images = list(np.random.default_rng(0).integers(0, 256, (64, 32, 32), np.uint8))

    def look(count):
        return [(hit.name, hit.distance) for hit in collection.search(images[:count], k=5)]

    looked = look(64)  # OpenMP has its threads now
    with multiprocessing.get_context("fork").Pool(2) as pool:  # which ends its processes also where they hang
        for count in (1, 64):
            for forked in pool.map_async(look, [count] * 4).get(60):
                assert [name for name, _ in forked] == [name for name, _ in looked[: 5 * count]]
                np.testing.assert_allclose([d for _, d in forked], [d for _, d in looked[: 5 * count]], atol=1e-6)
"""


def test_a_look_up_in_a_forked_pool_after_one_in_the_parent_ends(tmp_path: Path) -> None:
    write_images(tmp_path / "in", range(40))
    build(tmp_path / "c", tmp_path / "in", settings=Settings(views={"pixels": {}}))
    code = [sys.executable, "-c", textwrap.dedent(FORKED), str(tmp_path / "c")]
    subprocess.run(code, cwd=ROOT, check=True, timeout=120)
