#!/usr/bin/env python3
"""Measure what evidence promises: levels, false discoveries, lower bounds, where both sides differ as real ones do.

    bench/evidence.py [--part groups|used|siblings|slices|permutations ...] [--draws 200]
                      [--from SLICES --groups CSV --work DIR] [--json FILE]

Sides are drawn by group laws: so many unlabelled patients with so many slices each against so many reference patients with so
many slices each. Images are vectors of two views: a patient's slices resemble each other (correlation .5), and generated images
are distorted copies of images of patients who are not shown, so that nothing shown was used.

groups        nothing was used: share of p-values at or below .05 of images and at or below .1 of patients, draws in which a
              patient is called used at q <= .1, the p-value of the whole set and its lower bound; by law.
used          every fifth unlabelled patient was used, all slices of it, each copied a few times: false share among the patients
              called used, how many are found, and how often the lower bound holds.
siblings      the same, but only half of the slices of a used patient: false share of images whose own p-value is called at
              q <= .1, and of patients.
slices        the first and the second with real slices: --from, --groups. All slices are indexed once, and one distorted copy of
              each; every draw takes rows of both.
permutations  labels are permuted between groups before anything is fitted; every method then predicts labelled images
              cross-fitted. Of the permutation tests of its AUROC at most 5% should be significant.

Exit codes: 0 done, 2 bad input.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common.command import Parser
from numpy.typing import NDArray
from result_file import write_results
from scipy import stats

from embeddings.files.writing import make_folder, write_bytes
from embeddings.images.errors import NoImages
from embeddings.types import EmbeddingSpec, Metric
from indexer.build.build import Settings, build
from indexer.manifest import CollectionError
from query.benchmarks.benchmark import folder_slices
from query.evaluation.classification import AUROC, permutation_p_values
from query.inputs.groups import GroupsError, read_groups
from query.inputs.images import Images, images_of
from query.membership.calibration import q_values
from query.membership.case import NOT_USED, UNKNOWN, USED, Case, MembershipError
from query.membership.cross_fit import Prediction, PredictionSettings, cross_fit
from query.membership.decisions import Decision, Role
from query.membership.methods.registry import make_method

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]
VIEWS = ("pixels", "resnet")
LATENT, DIM = 24, 48
ALIKE = 0.5  # correlation of a patient's slices
DISTORTION = 0.3  # of a copy, in standard deviations of the latent numbers
FALSE, LEVEL = 0.1, 0.05
QUICK = ("fusion", "fusion-learned", "reference", "hubness", "self-threshold")


@dataclass(frozen=True)
class Law:
    """Unlabelled patients with slices each, against reference patients with slices each; a few unlabelled ones may have more."""

    patients: int
    slices: int
    reference: int
    reference_slices: int
    large: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """As in the tables."""
        large = "".join(f", 1 x {size}" for size in self.large)
        return f"{self.patients - len(self.large)} x {self.slices}{large} against {self.reference} x {self.reference_slices}"

    @property
    def sizes(self) -> list[int]:
        """Slices of each patient, unlabelled ones first."""
        small = self.patients - len(self.large)
        return [self.slices] * small + [*self.large] + [self.reference_slices] * self.reference


LAWS = (
    Law(100, 1, 80, 1),
    Law(100, 1, 8, 10),
    Law(100, 1, 20, 10),
    Law(80, 1, 10, 10),
    Law(10, 10, 80, 1),
    Law(20, 10, 20, 10),
    Law(40, 5, 40, 10),
    Law(100, 1, 80, 1, (32,)),
    Law(100, 1, 80, 1, (8, 10, 12, 16)),
)
OF_SLICES = (Law(40, 1, 8, 10), Law(8, 10, 40, 1), Law(40, 1, 40, 1), Law(25, 10, 25, 10))  # as many patients as 109 allow


@dataclass(frozen=True)
class Drawn:
    """A case, and which of its real images were used."""

    case: Case
    used: NDArray[np.bool_]


Draw = Callable[[Law, float, float, int], Drawn]  # law, share of used patients, share of their slices, seed


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="bench/evidence.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=list(PARTS), help="repeat it for several (default: all)")
    parser.add_argument("--draws", type=int, default=200, metavar="N", help="of each law")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="of the first draw")
    parser.add_argument("--from", dest="folder", type=Path, metavar="SLICES", help="folder of slices for part slices")
    parser.add_argument("--groups", metavar="CSV", help="whose slices they are: image,group")
    parser.add_argument("--work", type=Path, metavar="DIR", help="for the collections of part slices")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    return parser.parse_args(argv)


# Vectors


def drawn_vectors(law: Law, patients: float, slices: float, seed: int) -> Drawn:
    """Both sides as vectors; generated ones are copies of the used slices and of 100 hidden patients."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(law.sizes)), law.sizes)
    latent = _slices(groups, rng)
    used = _used(law, groups, patients, slices, rng)
    hidden = _slices(np.repeat(np.arange(100), 3), rng)
    sources = np.concatenate([np.repeat(latent[used], 3, axis=0), hidden])
    copies = sources + DISTORTION * rng.normal(size=sources.shape)
    maps = {view: rng.normal(size=(LATENT, DIM)) for view in VIEWS}
    real, generated = ({view: _seen(side, maps[view], rng) for view in VIEWS} for side in (latent, copies))
    labels = np.where(groups >= law.patients, NOT_USED, UNKNOWN).astype(np.int8)
    return Drawn(Case(_images(real), _images(generated), labels, groups, seed=seed), used)


