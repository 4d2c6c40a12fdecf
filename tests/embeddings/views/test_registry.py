"""Views by name."""

import subprocess
import sys

import numpy as np
import pytest

from embeddings.images.decoding import Decoding
from embeddings.types import Embeddings
from embeddings.views.registry import VIEWS, UnknownView, make_view, register, registered, with_defaults
from indexer.build.build import Settings
from indexer.search.faiss_index import kmeans
from tests.helpers.making import slice_of
from tests.helpers.places import ROOT
from tests.helpers.toy import TOY, block_means

SMALL: dict[str, dict[str, int]] = {"resnet": {"size": 32}, "sift": {"words": 6}}  # for speed


@pytest.mark.parametrize("name", [*VIEWS, "toy"])
def test_every_view_keeps_the_contract(name: str) -> None:
    """What `View` and `Embedder` promise, for views that are here now and those to come."""
    options = {**registered(name).options, **SMALL.get(name, {})}
    view = make_view(name, options, Decoding(), "cpu")
    images = [slice_of(seed) for seed in range(70)] + [np.zeros((10, 30), np.uint8)]
    features = view.features(images)
    learned = view.fit(features, kmeans)
    embedder = view.embedder(learned)
    made = embedder.embed(images)
    assert isinstance(made, Embeddings)  # checks shape, type, order, length
    assert made.spec.fingerprint == embedder.spec.fingerprint
    assert (made.spec.view, view.name) == (name, name)
    assert made.blank.tolist() == [False] * 70 + [True]
    assert np.array_equal(embedder.finish(features).vectors, made.vectors)
    again = make_view(name, options, Decoding(), "cpu").embedder(view.fit(view.features(images), kmeans))
    assert again.spec.fingerprint == embedder.spec.fingerprint
    other = make_view(name, options, Decoding(low=1), "cpu").embedder(learned)
    assert other.spec.fingerprint != embedder.spec.fingerprint
    assert isinstance(view.note + view.precision + view.weights, str)


def test_defaults_fill_what_is_missing() -> None:
    assert with_defaults({"sift": {"words": 9}}) == {"sift": {**VIEWS["sift"], "words": 9}}
    assert with_defaults({}) == {}


def test_a_registered_view_is_used_where_settings_name_it_alone() -> None:
    assert dict(TOY.views)["toy"] == {}
    assert "toy" not in VIEWS
    assert "toy" not in Settings().views
    with pytest.raises(ValueError, match="'phash' already"):
        register("phash", {}, registered("toy").make)


def test_the_toy_view_has_the_means_of_blocks() -> None:
    image = np.random.default_rng(0).integers(0, 256, (13, 40), dtype=np.uint8)
    blocks = [part for rows in np.split(image, [1, 3, 4, 6, 8, 9, 11]) for part in np.split(rows, 8, axis=1)]
    np.testing.assert_allclose(block_means(image), [block.mean() for block in blocks])


@pytest.mark.parametrize("options", [{"orb": {}}, {"phash": {"bit": 64}}, {"sift": {"words": 9, "wrods": 9}}])
def test_unknown_names_are_refused_and_the_known_ones_told(options: dict[str, dict[str, int]]) -> None:
    with pytest.raises(UnknownView, match=r"there are (phash, resnet, pixels, sift, toy|bits|encoding, words, position)"):
        with_defaults(options)


def test_an_unknown_view_cannot_be_made() -> None:
    with pytest.raises(UnknownView, match="no view is called 'orb'"):
        make_view("orb", {}, Decoding(), "cpu")


@pytest.mark.parametrize(
    ("view", "option", "value"), [("phash", "bits", 100), ("resnet", "architecture", "vgg"), ("sift", "encoding", "fisher")]
)
def test_an_option_without_sense_is_refused(view: str, option: str, value: object) -> None:
    with pytest.raises(ValueError, match=str(value)):
        make_view(view, {**VIEWS[view], option: value}, Decoding(), "cpu")


@pytest.mark.parametrize(("weights", "needed"), [("bundled", False), ("random:0", True)])
def test_only_a_network_of_ones_own_needs_torch(weights: str, needed: bool) -> None:
    program = (
        "import sys\nfrom embeddings.views.registry import *\nfrom embeddings.images.decode import Decoding\n"
        f"own = {{'resnet': {{'weights': {weights!r}}}}}\n"
        "[make_view(name, {**VIEWS[name], **own.get(name, {})}, Decoding(), 'cpu') for name in VIEWS]\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(needed)
