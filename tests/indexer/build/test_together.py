"""Views fitted on several sets alike: equally many images of each, whatever their sizes and their order."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from indexer.build.build import Settings, build
from indexer.build.together import fit_together
from indexer.manifest import CollectionError
from tests.helpers.making import write_images

PHASH = Settings(views={"phash": {}, "pixels": {}})


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("sets")
    write_images(folder / "few", range(4))
    write_images(folder / "many" / "deep", range(10, 22))
    return folder / "few", folder / "many"


def test_equally_many_images_of_each_set_whatever_their_order(folders: tuple[Path, Path], tmp_path: Path) -> None:
    fitted = fit_together(folders, tmp_path / "one", settings=PHASH)
    assert sorted(name.split("/")[0] for name in fitted.names) == ["few"] * 4 + ["many"] * 4
    turned = fit_together(folders[::-1], tmp_path / "two", settings=PHASH)
    assert turned.names == fitted.names
    assert all(turned.spec(view).fingerprint == fitted.spec(view).fingerprint for view in fitted.views)
    sets = [build(tmp_path / each.name, each, fitted_on=fitted) for each in folders]
    sets[0].comparable(sets[1], fitted.views)
    few = fit_together(folders, tmp_path / "three", settings=replace(PHASH, sample_size=4))
    assert sorted(name.split("/")[0] for name in few.names) == ["few"] * 2 + ["many"] * 2


def test_an_image_of_both_sets_counts_once(folders: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(folders[0], tmp_path / "a")
    shutil.copytree(folders[0], tmp_path / "b")
    assert len(fit_together([tmp_path / "a", tmp_path / "b"], tmp_path / "c", settings=PHASH)) == 4


def test_a_set_without_a_readable_image_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "bad.npz").write_bytes(b"no array")
    with pytest.raises(CollectionError, match="none: no image could be read"):
        fit_together([folders[0], tmp_path / "none"], tmp_path / "c", settings=PHASH)
