"""Command `plan`: how many reference patients a study needs."""

import click

from query.cli.options import common_options, json_option
from query.cli.parameters import command, option, together
from query.cli.program import DONE, show
from query.text import table


@command("plan")
@option("--patients", type=click.IntRange(min=1), required=True, help="Number of unlabelled patients.")
@option("--used", type=click.IntRange(min=1), required=True, help="Number of them that were used, as assumed.")
@option("--slices", type=click.IntRange(min=1), default=1, help="Images of each unlabelled patient.")
@option("--reference-slices", type=click.IntRange(min=1), default=1, help="Images of each reference patient.")
@option("--auroc", type=click.FloatRange(0.5, 1, max_open=True), default=0.85, help="AUROC of single used images, as assumed.")
@option("--alike", type=click.FloatRange(0, 1, max_open=True), default=0.5, help="Correlation of a patient's images, as assumed.")
@option("--fdr", type=click.FloatRange(0, 1, True, True), default=0.1, help="False discovery rate.")
@option("--reference", "references", type=click.IntRange(min=2), multiple=True, help="Number of reference patients; repeatable.")
@option("--seed", type=click.IntRange(min=0), default=0, help="Random seed.")
@together(json_option, common_options)
def plan_command(
    patients: int,
    used: int,
    slices: int,
    reference_slices: int,
    auroc: float,
    alike: float,
    fdr: float,
    references: tuple[int, ...],
    seed: int,
    as_json: bool,
) -> int:
    """Plan a study: how many reference patients it takes to call used patients.

    Reference patients are known not to be used. Studies are simulated with the evidence's own functions; AUROC and correlation
    are assumptions.

    \b
    Example:
      synthtrace plan --patients 200 --used 100
    """
    from query.membership.plan import REFERENCES, Study, plan

    if used > patients:
        raise click.UsageError(f"--used {used} is more than --patients {patients}")
    study = Study(patients, used, slices, reference_slices, auroc, alike, fdr)
    found = plan(study, references or REFERENCES, seed=seed)
    head = ["reference patients", "smallest p", "needed at it", "used called", "false", "set significant", "share at least"]
    rows = [
        [
            f"{each.reference:,}",
            f"{each.smallest_p:.3g}",
            f"{each.together:,}" if each.together <= patients else "never",
            f"{each.called:.1f} of {used:,}",
            f"{each.false_share:.1%}",
            f"{each.set_power:.0%}",
            f"{each.share_low:.1%}",
        ]
        for each in found
    ]
    note = (
        "Needed at it: patients that must reach the smallest p together before one can be called used.\n"
        "Share at least: mean lower bound (95%). A plan, no promise: scores are assumed normal."
    )
    show({"plan": [each.as_dict() for each in found]}, as_json, f"{table(head, rows)}\n{note}")
    return DONE
