"""The systems of Bharathi et al. as their code has them, with random weights in place of ImageNet's."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from embeddings.types import GreyImage
from embeddings.views.network import load
from embeddings.views.resnet_settings import ResNetSettings
from query.evaluation.resampling import auroc
from query.inputs.images import Images
from query.membership.case import NOT_USED, UNKNOWN, USED, Case, MembershipError, Model, Rows
from query.membership.imageclef2023 import imagenet
from query.membership.imageclef2023.imagenet import SIZE, VARIABLE, ImageNet, published_svm
from query.membership.imageclef2023.published_clusters import PublishedClusters
from query.membership.imageclef2023.published_relation import Pair, PublishedRelation, branch
from query.membership.methods.registry import make_method
from tests.helpers.making import slice_of

RNG = np.random.default_rng(6)


def images_of(pictures: Sequence[GreyImage]) -> Images:
    return Images([f"{row}.png" for row in range(len(pictures))], {}, {}, {}, lambda row: pictures[row])


def case_of(count: int, known: int) -> Case:
    """Every other real image is dark and was used; the first ones are labelled."""
    truth = np.arange(count) % 2 == 0
    real = [slice_of(row) // np.uint8(4 if used else 1) for row, used in enumerate(truth)]
    used = np.where(np.arange(count) < known, np.where(truth, USED, NOT_USED), UNKNOWN).astype(np.int8)
    return Case(images_of(real), images_of([slice_of(500 + row) for row in range(4)]), used, np.arange(count), seed=2)


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Writes random weights of an architecture, which then count as the right ones."""

    def store(architecture: str) -> None:
        path = tmp_path / "weights.pth"
        torch.save(load(ResNetSettings(architecture, "random:3")).state_dict(), path)
        begins = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        path.rename(tmp_path / f"{architecture}-{begins}.pth")
        monkeypatch.setitem(imagenet.HASHES, architecture, begins)
        monkeypatch.setenv(VARIABLE, str(tmp_path))

    return store


