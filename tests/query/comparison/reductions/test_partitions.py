"""Every reduction, of any partition into shards merged in any order: the same bytes for neighbours and counts."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from embeddings.types import Metric
from query.comparison.bulk import Scale
from query.comparison.combined import COMBINED
from query.comparison.reductions.attribution import Attribution
from query.comparison.reductions.contest import Contest
from query.comparison.reductions.driver import Reduction, reduce
from query.comparison.reductions.explained import Explained
from query.comparison.reductions.histogram import COMBINED_EDGES, PairCounts, edges_of
from query.comparison.reductions.matrix import AllDistances
from query.comparison.reductions.moments import BulkMoments
from query.comparison.reductions.neighbours import NearestGenerated, NearestReal
from query.comparison.reductions.occurrences import Occurrences
from query.comparison.reductions.rivals import Rivals
from query.comparison.reductions.sides import GeneratedVectors, Shard, ViewVectors, real_side, shards
from query.comparison.reductions.weights import Weights
from tests.helpers.sides import at_random

REALS, GENERATED = 23, 61
VIEWS = at_random(np.random.default_rng(1), REALS, GENERATED, mirrored=True)
for flags in (VIEWS["phash"].real_blank, VIEWS["phash"].generated_blank, VIEWS["sift"].generated_blank):
    flags[::7] = True
ALL = list(VIEWS.items())
METRIC = {"phash": Metric.HAMMING, "sift": Metric.COSINE, COMBINED: Metric.COSINE}
EDGES = {name: edges_of(view.spec) for name, view in VIEWS.items()} | {COMBINED: COMBINED_EDGES}

Make = Callable[[str], Reduction[Any]]
EXACT: Mapping[str, Make] = {  # the same to the byte
    "nearest generated": lambda view: NearestGenerated(view, METRIC[view], REALS, 4),
    "nearest generated, all": lambda view: NearestGenerated(view, METRIC[view], REALS, 70),
    "nearest real": lambda view: NearestReal(view, METRIC[view], 5),
    "histogram": lambda view: PairCounts(view, EDGES[view]),
    "distances": AllDistances,
}
GROUPS = np.random.default_rng(2).integers(0, 8, REALS)
RIVALS = Rivals.of(GROUPS, VIEWS["sift"].real)
OF_SINGLE_VIEWS: Mapping[str, Make] = {  # the same
    "moments": lambda view: BulkMoments(view, REALS),
    "contest": lambda view: Contest(view, METRIC[view], RIVALS),
    "occurrences": lambda view: Occurrences(view, GROUPS, 6),
    "explained": lambda view: Explained(view, real_side(VIEWS)[view]),
}


def arrays(result: Any) -> list[NDArray[Any]]:
    """The arrays of a result."""
    if isinstance(result, Scale):
        return [*arrays(result.real), *arrays(result.generated)]
    return [result] if isinstance(result, np.ndarray) else [np.asarray(value) for value in vars(result).values()]


def parts_of(cuts: Sequence[int]) -> list[Shard]:
    """The generated side, cut at these rows."""
    rows = [slice(*ends) for ends in pairwise(sorted({0, GENERATED, *cuts}))]
    return [
        Shard(r.start, {name: GeneratedVectors(v.generated[r], v.generated_blank[r]) for name, v in VIEWS.items()}) for r in rows
    ]


def merged(make: Callable[[], Reduction[Any]], deal: Sequence[Sequence[Shard]], scales: Mapping[str, Scale] | None) -> Any:
    """The result of workers that are dealt shards, merged in their order."""
    workers = []
    for hand in deal:
        workers.append(make())
        reduce(real_side(VIEWS), hand, [workers[-1]], scales)
    for worker in workers[1:]:
        workers[0].merge(worker)
    return workers[0].result()


def all_scales() -> dict[str, Scale]:
    reductions = {view: BulkMoments(view, REALS) for view in VIEWS}
    reduce(real_side(VIEWS), shards(VIEWS), list(reductions.values()))
    return {view: each.result() for view, each in reductions.items()}


SCALES = all_scales()
CASES = [(name, make, view) for name, make in EXACT.items() for view in (*VIEWS, COMBINED)] + [
    (name, make, view) for name, make in OF_SINGLE_VIEWS.items() for view in VIEWS
]


@st.composite
def deals(draw: st.DrawFn) -> list[list[Shard]]:
    """Shards of any sizes in any order, dealt to some workers."""
    shuffled = draw(st.permutations(parts_of(draw(st.lists(st.integers(1, GENERATED - 1), max_size=8)))))
    hands: list[list[Shard]] = [[] for _ in range(draw(st.integers(1, 4)))]
    for shard in shuffled:
        hands[draw(st.integers(0, len(hands) - 1))].append(shard)
    return hands


@pytest.mark.parametrize(("name", "make", "view"), CASES, ids=[f"{name}, {view}" for name, _, view in CASES])
@settings(max_examples=25, deadline=None)
@given(deal=deals())
def test_any_partition_merged_in_any_order_gives_the_same_bytes(
    name: str, make: Make, view: str, deal: list[list[Shard]]
) -> None:
    whole, parts = (merged(lambda: make(view), hands, SCALES) for hands in ([list(shards(VIEWS))], deal))
    for expected, found in zip(arrays(whole), arrays(parts), strict=True):
        assert expected.dtype == found.dtype
        assert expected.tobytes() == found.tobytes()


@pytest.mark.parametrize("view", list(VIEWS))
@settings(max_examples=25, deadline=None)
@given(deal=deals())
def test_any_partition_gives_the_same_attribution_within_rounding(view: str, deal: list[list[Shard]]) -> None:
    def make() -> Attribution:
        return Attribution(Weights(view, real_side(VIEWS)[view], RIVALS))

    whole, parts = (merged(make, hands, None) for hands in ([list(shards(VIEWS))], deal))
    np.testing.assert_allclose(parts, whole, rtol=1e-12)


def test_equal_distances_are_ordered_by_row() -> None:
    """Codes that are all alike: whatever comes first, the first rows are the nearest."""
    same = {
        "phash": ViewVectors(
            VIEWS["phash"].spec,
            np.zeros((5, 32), np.uint8),
            None,
            np.zeros((GENERATED, 32), np.uint8),
            np.zeros(5, bool),
            np.zeros(GENERATED, bool),
        )
    }
    nearest, backwards = (NearestGenerated("phash", Metric.HAMMING, 5, 7) for _ in range(2))
    reduce(real_side(same), shards(same), [nearest])
    reduce(real_side(same), list(shards(same, 10))[::-1], [backwards])
    assert nearest.result().rows.tolist() == backwards.result().rows.tolist() == [list(range(7))] * 5


def test_a_view_that_is_not_there_is_refused() -> None:
    with pytest.raises(KeyError, match="needs moments"):
        reduce(real_side(VIEWS), shards(VIEWS), [PairCounts(COMBINED, COMBINED_EDGES)])
    with pytest.raises(KeyError, match="resnet"):
        reduce(real_side(VIEWS), shards(VIEWS), [PairCounts("resnet", COMBINED_EDGES)])


def test_sides_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="must be as many, got 61 and 60"):
        GeneratedVectors(VIEWS["sift"].generated, VIEWS["sift"].generated_blank[1:])
    one = GeneratedVectors(VIEWS["sift"].generated[:3], VIEWS["sift"].generated_blank[:3])
    two = GeneratedVectors(VIEWS["phash"].generated[:4], VIEWS["phash"].generated_blank[:4])
    with pytest.raises(ValueError, match=r"equally many images, got \[3, 4\]"):
        Shard(0, {"sift": one, "phash": two})
