"""Runs with planted decisions, for tests of what judges them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from indexer.files import sha256_of
from query.database.store import Run, Store
from tests.helpers.making import slice_of, write_image

IMAGES = 40
USED = np.arange(IMAGES) % 4 < 2
NAMES = [f"real_unknown_{number:04d}.png" for number in range(1, IMAGES + 1)]
GROUPS = [f"p{number // 2}" for number in range(IMAGES)]
RNG = np.random.default_rng(6)
VALUES = {"good": USED * 2 + RNG.normal(size=IMAGES), "blind": RNG.normal(size=IMAGES)}


def write_reals(folder: Path) -> None:
    """A slice for each name; the used ones are brighter."""
    folder.mkdir()
    for number, name in enumerate(NAMES):
        pixels = slice_of(number).astype(np.int64) + 60 * USED[number]
        write_image(folder / name, pixels.clip(0, 255).astype(np.uint8))


def begin(store: Store, source: Path | str = "nowhere", groups: Sequence[str] | None = GROUPS, labels: bool = True) -> int:
    """A run of the images without decisions."""
    number = store.begin_run(Run("compare", 3, False, str(source), "generated", IMAGES, 9), [])
    there = Path(source).is_dir()
    store.add(
        "images",
        {
            "image_id": np.arange(IMAGES) + 9, "role": ["real"] * IMAGES, "path": NAMES, "name": NAMES, "mode": ["L"] * IMAGES,
            "sha256": [sha256_of(Path(source, name)) if there else "" for name in NAMES],
            "width": np.full(IMAGES, 64), "height": np.full(IMAGES, 64), "bytes": np.full(IMAGES, 9),
            "group": groups or [None] * IMAGES,
        },
    )  # fmt: skip
    if labels:
        store.add("labels", {"image_id": np.arange(IMAGES) + 9, "used": USED})
    store.finish_run(number)
    return number


def decide(store: Store, run: int, method: str, values: np.ndarray, **changes: Any) -> None:
    """Decisions with a threshold of 1, as `cross-fitted` unless changed."""
    columns: dict[str, Any] = {"image_id": np.arange(IMAGES) + 9, "value": values, "used": list(values >= 1)}
    columns |= {"threshold": np.ones(IMAGES), "role": "cross-fitted"} | changes
    repeated = {name: [value] * len(columns["image_id"]) if isinstance(value, str) else value for name, value in columns.items()}
    store.add(
        "decisions", {"run_id": [run] * len(columns["image_id"]), "method": [method] * len(columns["image_id"]), **repeated}
    )


def describe(store: Store, run: int, method: str, **changes: Any) -> None:
    """What a method tells about itself."""
    row = {"run_id": run, "method": method, "calibrated": True, "needs": "", "note": "as planted", "facts": "{}", "detail": "{}"}
    store.add("methods", {name: [value] for name, value in (row | changes).items()})
