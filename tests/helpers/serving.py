"""A small run of drawn slices, and the service over it, for tests of the service."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from starlette.testclient import TestClient

from embeddings.phantoms.slices import copy_of
from indexer.build.build import Settings, build
from indexer.collection import Collection
from query.database.store import Store
from query.service.app import create_app
from query.service.backend.reviews.blinded import Blinding
from query.service.backend.service import Service
from tests.helpers import runs
from tests.helpers.making import slice_of, write_image
from tests.helpers.toy import TOY

REAL, GENERATED, COPIED, KNOWN = 50, 40, 8, 46
VALUE = 50.0  # of a match
METHODS = ("hubness", "phash")  # the first is the primary one
LABELS = {f"real/{n:03d}.png": n < KNOWN // 2 for n in range(KNOWN)}  # the first are used, of the last nothing is known
GROUPS = {f"real/{n:03d}.png": f"patient {n // 2}" for n in range(REAL)}
BASE = "http://127.0.0.1:8300"


@dataclass(frozen=True)
class World:
    """Folder of images and collections, and a database; generated image n is a copy of real image n for n < COPIED."""

    folder: Path
    db: Path

    @property
    def collection(self) -> Collection:
        return Collection(self.folder / "generated.c")

    @property
    def real(self) -> Collection:
        return Collection(self.folder / "real.c")

    def copied(self, folder: Path) -> "World":
        """The same with a database of its own."""
        db = folder / "results.duckdb"
        db.write_bytes(self.db.read_bytes())
        return replace(self, db=db)

    def sql(self, text: str) -> list[dict[str, Any]]:
        """What the database says, asked directly."""
        with Store.open(self.db, read_only=True) as store:
            return list(store.sql(text).to_pylist())


def make_world(folder: Path, settings: Settings = TOY) -> World:
    """Images, collections and a run; another process knows no view `toy` and needs other settings."""
    rng = np.random.default_rng(0)
    for role in ("real", "generated"):
        (folder / role / role).mkdir(parents=True)
    for number in range(REAL):
        write_image(folder / "real" / "real" / f"{number:03d}.png", slice_of(number))
    for number in range(GENERATED):
        made = copy_of(slice_of(number), 1, rng) if number < COPIED else slice_of(100 + number)
        write_image(folder / "generated" / "generated" / f"{number:03d}.png", made)
    generated = build(folder / "generated.c", folder / "generated", settings=settings)
    build(folder / "real.c", folder / "real", fitted_on=generated)
    world = World(folder, folder / "results.duckdb")
    with Store.open(world.db) as store:
        add_run(world, store)
    return world


def add_run(world: World, store: Store) -> int:
    """A run of the world's collections, with made-up decisions and matches."""
    rng = np.random.default_rng(1)
    run = runs.add_run(store, (world.real, world.collection), LABELS, GROUPS, k=8)
    value = rng.normal(size=REAL)
    evidence = {name: rng.random(REAL) for name in ("p_value", "q_value", "probability")}
    evidence |= {"probability_low": evidence["probability"] / 2, "probability_high": (1 + evidence["probability"]) / 2}
    answers = rng.choice(["used", "patient used", "no trace found", "undecided"], REAL).tolist()
    known = {"image_id": np.arange(REAL) + GENERATED, "used": value > 0, "value": value, "threshold": np.zeros(REAL)}
    for method in METHODS:
        answer = answers if method == METHODS[0] else [None] * REAL
        same = {"method": [method] * REAL, "answer": answer, "role": ["unlabelled"] * REAL}
        _add(store, run, "decisions", {**known, **evidence, **same})
        facts = json.dumps({"primary": method == METHODS[0], "fdr": 0.1, "reference": 20, "reference_patients": 10})
        about = {"method": method, "calibrated": True, "needs": "nothing", "note": "made up", "facts": facts, "detail": "{}"}
        _add(store, run, "methods", {name: [value] for name, value in about.items()})
    _add_patients(store, run, rng)
    _add_matches(store, run)
    return run


def _add_patients(store: Store, run: int, rng: np.random.Generator) -> None:
    """Two images of a patient; the second is the nearer one."""
    count = REAL // 2
    p_values = rng.permutation(np.arange(1, count + 1) / (count + 1))
    decided = {"patient": [f"patient {n}" for n in range(count)], "image_id": 2 * np.arange(count) + 1 + GENERATED}
    decided |= {"method": [METHODS[0]] * count, "images": [2] * count, "role": ["unlabelled"] * count}
    decided |= {"p_value": p_values, "q_value": p_values, "decision": np.where(p_values < 0.2, "used", "no trace found")}
    _add(store, run, "patient_decisions", decided)
    whole = {"method": METHODS[0], "p_value": 0.001, "share_low": 0.2, "patients": count, "reference_patients": 10}
    _add(store, run, "set_tests", {name: [value] for name, value in whole.items()})


def _add(store: Store, run: int, table: str, columns: dict[str, Any]) -> None:
    store.add(table, {"run_id": [run] * len(next(iter(columns.values()))), **columns})


def _add_matches(store: Store, run: int) -> None:
    """Each copy was compared with its source; the value of pair n is VALUE + n."""
    generated = np.arange(COPIED)
    ids = {"real_id": generated + GENERATED, "generated_id": generated}
    zeros = dict.fromkeys(("matches", "inliers", "inlier_ratio", "quarter_turns"), np.zeros(COPIED, int))
    _add(store, run, "matches", {**ids, **zeros, "value": generated + VALUE, "mirrored": np.zeros(COPIED, bool)})
    counts = {"generated_images": [COPIED], "pairs": [COPIED], "controls": [20], "control_groups": [20], "level": [0.05]}
    _add(store, run, "matching", {**counts, "threshold": [30.0], "note": ["made up"]})
    image = {"image_id": ids["real_id"], "view": ["matched"] * COPIED, "score": ["match"] * COPIED, "value": generated + VALUE}
    _add(store, run, "scores", image)
    pair = {"query_id": ids["real_id"], "query_role": ["real"] * COPIED, "rank": np.ones(COPIED, int), "neighbour_id": generated}
    seen = {"view": ["matched"] * COPIED, "distance": -generated - 1.0, "mirrored": np.zeros(COPIED, bool)}
    _add(store, run, "neighbours", {**pair, **seen})


@contextmanager
def serving(world: World, blinding: Blinding | None = None, database: bool = True, **options: Any) -> Iterator[TestClient]:
    """A client of the service, which ends with it; without a database it only looks images up."""
    with (
        Service(world.collection, world.db if database else None, **options) as service,
        TestClient(create_app(service, blinding), base_url=BASE, raise_server_exceptions=False) as client,
    ):
        yield client
