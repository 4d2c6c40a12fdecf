"""scripts/bench/rivals.py: what is written anew is what it was written after."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import imagehash
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.distance import cdist
from skimage.metrics import structural_similarity

from tests.helpers import loading

SIDE = 256


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with loading.script("bench/rivals") as module:
        yield module


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    """Smooth noise, its levels never quite alike."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 9, 9), dtype=np.uint8)
    large = [np.array(Image.fromarray(each).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for each in coarse]
    return np.array(large, np.uint8)


def rival(script: ModuleType, name: str) -> Any:
    return next(each for each in script.RIVALS if each.name == name)


def test_hashes_are_those_of_imagehash_up_to_what_the_package_does_otherwise(
    script: ModuleType, pictures: NDArray[np.uint8]
) -> None:
    for picture in pictures:
        shown = Image.fromarray(picture)
        bits = {name: rival(script, f"imagededup-{name}").bits(picture) for name in script.HASHES}
        np.testing.assert_array_equal(bits["dhash"], imagehash.dhash(shown).hash.ravel())
        np.testing.assert_array_equal(bits["ahash"], imagehash.average_hash(shown).hash.ravel())
        np.testing.assert_array_equal(bits["whash"], imagehash.whash(shown, remove_max_haar_ll=False).hash.ravel())
        one_more = bits["phash"] & ~imagehash.phash(shown).hash.ravel()
        assert (bits["phash"].sum(), one_more.sum()) == (33, 1)  # its median leaves out the largest coefficient


def test_hashes_are_those_of_the_package(script: ModuleType, pictures: NDArray[np.uint8]) -> None:
    methods = pytest.importorskip("imagededup.methods")
    for name, theirs in (("phash", "PHash"), ("dhash", "DHash"), ("ahash", "AHash"), ("whash", "WHash")):
        encoder = getattr(methods, theirs)(verbose=False)
        for picture in pictures:
            ours = np.packbits(rival(script, f"imagededup-{name}").bits(picture)).tobytes().hex()
            assert ours == encoder.encode_image(image_array=picture)


def test_bits_are_counted(script: ModuleType, pictures: NDArray[np.uint8]) -> None:
    each = rival(script, "imagededup-dhash")
    found = each.compare(pictures[:2], pictures, np.arange(2)).distances
    assert found[1, 4] == imagehash.dhash(Image.fromarray(pictures[1])) - imagehash.dhash(Image.fromarray(pictures[4]))
    assert found[0, 0] == 0


def test_ssim_is_scikit_images_and_its_rule_vcmis(script: ModuleType, pictures: NDArray[np.uint8]) -> None:
    real, generated = pictures[:3], pictures[3:5]
    found = rival(script, "ssim-vcmi").compare(real, generated, np.arange(3))
    expected = [[structural_similarity(one, other) for other in generated] for one in real]
    np.testing.assert_allclose(1 - found.distances, expected, atol=1e-4)
    among = np.array([[structural_similarity(one, other) for other in real] for one in real])
    np.fill_diagonal(among, among.mean(axis=1))
    assert 1 - found.limit == pytest.approx(among.mean() + 2 * among.std(), abs=1e-4)


def test_distances_and_contrast_follow_their_formulas(script: ModuleType) -> None:
    from rival_methods import dar, rival

    one, other = np.random.default_rng(0).normal(size=(2, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(rival.cosine(one, other), cdist(one, other, "cosine"), atol=1e-6)
    np.testing.assert_allclose(rival.correlation(one, other), cdist(one, other, "correlation"), atol=1e-6)
    both = np.concatenate([one, other])
    alike = np.exp((1 - cdist(both, both, "cosine")) / 0.07)
    losses = [-np.log(alike[i, (i + 4) % 8] / (alike[i].sum() - alike[i, i])) for i in range(8)]
    assert float(dar.contrast(torch.tensor(one), torch.tensor(other), 0.07)) == pytest.approx(np.mean(losses), rel=1e-4)


def test_clusters_are_not_compared(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    from rival_methods import semdedup

    clumps = {2: [[1, 0, 0], [0, 1, 0]], 3: [[1, 0.1, 0], [0, 1, 0.1], [0, 1, 0.2]]}
    monkeypatch.setattr(semdedup, "features", lambda side: np.array(clumps[len(side)], np.float32))
    blank = np.zeros((5, 8, 8), np.uint8)
    found = semdedup.SemDeDup(clusters=2).compare(blank[:2], blank[2:], np.arange(2)).distances
    assert np.isfinite(found).tolist() == [[True, False, False], [False, True, True]]
    assert found[1, 1] == pytest.approx(1 - 1 / np.sqrt(1.01), abs=1e-6)


@pytest.mark.parametrize(("name", "fewer"), [("dar", {}), ("deepssim", {"pairs": 8})])
def test_training_repeats_and_leaves_copies_where_they_are(
    name: str, fewer: dict[str, int], script: ModuleType, pictures: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rival_methods import networks

    def tiny(head: torch.nn.Module, frozen: tuple[str, ...] = ()) -> torch.nn.Module:
        return torch.nn.Sequential(networks.Standardise(), torch.nn.Flatten(), torch.nn.Linear(networks.SIZE**2, 8))

    monkeypatch.setattr(sys.modules[f"rival_methods.{name}"], "begun", tiny)
    each = replace(rival(script, name), steps=3, **fewer)
    found = [each.compare(pictures[:4], pictures, np.arange(4)) for _ in range(2)]
    np.testing.assert_array_equal(found[0].distances, found[1].distances)
    np.testing.assert_allclose(np.diag(found[0].distances), 0, atol=1e-5)
    assert found[0].distances[0, 1] > 0.01


def test_a_variation_flips_turns_and_brightens(script: ModuleType) -> None:
    from rival_methods.networks import Variation

    pictures = torch.rand(3, 1, 16, 16, generator=torch.manual_seed(0))
    np.testing.assert_allclose(Variation(0, 90).of(pictures), pictures, atol=1e-5)
    np.testing.assert_allclose(Variation(1, 0).of(pictures), pictures.flip(3), atol=1e-5)
    np.testing.assert_allclose(Variation(1, 0, down=True).of(pictures), pictures.flip(2, 3), atol=1e-5)
    np.testing.assert_allclose(Variation(1, 0, gamma=(2, 2)).of(pictures), pictures.flip(3) ** 2, atol=1e-4)
    assert 0.1 < (Variation(1, 45).of(pictures) - pictures.flip(3)).abs().mean() < 0.5


def test_a_package_that_is_not_there_gets_a_row_that_says_so(script: ModuleType, pictures: NDArray[np.uint8]) -> None:
    for python, said in ((None, "--fastdup PYTHON"), (Path("/nowhere/python"), "no such file")):
        with pytest.raises(script.NotInstalledError, match=said) as caught:
            script.FastDup(python).compare(pictures[:1], pictures[1:2], np.arange(1))
        assert "not installed" in script.told("fastdup", {"not installed": str(caught.value)})


def test_a_first_hit_is_a_true_source(script: ModuleType) -> None:
    truth = script.Truth(
        sources=[[0], [1, 2], [], [2]],
        first=np.array([0, 1, -1, 2]),
        kind=np.array(["warp", "blend", "eigen", "warp"]),
        strength=np.array([1, 0, 0, 1]),
        groups=np.array(["a", "b", "c", "d"]),
        used=np.array([True, True, True, False]),
        real_groups=np.array(["a", "b", "d", "e"]),
    )
    drawn = np.array([0, 1, 2, 3])
    shares = script.first_hits(truth, drawn, np.array([0, 2, 1, -1]))
    assert shares["first hit"][0] == pytest.approx(2 / 3, abs=1e-3)
    assert shares["first hit by kind"]["blend"][0] == 1
    assert shares["first hit by kind"]["warp 1"][0] == 0.5


def test_what_is_not_there_is_refused(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        script.main(["--work", str(tmp_path), "--benchmark", str(tmp_path / "none")])
    assert caught.value.code == 2
    assert "none: no such file or folder" in capsys.readouterr().err
