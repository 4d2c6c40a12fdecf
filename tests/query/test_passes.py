"""Distances of a run: each pair of a real and a generated image is compared at most twice in each view."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.phantoms.slices import copy_of, phantom
from embeddings.types import Metric
from indexer.build.build import build
from indexer.collection import Collection
from indexer.search import brute_force, hamming
from query.comparison.matching import Budget, MatchSettings
from query.database.database import Database
from query.flow import AuditSettings, audit
from query.membership.predict import PredictionRequest
from query.notebook import compare
from tests.helpers.making import QUICK, write_image

REALS, GENERATED = 40, 30
LABELS = {f"p{n // 2:02d}_{n:02d}.png": n < REALS // 2 for n in range(REALS)}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 real images of 20 patients, half of them used; 30 generated ones, copies among them."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for role in ("real", "generated"):
        (folder / role).mkdir()
    for number, name in enumerate(LABELS):
        write_image(folder / "real" / name, phantom(number, 64))
    for number in range(GENERATED):
        pixels = copy_of(phantom(number, 64), 1, rng) if number < 5 else phantom(500 + number, 64)
        write_image(folder / "generated" / f"{number:02d}.png", pixels)
    (folder / "labels.csv").write_text("\n".join(["image,used", *(f"{name},{int(used)}" for name, used in LABELS.items())]))
    return folder


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[bytes, bytes]]:
    """How often two vectors were compared, in either order."""
    counted: Counter[tuple[bytes, bytes]] = Counter()
    by_metric, by_popcount, by_grid = brute_force.distances, hamming.distances, brute_force.grid_distances

    def count(queries: NDArray[Any], vectors: NDArray[Any]) -> None:
        counted.update((one.tobytes(), other.tobytes()) for one in queries for other in vectors)
        counted.update((other.tobytes(), one.tobytes()) for one in queries for other in vectors)

    def distances(metric: Metric, queries: NDArray[Any], vectors: NDArray[Any]) -> NDArray[Any]:
        count(queries, vectors)
        return by_metric(metric, queries, vectors)

    def distances_of_codes(queries: NDArray[Any], codes: NDArray[Any]) -> NDArray[Any]:
        count(queries, codes)
        return by_popcount(queries, codes)

    def distances_on_grid(queries: NDArray[Any], vectors: NDArray[Any]) -> NDArray[Any]:
        count(queries, vectors)
        return by_grid(queries, vectors)

    monkeypatch.setattr(brute_force, "distances", distances)
    monkeypatch.setattr(brute_force, "grid_distances", distances_on_grid)
    monkeypatch.setattr(hamming, "distances", distances_of_codes)
    return counted


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collections whose index was searched."""
    folders: list[str] = []
    real = Collection.nearest

    def nearest(self: Collection, *arguments: Any) -> Any:
        folders.append(self.folder.name)
        return real(self, *arguments)

    monkeypatch.setattr(Collection, "nearest", nearest)
    return folders


def most(compared: Counter[tuple[bytes, bytes]], reals: Collection, generated: Collection) -> set[int]:
    """How often pairs of these collections were compared, as they are or on the grid."""
    counts = set()
    for view in generated.views:
        sides = reals.vectors(view), generated.vectors(view)
        on_grid = sides if sides[0].dtype == np.uint8 else tuple(map(brute_force.on_grid, sides))
        for one, first in zip(sides[0], on_grid[0], strict=True):
            for other, second in zip(sides[1], on_grid[1], strict=True):
                pairs = {(one.tobytes(), other.tobytes()), (first.tobytes(), second.tobytes())}
                counts.add(sum(compared[pair] for pair in pairs))
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("mirror", [False, True])
def test_an_audit_compares_each_pair_twice(
    mirror: bool, images: Path, tmp_path: Path, compared: Counter[tuple[bytes, bytes]], searched: list[str]
) -> None:
    """With labels of both kinds, so that methods predict, are evaluated, and the filter decides."""
    settings = AuditSettings(
        index=QUICK,
        labels=images / "labels.csv",
        groups=r"^(p\d+)_",
        predictions=PredictionRequest(("fusion", "fusion-learned", "reference", "hubness", "phash")),
        mirror=mirror,
        matching=MatchSettings(Budget(images=0)),
        device="cpu",
    )
    audit(images / "real", images / "generated", tmp_path / "out", settings)
    generated = Collection(tmp_path / "out" / "generated")
    assert most(compared, Collection(tmp_path / "out" / "real"), generated) == {2}
    if mirror:
        assert most(compared, Collection(tmp_path / "out" / "mirrored"), generated) == {2}
    assert set(searched) <= {"real"}  # real images among each other alone: how like copies they are
    with Database(tmp_path / "out" / "synthtrace.duckdb", read_only=True) as database:
        assert database.sql("SELECT count(*) AS n FROM release_decisions")["n"].to_pylist() == [GENERATED]


def test_a_run_that_predicts_compares_each_pair_twice(
    images: Path, tmp_path: Path, compared: Counter[tuple[bytes, bytes]], searched: list[str]
) -> None:
    generated = build(tmp_path / "g", images / "generated", settings=QUICK, device="cpu")
    real = build(tmp_path / "r", images / "real", fitted_on=generated, device="cpu")
    run = compare(real, generated, groups=r"^(p\d+)_")
    for labels in (LABELS, {name: used for name, used in LABELS.items() if not used}):
        assert len(run.predict(labels).methods) >= 3
    assert most(compared, real, generated) == {2}
    assert not searched
