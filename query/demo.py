"""The demo: draw procedural slices, simulate a generator, audit, and compare with the known truth. Works offline."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from embeddings.files.reading import parse_json
from embeddings.files.spreadsheet import unescaped, write_rows
from embeddings.files.writing import full_disk_named, write_atomic, write_text
from indexer.build.build import Progress, silent
from indexer.files import locked
from query.benchmarks.benchmark import DEFAULT_KINDS, BenchmarkSettings, Kind, write_benchmark
from query.comparison.combined import COMBINED
from query.comparison.matching import MATCHED
from query.comparison.scores import Score
from query.database.store import Store
from query.evaluation.resampling import Measured, grouped_proportion
from query.flow import DATABASE, Audit, AuditSettings, Say, audit, claim, quiet
from query.report.statistics import in_order, rows, separation
from query.report.text.lines import wrapped
from query.report.text.numbers import UNDEFINED, interval, number, percent_interval
from query.report.text.summary import LINES
from query.text import many, plain

COPIED = 0.5  # share of the used images that generated images are made from; the others were used and left no copy
STRENGTHS = range(1, 6)  # of warps
_HIDDEN = "-"  # a source that is not among the real images


@dataclass(frozen=True)
class DemoSize:
    """How many slices a demo draws.

    Attributes:
        generated, real: numbers of images.
        seed: random seed of all slices.

    Raises:
        ValueError: fewer than 4 real images or 1 generated one, or a negative seed.
    """

    generated: int = 10_000
    real: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if self.real < 4 or self.generated < 1 or self.seed < 0:
            got = f"{self.real}, {self.generated}, {self.seed}"
            raise ValueError(f"a demo needs at least 4 real images, 1 generated one and a seed from 0, got {got}")


@dataclass(frozen=True)
class Truth:
    """What is known because the demo drew the images.

    Attributes:
        copies: generated images that are copies of real ones.
        copied_real_images, used_real_images: of all `real_images`.
        first_hit: view -> kind of copy -> share of copies whose nearest real image is their source.
        auroc: view -> ``used`` or ``copied`` -> AUROC of the distance to the nearest generated image.
    """

    generated_images: int
    copies: int
    copied_real_images: int
    used_real_images: int
    real_images: int
    first_hit: Mapping[str, Mapping[str, Measured]]
    auroc: Mapping[str, Mapping[str, Measured]]


@dataclass(frozen=True)
class Demo(Audit):
    """An audit of images whose truth is known."""

    truth: Truth

    @property
    def summary(self) -> str:
        """Text for a person on one page, as in summary.txt; the truth at its end."""
        truth = wrapped(_short_truth(self.truth))
        return self._page(LINES - truth.count("\n")) + truth

    @property
    def details(self) -> str:
        """All of it, as in details.txt; the truth at its end."""
        return super().details + wrapped(_truth_lines(self.truth))

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: see `query.flow.Audit.as_dict`; and truth."""
        return {**super().as_dict(), "truth": plain(self.truth)}


def demo(
    out: Path,
    size: DemoSize | None = None,
    settings: AuditSettings | None = None,
    *,
    progress: Progress = silent,
    say: Say = quiet,
) -> Demo:
    """Draw slices, audit them, and hold what was found against how they were made.

    Half of the real images were used, half of those are copied. As many training images again are hidden, so that not every
    generated image has a source among the real ones.

    Args:
        out: new, empty, or of an earlier demo; the slices go to `out`/slices and are used again where the arguments are the same.
        size: how many slices, and their random seed.
        settings: of the audit; labels and groups are those of the slices.
        progress, say: see `query.flow.audit`.

    Raises:
        ValueError: fewer than 4 real images or 1 generated one, or a negative seed.
        CollectionError, Locked, FullDisk, NoGpu, IndexProblem, WeightsError, StoreError: see `query.flow.audit`.
    """
    size = size or DemoSize()
    claim(out)
    slices = out / "slices"
    arguments = {**asdict(size), "format": 1}
    with full_disk_named(out), locked(out):
        if _made(slices) != arguments:
            _make(slices, arguments, progress, say)
    known = slices / "labels.csv"
    settings = replace(settings or AuditSettings(), labels=known, groups=str(known))
    audited = audit([slices / "real"], [slices / "generated"], out, settings, progress=progress, say=say)
    complete = Demo(audited.out, audited.failed, audited.result, audited.files, _truth(audited, slices))
    complete.write_texts()
    return complete


