"""Runs of generated sets that say of patients what a test wants."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from query.database.store import Run, Store

PATIENTS, EACH = 12, 2  # and images of each


@dataclass
class Recorded:
    """What a run is made to say; numbers are of patients."""

    generated: int = 40
    called: Sequence[int] = (0, 1, 2)
    matched: Sequence[int] = (0, 0, 0, 1)  # a generated image each
    copied: Sequence[int] = (0,)
    method: str = "fusion"
    looked: int | None = None
    real: Sequence[int] = field(default_factory=lambda: range(PATIENTS * EACH))
    patients: Sequence[str] | None = None
    unused: Sequence[int] = ()  # images
    predicted: bool = True

    def add(self, store: Store) -> int:
        """Write it as a run; its number."""
        real, first = len(self.real), self.generated
        run = store.begin_run(Run("audit", 1, False, "real", "generated", real, first), [])
        names = self.patients or [f"p{image // EACH}" for image in self.real]
        store.add("images", {
            "image_id": np.arange(first + real), "role": ["generated"] * first + ["real"] * real,
            "path": [f"{n}.png" for n in range(first + real)], "name": [f"{n}.png" for n in range(first + real)],
            "sha256": [f"g{n}" for n in range(first)] + [f"r{n:02}" for n in self.real],
            "width": [8] * (first + real), "height": [8] * (first + real), "mode": ["L"] * (first + real),
            "bytes": [9] * (first + real), "group": [None] * first + list(names),
        })  # fmt: skip
        if self.unused:
            store.add("labels", {"image_id": np.array(self.unused) + first, "used": [False] * len(self.unused)})
        asked = [patient for patient in range(PATIENTS) if patient * EACH not in self.unused] if self.predicted else []
        if asked:
            store.add("patient_decisions", {
                "method": [self.method] * len(asked), "patient": [f"p{each}" for each in asked],
                "image_id": [first + each * EACH + 1 for each in asked], "images": [EACH] * len(asked),
                "role": ["unlabelled"] * len(asked), "p_value": [0.1] * len(asked), "q_value": [0.1] * len(asked),
                "decision": ["used" if each in self.called else "no trace found" for each in asked],
            })  # fmt: skip
        looked = self.generated if self.looked is None else self.looked
        store.add("matching", {
            "generated_images": [looked], "pairs": [looked], "controls": [9], "control_groups": [9], "level": [0.1],
            "threshold": [2.0], "note": [""],
        })  # fmt: skip
        hits = [*self.matched, PATIENTS - 1]  # the last one is not above the threshold
        store.add("match_tests", {
            "generated_id": np.arange(len(hits)), "real_id": np.array(hits) * EACH + first,
            "value": [3.0] * len(self.matched) + [2.0], "p_value": [0.1] * len(hits), "q_value": [0.1] * len(hits),
        })  # fmt: skip
        store.add("copy_search", {"threshold": [0.9], "largest": [0.5], "failed": [0]})
        copied = np.array(self.copied, np.int64)
        store.add("copies", {
            "real_id": copied * EACH + first, "generated_id": np.arange(len(copied)), "kind": ["near"] * len(copied),
            "similarity": [0.95] * len(copied), "mirrored": [False] * len(copied), "quarter_turns": [0] * len(copied),
        })  # fmt: skip
        store.finish_run(run)
        return run
