"""How good the generated images of an audit are, beside how private: fidelity, duplicates and diversity, beside real images.

All of it is measured on a draw of either side, so that its cost does not grow with the set. Diversity is that of the features of
fidelity, see `query.duplication.unfitted`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.build.build import Progress
from query.duplication.diversity import Vectors
from query.duplication.duplicates import Duplicates, found_beside
from query.duplication.pool import Pool
from query.duplication.unfitted import centre_of, unfitted
from query.inputs.groups import Groups
from query.inputs.images import Images
from query.inputs.sides import Sides
from query.leakage.draws import RealGroups, Rows
from query.leakage.leakage import numbered
from query.quality.estimate import GENERATED, REAL, FidelitySettings, Pools, estimated
from query.quality.features import VIEW, drawn_rows, features_of
from query.quality.fidelity import Fidelity, Unmeasured, if_possible
from query.quality.figures import FidelityError, on_grid

ENOUGH = 20  # images known not to be used, and others, for these to be the reference
HASH = "phash"  # diversity where there are no features: its hashes are fitted on nothing either


@dataclass(frozen=True)
class Quality:
    """How good the generated images of an audit are.

    Attributes:
        generated, real: images that were drawn.
        fidelity: without leakage, or why it could not be measured.
        duplicates: among the generated images, with their diversity beside that of the real ones.
        groups_known: whether patients of the real images are known; else near-duplicates stand in for them.
    """

    generated: int
    real: int
    fidelity: Fidelity | Unmeasured
    duplicates: Duplicates
    groups_known: bool

    def settings(self) -> dict[str, Any]:
        """What a run says of it."""
        told = {"generated": self.generated, "real": self.real, "view": VIEW, "groups_known": self.groups_known}
        if isinstance(self.fidelity, Fidelity):
            told |= {"k": self.fidelity.settings.k, "held_out": self.fidelity.held_out}
        return told


def measure_quality(
    sides: Sides, groups: Groups, labels: Mapping[int, bool], images: int, *, seed: int, progress: Progress
) -> Quality:
    """Measure fidelity, duplicates and diversity of the generated images of an audit.

    Where there are enough images known not to be used, they are the reference of fidelity, as hold-out images are: a copy of a
    used image is no better there than any image of its kind. Else one half of the real patients is, and copies look best of all.

    Args:
        sides: the images.
        groups: of the real images: patients, or near-duplicates.
        labels: row of a real image -> whether it was used, where that is known.
        images: drawn of either side at most.
        seed: of draws.
        progress: called with stage, done, total.

    Raises:
        CollectionError: a file of the collections is damaged.
    """
    patients = groups.of_row.astype(str) if groups.known else None
    drawn = {GENERATED: _Drawn.of(sides.generated, None, images, seed), REAL: _Drawn.of(sides.real, patients, images, seed)}
    try:
        features = {name: features_of(side.images, side.rows, VIEW, progress) for name, side in drawn.items()}
        fidelity = if_possible(lambda: _fidelity(drawn, features, (groups, labels), FidelitySettings(seed=seed), progress))
    except FidelityError as error:
        features, fidelity = {}, Unmeasured(str(error))
    centre = centre_of({VIEW: features[REAL]}) if features else {}
    seen = {name: (side.pool, side.vectors(features.get(name), centre)) for name, side in drawn.items()}
    duplicates = found_beside(seen[GENERATED], seen[REAL], seed, progress)
    return Quality(len(drawn[GENERATED].rows), len(drawn[REAL].rows), fidelity, duplicates, groups.known)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Images of one side: their rows in an order of contents, and (n,) patients of all images, empty where nobody knows."""

    images: Images
    rows: Rows
    patients: NDArray[np.str_]

    @classmethod
    def of(cls, images: Images, patients: NDArray[np.str_] | None, count: int, seed: int) -> "_Drawn":
        nobody = np.full(len(images), "")
        return cls(images, drawn_rows(images.digests, seed, count), nobody if patients is None else patients)

    @property
    def pool(self) -> Pool:
        part = np.full(len(self.images), "", "<U6")
        part[self.rows] = "images"
        return Pool([self.images], part, self.patients)

    def vectors(self, features: NDArray[np.float32] | None, centre: Mapping[str, NDArray[np.float32]]) -> dict[str, Vectors]:
        """Those of features less the centre, in the order of the pool, or hashes; nothing where there are neither."""
        ordered = {} if features is None else {VIEW: features[np.argsort(self.rows)]}
        found = unfitted(self.images, np.sort(self.rows), ordered, centre)
        return {view: found[view] for view in (VIEW, HASH) if view in found and (view == VIEW) == bool(ordered)}


def _fidelity(
    drawn: Mapping[str, _Drawn],
    features: Mapping[str, NDArray[np.float32]],
    known: tuple[Groups, Mapping[int, bool]],
    settings: FidelitySettings,
    progress: Progress,
) -> Fidelity:
    """Fidelity of the drawn images."""
    (groups, labels), real, count = known, drawn[REAL], len(drawn[GENERATED].rows)
    digests = np.array(real.images.digests, str)[real.rows].tolist()
    patients = numbered(groups.of_row[real.rows].tolist(), [], digests).training
    unused = np.array([labels.get(row) is False for row in real.rows.tolist()])
    own, held = (patients[side] for side in (~unused, unused))
    held_out = min(len(own), len(held)) >= ENOUGH and not np.isin(held, own).any()
    order = np.argsort(unused, kind="stable") if held_out else np.arange(len(unused))  # the reference stands behind the others
    sides = RealGroups(own, held) if held_out else RealGroups(patients, np.zeros(0, np.int64))
    of_real, of_generated = on_grid(features[REAL][order], features[GENERATED])
    figures, images = estimated(Pools(of_real, sides, of_generated, {GENERATED: np.arange(count)}), settings, progress)
    return Fidelity(figures, images, held_out, settings, groups.known)