def _made(slices: Path) -> dict[str, Any] | None:
    """The arguments of finished slices."""
    try:
        arguments: dict[str, Any] = parse_json((slices / "arguments.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return arguments


def _make(slices: Path, arguments: Mapping[str, int], progress: Progress, say: Say) -> None:
    """Write the slices, their labels, and last of all the mark that they are finished."""
    unfinished = slices.with_name(".slices.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    real, generated = arguments["real"], arguments["generated"]
    say(f"drawing {many(real + real // 2, 'procedural slice')} and {many(generated, 'generated image')}")
    half, seed = real // 2, arguments["seed"]
    write_benchmark(
        unfinished,
        BenchmarkSettings(generated, half, real - half, hidden=half, copied=COPIED, kinds=DEFAULT_KINDS, seed=seed),
        progress=lambda done, total: progress("drawing slices", done, total),
        workers=None if generated >= 500 else 1,  # a few images do not pay for starting processes
    )
    known = pd.read_csv(unfinished / "truth_real.csv")[["real", "used", "group"]]
    columns = ("image", "used", "group")
    write_atomic(unfinished / "labels.csv", lambda file: write_rows(file, columns, known.itertuples(index=False)))
    write_text(unfinished / "arguments.json", json.dumps(arguments))
    shutil.rmtree(slices, ignore_errors=True)
    unfinished.rename(slices)


# The truth


def _truth(audited: Audit, slices: Path) -> Truth:
    """How often each view names the true source, and how well its distances tell used and copied images from others."""
    table = pd.read_csv(slices / "truth_generated.csv", keep_default_na=False).set_index("generated")
    sources = (unescaped(names).split("|") for names in table["sources"])
    table["parents"] = [tuple(name for name in names if name not in ("", _HIDDEN)) for names in sources]
    copies = table[table["parents"].map(bool)]
    reals = pd.read_csv(slices / "truth_real.csv").set_index("real")
    with Store.open(audited.out / DATABASE, read_only=True) as store:
        first = rows(
            store, "SELECT view, generated_image, source FROM nearest_source WHERE run_id = $run AND NOT blank", audited.run
        )
        d1 = rows(store, _D1, audited.run)
    views = in_order(first["view"].unique())
    sources = first.set_index(["view", "generated_image"])["source"]
    return Truth(
        generated_images=len(table),
        copies=len(copies),
        copied_real_images=int((reals["descendants"] > 0).sum()),
        used_real_images=int(reals["used"].sum()),
        real_images=len(reals),
        first_hit={view: _hits(_compared(copies, view, sources[view]), sources[view], reals) for view in views},
        auroc={view: _separations(d1[d1["view"] == view].set_index("name")["value"], reals) for view in views},
    )


_D1 = f"""SELECT s.view, i.name, s.value FROM scores AS s JOIN images AS i USING (run_id, image_id)
    WHERE run_id = $run AND s.score = '{Score.D1}' AND i.role = 'real' ORDER BY s.view, i.image_id"""


def _compared(copies: pd.DataFrame, view: str, sources: pd.Series) -> pd.DataFrame:
    """The copies that the view looked at: of those that were compared within a budget only so many, by other views all."""
    return copies[copies.index.isin(sources.index)] if view == MATCHED else copies


def _hits(copies: pd.DataFrame, sources: pd.Series, reals: pd.DataFrame) -> dict[str, Measured]:
    """Kind (and strength of a warp) -> share of copies whose nearest real image is a parent; one blank in the view is a miss."""
    nearest = sources.reindex(copies.index)
    hit = np.array([source in parents for source, parents in zip(nearest, copies["parents"], strict=True)], bool)
    group = reals["group"][copies["parents"].str[0]].to_numpy(str)
    kind, strength = copies["kind"], copies["strength"]
    parts = {"warp": kind == Kind.WARP, **{f"warp {s}": (kind == Kind.WARP) & (strength == s) for s in STRENGTHS}}
    parts["blend"] = kind == Kind.BLEND
    shares = {name: grouped_proportion(hit[part], group[part]) for name, part in parts.items()}
    return {name: Measured.beside(share, images=int(parts[name].sum())) for name, share in shares.items()}


def _separations(d1: pd.Series, reals: pd.DataFrame) -> dict[str, Measured]:
    """AUROC of the distance to the nearest generated image for what a real image was; blank images have no distance."""
    known = reals.loc[d1.index]
    was = {"used": known["used"].to_numpy(bool), "copied": known["descendants"].to_numpy() > 0}
    return {name: separation(-d1.to_numpy(), positive, known["group"].to_numpy(str)) for name, positive in was.items()}


def _short_truth(truth: Truth) -> Iterator[str]:
    """The truth in short, by all views combined."""
    view = COMBINED if COMBINED in truth.first_hit else next(iter(truth.first_hit))
    first, auroc = truth.first_hit[view], truth.auroc[view]
    copied, used = (interval(auroc[kind], none=UNDEFINED) for kind in ("copied", "used"))
    copies = f"{many(truth.generated_images, 'generated image')} {truth.copies:,}"
    yield ""
    yield "THE TRUTH, known because this demo drew the images itself"
    yield f"  Of {copies} copy {truth.copied_real_images:,} of {truth.real_images:,} real ones; others have no source here."
    chance = f"chance {1 / truth.real_images:.1%}"
    yield f"  Nearest real image of a warped copy is its source: {percent_interval(first['warp'])} ({chance})."
    yield f"  AUROC of the distance, view {view} (chance 0.50): copied {copied}; used, half without a copy, {used}."


def _truth_lines(truth: Truth) -> Iterator[str]:
    """The truth as lines."""
    copied, used, real = f"{truth.copied_real_images:,}", f"{truth.used_real_images:,}", f"{truth.real_images:,}"
    chance = 1 / truth.real_images
    yield ""
    yield "THE TRUTH, known because this demo drew the images itself"
    copies, generated = f"{truth.copies:,}", many(truth.generated_images, "generated image")
    copy = "copies" if truth.copies == 1 else "copy"
    yield f"  {copies} of {generated} {copy} {copied} of the real ones; the others have no source here."
    yield "  Share of copies compared whose nearest real image is their source [95% by groups];"
    yield f"  chance {chance:.1%}, for blends up to {2 * chance:.1%}"
    yield f"    {'view':<10}{'warp 1':>8}{'2':>7}{'3':>7}{'4':>7}{'5':>7}   {'all warps':<22}{'blends':<22}copies"
    for view, shares in truth.first_hit.items():
        by_strength = "".join(f"{number(shares[f'warp {s}'].value, '.0%'):>{8 if s == 1 else 7}}" for s in STRENGTHS)
        both = [percent_interval(shares[kind]) for kind in ("warp", "blend")]
        counts = f"{sum(shares[kind].images or 0 for kind in ('warp', 'blend')):,}"
        yield f"    {view:<10}{by_strength}   {both[0]:<22}{both[1]:<22}{counts}"
    yield "  AUROC of a real image's distance to its nearest generated one [95% by groups]; chance 0.50"
    yield f"    {'view':<10}{f'copied ({copied} of {real})':<28}used ({used} of {real}; half of them left no copy)"
    for view, aurocs in truth.auroc.items():
        yield f"    {view:<10}{interval(aurocs['copied'], none=UNDEFINED):<28}{interval(aurocs['used'], none=UNDEFINED)}"
    yield "  Look at slices/truth_generated.csv beside csv/source_map.csv, and slices/truth_real.csv beside csv/scores.csv."
