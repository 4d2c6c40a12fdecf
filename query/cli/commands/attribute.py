"""Command `attribute`: which subset of the real images did each generated image come from?"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from query.cli.options import (
    common_options,
    device_option,
    groups_option,
    json_option,
    match_option,
    mirror_option,
    orient_option,
    ray_option,
    seed_option,
)
from query.cli.parameters import DATABASE, Help, NewFile, command, option, together
from query.cli.program import exit_code, show, working

if TYPE_CHECKING:
    from query.comparison.matching import Budget


@command()
@click.argument("real")
@click.argument("generated")
@option(
    "--subsets",
    required=True,
    metavar="folder|CSV|REGEX",
    help="Subsets of the real images: folder (the first folder of each name), a CSV of image,subset, or a regular expression "
    "applied to image names.",
)
@option("--db", required=True, type=DATABASE, help="DuckDB file, created if missing.")
@option("--csv", "csv_file", type=NewFile(), help="Also write the answers as CSV.")
@option(
    "--labels",
    group=Help.KNOWN,
    metavar="folder|CSV|REGEX",
    help="Generated images that are known to come from a subset: folder (called like the subset), a CSV of image,subset, or a "
    "regular expression. They calibrate the probabilities.",
)
@option(
    "--prior",
    group=Help.PREDICTION,
    type=click.Choice(["equal", "patients"]),
    default="equal",
    help="What is held probable beforehand: all subsets alike, or as they have patients.",
)
@option(
    "--least",
    group=Help.PREDICTION,
    type=click.FloatRange(0, 1),
    default=0.8,
    help="Probability from which a subset is named; below it the answer is undecided.",
)
@match_option
@seed_option
@together(groups_option, mirror_option, orient_option, ray_option, device_option, json_option, common_options)
def attribute(
    real: str,
    generated: str,
    subsets: str,
    db: Path,
    csv_file: Path | None,
    labels: str | None,
    prior: str,
    least: float,
    budget: "Budget",
    seed: int,
    groups: str | None,
    delimiter: str | None,
    encoding: str | None,
    mirror: bool,
    orient: str | None,
    ray: str | None,
    device: str,
    as_json: bool,
) -> int:
    """Find which subset of the real images each generated image came from.

    REAL and GENERATED are folders of images, or collections. The probability of a subset is uncalibrated without --labels, and
    always means: if the image came from one of these subsets. A subset does not win by its size. Images are indexed beside the
    database, so the command can be repeated and resumed.

    \b
    Example:
      synthtrace attribute real/ generated/ --subsets folder --groups 'patient(\\d+)' --db results.duckdb
    """
    from indexer.execution.on_ray import on_ray
    from query.cli.inputs import check_database, images_at, indexed_sides
    from query.cli.output.subsets import subsets_text
    from query.comparison.comparison import compare
    from query.comparison.matching import MatchSettings, match
    from query.comparison.search import By
    from query.comparison.subsets import Origins, Prior, SubsetSettings, write_csv
    from query.comparison.subsets import attribute as attribute_images
    from query.database.record import Results, record
    from query.database.store import Store
    from query.inputs.groups import group, read_groups
    from query.inputs.subsets import origins_by_row, read_subsets, subsets_by_row, without_subset
    from query.inputs.tables import TableForm

    form, settings = TableForm(delimiter, encoding), SubsetSettings(Prior(prior), least, seed)
    given, grouping = read_subsets(subsets, form), read_groups(groups, form) if groups else None
    with working() as report, on_ray(ray) as work:
        images = images_at([real]), images_at([generated])
        check_database(db)
        sides = indexed_sides(images, db, mirror, orient, {"device": device, "progress": report})
        members = subsets_by_row(given, sides.real.names)
        if len(members) < len(sides.real):
            report.say(without_subset(len(sides.real) - len(members), len(sides.real)))
        names = sorted(set(members.values()))
        known = origins_by_row(labels, sides.generated.names, names, form) if labels else {}
        report.say("grouping real images")
        patients, where = group(grouping, sides.real), sides.generated.stored.devices(device)
        comparison = compare(sides, device=where, executor=work, progress=report)
        matches = (
            None if budget.nothing else match(comparison, patients, MatchSettings(budget), by=By(where, work), progress=report)
        )
        report.say("attributing generated images")
        votes = attribute_images(comparison, patients, Origins(members, known), settings, matches=matches, executor=work)
        with Store.open(db) as store:
            results = Results(comparison, groups=patients.named, matches=matches, subsets=votes)
            run = record(store, results, command="attribute")
    if csv_file:
        write_csv(votes, csv_file)
    text = subsets_text(votes, patients.note)
    show({"run": run, "failed": sides.failed, "groups": patients.note, **votes.as_dict()}, as_json, text)
    return exit_code(sides.failed)
