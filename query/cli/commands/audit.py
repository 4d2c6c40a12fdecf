"""Commands `audit`, and `demo` on procedural images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from query import terminal
from query.cli.options import (
    candidates_option,
    check_labels,
    common_options,
    device_option,
    index_options,
    json_option,
    k_option,
    known_options,
    match_option,
    method_options,
    mirror_option,
    orient_option,
    parquet_option,
    rotations_option,
    settings_of,
    shards_options,
)
from query.cli.parameters import FOLDER, command, option, together
from query.cli.program import exit_code, show, working

if TYPE_CHECKING:
    from query.comparison.matching import Budget
    from query.flow import Audit


details_option = option("--details", is_flag=True, help="Print all of it (details.txt), not only one page (summary.txt).")


@command("audit")
@click.argument("real")
@click.argument("generated")
@option("--out", default="out", type=FOLDER, help="Output folder.")
@option(
    "--threshold", type=click.IntRange(min=0), metavar="BITS", help="End with exit code 1 if a pair is this near in view phash."
)
@option(
    "--quality",
    type=click.IntRange(min=0),
    metavar="N",
    default=0,
    help="Measure how good the generated images are too, on at most N images of either side; 0: not. 1000 take 12 s of one core "
    "beside 200 real images, 22 s beside 1,000; an audit of 1,000 generated images takes 50 s, of 10,000 five minutes.",
)
@together(match_option, candidates_option, rotations_option)
@together(
    known_options,
    method_options,
    mirror_option,
    orient_option,
    k_option,
    index_options,
    shards_options,
    device_option,
    parquet_option,
    details_option,
    json_option,
    common_options,
)
def audit_command(
    real: str,
    generated: str,
    out: Path,
    threshold: int | None,
    quality: int,
    budget: "Budget",
    candidates: int,
    rotations: bool,
    labels: Path | None,
    all_used: bool,
    groups: str | None,
    delimiter: str | None,
    encoding: str | None,
    near_duplicates: str,
    methods: tuple[str, ...],
    primary: str | None,
    fdr: float,
    priors: tuple[float, float],
    siblings: str,
    mismatch: str,
    used: Path | None,
    unused: Path | None,
    mirror: bool,
    orient: str | None,
    k: int,
    shards: int | None,
    shard_cores: int,
    ray: str | None,
    parquet_above: int,
    device: str,
    details: bool,
    as_json: bool,
    **chosen: Any,
) -> int:
    """Audit generated images against real ones and write a report.

    The audit indexes both sets, compares them in every view, matches suspicious pairs geometrically and predicts which real
    images were used. Report, tables, figures and database go to --out. Known membership (--labels or --all-used, --unused,
    --used) calibrates the predictions; if used and unused images are known, the report also evaluates each method.

    \b
    Example:
      synthtrace audit real/ generated/ --out report
    """
    from indexer.sharded.build import Sharding
    from query import AuditSettings, MatchSettings, PredictionRequest, audit
    from query.inputs.tables import TableForm
    from query.membership.predict import Siblings
    from query.membership.reference_verdict import Mismatch

    check_labels(labels, all_used)
    settings = AuditSettings(
        index=settings_of(chosen),
        labels=labels,
        all_used=all_used,
        groups=groups,
        tables=TableForm(delimiter, encoding),
        predictions=PredictionRequest(
            methods, primary, fdr, priors, Siblings(siblings), used, unused, chosen["seed"] or 0, Mismatch(mismatch)
        ),
        mirror=mirror,
        orient=orient or AuditSettings.orient,
        threshold=threshold,
        matching=MatchSettings(budget, candidates, rotations),
        k=k,
        device=device,
        near_duplicates=near_duplicates,
        sharding=Sharding(shards, shard_cores, device) if shards else None,
        ray=ray,
        parquet_above=parquet_above,
        quality=quality,
    )
    with working() as report:
        result = audit([real], [generated], out, settings, progress=report, say=report.say)
    return _show(result, result.details if details else result.summary, as_json)


@command("demo")
@option("--out", default="demo", type=FOLDER, help="Output folder.")
@option("--generated", type=click.IntRange(min=1), help="Number of generated slices; without it 10,000, and 1,000 before them.")
@option("--real", type=click.IntRange(min=4), default=200, help="Number of real slices; half of them are used.")
@together(match_option, index_options, device_option, details_option, json_option, common_options)
def demo_command(
    out: Path,
    generated: int | None,
    real: int,
    budget: "Budget",
    device: str,
    details: bool,
    as_json: bool,
    **chosen: Any,
) -> int:
    """Run an audit on synthetic slices with known ground truth, offline.

    Without --generated a small audit of 1,000 generated slices against 100 real ones comes first, in the folder `first` of
    --out: its findings are printed after about a minute, and stay if the large one is interrupted. With --json only the large one
    runs.

    \b
    Example:
      synthtrace demo --generated 1000
    """
    from query import AuditSettings, MatchSettings
    from query.cli.output.next_steps import next_steps, report_line
    from query.demo import DemoSize, demo
    from query.flow import claim

    settings = AuditSettings(index=settings_of(chosen), matching=MatchSettings(budget), device=device)
    seed, small = chosen["seed"] or 0, out / "first"
    staged = generated is None and not as_json
    if staged:
        claim(out)
        with working() as report:
            first = demo(small, DemoSize(1_000, min(real, 100), seed), settings, progress=report, say=report.say)
        terminal.out(f"{first.details if details else first.summary}\n{report_line(small)}\n")
    with working() as report:
        if staged:
            report.say("now the same with 10,000 generated slices; Ctrl-C leaves what is above")
        result = demo(out, DemoSize(generated or 10_000, real, seed), settings, progress=report, say=report.say)
    code = _show(result, result.details if details else result.summary, as_json)
    if not as_json:
        terminal.out(next_steps(out, small if staged else out))
    return code


def _show(result: "Audit", text: str, as_json: bool) -> int:
    show(result.as_dict(), as_json, text.rstrip("\n"))
    return exit_code(result.failed, result.findings or 0)
