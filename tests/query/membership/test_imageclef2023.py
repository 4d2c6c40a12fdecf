"""The learning methods: a planted difference is found in new images; nothing depends on order, names, threads or luck."""

import json
from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Protocol

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import cophenet, fcluster
from scipy.spatial.distance import cdist
from sklearn.cluster import FeatureAgglomeration
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from embeddings.images.decoding import Decoding
from embeddings.types import Embedder, GreyImage
from embeddings.views.registry import make_view
from query.evaluation.resampling import auroc
from query.inputs.images import Images
from query.membership import features
from query.membership.case import NOT_USED, UNKNOWN, USED, Answer, Case, MembershipError, Method, Model, Rows
from query.membership.imageclef2023 import clusters, relation, sift_knn
from query.membership.imageclef2023.clusters import Clusters
from query.membership.imageclef2023.cnn import Cnn
from query.membership.imageclef2023.relation import Compare, Relation
from query.membership.imageclef2023.sift_knn import SiftKnn
from query.membership.imageclef2023.svm import Svm
from query.membership.methods.registry import make_method
from tests.helpers.making import SIZE, slice_of


class HashableMethod(Method, Hashable, Protocol):
    """A method that can be the key of a cache."""


QUICK_KNN, QUICK_NET = SiftKnn(points=4000), Relation(epochs=6, partners=4)
METHODS: list[HashableMethod] = [Cnn(), QUICK_KNN, QUICK_NET, Relation(Compare.L2), Relation(Compare.COSINE), Clusters(), Svm()]
NAMES = ["cnn", "sift-knn", "relation", "relation-l2", "relation-cosine", "clusters", "svm"]
TEXTURE = (np.indices((SIZE, SIZE)).sum(axis=0) // 3 % 2 * 90).astype(np.uint8)
BLANK = np.full((SIZE, SIZE), 90, np.uint8)
each_method = pytest.mark.parametrize("method", METHODS, ids=NAMES)


@cache
def eyes(weights: str = "bundled") -> dict[str, Embedder]:
    """Views as a collection has them; what they learned is of no account here."""
    resnet = make_view("resnet", {"weights": weights}, Decoding(), "cpu")
    sift = make_view("sift", {"encoding": "vlad"}, Decoding(), "cpu")
    return {"resnet": resnet.embedder({}), "sift": sift.embedder({"words": np.zeros((1, 130), np.float32)})}


def images_of(pictures: Sequence[GreyImage], weights: str = "bundled") -> Images:
    return Images([f"{row}.png" for row in range(len(pictures))], {}, {}, {}, lambda row: pictures[row], eyes(weights))


def case_of(first: int, count: int, known: bool, weights: str = "bundled") -> Case:
    """Every other real image has a texture and was used; the generated ones are slices of others."""
    used = np.arange(count) % 2 == 0
    real = [np.minimum(slice_of(first + row), 165) + TEXTURE * mark for row, mark in enumerate(used)]
    labels = np.where(used, USED, NOT_USED) if known else np.full(count, UNKNOWN)
    generated = images_of([slice_of(500 + row) for row in range(24)], weights)
    return Case(images_of(real, weights), generated, labels.astype(np.int8), np.arange(count), seed=3)


KNOWN, NEW = case_of(0, 48, known=True), case_of(100, 24, known=False)
TRUTH = np.arange(24) % 2 == 0


@cache
def fitted(method: HashableMethod) -> Model:
    return method.fit(KNOWN)


@cache
def answered(method: HashableMethod) -> Answer:
    return method.answer(NEW, fitted(method))


def shuffled(case: Case, seed: int) -> tuple[Case, Rows]:
    """The case in another order under the names of that order, and the old row of each new one."""
    rng = np.random.default_rng(seed)
    rows, others = rng.permutation(len(case.real)), rng.permutation(len(case.generated))
    real, generated = (
        replace(side.take(order), names=side.names) for side, order in ((case.real, rows), (case.generated, others))
    )
    return Case(real, generated, case.used[rows], case.groups[rows], seed=case.seed), rows


def same(a: Model, b: Model) -> bool:
    return (
        a.facts == b.facts
        and list(a.arrays) == list(b.arrays)
        and all(np.array_equal(a.arrays[k], b.arrays[k]) for k in a.arrays)
    )


def test_names() -> None:
    assert [method.name for method in METHODS] == NAMES
    assert [make_method(name).name for name in NAMES] == NAMES


def test_variants_by_name_are_the_variants() -> None:
    for method in METHODS[3:5]:
        named = make_method(method.name)
        assert np.array_equal(named.answer(NEW, named.fit(KNOWN)).value, answered(method).value)
    assert not np.array_equal(answered(METHODS[3]).value, answered(METHODS[4]).value)


@each_method
def test_a_planted_difference_is_found_in_new_images(method: HashableMethod) -> None:
    answer = answered(method)
    assert auroc(answer.value, TRUTH) > 0.95
    assert np.mean([note == truth for note, truth in zip(answer.used, TRUTH, strict=True)]) > 0.8
    assert answer.calibrated
    assert answer.threshold == 0.5
    json.dumps(answer.detail)


@each_method
@pytest.mark.parametrize("lacking", ["used", "not used"])
def test_without_labels_of_both_kinds_it_says_how_to_give_them(method: HashableMethod, lacking: str) -> None:
    used = np.where(KNOWN.used == (USED if lacking == "used" else NOT_USED), UNKNOWN, KNOWN.used).astype(np.int8)
    with pytest.raises(
        MembershipError, match=f"{method.name}.* none is known to be {lacking}: .*--labels FILE.*--used DIR"
    ) as caught:
        method.fit(replace(KNOWN, used=used))
    assert "\n" not in str(caught.value)


@each_method
def test_order_names_threads_and_generators_change_no_bit(method: HashableMethod) -> None:
    both = np.array([slice_of(7)])  # one picture with both labels: the order must not decide which comes first
    real = images_of([*(KNOWN.real.read(row) for row in range(48)), *both, *both])
    labels = np.array([*KNOWN.used, USED, NOT_USED], np.int8)
    known = replace(KNOWN, real=real, used=labels, groups=np.arange(50))
    other, _ = shuffled(known, 1)
    new, rows = shuffled(NEW, 2)
    model = method.fit(known)
    value = method.answer(NEW, model).value
    threads = torch.get_num_threads()
    torch.set_num_threads(3 - min(threads, 2))
    torch.manual_seed(99)
    state = torch.get_rng_state()
    try:
        assert same(method.fit(other), model)
        assert np.array_equal(method.answer(new, model).value, value[rows], equal_nan=True)
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.get_num_threads() == 3 - min(threads, 2)
    finally:
        torch.set_num_threads(threads)


@each_method
def test_an_answer_depends_neither_on_labels_nor_on_the_other_images(method: HashableMethod) -> None:
    few = np.array([5, 2, 11])
    alone = replace(NEW, real=NEW.real.take(few), used=np.array([USED, USED, NOT_USED], np.int8), groups=few)
    assert np.array_equal(method.answer(alone, fitted(method)).value, answered(method).value[few])


@each_method
def test_a_model_comes_back_from_a_file(method: HashableMethod) -> None:
    model = fitted(method)
    assert all(array.dtype != object for array in model.arrays.values())
    read = replace(model, facts=json.loads(json.dumps(dict(model.facts))))
    assert np.array_equal(method.answer(NEW, read).value, answered(method).value)


@pytest.mark.parametrize("method", [Relation(), Relation(Compare.L2), Clusters(), Svm()], ids=lambda method: method.name)
def test_a_model_of_other_features_is_refused(method: HashableMethod) -> None:
    with pytest.raises(MembershipError, match=rf"resnet features here .* this {method.name} model .* weights is "):
        method.answer(case_of(100, 4, known=False, weights="random:0"), fitted(method))


def test_a_missing_view_is_named() -> None:
    blind = replace(KNOWN, real=replace(KNOWN.real, embedders={}))
    with pytest.raises(MembershipError, match="view sift is needed"):
        SiftKnn().fit(blind)


def test_models_of_other_layers_or_variants_are_refused() -> None:
    with pytest.raises(MembershipError, match="other layers"):
        Cnn(hidden=7).answer(NEW, fitted(METHODS[0]))
    with pytest.raises(MembershipError, match="not 32"):
        Cnn(size=32).answer(NEW, fitted(METHODS[0]))
    with pytest.raises(MembershipError, match="fitted by relation and cannot be applied by relation-l2"):
        Relation(Compare.L2).answer(NEW, fitted(METHODS[2]))


def test_a_draw_depends_on_pixels_alone() -> None:
    other, _ = shuffled(KNOWN, 5)

    def chosen(images: Images, seed: int) -> list[bytes]:
        return features.contents(images, features.drawn(images, 10, seed))

    assert chosen(KNOWN.generated, 0) == chosen(other.generated, 0)
    assert len(set(chosen(KNOWN.generated, 0))) == 10
    assert set(chosen(KNOWN.generated, 0)) != set(chosen(KNOWN.generated, 1))
    assert len(features.drawn(KNOWN.generated, 1000, 0)) == 24


def test_the_cnn_is_the_published_one() -> None:
    layers = list(Cnn()._network())
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds == ["Conv2d", "ReLU", "MaxPool2d"] * 3 + ["Flatten", "Linear", "ReLU", "Linear"]
    assert (Cnn().size, Cnn().epochs, answered(METHODS[0]).threshold) == (64, 10, 0.5)


def test_feature_maps_pool_to_the_features() -> None:
    rows = np.arange(5)
    maps = relation.feature_maps(NEW.real, rows)
    assert maps.shape == (5, 512, 5, 5)
    pooled = np.cbrt((np.maximum(maps, 1e-6) ** 3).mean(axis=(2, 3)))  # the bundled network's mean of cubes
    np.testing.assert_allclose(pooled, features.pooled(NEW.real, rows), rtol=1e-4)


def test_relation_is_the_mean_score_of_all_pairs() -> None:
    model = fitted(METHODS[2])
    module = relation.RelationModule(512, 64, 8)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in model.arrays.items()})
    module.eval()
    real, generated = (
        torch.from_numpy(relation.feature_maps(side, np.arange(n))) for side, n in ((NEW.real, 3), (NEW.generated, 24))
    )
    with torch.inference_mode():
        scores = [[float(module(r[None], g[None])[0]) for g in generated] for r in real]
    np.testing.assert_allclose(np.mean(np.array(scores), axis=1), answered(METHODS[2]).value[:3], atol=1e-5)


