"""Command `compare`: compare real images with a collection."""

from pathlib import Path
from typing import Any

import click

from query.cli.options import (
    check_labels,
    collection_argument,
    common_options,
    device_option,
    json_option,
    k_option,
    known_options,
    mirror_option,
    orient_option,
    parquet_option,
    ray_option,
)
from query.cli.parameters import DATABASE, command, option, together
from query.cli.program import exit_code, show, working


@command("compare")
@click.argument("real", nargs=-1, required=True)
@collection_argument
@option("--db", required=True, type=DATABASE, help="DuckDB file, created if missing.")
@together(mirror_option, orient_option, k_option, known_options, ray_option, device_option)
@together(parquet_option, json_option, common_options)
def compare_command(
    real: tuple[str, ...],
    collection: Path,
    db: Path,
    mirror: bool,
    orient: str | None,
    k: int,
    labels: Path | None,
    all_used: bool,
    groups: str | None,
    delimiter: str | None,
    encoding: str | None,
    near_duplicates: str,
    ray: str | None,
    device: str,
    parquet_above: int,
    as_json: bool,
) -> int:
    """Compare real images with a collection and record the run.

    REAL is images, as for index, or a collection. Images are indexed beside the database (results.duckdb: results.real and
    results.mirrored), so the command can be repeated and resumed.

    \b
    Example:
      synthtrace compare real/ generated.collection --db results.duckdb
      synthtrace compare real/ generated.shards --db results.duckdb --ray local
    """
    from indexer.execution.on_ray import on_ray
    from indexer.sharded.joined import open_joined
    from query.cli.inputs import check_database, collection_of, flipped, images_at, mirrored_beside, tell_failures, turned
    from query.cli.output.overview import overview
    from query.cli.reference import KnownImages, check_reference
    from query.comparison.comparison import compare
    from query.comparison.copies import find_copies
    from query.database.record import Results, record
    from query.database.store import Store
    from query.inputs.groups import given_groups, read_groups
    from query.inputs.labels import labels_of_folders, read_labels
    from query.inputs.sides import sides_of
    from query.inputs.tables import TableForm
    from query.leakage.decision import decide_release

    check_labels(labels, all_used)
    form = TableForm(delimiter, encoding)
    grouping = read_groups(groups, form) if groups else None
    known = KnownImages(read_labels(labels, form) if labels else {}, grouping, near_duplicates=near_duplicates, all_used=all_used)
    generated = open_joined(collection)
    where = generated.devices(device)
    check_database(db)
    with working() as report, on_ray(ray) as work:
        report.say(where.note)
        images = images_at(real)
        alike = check_reference(images, generated, db, known, report)
        options: dict[str, Any] = {"device": device, "progress": report}
        reals = collection_of(images, db.with_suffix(".real"), fitted_on=generated, **options)
        reals = turned(reals, generated, orient, db.with_suffix(".real"), **options)
        mirrored = flipped(reals, mirrored_beside(db, reals), fitted_on=generated, **options) if mirror else None
        report.close()
        tell_failures(reals)
        by_row = labels_of_folders(reals, known.labels, None, None, all_used)
        sides = sides_of(reals, generated, mirrored)
        patients = given_groups(grouping, sides.real)
        comparison = compare(sides, k=k, device=where, executor=work, progress=report)
        copies = find_copies(comparison, patients.of_row, progress=report)
        release = decide_release(comparison, by_row, patients.named)
        results = Results(comparison, by_row, patients.named, release=release, copies=copies, near_duplicates=alike)
        with Store.open(db, parquet_above=parquet_above) as store:
            run = record(store, results)
            summary = overview(store, run)
    show(summary, as_json, str(summary))
    return exit_code(sum(side.failed or 0 for side in summary.sides.values()))
