#!/usr/bin/env python3
"""Measure whether `leakage` and `filter` hold their words where training and hold-out patients differ in images each.

    bench/leakage.py [--from SLICES --groups GROUPS.csv --work DIR] [--replicates 100] [--seed 0] [--json FILE]

Sides are drawn again and again, patients at random, by laws such as "90 patients of one image against 8 of 10". Generated images
come from patients that are on neither side; with copies, one in ten is a copy of a training image. Patients are points with
others around them; with --from they are those of a folder of slices (a CSV with the columns image and group), whose generated
images are warped slices (strength 3 to 5, copies: strength 2). These are indexed once and kept in the work folder.

By law, without and with copies:
  found      share of replicates with evidence of leakage (p <= 0.05): false alarms, and power; before and after the filter
  nearer     without copies, mean of nearer_to_training; 0.5 is expected
  held       without copies, share of replicates whose interval of a figure holds what is expected
  withheld   share of images without a source that the filter withholds at its default risk, and of copies

Exit codes: 0 done, 2 bad input.
"""

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from result_file import write_results
from scipy.spatial.distance import cdist
from scipy.stats import binomtest

from embeddings.files.writing import make_folder, write_atomic
from embeddings.phantoms.slices import copy_of
from indexer.build.build import build
from indexer.collection import Collection
from indexer.search import brute_force
from query.comparison.combined import COMBINED
from query.inputs.groups import groups_from_csv
from query.leakage.draws import RealGroups, whole
from query.leakage.evidence import ALPHA, evidence
from query.leakage.filter import folds, scores_of, threshold_for
from query.leakage.leakage import EXPECTED, PRIMARY, Figure, View, combined_of, leakage
from query.leakage.risk import RISK

Law = tuple[int, int, int, int]  # training patients, images of each, hold-out patients, images of each
LAWS: dict[str, Law] = {
    "90 x 1 against 8 x 10": (90, 1, 8, 10),
    "8 x 10 against 90 x 1": (8, 10, 90, 1),
    "20 x 10 against 70 x 1": (20, 10, 70, 1),
    "70 x 1 against 20 x 10": (70, 1, 20, 10),
    "40 x 2 against 40 x 2": (40, 2, 40, 2),
    "8 x 10 against 8 x 10": (8, 10, 8, 10),
}
MADE, SHARE = 500, 0.1  # images without a source; copies among all
STRENGTHS = (2, 3, 4, 4, 5)  # of the warps of each slice; the first are the copies
DIMENSIONS, SPREAD, BESIDE = 8, 0.3, 0.25  # of points; of those of a patient; of copies

Distances = dict[str, NDArray[np.float32]]  # by view, (ng, nt + nh)


@dataclass(frozen=True)
class Drawn:
    """A replicate: distances to training images, then hold-out images; their patients; which generated ones are copies."""

    distances: Distances
    groups: RealGroups
    copied: NDArray[np.bool_]


def points(law: Law, copies: bool, seed: int) -> Drawn:
    """Patients are points of a normal distribution, their images lie around them."""
    rng = np.random.default_rng(seed)

    def side(patients: int, each: int) -> NDArray[np.float64]:
        centres = np.repeat(rng.normal(size=(patients, DIMENSIONS)), each, axis=0)
        return centres + SPREAD * rng.normal(size=centres.shape)

    training, hold_out, made = side(*law[:2]), side(*law[2:]), side(MADE, 1)
    copied = training[rng.integers(len(training), size=_copies(MADE) if copies else 0)]
    made = np.vstack([made, copied + BESIDE * rng.normal(size=copied.shape)])
    distances = {"pixels": cdist(made, np.vstack([training, hold_out])).astype(np.float32)}
    return Drawn(distances, _groups(law), np.arange(len(made)) >= MADE)


def _copies(made: int) -> int:
    return round(made * SHARE / (1 - SHARE))


def _groups(law: Law) -> RealGroups:
    return RealGroups(np.repeat(np.arange(law[0]), law[1]), law[0] + np.repeat(np.arange(law[2]), law[3]))


@dataclass(frozen=True)
class Slices:
    """Real slices and warped ones.

    Attributes:
        distances: by view, (ng, nr).
        patient: (nr,) numbers.
        source, kind: (ng,) row of the real slice, and which of `STRENGTHS`.
    """

    distances: Distances
    patient: NDArray[np.int64]
    source: NDArray[np.int64]
    kind: NDArray[np.int64]

    @classmethod
    def of(cls, folder: Path, groups: Path, work: Path) -> "Slices":
        """Warp and index them, unless the work folder has them."""
        if not (work / "real" / "manifest.json").exists():
            warp_all(folder, work / "warped")
            generated = build(work / "generated", work / "warped")
            build(work / "real", folder, fitted_on=generated)
        generated, real = Collection(work / "generated"), Collection(work / "real")
        distances = {
            view: brute_force.distances(
                generated.spec(view).metric, np.asarray(generated.vectors(view)), np.asarray(real.vectors(view))
            ).astype(np.float32)
            for view in generated.views
        }
        named = groups_from_csv(groups)
        patient = np.unique([named[name] for name in real.names], return_inverse=True)[1]
        row = {Path(name).stem: number for number, name in enumerate(real.names)}
        sources, kinds = zip(*(Path(name).stem.rsplit("_", 1) for name in generated.names), strict=True)
        return cls(distances, patient, np.array([row[name] for name in sources]), np.array(kinds, np.int64))

    def draw(self, law: Law, copies: bool, seed: int) -> Drawn:
        """Patients of both sides at random; all others are hidden."""
        rng = np.random.default_rng(seed)
        order = rng.permutation(self.patient.max() + 1)
        training = self._images(order[: law[0]], law[1], rng)
        hold_out = self._images(order[law[0] : law[0] + law[2]], law[3], rng)
        hidden = np.isin(self.patient[self.source], order[law[0] + law[2] :])
        made = rng.permutation(np.flatnonzero(hidden & (self.kind > 0)))[:MADE]
        of = rng.choice(training, _copies(len(made)) if copies else 0)
        copied = np.flatnonzero(self.kind == 0)[np.searchsorted(self.source[self.kind == 0], of)]
        rows, real = np.concatenate([made, copied]), np.concatenate([training, hold_out])
        distances = {view: each[np.ix_(rows, real)] for view, each in self.distances.items()}
        groups = RealGroups(self.patient[training], self.patient[hold_out])
        return Drawn(distances, groups, np.arange(len(rows)) >= len(made))

    def _images(self, patients: NDArray[np.int64], each: int, rng: np.random.Generator) -> NDArray[np.int64]:
        return np.concatenate([rng.permutation(np.flatnonzero(self.patient == patient))[:each] for patient in patients])