def test_features_are_the_maxima_of_the_last_maps(stored: Callable[[str], None]) -> None:
    stored("resnet50")
    case = case_of(3, 0)
    seen: list[torch.Tensor] = []
    network = load(ResNetSettings("resnet50", "random:3"))
    network.layer4.register_forward_hook(lambda module, given, maps: seen.append(maps))
    whole = np.kron(RNG.integers(0, 256, (SIZE, SIZE), np.uint8), np.ones((2, 2), np.uint8))  # halved, it is what it was
    case = replace(case, real=images_of([whole] * 3))
    with torch.inference_mode():
        network(torch.tensor(whole[::2, ::2] / 255, dtype=torch.float32).repeat(1, 3, 1, 1))
    features = ImageNet("resnet50").real(case, np.arange(3))
    assert features.shape == (3, 2048)
    assert np.allclose(features[0], seen[0][0].amax(dim=(1, 2)).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_svm_works_on_resnet_101(stored: Callable[[str], None]) -> None:
    stored("resnet101")
    case = case_of(16, 10)
    method = published_svm()
    model = method.fit(case)
    assert model.arrays["real"].shape == (10, 2048)
    answer = method.answer(case, model)
    assert auroc(answer.value[10:], np.arange(10, 16) % 2 == 0) > 0.5
    with pytest.raises(MembershipError, match="fit again"):
        method.answer(case, replace(model, facts={"features": {}}))


@pytest.mark.parametrize("name", ["svm-published", "clusters-published"])
def test_without_the_weights_one_line_says_where_to_get_them(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method, case = make_method(name), case_of(12, 8)
    file = {"svm-published": "resnet101-63fe2227.pth", "clusters-published": "resnet50-0676ba61.pth"}[name]

    def refused() -> str:
        with pytest.raises(MembershipError) as caught:
            method.answer(case, method.fit(case))
        assert "\n" not in str(caught.value)
        assert f"https://download.pytorch.org/models/{file}" in str(caught.value)
        assert VARIABLE in str(caught.value)
        return str(caught.value)

    monkeypatch.delenv(VARIABLE, raising=False)
    assert "do not come with synthtrace" in refused()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert "no such file" in refused()
    (tmp_path / file).write_bytes(b"other")
    assert "another file" in refused()


@dataclass(frozen=True)
class Given:
    """Features that were planted."""

    features: NDArray[np.float32]
    views = ()

    def real(self, case: Case, rows: Rows) -> NDArray[np.float32]:
        return self.features[rows]

    def generated(self, case: Case, count: int) -> NDArray[np.float32]:
        raise AssertionError("no generated image has a part in it")

    def facts(self, case: Case) -> dict[str, Any]:
        return {}

    def check(self, case: Case, model: Model) -> None:
        pass


def test_clusters_are_two_of_the_images_in_question_by_number() -> None:
    tight, wide = RNG.normal(0, 1, (9, 8)), RNG.normal(20, 3, (7, 8))
    order = RNG.permutation(16)
    features = np.concatenate([tight, wide])[order].astype(np.float32)
    known = np.concatenate([features, RNG.normal(500, 1, (4, 8)).astype(np.float32)])  # labelled, and far from all
    case = Case(images_of([]), images_of([]), np.array([], np.int8), np.array([], int))
    used = np.array([UNKNOWN] * 16 + [USED, USED, NOT_USED, NOT_USED], np.int8)
    case = replace(case, real=images_of([slice_of(0)] * 20), used=used, groups=np.arange(20))
    answer = PublishedClusters(Given(known)).answer(case, Model("clusters-published"))
    assert np.isnan(answer.value[16:]).all()
    halves = fcluster(linkage(features, "ward"), 2, "maxclust")
    assert len({(half, value) for half, value in zip(halves, answer.value[:16], strict=True)}) == 2
    assert (answer.value[:16] == (order < 9)).all()  # 1 is the tighter one: its last merger was at the smaller height
    assert not answer.calibrated
    with pytest.raises(MembershipError, match="at least two"):
        PublishedClusters(Given(known)).answer(replace(case, used=np.where(np.arange(20) == 0, UNKNOWN, USED)), Model("c"))


SMALL = PublishedRelation(architecture="resnet18", size=40, batch=4, rate=1e-3, generated=2, sample=2)


def test_both_branches_are_trained_from_random_weights() -> None:
    case = case_of(8, 6)
    model = SMALL.fit(case)
    with torch.random.fork_rng(devices=[]):
        untrained = Pair("resnet18", 8, case.seed).state_dict()
    for name in ("real.0.weight", "generated.0.weight", "real.6.1.conv2.weight", "relation.9.weight"):
        before, after = untrained[name], torch.from_numpy(model.arrays[name])
        assert before.shape == after.shape
        assert not torch.equal(before, after)
    assert not np.array_equal(model.arrays["real.0.weight"], model.arrays["generated.0.weight"])
    answer, again = SMALL.answer(case, model), SMALL.answer(case, SMALL.fit(replace(case, memory={})))
    assert ((answer.value >= 0) & (answer.value <= 1)).all()
    assert np.array_equal(answer.value, again.value)
    with pytest.raises(MembershipError, match="another network or size"):
        replace(SMALL, size=48).answer(case, model)


def test_the_branch_is_that_of_the_published_code() -> None:
    """256 pixels by a first layer of 7 x 7, stride 2, margin 1, no pooling, and three halvings: 16 x 16 maps of 2,048."""
    module = branch("resnet101", 0)
    first = module[0]
    assert isinstance(first, torch.nn.Conv2d)
    assert [first.weight.shape, first.stride, first.padding] == [(64, 1, 7, 7), (2, 2), (1, 1)]
    assert not [each for each in module.modules() if isinstance(each, torch.nn.MaxPool2d)]
    assert sum(parameter.numel() for parameter in module.parameters()) == 42_500_160 - 64 * 2 * 49
    with torch.inference_mode():
        assert module.eval()(torch.zeros(1, 1, 64, 64)).shape == (1, 2048, 4, 4)
