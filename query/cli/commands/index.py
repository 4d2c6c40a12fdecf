"""Commands `index`, `fetch` and `train`: build a collection, copy one from an object store, fine-tune view `resnet`."""

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from query.cli.options import (
    common_options,
    decoding_of,
    decoding_options,
    device_option,
    groups_option,
    index_options,
    json_option,
    ray_option,
    seed_option,
    settings_of,
    shards_options,
)
from query.cli.parameters import EXISTING_FILE, FOLDER, NewFile, command, option, together
from query.cli.program import DONE, exit_code, list_failures, show, working
from query.text import name, table

if TYPE_CHECKING:
    from indexer import Settings
    from indexer.sharded.build import Sharding
    from query.benchmarks.fine_tuning import Tuning


@command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@option("--out", required=True, type=FOLDER, help="Folder of the collection, created if missing.")
@index_options
@option("--refit", is_flag=True, help="Fit the views again, with new settings, in an existing collection.")
@together(shards_options, device_option, json_option, common_options)
def index(
    inputs: tuple[str, ...],
    out: Path,
    refit: bool,
    shards: int | None,
    shard_cores: int,
    store: str | None,
    ray: str | None,
    device: str,
    as_json: bool,
    **chosen: Any,
) -> int:
    """Index images into a searchable collection.

    An interrupted run resumes, and a repeated run processes only what changed. INPUT is a folder, an image, an archive or an
    array of images, @LIST for a file that lists paths, or - to read paths from standard input.

    \b
    Example:
      synthtrace index generated/ --out generated.collection
      synthtrace index generated/ --out generated.shards --shards 10000 --ray local
    """
    import indexer
    from indexer.device import choose_device_to_index
    from query.cli.inputs import tell_failures
    from query.cli.output.info import collection_info

    settings = settings_of(chosen)
    if shards:
        from indexer.sharded.build import Sharding

        return _index_shards(inputs, out, settings, Sharding(shards, shard_cores, device), ray, store, refit, as_json)
    if ray or store:
        given = "--ray" if ray else "--store"
        raise click.UsageError(f"{given} is for a collection in shards: say how many images a shard has, such as --shards 10000")
    with working() as report:
        report.say(choose_device_to_index(device, (settings or indexer.Settings()).views).note)
        make = indexer.refit if refit else indexer.index
        collection = make(inputs, out, settings=settings, device=device, progress=report)
    info = collection_info(collection)
    tell_failures(collection)
    show(info, as_json, str(info))
    return exit_code(collection.manifest.failed)


def _index_shards(
    inputs: tuple[str, ...],
    out: Path,
    settings: "Settings | None",
    sharding: "Sharding",
    ray: str | None,
    store: str | None,
    refit: bool,
    as_json: bool,
) -> int:
    """The same in shards."""
    from indexer.execution.on_ray import executor
    from indexer.sharded.build import index_shards, refit_shards
    from indexer.sharded.store import Store, push
    from query.cli.inputs import tell_failures
    from query.cli.output.sharded_info import sharded_info

    make = refit_shards if refit else index_shards
    if store:
        Store(store).check_usable()  # what is wrong with it is told now, not when all shards are made
    with working() as report, executor(ray) as work:
        report.say(work.note)
        collection = make(inputs, out, sharding=sharding, settings=settings, executor=work, progress=report)
        if store:
            push(out, store, executor=work, progress=report)
    info = sharded_info(collection)
    tell_failures(collection)
    show(info, as_json, str(info))
    return exit_code(collection.manifest.failed)


@command()
@click.argument("url")
@option("--out", required=True, type=FOLDER, help="Folder of the collection, created if missing.")
@together(ray_option, json_option, common_options)
def fetch(url: str, out: Path, ray: str | None, as_json: bool) -> int:
    """Copy a collection in shards from an object store.

    URL is where index put it with --store. An interrupted copy carries on, and a repeated one copies only what changed.

    \b
    Example:
      synthtrace fetch s3://bucket/generated --out generated.shards
    """
    from indexer.execution.on_ray import executor
    from indexer.sharded.store import pull
    from query.cli.output.sharded_info import sharded_info

    with working() as report, executor(ray) as work:
        info = sharded_info(pull(url, out, executor=work, progress=report))
    show(info, as_json, str(info))
    return DONE


@command()
@click.argument("images")
@option("--out", required=True, type=NewFile(), help="File for the new weights (.safetensors).")
@groups_option
@option("--start", type=EXISTING_FILE, help="Initial weights, written by this command.  [default: bundled]")
@option("--steps", type=click.IntRange(min=1), default=600, help="Number of training batches.")
@option(
    "--batch", type=click.IntRange(min=2), help="Batch size; each image of a batch is of another group.  [default: up to 128]"
)
@option("--held-out", type=click.FloatRange(0, 1, True, True), default=0.25, help="Share of images held out for evaluation.")
@seed_option
@together(decoding_options, device_option, json_option, common_options)
def train(
    images: str,
    out: Path,
    groups: str | None,
    delimiter: str | None,
    encoding: str | None,
    start: Path | None,
    steps: int,
    batch: int | None,
    held_out: float,
    seed: int,
    device: str,
    as_json: bool,
    **chosen: Any,
) -> int:
    """Fine-tune the network of view resnet on your own images.

    Training starts from the bundled weights. Whole groups of images are held out, and both networks are evaluated on copies made
    from them. A step takes one to two seconds on two idle cores. An interrupted run resumes.

    \b
    Example:
      synthtrace train real/ --out own.safetensors --groups 'patient(\\d+)'

    Then give the file to index or audit as --resnet-weights own.safetensors.
    """
    from query.benchmarks.fine_tuning import TuningSettings, TuningTask, tune
    from query.inputs.tables import TableForm

    settings = TuningSettings(steps, batch, held_out=held_out, seed=seed)
    try:
        decoding = decoding_of(chosen)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    task = TuningTask(images, out, groups, start, decoding, device, TableForm(delimiter, encoding))
    with working() as report:
        tuning = tune(task, settings, progress=report, say=report.say)
    list_failures(tuning.failed, "--json")
    show(tuning.as_dict(), as_json, training_text(tuning))
    return exit_code(len(tuning.failed))


def training_text(tuning: "Tuning") -> str:
    """The figures, and what to do."""
    rows = [[kind, tuning.generated.get(kind), f"{old:.3f}", f"{tuning.after[kind]:.3f}"] for kind, old in tuning.before.items()]
    change = tuning.change
    interval = f" [95% by groups {100 * change.low:+.1f} to {100 * change.high:+.1f}]" if isfinite(change.low) else ""
    outcome = f"{tuning.outcome}: first hits changed by {100 * change.value:+.1f} points{interval}"
    head = "share of first hits by kind, and AUROC of the distance to the nearest generated image"
    return "\n".join([head, table(["", "images", "before", "after"], rows), "", outcome, _advice(tuning)])


def _advice(tuning: "Tuning") -> str:
    from query.benchmarks.fine_tuning import Outcome

    if tuning.outcome is Outcome.IMPROVED:
        return f"give it to index or audit: --resnet-weights {name(str(tuning.out))}"
    start = "the bundled weights" if tuning.start == "bundled" else name(tuning.start)
    return f"stay with {start}; what was trained is in {name(str(tuning.out))} all the same"
