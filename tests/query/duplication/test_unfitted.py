"""Diversity by vectors that nothing was fitted on: two sets of one kind are equally diverse, whichever was indexed first."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from indexer.build.build import Settings, build
from indexer.collection import Collection
from query import duplicates
from query.duplication.diversity import Figure, vendi
from query.duplication.unfitted import centre_of, features_of_views, unfitted
from query.inputs.images import images_of
from tests.helpers.making import write_images
from tests.helpers.toy import TOY

SETTINGS = Settings(views={"phash": {}, "pixels": {}})
COUNT = 70  # images: enough for a view to be whitened


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Collection]:
    folder = tmp_path_factory.mktemp("sets")
    write_images(folder / "one", range(COUNT))
    write_images(folder / "other", range(100, 100 + COUNT))
    one = build(folder / "one.collection", folder / "one", settings=SETTINGS)
    return one, build(folder / "other.collection", folder / "other", fitted_on=one)


def test_the_set_that_views_were_fitted_on_is_not_the_more_diverse(sets: Sequence[Collection]) -> None:
    one, other = sets
    found = {(each.figure, each.view): each for each in duplicates(other, against=one).diversity}
    assert {view for _, view in found} == {"phash", "pixels", ""}
    for figure in (Figure.VENDI, Figure.NEAREST):
        for view in ("phash", "pixels"):
            each = found[figure, view]
            assert each.baseline is not None
            assert each.estimate.value == pytest.approx(each.baseline.value, rel=0.12), (figure, view)
    whitened = [vendi(np.asarray(each.vectors("pixels"))) for each in sets]
    assert whitened[0] > 1.5 * whitened[1]  # by the collections' own vectors it would be


def test_features_are_less_the_centre_and_of_length_1(repeated_collection: Collection) -> None:
    images, rows = images_of(repeated_collection), np.array([3, 1, 7])
    raw = features_of_views(images, rows)
    centre = centre_of(raw)
    found = unfitted(images, rows, raw, centre)
    own = np.asarray(repeated_collection.vectors("toy")[rows], np.float64)  # the view fits nothing
    apart = own - own.mean(axis=0)
    assert found["toy"].values == pytest.approx(apart / np.linalg.norm(apart, axis=1, keepdims=True), abs=1e-5)
    assert (found["phash"].values == repeated_collection.vectors("phash")[rows]).all()


def test_an_image_that_is_gone_does_not_count(tmp_path: Path) -> None:
    paths = write_images(tmp_path / "images", range(5))
    settings = Settings(views={**TOY.views, "sift": {"words": 4}})
    collection = build(tmp_path / "collection", tmp_path / "images", settings=settings)
    paths[2].unlink()
    images, rows = images_of(collection), np.arange(5)
    raw = features_of_views(images, rows)
    assert raw.keys() == {"toy"}  # sift sees parts of an image, and a vocabulary of them is fitted
    assert np.isnan(raw["toy"]).all(axis=1).tolist() == [False, False, True, False, False]
    assert unfitted(images, rows, raw, centre_of(raw))["toy"].seen.tolist() == [True, True, False, True, True]
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    assert features_of_views(images_of(collection), rows) == {}