def warp_all(folder: Path, out: Path) -> None:
    """Each slice by each of `STRENGTHS`."""
    make_folder(out)
    for number, path in enumerate(sorted(folder.iterdir())):
        image = np.asarray(Image.open(path).convert("L"), np.uint8)
        for kind, strength in enumerate(STRENGTHS):
            warped = copy_of(image, strength, np.random.default_rng([number, kind]))
            path_of = out / f"{path.stem}_{kind}.png"
            write_atomic(path_of, partial(Image.fromarray(warped).save, format="png"))


def measured(drawn: Drawn) -> dict[str, float]:
    """What one replicate says."""
    seen = (
        np.ones(len(drawn.copied), bool),
        *(np.ones(len(each), bool) for each in (drawn.groups.training, drawn.groups.hold_out)),
    )
    made, real = (dict.fromkeys(drawn.distances, ~flags) for flags in (seen[0], np.concatenate(seen[1:])))
    together = combined_of(drawn.distances, made, real, drawn.groups.both)
    split = len(seen[1])
    view = View(together[:, :split], together[:, split:], seen[0], seen[1], seen[2])
    groups = drawn.groups
    found = evidence(view.training, view.hold_out, whole(len(together), groups), groups)
    measures = {"p_value": found.p_value, "share_low": found.share_low, **filtered(view, groups, drawn.copied)}
    return measures if drawn.copied.any() else measures | described(view, groups)


def described(view: View, groups: RealGroups) -> dict[str, float]:
    """A figure, and whether intervals hold what is expected."""
    figures = leakage({COMBINED: view}, whole(len(view.training), groups), groups).views[COMBINED]
    held = {f"held {name}": float(figures[name].low <= EXPECTED[name] <= figures[name].high) for name in PRIMARY}
    return {"nearer": figures[Figure.NEARER].value, **held}


def filtered(view: View, groups: RealGroups, copied: NDArray[np.bool_]) -> dict[str, float]:
    """Share that the filter withholds, and what it says of the rest."""
    scores = scores_of(view, groups)
    limit = threshold_for(scores.hold_out, groups.hold_out, groups.training, RISK, np.random.default_rng(0))
    withheld = scores.training.max(axis=1) > limit
    after = evidence(view.training, view.hold_out, folds(scores, groups, RISK), groups)
    made = {"after": after.p_value, "lost": float(withheld[~copied].mean())}
    return made | ({"withheld": float(withheld[copied].mean())} if copied.any() else {})


def summed(replicates: Sequence[dict[str, float]], copies: bool) -> dict[str, Any]:
    """Shares with 95% intervals, and means."""
    values = {name: np.array([each[name] for each in replicates]) for name in replicates[0]}
    made: dict[str, Any] = {"replicates": len(replicates), "found": share(values["p_value"] <= ALPHA)}
    made["found after the filter"] = share(values["after"] <= ALPHA)
    made |= {name: round(float(values[name].mean()), 4) for name in ("nearer", "share_low", "lost", "withheld") if name in values}
    return made | ({} if copies else {f"held {name}": share(values[f"held {name}"] > 0) for name in PRIMARY})


def share(flags: NDArray[np.bool_]) -> list[float]:
    """Share and its interval by Clopper and Pearson."""
    ends = binomtest(int(flags.sum()), len(flags)).proportion_ci()
    return [round(float(each), 4) for each in (flags.mean(), ends.low, ends.high)]


def replicate(draw: Callable[[Law, bool, int], Drawn], law: Law, copies: bool, seed: int) -> dict[str, float]:
    """One, drawn by `draw`."""
    return measured(draw(law, copies, seed))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all laws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="folder", type=Path, metavar="SLICES")
    parser.add_argument("--groups", type=Path, metavar="CSV")
    parser.add_argument("--work", type=Path, metavar="DIR")
    parser.add_argument("--replicates", type=int, default=100, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args(argv)
    if given.folder and not (given.groups and given.work):
        parser.error("--from needs --groups and --work")
    draw = Slices.of(given.folder, given.groups, given.work).draw if given.folder else points
    seeds = range(given.seed, given.seed + given.replicates)
    report: dict[str, Any] = {}
    with ProcessPoolExecutor(given.workers) as pool:
        for name, law in LAWS.items():
            for copies in (False, True):
                found = summed(list(pool.map(partial(replicate, draw, law, copies), seeds)), copies)
                report[f"{name}, {'one in ten copies' if copies else 'no copies'}"] = found
                print(name, "copies" if copies else "", found, flush=True)
    if given.json:
        write_results(given.json, report, list(argv) if argv is not None else None)


if __name__ == "__main__":
    main()