def test_prototypes_are_compared_as_by_hand() -> None:
    prototypes = np.array([[3.0, 0], [0, 4]]).reshape(2, 2, 1, 1)  # not used, used
    image = np.array([[0, 2.0]], np.float32).reshape(1, 2, 1, 1)
    far, near = np.sqrt(13), 2
    assert relation._nearness(image, prototypes, Compare.L2) == pytest.approx([far / (far + near)])
    assert relation._nearness(image, prototypes, Compare.COSINE) == pytest.approx([1.0])  # distances 1 and 0


def test_svm_votes_are_those_of_scikit_learn_on_written_out_pairs() -> None:
    model = fitted(METHODS[6])
    rows, used = features.labelled(KNOWN)
    real = features.pooled(KNOWN.real, rows)
    drawn = features.pooled(KNOWN.generated, features.drawn(KNOWN.generated, 500, KNOWN.seed))
    rng = np.random.default_rng(KNOWN.seed)
    right = np.concatenate([rng.choice(24, 20, replace=False) for _ in rows])
    pairs = np.hstack([np.repeat(real, 20, axis=0), drawn[right]])
    machine = SVC(gamma=float(model.arrays["gamma"][0])).fit(pairs, np.repeat(used, 20))
    assert machine.gamma == pytest.approx(1 / (1024 * pairs.var(dtype=np.float64)))
    new = features.pooled(NEW.real, np.arange(6))
    votes = [machine.predict(np.hstack([np.repeat(image[None], 24, axis=0), drawn])).mean() for image in new]
    np.testing.assert_allclose(votes, answered(METHODS[6]).value[:6], atol=1 / 24)  # a vote on the edge may go either way


