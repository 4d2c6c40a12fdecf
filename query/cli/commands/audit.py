"""Commands `audit`, and `demo` on procedural images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from query.cli.options import (
    FOLDER,
    candidates_option,
    common_options,
    device_option,
    index_options,
    json_option,
    k_option,
    known_options,
    method_options,
    mirror_option,
    option,
    settings_of,
    together,
    turned_option,
    verify_option,
)
from query.cli.program import exit_code, show, working

if TYPE_CHECKING:
    from query.comparison.matching import Budget
    from query.flow import Audit


@click.command("audit")
@click.argument("real")
@click.argument("generated")
@option("--out", default="out", type=FOLDER, help="Folder of the report and all behind it.")
@option("--threshold", type=click.IntRange(min=0), metavar="BITS", help="Exit code 1 where phash finds a pair so near.")
@together(verify_option, candidates_option, turned_option)
@together(known_options, method_options, mirror_option, k_option, index_options, device_option, json_option, common_options)
def audit_command(
    real: str,
    generated: str,
    out: Path,
    threshold: int | None,
    budget: "Budget",
    candidates: int,
    rotations: bool,
    labels: Path | None,
    groups: str | None,
    methods: tuple[str, ...],
    primary: str | None,
    fdr: float,
    prior: float,
    used: Path | None,
    unused: Path | None,
    mirror: bool,
    k: int,
    device: str,
    as_json: bool,
    **chosen: Any,
) -> int:
    """Index, compare and judge images, and report.

    Tables, plots, pictures of the nearest pairs, the database and a summary go to the folder --out. What is known of some real
    images calibrates, as for decide; where images of both kinds are known, the report says how well each method decides.

    \b
    Example:
      synthtrace audit real/ generated/ --out report
    """
    from query.flow import audit
    from query.membership.predict import PredictionRequest

    settings = settings_of(chosen)
    asked = PredictionRequest(methods, primary, fdr, prior, used, unused, chosen["seed"] or 0)
    known: dict[str, Any] = {"labels": labels, "groups": groups, "asked": asked}
    options: dict[str, Any] = {"mirror": mirror, "threshold": threshold, "k": k, "device": device}
    closely: dict[str, Any] = {"match_budget": budget, "candidates": candidates, "rotations": rotations}
    with working() as report:
        found = audit([real], [generated], out, settings=settings, progress=report, say=report.say, **known, **closely, **options)
    return _show(found, as_json)


@click.command("demo")
@option("--out", default="demo", type=FOLDER, help="Folder of the slices and the report.")
@option("--generated", type=click.IntRange(min=1), default=10_000, help="Generated slices to make.")
@option("--real", type=click.IntRange(min=4), default=200, help="Real slices to make, half of them used.")
@together(verify_option, index_options, device_option, json_option, common_options)
def demo_command(out: Path, generated: int, real: int, budget: "Budget", device: str, as_json: bool, **chosen: Any) -> int:
    """Audit made-up slices whose truth is known, offline.

    \b
    Example:
      synthtrace demo --generated 1000
    """
    from query.demo import demo

    settings = settings_of(chosen)
    sizes = {"generated": generated, "real": real, "seed": chosen["seed"] or 0}
    with working() as report:
        found = demo(out, settings=settings, match_budget=budget, device=device, progress=report, say=report.say, **sizes)
    return _show(found, as_json)


def _show(found: "Audit", as_json: bool) -> int:
    show(found.as_dict(), as_json, found.summary)
    return exit_code(found.failed, found.findings or 0)