def _slices(groups: Rows, rng: np.random.Generator) -> NDArray[np.float64]:
    patients = rng.normal(size=(groups.max() + 1, LATENT))
    return np.asarray(np.sqrt(ALIKE) * patients[groups] + np.sqrt(1 - ALIKE) * rng.normal(size=(len(groups), LATENT)))


def _used(law: Law, groups: Rows, patients: float, slices: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """So many of the unlabelled patients, and of each so many slices, at least one."""
    used = np.zeros(len(groups), bool)
    for patient in rng.permutation(law.patients)[: round(patients * law.patients)]:
        own = np.flatnonzero(groups == patient)
        used[rng.permutation(own)[: max(1, round(slices * len(own)))]] = True
    return used


def _seen(latent: NDArray[np.float64], to_view: NDArray[np.float64], rng: np.random.Generator) -> Vectors:
    vectors = latent @ to_view + 0.5 * rng.normal(size=(len(latent), DIM)) * np.sqrt(LATENT)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _images(vectors: Mapping[str, Vectors]) -> Images:
    count = len(vectors[VIEWS[0]])
    pixels = [np.frombuffer(row.tobytes(), np.uint8)[None] for row in vectors[VIEWS[0]]]
    specs = {view: EmbeddingSpec(view, DIM, Metric.COSINE, {}) for view in VIEWS}
    blank = {view: np.zeros(count, bool) for view in VIEWS}
    return Images([f"{row}" for row in range(count)], specs, vectors, blank, pixels.__getitem__)


# Real slices


@dataclass(frozen=True)
class Pool:
    """All slices and one distorted copy of each, in the same order; which patient each is of."""

    real: Images
    generated: Images
    groups: NDArray[Any]

    def drawn(self, law: Law, patients: float, slices: float, seed: int) -> Drawn:
        """Rows of both: copies of the used slices and of all patients that are not shown."""
        rng = np.random.default_rng(seed)
        names, sizes = np.unique(self.groups, return_counts=True)
        order = rng.permutation(len(names))
        order = order[sizes[order] >= max(law.slices, law.reference_slices)][: len(law.sizes)]
        if len(order) < len(law.sizes):
            raise GroupsError(f"{law.name} takes {len(law.sizes)} patients, and only {len(order)} have so many slices")
        own = [rng.permutation(np.flatnonzero(self.groups == names[one]))[:n] for one, n in zip(order, law.sizes, strict=True)]
        rows, groups = np.concatenate(own), np.repeat(np.arange(len(own)), law.sizes)
        used = _used(law, groups, patients, slices, rng)
        hidden = np.flatnonzero(~np.isin(self.groups, names[order]))
        labels = np.where(groups >= law.patients, NOT_USED, UNKNOWN).astype(np.int8)
        generated = self.generated.take(np.concatenate([rows[used], hidden]))
        return Drawn(Case(self.real.take(rows), generated, labels, groups, seed=seed), used)


def pool(given: argparse.Namespace) -> Pool:
    """Index the slices of --from and a distorted copy of each, once."""
    import cv2

    from embeddings.phantoms.slices import copy_of

    if not (given.folder and given.groups and given.work):
        raise GroupsError("part slices needs --from, --groups and --work")
    copies = given.work / "copies"
    make_folder(given.work)
    make_folder(copies)
    for number, each in enumerate(folder_slices(given.folder, {})):
        rng = np.random.default_rng(number)
        encoded = cv2.imencode(".png", copy_of(each.load(), 1 + number % 5, rng))[1]
        write_bytes(copies / Path(each.name).with_suffix(".png").name, encoded.tobytes())
    generated = build(given.work / "copies.collection", copies, settings=Settings({view: {} for view in VIEWS}))
    real = build(given.work / "real.collection", given.folder, fitted_on=generated)
    named = read_groups(given.groups)(real)[0]
    groups = np.array([named.get(name, name) for name in real.names])
    return Pool(_in_memory(images_of(real)), _in_memory(images_of(generated)), groups)


def _in_memory(images: Images) -> Images:
    pixels = [np.zeros((1, 1), np.uint8)] * len(images)  # no method of these parts looks at them
    vectors = {view: np.array(mapped) for view, mapped in images.vectors.items()}
    return replace(images, vectors=vectors, read=pixels.__getitem__, embedders={}, collection=None)


# Parts


def predicted(drawn: Drawn, fdr: float = FALSE) -> Prediction:
    """What the primary method says."""
    return cross_fit(make_method("fusion"), drawn.case, PredictionSettings(fdr=fdr))


def null_of(draw: Draw, law: Law, seeds: range) -> dict[str, Any]:
    """Where nothing was used."""
    images, patients, called, whole, low = [], [], [], [], []
    for seed in seeds:
        found = predicted(draw(law, 0.0, 1.0, seed))
        asked = np.flatnonzero([role is Role.UNLABELLED for role in found.role])
        own, of = _patients(found)
        images.append(float((found.p[asked] <= LEVEL).mean()))
        patients.append(float((own <= FALSE).mean()))
        called.append(any(decision is Decision.USED for decision in of))
        whole.append(found.whole.p_value if found.whole else np.nan)
        low.append(bool(found.whole and found.whole.share_low > 0))
    uniform = stats.kstest(whole, "uniform").pvalue
    return {
        "draws": len(seeds),
        "images_at_05": _mean(images),
        "patients_at_10": _mean(patients),
        "any_called": _share(called),
        "set_at_05": _share([p <= LEVEL for p in whole]),
        "set_at_50": _share([p <= 0.5 for p in whole]),
        "set_uniform_p": float(uniform),
        "bound_above_0": _share(low),
    }


def used_of(draw: Draw, law: Law, slices: float, seeds: range) -> dict[str, Any]:
    """Where every fifth unlabelled patient was used."""
    false, power, wrong, by_image, significant, holds = [], [], [], [], [], []
    for seed in seeds:
        drawn = draw(law, 0.2, slices, seed)
        found, case = predicted(drawn), drawn.case
        used = np.array([drawn.used[case.groups == case.groups[row]].any() for row in _asked_rows(found)])
        called = np.array([decision is Decision.USED for decision in _patients(found)[1]])
        false.append(float((called & ~used).sum() / max(1, called.sum())))
        power.append(float(called[used].mean()))
        asked = case.unlabelled
        named = q_values(found.p[asked]) <= FALSE
        by_image.append(float((named & ~drawn.used[asked]).sum() / max(1, named.sum())))
        wrong.append(float(named[drawn.used[asked]].mean()))
        significant.append(bool(found.whole and found.whole.p_value <= LEVEL))
        holds.append(bool(found.whole and found.whole.share_low <= used.mean() + 1e-9))
    return {
        "draws": len(seeds),
        "false_share_of_patients": _mean(false),
        "patients_found": _mean(power),
        "false_share_of_images_by_their_own_q": _mean(by_image),
        "images_found_by_their_own_q": _mean(wrong),
        "set_at_05": _share(significant),
        "bound_holds": _share(holds),
    }


def _patients(found: Prediction) -> tuple[NDArray[np.float64], list[Decision]]:
    """p-values and decisions of the unlabelled patients."""
    assert found.patients is not None
    asked = np.array([role is Role.UNLABELLED for role in found.patients.role])
    return found.patients.p[asked], found.patients.asked


def _asked_rows(found: Prediction) -> Rows:
    assert found.patients is not None
    return found.patients.rows[[role is Role.UNLABELLED for role in found.patients.role]]


def _mean(values: Sequence[float]) -> dict[str, float]:
    """With its standard error and 99% t-interval."""
    error = float(stats.sem(values)) if len(values) > 1 else float("nan")
    half = float(stats.t.ppf(0.995, len(values) - 1) * error) if len(values) > 1 else float("nan")
    mean = float(np.mean(values))
    return {"mean": mean, "error": error, "low": mean - half, "high": mean + half}


def _share(hits: Sequence[bool]) -> dict[str, float]:
    """With Clopper and Pearson's 99% interval."""
    found = stats.binomtest(int(np.sum(hits)), len(hits)).proportion_ci(0.99)
    return {"mean": float(np.mean(hits)), "low": float(found.low), "high": float(found.high)}


def by_law(measure: Callable[[Law, range], dict[str, Any]], laws: Sequence[Law], seeds: range) -> dict[str, Any]:
    """What is measured, by name of the law."""
    results = {}
    for law in laws:
        results[law.name] = measure(law, seeds)
        print(f"{law.name}: {short(results[law.name])}", file=sys.stderr, flush=True)
    return results


def short(figures: Mapping[str, Any]) -> str:
    """Means in one line."""
    return ", ".join(f"{name} {each['mean'] if isinstance(each, dict) else each:.3g}" for name, each in figures.items())


def groups(given: argparse.Namespace, seeds: range) -> dict[str, Any]:
    """See the head of this file."""
    return by_law(partial(null_of, drawn_vectors), LAWS, seeds)


def used(given: argparse.Namespace, seeds: range) -> dict[str, Any]:
    """See the head of this file."""
    return by_law(lambda law, of: used_of(drawn_vectors, law, 1.0, of), LAWS, seeds)


def siblings(given: argparse.Namespace, seeds: range) -> dict[str, Any]:
    """See the head of this file."""
    laws = (Law(40, 10, 40, 10), Law(100, 4, 100, 4))
    return by_law(lambda law, of: used_of(drawn_vectors, law, 0.5, of), laws, seeds)


def slices(given: argparse.Namespace, seeds: range) -> dict[str, Any]:
    """See the head of this file."""
    made = pool(given)
    return {
        "null": by_law(partial(null_of, made.drawn), OF_SLICES, seeds),
        "used": by_law(lambda law, of: used_of(made.drawn, law, 1.0, of), OF_SLICES, seeds),
    }


def permutations(given: argparse.Namespace, seeds: range) -> dict[str, Any]:
    """Share of significant permutation tests by method, labels permuted before anything is fitted."""
    law, result = Law(40, 2, 40, 2), {}
    drawn = drawn_vectors(law, 1.0, 1.0, 0)
    for name in QUICK:
        hits = [_significant(name, drawn, seed) for seed in seeds]
        result[name] = _share(hits)
        print(f"permutations, {name}: {sum(hits)} of {len(hits)} significant", file=sys.stderr, flush=True)
    return result


def _significant(name: str, drawn: Drawn, seed: int) -> bool:
    """Whether a method that knows nothing seems to know something."""
    case, (names, first) = drawn.case, np.unique(drawn.case.groups, return_index=True)
    permuted = np.random.default_rng(seed).permutation(drawn.used[first])[np.searchsorted(names, case.groups)]
    labels = np.where(permuted, USED, NOT_USED).astype(np.int8)
    case = replace(case, used=labels, seed=seed, memory=dict(case.memory))
    found = cross_fit(make_method(name), case, PredictionSettings(primary=name))
    value = np.where(np.isnan(found.value), np.nanmin(found.value), found.value)
    note = np.array([answer is True for answer in found.used])
    return bool(permutation_p_values(value, note, permuted, case.groups, draws=199)[AUROC] <= LEVEL)


PARTS = {"groups": groups, "used": used, "siblings": siblings, "slices": slices, "permutations": permutations}


def main(argv: Sequence[str] | None = None) -> int:
    given = arguments(argv)
    seeds = range(given.first, given.first + given.draws)
    parts = given.part or [part for part in PARTS if part != "slices" or given.folder]
    results = {}
    try:
        for part in parts:
            print(f"{part}:", file=sys.stderr, flush=True)
            results[part] = PARTS[part](given, seeds)
    except (NoImages, CollectionError, GroupsError, MembershipError, OSError) as error:
        print(f"bench/evidence.py: {error}", file=sys.stderr)
        return 2
    if given.json:
        write_results(given.json, results, list(argv) if argv is not None else None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