def test_histograms_count_nearest_words() -> None:
    rng = np.random.default_rng(0)
    words = rng.random((7, 128)).astype(np.float32)
    points = [rng.random((m, 128)).astype(np.float32) for m in (30, 0, 5)]
    wanted = [np.bincount(cdist(p, words).argmin(axis=1), minlength=7) if len(p) else np.zeros(7) for p in points]
    assert np.array_equal(sift_knn.histograms(points, words), wanted)


def test_descriptors_come_without_places() -> None:
    (values,) = eyes()["sift"].features([slice_of(1)]).values
    (found,) = features.descriptors(images_of([slice_of(1)]), np.array([0]))
    assert found.shape == (len(values), 128)
    assert np.array_equal(found, values[:, :128])


def test_sift_knn_is_the_vote_of_five_and_does_not_judge_a_blank_image() -> None:
    model = fitted(METHODS[1])
    assert model.arrays["words"].shape == (100, 128)
    case = replace(NEW, real=images_of([BLANK, NEW.real.read(0)]), used=NEW.used[:2], groups=NEW.groups[:2])
    answer = METHODS[1].answer(case, model)
    assert answer.used == [None, True]
    seen = sift_knn.histograms(features.descriptors(NEW.real, np.arange(24)), model.arrays["words"])
    distances = cdist(seen, model.arrays["histograms"])
    fifth, sixth = np.sort(distances, axis=1)[:, 4:6].T
    clear = fifth < sixth  # else which one is the fifth is a matter of taste
    votes = model.arrays["used"][distances.argsort(axis=1)[:, :5]].mean(axis=1)
    assert clear.sum() > 10
    np.testing.assert_allclose(answered(METHODS[1]).value[clear], votes[clear])


