#!/usr/bin/env python3
"""Measure what is found of real generators, whose training images are known.

    bench/generators.py --images SLICES --work DIR [--method fusion ...] [--ingredients] [--splits 40] [--json FILE] PREFIX...

PREFIX.npz holds `generated`, (n, h, w) or (n, h, w, 3) BGR uint8; PREFIX_real.csv the columns part,real,used,source,group:
which files of SLICES were trained on, and files of other patients; PREFIX_siblings.csv, if there is one, other files of the used
patients; PREFIX.json, if there is one, is the card that make_membership.py wrote. Pictures are enlarged to 256 pixels (cubic).

The unused patients of part dev are the reference, all of part test is asked for; siblings are held back. For each generator and
method, with 95% intervals by patients:

  auroc      used against unused images of part test; against the siblings
  found      share of the used images above all but 1% and 5% of the unused ones
  set        p-value of the whole set, the least share of its patients that was used, and the share in truth
  called     patients called used at a false discovery rate of 10%, and how many of them falsely
  splits     unused patients alone, split at random into a set and a reference: share of p-values of the set at or below 0.05,
             and of splits in which anybody is called used. Nothing was used there.

With --ingredients also auroc and found of each score that `fusion` is made of, by itself, and of plain distances.

Exit codes: 0 done, 2 bad input.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common.command import Parser
from numpy.typing import NDArray
from result_file import write_results

from embeddings.files.spreadsheet import read_rows
from embeddings.files.writing import make_folder, write_bytes
from indexer.build.build import Settings, build
from query.evaluation.ranking import auroc_interval
from query.evaluation.resampling import grouped_proportion
from query.inputs.images import Images, images_of
from query.membership.case import NOT_USED, UNKNOWN, Case, Method
from query.membership.cross_fit import Prediction, PredictionSettings, cross_fit
from query.membership.decisions import Decision, Role
from query.membership.methods.fusion import PRIMARY, Fusion
from query.membership.methods.registry import make_method
from query.membership.proximity import Nearness

SIZE = 256
FALSE = (0.01, 0.05)
PLAIN = (("pixels", Nearness.D1), ("pixels", Nearness.RESIDUAL), ("resnet", Nearness.D1), ("phash", Nearness.D1))
Chosen = NDArray[np.bool_]
VIEWS = ("phash", "pixels", "resnet", "sift")


@dataclass(frozen=True)
class Generator:
    """A generator's images, and what is known of the real ones.

    Attributes:
        real, generated: the images.
        part: (nr,) dev, test or siblings.
        used: (nr,) whether each was trained on.
        groups: (nr,) patients.
    """

    real: Images
    generated: Images
    part: NDArray[np.str_]
    used: NDArray[np.bool_]
    groups: NDArray[np.str_]

    @cached_property
    def unused(self) -> Chosen:
        """(nr,) images of patients of whom none was trained on."""
        return np.asarray(~self.used & (self.part != "siblings"))

    @cached_property
    def judged(self) -> tuple[Case, NDArray[np.int64]]:
        """The case of part test, and its rows; kept, so that nothing is measured twice."""
        return self.case(self.part == "test", self.unused & (self.part == "dev"), self.part == "siblings")

    def case(self, asked: Chosen, reference: Chosen, siblings: Chosen) -> tuple[Case, NDArray[np.int64]]:
        """The case of these images, and their rows."""
        rows = np.flatnonzero(asked | reference | siblings)
        labels = np.where(reference, NOT_USED, UNKNOWN).astype(np.int8)[rows]
        return Case(self.real.take(rows), self.generated, labels, self.groups[rows], siblings=siblings[rows]), rows


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="bench/generators.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefix", type=Path, nargs="+", metavar="PREFIX", help="files of a generator, without .npz")
    parser.add_argument("--images", type=Path, required=True, metavar="SLICES", help="folder of the real files")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="for pictures and collections")
    parser.add_argument("--method", action="append", metavar="NAME", help="repeat it for several (default: fusion)")
    parser.add_argument("--ingredients", action="store_true", help="each score of `fusion` by itself, and plain distances")
    parser.add_argument("--splits", type=int, default=40, metavar="N", help="of unused patients")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    return parser.parse_args(argv)


def read(prefix: Path, images: Path, work: Path) -> Generator:
    """Index both sides, once."""
    folder = work / prefix.name
    make_folder(work)
    make_folder(folder)
    make_folder(folder / "generated")
    with np.load(prefix.with_suffix(".npz")) as arrays:
        for number, picture in enumerate(arrays["generated"], 1):
            large = cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
            write_bytes(folder / "generated" / f"generated_{number:05d}.png", cv2.imencode(".png", large)[1].tobytes())
    rows = [row for name in ("real", "siblings") for row in _rows(prefix.with_name(f"{prefix.name}_{name}.csv"))]
    files = sorted({row["source"] for row in rows})
    generated = build(folder / "generated.collection", folder / "generated", settings=Settings({view: {} for view in VIEWS}))
    real = build(folder / "real.collection", *(images / name for name in files), fitted_on=generated)
    known = {row["source"]: row for row in rows}
    of = [known[Path(name).name] for name in real.names]
    part, groups = (np.array([row.get(column) or row["source"] for row in of]) for column in ("part", "group"))
    return Generator(images_of(real), images_of(generated), part, np.array([row["used"] == "1" for row in of]), groups)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(read_rows(file))


def measured(generator: Generator, method: Method, splits: int) -> dict[str, Any]:
    """What one method finds, see the head of this file."""
    case, rows = generator.judged
    found = cross_fit(method, case, PredictionSettings(primary=method.name))
    value, used, groups, part = found.value, generator.used[rows], generator.groups[rows], generator.part[rows]
    test = np.isfinite(value) & (part == "test")
    sibling = np.isfinite(value) & ((part == "siblings") | (test & used))
    figures = {
        "generated": len(case.generated),
        "images": {"used": int((test & used).sum()), "not used": int((test & ~used).sum())},
        **_told_apart(value[test], used[test], groups[test]),
        **_of_patients(found, generator.used[rows]),
    }
    if (part == "siblings").any():
        figures["auroc against siblings"] = ends_of(auroc_interval(value[sibling], used[sibling], groups[sibling]))
    figures["splits"] = _split(generator, method, splits)
    return figures


def ingredients(generator: Generator) -> dict[str, Any]:
    """Each score by itself."""
    case, rows = generator.judged
    test, figures = generator.part[rows] == "test", {}
    for view, which in dict.fromkeys([*PRIMARY, *PLAIN]):
        method = Fusion({(view, which): 1.0})
        value = method.answer(case, method.fit(case)).value
        known = test & np.isfinite(value)
        figures[f"{which} of {view}"] = _told_apart(value[known], generator.used[rows][known], generator.groups[rows][known])
    return figures


def _told_apart(value: NDArray[np.float64], used: Chosen, groups: NDArray[np.str_]) -> dict[str, Any]:
    """Used and unused images by their values."""
    found = {f"{rate}": found_at(value, used, groups, rate) for rate in FALSE}
    return {"auroc": ends_of(auroc_interval(value, used, groups)), "found": found}


def ends_of(estimate: Any) -> list[float | None]:
    """Value and ends of the interval, to four digits."""
    return [None if np.isnan(each) else round(float(each), 4) for each in estimate.ends]


def found_at(value: NDArray[np.float64], used: Chosen, groups: NDArray[np.str_], rate: float) -> list[float | None]:
    """Share of used images above all but this share of the unused ones; the interval takes that threshold for given."""
    others = np.sort(value[~used])[::-1]
    return ends_of(grouped_proportion(value[used] > others[int(rate * len(others))], groups[used]))


def _of_patients(found: Prediction, used: Chosen) -> dict[str, Any]:
    patients, whole = found.patients, found.whole
    if patients is None:
        return {}
    asked = [number for number, role in enumerate(patients.role) if role is Role.UNLABELLED]
    truth = used[patients.rows[asked]]
    called = np.array([patients.decision[number] is Decision.USED for number in asked])
    figures: dict[str, Any] = {"called": {"used": int((called & truth).sum()), "falsely": int((called & ~truth).sum())}}
    if whole is not None:
        share = {"share_low": round(whole.share_low, 3), "share": round(float(truth.mean()), 3)}
        figures["set"] = {"p": whole.p_value, "patients": whole.patients, "reference": whole.reference, **share}
    return figures


def _split(generator: Generator, method: Method, splits: int) -> dict[str, Any]:
    """Where nothing was used: unused patients against unused patients."""
    patients, nobody = np.unique(generator.groups[generator.unused]), np.zeros(len(generator.unused), bool)
    everybody, rows = generator.case(generator.unused, nobody, nobody)
    p_values, called = [], []
    for seed in range(splits):
        some = np.random.default_rng(seed).permutation(patients)[: len(patients) // 2]
        labels = np.where(np.isin(generator.groups[rows], some), UNKNOWN, NOT_USED).astype(np.int8)
        found = cross_fit(method, replace(everybody, used=labels), PredictionSettings(primary=method.name))
        p_values += [found.whole.p_value] if found.whole else []
        called.append(bool(found.patients and Decision.USED in found.patients.asked))
    at_level = float(np.mean(np.array(p_values) <= 0.05)) if p_values else None
    return {"splits": splits, "set_at_05": at_level, "any_called": float(np.mean(called)) if called else None}


def told(name: str, method: str, figures: dict[str, Any]) -> str:
    """One line."""
    one, five = (figures["found"][f"{rate}"][0] for rate in FALSE)
    low, area, high = (figures["auroc"][place] for place in (1, 0, 2))
    parts = [f"AUROC {area} ({low} to {high})", f"found at 1% {one}, 5% {five}"]
    if "set" in figures:
        whole = figures["set"]
        parts.append(f"set p {whole['p']:.4f}, at least {whole['share_low']} of {whole['share']}")
    parts += [f"called {figures['called']}"] if "called" in figures else []
    parts += [f"siblings {figures['auroc against siblings'][0]}"] if "auroc against siblings" in figures else []
    return f"{name}, {method}: {', '.join(parts)}, splits {figures['splits']}"


def main(argv: Sequence[str] | None = None) -> int:
    """Command-line entry."""
    given = arguments(argv)
    results: dict[str, dict[str, Any]] = {}
    for prefix in given.prefix:
        if not prefix.with_suffix(".npz").is_file():
            print(f"bench/generators.py: {prefix}.npz: no such file", file=sys.stderr)
            return 2
        generator = read(prefix, given.images, given.work)
        for method in given.method or ["fusion"]:
            figures = measured(generator, make_method(method), given.splits)
            results.setdefault(prefix.name, {})[method] = figures
            print(told(prefix.name, method, figures), flush=True)
        if given.ingredients:
            results[prefix.name]["ingredients"] = ingredients(generator)
            for score, figures in results[prefix.name]["ingredients"].items():
                print(
                    f"{prefix.name}, {score}: AUROC {figures['auroc'][0]}, found at 1% {figures['found']['0.01'][0]}", flush=True
                )
        card = prefix.with_suffix(".json")
        if card.is_file():
            results[prefix.name]["card"] = json.loads(card.read_text(encoding="utf-8"))
    if given.json:
        write_results(given.json, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
