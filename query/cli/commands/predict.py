"""Command `predict`: membership inference for each real image."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from query.cli.options import (
    check_labels,
    common_options,
    device_option,
    json_option,
    k_option,
    known_options,
    method_options,
    mirror_option,
    orient_option,
    parquet_option,
    ray_option,
    seed_option,
)
from query.cli.parameters import DATABASE, EXISTING_FILE, Help, command, option, together
from query.cli.program import exit_code, show, working

if TYPE_CHECKING:
    from embeddings.images.find import Source
    from indexer.collection import Collection

    Images = Collection | Source


@command()
@click.argument("real")
@click.argument("generated")
@option("--db", required=True, type=DATABASE, help="DuckDB file, created if missing.")
@method_options
@option(
    "--model",
    "model_files",
    group=Help.PREDICTION,
    multiple=True,
    type=EXISTING_FILE,
    help="Fitted model of an earlier run, such as results.models/fusion.safetensors; repeat for several.",
)
@option(
    "--draws",
    group=Help.PREDICTION,
    type=click.IntRange(min=0),
    default=0,
    help="Random subsets of the generated images to draw, to apply a model fitted on fewer.",
)
@seed_option
@together(known_options, mirror_option, orient_option, k_option, ray_option, device_option)
@together(parquet_option, json_option, common_options)
def predict(
    real: str,
    generated: str,
    db: Path,
    used: Path | None,
    unused: Path | None,
    methods: tuple[str, ...],
    primary: str | None,
    fdr: float,
    priors: tuple[float, float],
    siblings: str,
    mismatch: str,
    model_files: tuple[Path, ...],
    draws: int,
    seed: int,
    labels: Path | None,
    all_used: bool,
    groups: str | None,
    delimiter: str | None,
    encoding: str | None,
    near_duplicates: str,
    mirror: bool,
    orient: str | None,
    k: int,
    ray: str | None,
    device: str,
    parquet_above: int,
    as_json: bool,
) -> int:
    """Predict which real images were used to train the generator.

    REAL and GENERATED are folders of images, or collections. Known membership calibrates: --unused and --used name folders of
    additional images, --labels gives it for images of REAL. Labelled images are predicted too, each without its own label.
    Default methods: fusion, reference and hubness, which need a reference set, self-threshold and phash. Fitted models are
    stored beside the database (results.duckdb: results.models). With --model alone, learnt on another generator, images get
    binary predictions; without a reference of its own generator nobody can be called used.

    \b
    Example:
      synthtrace predict unknown/ generated/ --unused never-used/ --db results.duckdb
      synthtrace predict unknown/ generated/ --model development.models/fusion.safetensors --db results.duckdb
    """
    from indexer.execution.on_ray import on_ray
    from query.cli.inputs import check_database, indexed_sides
    from query.cli.reference import KnownImages, check_reference
    from query.comparison.comparison import compare
    from query.comparison.copies import find_copies
    from query.database.record import Results, record
    from query.database.store import Store
    from query.inputs.groups import group, read_groups
    from query.inputs.labels import labels_of_folders, read_labels
    from query.inputs.tables import TableForm
    from query.leakage.decision import decide_release
    from query.membership.models import load_model, seen_beside
    from query.membership.predict import PredictionRequest, Siblings, case_of, chosen, save_models
    from query.membership.predict import predict as predict_all
    from query.membership.proximity import planned
    from query.membership.reference import with_checked_reference
    from query.membership.reference_verdict import Mismatch
    from query.report.copies import copies_summary
    from query.report.run_summary import run_warnings
    from query.report.text.copies import around_copies, copies_sentences
    from query.report.text.predictions import answer_lines, predictions_text

    asked = PredictionRequest(methods, primary, fdr, priors, Siblings(siblings), used, unused, seed, Mismatch(mismatch))
    check_labels(labels, all_used)
    form = TableForm(delimiter, encoding)
    grouping = read_groups(groups, form) if groups else None
    known = KnownImages(read_labels(labels, form) if labels else {}, grouping, used, unused, near_duplicates, all_used)
    models = {model.method: model for model in map(load_model, model_files)}
    with working() as report, on_ray(ray) as work:
        reals, fakes = _images((real, generated), asked.folders)
        check_database(db)
        alike = check_reference(reals, fakes, db, known, report)
        sides = indexed_sides((reals, fakes), db, mirror, orient, {"device": device, "progress": report})
        by_row = labels_of_folders(sides.real, known.labels, used, unused, all_used)
        report.say("grouping real images")
        patients = group(grouping, sides.real)
        case = case_of(sides, by_row, patients.of_row, seed, asked.siblings)
        able = chosen(methods, models, case)
        terms, measures = asked.terms(able, draws), planned(case, able, models, draws)
        report.say("checking the reference")
        case, reference = with_checked_reference(case, asked.mismatch)
        where = sides.generated.stored.devices(device)
        comparison = compare(sides, k=k, device=where, also=measures.reductions, executor=work, progress=report)
        case.memory.update(measures.results())
        predictions = predict_all(case, able, terms, models=models, progress=report).with_reference(reference)
        predictions = predictions.with_known(by_row, patients.named)
        release = decide_release(comparison, by_row, patients.named)
        copies = find_copies(comparison, patients.of_row, progress=report)
        with Store.open(db, parquet_above=parquet_above) as store:
            results = Results(comparison, by_row, patients.named, None, predictions, release, copies, alike)
            run = record(store, results, command="predict")
            found = copies_sentences(copies_summary(store, run))
            warnings = run_warnings(store, run)
            before, after = around_copies(warnings)
        folder = db.with_suffix(".models")
        save_models(predictions, folder, seen_beside(folder), models)
    told = {"run": run, "failed": sides.failed, "answer": [*found, *answer_lines(predictions)], "warnings": warnings}
    show(
        {**told, **predictions.as_dict()},
        as_json,
        "\n".join([*before, *found, *after, predictions_text(predictions, patients.note)]),
    )
    return exit_code(sides.failed)


def _images(images: tuple[str, str], further: list[Path]) -> "tuple[Images, Images]":
    """Real and generated images. A mistyped folder must not be found out after an hour."""
    from query.cli.inputs import images_at, is_collection

    real, generated = images
    if is_collection(real) and further:
        mend = "for a collection say what is known by --labels or --all-used"
        raise click.UsageError(f"--used and --unused go with a folder of images; {mend}")
    return images_at([real], list(map(str, further))), images_at([generated])