def test_sift_knn_needs_neighbours_and_keypoints() -> None:
    with pytest.raises(MembershipError, match="asks 5 labelled images and there are 4"):
        SiftKnn().fit(KNOWN.forgetting(np.arange(4, 48)))
    flat = images_of([BLANK] * 48)
    with pytest.raises(MembershipError, match="100 words of 0 keypoints"):
        SiftKnn().fit(replace(KNOWN, real=flat, generated=flat))


def test_clusters_have_the_labels_of_labelled_images_only() -> None:
    """Three far groups: one of used images, one of both, one of generated images alone, which names nothing."""
    points = np.array([[0.0], [1], [10], [11], [12], [50], [51]])
    leaves = np.array([USED, clusters.GENERATED, NOT_USED, USED, NOT_USED, clusters.GENERATED, clusters.GENERATED])
    centroids, shares = clusters._named(points, np.array([1, 1, 3, 3, 3, 2, 2], np.int32), leaves)
    assert np.array_equal(centroids, np.array([[0.5], [11]]))
    assert shares == pytest.approx([1, 1 / 3])


def test_clusters_reduce_features_as_scikit_learn_does_and_keep_the_tree() -> None:
    model = fitted(METHODS[5])
    raw = np.concatenate(
        [
            features.pooled(KNOWN.real, features.labelled(KNOWN)[0]),
            features.pooled(KNOWN.generated, features.drawn(KNOWN.generated, 500, KNOWN.seed)),
        ]
    ).astype(np.float64)
    reduced = FeatureAgglomeration(32).fit_transform(raw)
    np.testing.assert_allclose(clusters._means(raw, model.arrays["groups"]), reduced, rtol=1e-6)
    detail = answered(METHODS[5]).detail
    tree = np.array(detail["linkage"])
    assert tree.shape == (71, 4)
    pairs = reduced[:, None] - reduced[None]
    distances = np.sqrt((pairs**2).sum(axis=2))[np.triu_indices(72, 1)]
    assert detail["cophenetic"] == pytest.approx(np.corrcoef(distances, cophenet(tree))[0, 1])
    assert sorted(set(detail["leaves"])) == ["generated", "not used", "used"]
    assert len(set(fcluster(tree, 8, "maxclust"))) == 8 >= len(model.arrays["centroids"])


def test_labelled_rows_are_those_with_labels() -> None:
    case = KNOWN.forgetting(np.arange(10, 48))
    rows, used = features.labelled(case)
    assert sorted(rows) == list(range(10))
    assert np.array_equal(used, case.used[rows])


def test_neighbours_break_ties_by_the_order_of_pixels() -> None:
    """The reason for brute force: of equally near images the first is taken."""
    near: NDArray[Any] = np.ones((6, 2))
    vote = KNeighborsClassifier(5, algorithm="brute").fit(near, [1, 1, 1, 0, 0, 0]).predict_proba(np.ones((1, 2)))
    assert vote[0, 1] == pytest.approx(0.6)
