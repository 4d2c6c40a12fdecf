"""Options shared by several commands, and the settings that their values make."""

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from embeddings.images.decoding import Decoding, Layout
from embeddings.images.orientation import AUTO, Orientation
from embeddings.views.registry import VIEWS, make_view
from indexer import gpu_memory
from query import terminal
from query.cli import memory
from query.cli.config import CONFIG, CONFIG_SAID, read_config
from query.cli.parameters import (
    DEBUG,
    EXISTING_FILE,
    EXISTING_FOLDER,
    QUIET,
    BudgetText,
    Delimiter,
    Destination,
    DeviceName,
    Encoding,
    F,
    GpuMemory,
    Help,
    Pair,
    ShareRange,
    option,
    together,
)
from query.membership.methods.registry import METHODS

if TYPE_CHECKING:
    from indexer.build.build import Settings


def _note(key: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def note(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        ctx.meta[key] = value

    return note


def _limit_gpu_memory(_ctx: click.Context, _param: click.Parameter, value: int | None) -> None:
    gpu_memory.limit(value)


def _begin(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Note --debug; say which file gave options. By now --quiet is known, which is eager."""
    ctx.meta[DEBUG] = value
    for line in [] if ctx.meta.get(QUIET) else ctx.meta.get(CONFIG_SAID, []):
        terminal.say(line)


def _sized(command: F) -> F:
    """A command that first looks whether there is memory for it; `doctor` goes on, and tells."""

    @wraps(command)
    def run(*args: Any, **values: Any) -> Any:
        name = str(click.get_current_context().info_name)
        if name != "doctor":
            memory.check(name, values)
        return command(*args, **values)

    return cast(F, run)


common_options = together(
    option(
        "--config",
        group=Help.GENERAL,
        type=EXISTING_FILE,
        is_eager=True,
        expose_value=False,
        callback=read_config,
        help=f"TOML file with options.  [default: {CONFIG} in the working folder, if it exists]",
    ),
    option(
        "--quiet",
        "-q",
        group=Help.GENERAL,
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_note(QUIET),
        help="Show no progress and no messages.",
    ),
    option(
        "--debug", group=Help.GENERAL, is_flag=True, expose_value=False, callback=_begin, help="Show a traceback with errors."
    ),
    _sized,
)
collection_argument = click.argument("collection", type=click.Path(path_type=Path))
json_option = option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
device_option = together(
    option("--device", type=DeviceName(), default="auto", help="Compute device: CPU, one NVIDIA GPU or all."),
    option(
        "--gpu-memory",
        type=GpuMemory(),
        expose_value=False,
        callback=_limit_gpu_memory,
        help="Working memory of the search on each GPU, for example 512M.  [default: 1536M, less on small GPUs]",
    ),
)
ray_option = option(
    "--ray",
    type=Destination("local|HOST:PORT"),
    help="Do the work as tasks on Ray: in a session of its own on this machine, or on a cluster.  [default: in this process]",
)
parquet_option = option(
    "--parquet-above",
    group=Help.GENERAL,
    type=click.IntRange(min=0),
    metavar="IMAGES",
    default=10_000_000,
    help="With more generated images than this, what is recorded of each goes to Parquet files in a folder beside the database.",
)
shards_options = together(
    option(
        "--shards",
        type=click.IntRange(min=1),
        metavar="IMAGES",
        help="Make a collection in shards of about so many images, for more images than one machine or one run can take.",
    ),
    option("--shard-cores", type=click.IntRange(min=1), default=1, help="Cores that a shard is made with on Ray."),
    option(
        "--store",
        type=Destination("URL"),
        help="Copy the finished shards there as well: s3://, gs://, or what else fsspec knows.",
    ),
    ray_option,
)
seed_option = option("--seed", group=Help.GENERAL, type=click.IntRange(min=0), default=0, help="Random seed.")
run_option = option("--run", type=click.IntRange(min=1), help="Number of the run.  [default: the latest]")

table_options = together(
    option(
        "--delimiter",
        group=Help.KNOWN,
        type=Delimiter(),
        help="Separator in CSV files that you give: a character, or comma, semicolon, tab, bar.  [default: found out]",
    ),
    option(
        "--encoding",
        group=Help.KNOWN,
        type=Encoding(),
        help="Encoding of CSV files that you give, such as cp1252.  [default: by byte order mark, else UTF-16 or UTF-8]",
    ),
)
groups_option = together(
    option(
        "--groups",
        group=Help.KNOWN,
        metavar="dicom|folder|CSV|REGEX",
        help="Patients: dicom (PatientID of the files, else SeriesInstanceUID), folder (of each file), a CSV of image,group, or "
        "a regular expression applied to image names.",
    ),
    table_options,
)
near_duplicates_option = option(
    "--near-duplicates",
    group=Help.KNOWN,
    type=click.Choice(["refuse", "warn"]),
    default="refuse",
    help="What to do if images of the reference (or hold-out set) look like images that it must not share: refuse, or warn and "
    "go on. Equal files and patients (--groups) on both sides are always refused.",
)
known_options = together(
    option("--labels", group=Help.KNOWN, type=EXISTING_FILE, help="CSV of image,used (1 or 0): real images of known membership."),
    option(
        "--all-used",
        group=Help.KNOWN,
        is_flag=True,
        help="All images of REAL were used, which takes no --labels; those of a folder --unused were not.",
    ),
    groups_option,
    near_duplicates_option,
)


def check_labels(labels: Path | None, all_used: bool) -> None:
    """Refuse two answers to one question.

    Raises:
        click.UsageError: labels are given by a file, and for all images at once.
    """
    if labels and all_used:
        raise click.UsageError("--all-used says of all images what --labels says of each: give one of them")


orient_option = option(
    "--orient",
    group=Help.COMPARISON,
    type=click.Choice([*map(str, Orientation), AUTO]),
    metavar="AUTO|NAME",
    help="Turn or flip real images before they are compared: auto as a check on a sample finds, or "
    f"{', '.join(Orientation)}; turns are counterclockwise.  [default: as-is]",
)
mirror_option = option("--mirror", group=Help.COMPARISON, is_flag=True, help="Also compare left-right flipped real images.")
k_option = option(
    "--k", "k", group=Help.COMPARISON, type=click.IntRange(min=1), default=50, help="Nearest neighbours stored for each image."
)
match_option = option(
    "--match",
    "budget",
    group=Help.MATCHING,
    type=BudgetText(),
    default="10000",
    help="How much to match, the most suspicious generated images first: all, a number of images, or a time limit such as 120s "
    "or 2m; 0 turns matching off.",
)
candidates_option = option(
    "--candidates",
    group=Help.MATCHING,
    type=click.IntRange(min=1),
    default=10,
    help="Candidates for each generated image.",
)
rotations_option = option(
    "--rotations", group=Help.MATCHING, is_flag=True, help="Also match rotations by 90, 180 and 270 degrees."
)

_METHOD = click.Choice(list(METHODS))
method_options = together(
    option(
        "--unused",
        group=Help.KNOWN,
        type=EXISTING_FOLDER,
        help="Folder of additional real images that this generator was certainly not trained on: the reference set.",
    ),
    option(
        "--used",
        group=Help.KNOWN,
        type=EXISTING_FOLDER,
        help="Folder of additional real images that this generator was trained on; those of another one mislead.",
    ),
    option(
        "--method",
        "methods",
        group=Help.PREDICTION,
        multiple=True,
        type=_METHOD,
        metavar="NAME",
        help=f"Prediction method; repeat for several: {', '.join(METHODS)}.",
    ),
    option(
        "--primary",
        group=Help.PREDICTION,
        type=_METHOD,
        metavar="NAME",
        help="Method whose decisions are reported.  [default: fusion, or the first method]",
    ),
    option(
        "--fdr",
        group=Help.PREDICTION,
        type=click.FloatRange(0, 1, True, True),
        default=0.1,
        help="False discovery rate: accepted share of false positives among patients called used.",
    ),
    option(
        "--prior",
        "priors",
        group=Help.PREDICTION,
        type=ShareRange(),
        default="0.1-0.9",
        metavar="LOW-HIGH",
        help="Share of used images among unlabelled ones, as a range; P(used) is given for both ends.",
    ),
    option(
        "--siblings",
        group=Help.PREDICTION,
        type=click.Choice(["hold-back", "reference"]),
        default="hold-back",
        help="Images known not to be used of patients with used ones: hold them back, or count them as reference.",
    ),
    option(
        "--reference-mismatch",
        "mismatch",
        group=Help.PREDICTION,
        type=click.Choice(["refuse", "weight", "ignore"]),
        default="refuse",
        help="If the reference differs in kind from the unlabelled images: end and say how, weight it, or go on unpromised.",
    ),
)
decoding_options = together(
    option(
        "--window",
        group=Help.DECODING,
        type=Pair(),
        metavar="CENTRE,WIDTH",
        help="Intensity window for images of more than 8 bits, in Hounsfield units for CT.",
    ),
    option(
        "--percentiles",
        group=Help.DECODING,
        type=Pair(),
        metavar="LOW,HIGH",
        help="Percentiles mapped to black and white.  [default: 0.5,99.5]",
    ),
    option(
        "--layout",
        group=Help.DECODING,
        type=click.Choice(list(map(str, Layout))),
        help="Slices of NIfTI and other volumes: display lays them out as viewers do, stored takes array[:, :, k] as it is, as "
        "generators often see it.  [default: display]",
    ),
    option(
        "--nifti-axis",
        group=Help.DECODING,
        type=click.IntRange(0, 2),
        help="Slice axis of NIfTI volumes: 0 sagittal, 1 coronal, 2 axial.  [default: 2]",
    ),
)
network_options = together(
    option(
        "--resnet",
        group=Help.VIEWS,
        type=click.Choice(["resnet18", "resnet34", "resnet50", "resnet101"]),
        help="ResNet architecture.  [default: resnet18]",
    ),
    option(
        "--resnet-weights",
        group=Help.VIEWS,
        metavar="bundled|imagenet|random:N|FILE",
        help="ResNet weights: a name, or a file of weights written by train or PyTorch.  [default: bundled]",
    ),
    option("--resnet-size", group=Help.VIEWS, type=int, help="ResNet input size in pixels (square).  [default: 144]"),
)
index_options = together(
    option(
        "--view",
        group=Help.VIEWS,
        multiple=True,
        type=click.Choice(list(VIEWS)),
        help="View to compute; repeat for several.  [default: all]",
    ),
    option("--phash-bits", group=Help.VIEWS, type=click.Choice([64, 256]), help="Bits of the perceptual hash.  [default: 256]"),
    network_options,
    option(
        "--sift-encoding",
        group=Help.VIEWS,
        type=click.Choice(["vlad", "bow"]),
        help="Aggregation of SIFT features into one vector.  [default: vlad]",
    ),
    option("--sift-words", group=Help.VIEWS, type=int, help="Size of the SIFT visual vocabulary.  [default: 128]"),
    option(
        "--keep-keypoints/--no-keypoints",
        group=Help.VIEWS,
        default=None,
        help="Keep what matching needs of each image in the collection: keypoints and a picture of 64 x 64 pixels, 16 kB. "
        "Without them matching reads the image files again.  [default: keep]",
    ),
    option("--sample", group=Help.VIEWS, type=int, help="Number of images that views are fitted on.  [default: 2000]"),
    option("--factory", group=Help.INDEX, help="FAISS factory string of float indexes.  [default: Flat]"),
    option("--binary-factory", group=Help.INDEX, help="FAISS factory string of binary indexes.  [default: BFlat]"),
    decoding_options,
    option("--seed", group=Help.GENERAL, type=int, help="Random seed.  [default: 0]"),
)

_OF_VIEWS = {  # parameter -> view and its option
    "phash_bits": ("phash", "bits"),
    "resnet": ("resnet", "architecture"),
    "resnet_weights": ("resnet", "weights"),
    "resnet_size": ("resnet", "size"),
    "sift_encoding": ("sift", "encoding"),
    "sift_words": ("sift", "words"),
    "keep_keypoints": ("sift", "keep"),
}


def settings_of(options: Mapping[str, Any]) -> "Settings | None":
    """Settings from the values of `index_options`; None where none of them was given, so that a collection keeps its own.

    Raises:
        click.UsageError: values that make no sense, alone or together.
    """
    values = {name: value for name, value in options.items() if value is not None and value != ()}
    if not values:
        return None
    from indexer.build.build import Settings
    from indexer.types import IndexSpec

    views = _views(values)
    index = {name: values[name] for name in ("factory", "binary_factory", "seed") if name in values}
    sample = {key: values[name] for name, key in (("sample", "sample_size"), ("seed", "seed")) if name in values}
    try:
        settings = Settings(views, decoding_of(values), IndexSpec(**index), **sample)
        for name, chosen in settings.views.items():
            make_view(name, chosen, settings.decoding, "cpu")
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return settings


def decoding_of(options: Mapping[str, Any]) -> Decoding:
    """How to decode, from the values of `decoding_options`.

    Raises:
        click.UsageError: two that exclude each other.
        ValueError: a value out of range.
    """
    values = {name: value for name, value in options.items() if value is not None}
    if "window" in values and "percentiles" in values:
        raise click.UsageError("--window and --percentiles exclude each other")
    chosen: dict[str, Any] = {}
    if "window" in values:
        chosen |= dict(zip(("centre", "width"), values["window"], strict=True))
    if "percentiles" in values:
        chosen |= dict(zip(("low", "high"), values["percentiles"], strict=True))
    if "nifti_axis" in values:
        chosen["axis"] = values["nifti_axis"]
    if "layout" in values:
        chosen["layout"] = values["layout"]
    return Decoding(**chosen)


def _views(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    views: dict[str, dict[str, Any]] = {name: {} for name in values.get("view", VIEWS)}
    for name, (view, key) in _OF_VIEWS.items():
        if name in values:
            if view not in views:
                raise click.UsageError(f"--{name.replace('_', '-')} is for view {view}, which --view leaves out")
            views[view][key] = values[name]
    weights = values.get("resnet_weights", "bundled")
    if weights not in ("bundled", "imagenet") and not weights.startswith("random:"):
        views["resnet"]["weights"] = str(Path(weights).absolute())  # the collection is used from other folders too
    return views
