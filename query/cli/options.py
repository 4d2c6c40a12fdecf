"""Shared options, and their values from the environment and from a TOML file."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from embeddings.files.reading import parse_toml
from embeddings.images.decoding import Decoding
from embeddings.views.registry import VIEWS, make_view
from indexer.build.build import Settings
from indexer.types import IndexSpec
from query import terminal
from query.cli import memory
from query.membership.methods.registry import METHODS

if TYPE_CHECKING:
    from query.comparison.matching import Budget

PREFIX = "SYNTHTRACE"
CONFIG = Path("synthtrace.toml")  # read where it lies in the working folder
DEBUG, QUIET, CONFIG_SAID = "synthtrace.debug", "synthtrace.quiet", "synthtrace.config"  # in click's `meta`, for all commands

FOLDER = click.Path(file_okay=False, path_type=Path)  # that need not be there yet

F = TypeVar("F", bound=Callable[..., Any])


class Option(click.Option):
    """An option that the environment can set for one command (``SYNTHTRACE_INDEX_DEVICE``) or for all (``SYNTHTRACE_DEVICE``)."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """The variable of the command comes first."""
        return super().resolve_envvar_value(ctx) or os.environ.get(f"{PREFIX}_{_word(self).upper().replace('-', '_')}") or None


class Pair(click.ParamType[tuple[float, float]]):
    """Two numbers with a comma between them; in TOML a list of two."""

    name = "A,B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """The two numbers."""
        try:
            first, second = value if isinstance(value, list | tuple) else value.split(",")
            return float(first), float(second)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not two numbers with a comma between them, as in -600,1500", param, ctx)


class DeviceName(click.ParamType[str]):
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""

    name = "auto|cpu|cuda[:N]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name as it is."""
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", str(value)):
            self.fail(f"{value!r} is not auto, cpu, cuda or cuda:N", param, ctx)
        return str(value)


class NewFile(click.Path):
    """A file to be made, in a folder that is there."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        path = Path(str(super().convert(value, param, ctx)))
        if not path.parent.is_dir():
            self.fail(f"{path}: there is no folder {path.parent}", param, ctx)
        return path


class BudgetText(click.ParamType["Budget"]):
    """How much to compare closely; see `query.comparison.matching.Budget`."""

    name = "all|N|SECONDSs"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Budget":
        """The budget."""
        from query.comparison.matching import Budget

        try:
            return value if isinstance(value, Budget) else Budget.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def option(*names: str, **settings: Any) -> Callable[[F], F]:
    """`click.option`, with defaults shown and the environment asked."""
    return click.option(*names, cls=Option, **{"show_default": True, **settings})


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """One decorator from several, shown in this order."""

    def add(command: F) -> F:
        for decorate in reversed(options):
            command = decorate(command)
        return command

    return add


def _note(key: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def note(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        ctx.meta[key] = value

    return note


def read_config(ctx: click.Context, _: click.Parameter, given: Path | None) -> None:
    """Take defaults for this command from a TOML file: keys above the first table are for every command that has such an option.

    A file that merely lies in the working folder may have come with it from elsewhere: it decides nothing that is written.

    Raises:
        click.UsageError: the file cannot be read, or holds what is no option; the message names it.
    """
    path = given or CONFIG
    if given is None and not path.is_file():
        return
    try:
        values = parse_toml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path}: cannot be read as TOML: {error}") from error
    program = ctx.find_root().command
    assert isinstance(program, click.Group)
    wanted, left = {}, []
    for name, key, value in _entries(values, program, path):
        param = _options(program.commands[name]).get(key)
        if param is None:
            raise click.UsageError(f"{path}: {name} has no option {key!r}; it has {', '.join(_options(program.commands[name]))}")
        if program.commands[name] is ctx.command:
            checked = _checked(param, value, f"{path}: {key}", ctx)
            if given is None and _names_output(param):
                left.append(key)
            else:
                wanted[str(param.name)] = checked
    ctx.default_map = wanted
    ctx.meta[CONFIG_SAID] = [f"options from {path}"]
    if left:
        why = "may be written to, and is taken only from the command line or a file named by --config"
        ctx.meta[CONFIG_SAID].append(f"{path}: not {', '.join(left)}: what it names {why}")


def _names_output(param: click.Option) -> bool:
    """Whether the option names a file or folder that need not be there yet."""
    return isinstance(param.type, click.Path) and not param.type.exists


def _begin(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Note --debug; say which file gave options. By now --quiet is known, which is eager."""
    ctx.meta[DEBUG] = value
    for line in [] if ctx.meta.get(QUIET) else ctx.meta.get(CONFIG_SAID, []):
        terminal.say(line)


def _entries(values: Mapping[str, Any], program: click.Group, path: Path) -> Iterator[tuple[str, str, Any]]:
    """Command, option and value of each entry: first those for all commands, then those of the commands' own tables."""
    for key, value in values.items():
        if not isinstance(value, Mapping):
            having = [name for name, command in program.commands.items() if _key(key) in _options(command)]
            if not having:
                raise click.UsageError(f"{path}: no command has an option {key!r}")
            yield from ((name, _key(key), value) for name in having)
    for name, table in values.items():
        if isinstance(table, Mapping):
            if name not in program.commands:
                raise click.UsageError(f"{path}: there is no command {name!r}; there are {', '.join(program.commands)}")
            yield from ((name, _key(key), value) for key, value in table.items())


def _checked(param: click.Option, value: Any, where: str, ctx: click.Context) -> Any:
    """The value as the option takes it."""
    if isinstance(value, bool) != param.is_flag or isinstance(value, Mapping):
        raise click.UsageError(f"{where} must {'' if param.is_flag else 'not '}be true or false")
    if param.multiple and not isinstance(value, list):
        value = [value]
    if isinstance(value, list) and not param.multiple and not isinstance(param.type, Pair):
        raise click.UsageError(f"{where} must be one value, not a list")
    try:
        param.type_cast_value(ctx, value)
    except click.BadParameter as error:
        raise click.UsageError(f"{where}: {error.message}") from error
    return value


def _options(command: click.Command) -> dict[str, click.Option]:
    """Options of a command that a file may set, by their names without dashes."""
    found = {_word(param): param for param in command.params if isinstance(param, Option)}
    return {word: param for word, param in found.items() if word != "config"}


def _word(param: click.Option) -> str:
    """``--phash-bits`` as ``phash-bits``."""
    return max(param.opts, key=len).lstrip("-")


def _key(key: str) -> str:
    return key.replace("_", "-")


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
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=read_config,
        help=f"TOML file with options; without it {CONFIG} of the working folder, where there is one.",
    ),
    option(
        "--quiet",
        "-q",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_note(QUIET),
        help="No progress and no messages.",
    ),
    option("--debug", is_flag=True, expose_value=False, callback=_begin, help="Show where an error came from."),
    _sized,
)
collection_argument = click.argument("collection", type=click.Path(path_type=Path))
json_option = option("--json", "as_json", is_flag=True, help="JSON on standard output instead of text.")
device_option = option("--device", type=DeviceName(), default="auto", help="Where to compute.")
mirror_option = option("--mirror", is_flag=True, help="Compare with the left-right flipped real images too.")
k_option = option("--k", "k", type=click.IntRange(min=1), default=50, help="Neighbours kept for each image.")
verify_option = option(
    "--match",
    "budget",
    type=BudgetText(),
    default="120s",
    help="Compare the most suspicious generated images closely with their candidates: all, so many, or for so long; 0: none.",
)
candidates_option = option("--candidates", type=click.IntRange(min=1), default=10, help="How many the views propose for each.")
turned_option = option("--rotations", is_flag=True, help="Look for copies by quarter turns then.")
groups_option = option(
    "--groups",
    metavar="CSV|REGEX",
    help="Which real images belong to one patient: CSV of image,group, or a regular expression on their names.",
)
known_options = together(
    option(
        "--labels",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="CSV of image,used (1 or 0): real images whose membership is known.",
    ),
    groups_option,
)
_NAMES = ", ".join(METHODS)
_METHOD, _THERE = click.Choice(list(METHODS)), click.Path(exists=True, file_okay=False, path_type=Path)
method_options = together(
    option("--used", type=_THERE, help="Folder of further real images that are known to be used."),
    option("--unused", type=_THERE, help="Folder of further real images that are known not to be used: the reference."),
    option(
        "--method",
        "methods",
        multiple=True,
        type=_METHOD,
        metavar="NAME",
        help=f"Method; several by repeating: {', '.join(METHODS)}.",
    ),
    option("--primary", type=_METHOD, metavar="NAME", help="The one whose answers count.  [default: fusion, or the first]"),
    option("--fdr", type=click.FloatRange(0, 1, True, True), default=0.1, help="Share of false ones among images called used."),
    option("--prior", type=click.FloatRange(0, 1, True, True), default=0.5, help="Share of used images among those in question."),
)
decoding_options = together(
    option("--window", type=Pair(), metavar="CENTRE,WIDTH", help="Fixed window for data deeper than 8 bits, HU for CT."),
    option("--percentiles", type=Pair(), metavar="LOW,HIGH", help="Percentiles that become black, white.  [default: 0.5,99.5]"),
    option("--nifti-axis", type=click.IntRange(0, 2), help="Slicing of NIfTI: 0 sagittal, 1 coronal, 2 axial.  [default: 2]"),
)
index_options = together(
    option("--view", multiple=True, type=click.Choice(list(VIEWS)), help="View; repeat it for several.  [default: all]"),
    option("--phash-bits", type=click.Choice([64, 256]), help="Length of the perceptual hash.  [default: 256]"),
    option(
        "--resnet",
        type=click.Choice(["resnet18", "resnet34", "resnet50", "resnet101"]),
        help="Network of view resnet.  [default: resnet18]",
    ),
    option("--resnet-weights", metavar="bundled|imagenet|random:N|FILE", help="Its weights.  [default: bundled]"),
    option("--resnet-size", type=int, help="Side of the square that images are resized to for it.  [default: 144]"),
    option("--sift-encoding", type=click.Choice(["vlad", "bow"]), help="How local features become one vector.  [default: vlad]"),
    option("--sift-words", type=int, help="Size of the visual vocabulary.  [default: 128]"),
    decoding_options,
    option("--factory", help="FAISS factory string of float indexes.  [default: Flat]"),
    option("--binary-factory", help="The same for binary indexes.  [default: BFlat]"),
    option("--sample", type=int, help="Images that the views learn from.  [default: 2000]"),
    option("--seed", type=int, help="Random seed.  [default: 0]"),
)

_OF_VIEWS = {  # parameter -> view and its option
    "phash_bits": ("phash", "bits"),
    "resnet": ("resnet", "architecture"),
    "resnet_weights": ("resnet", "weights"),
    "resnet_size": ("resnet", "size"),
    "sift_encoding": ("sift", "encoding"),
    "sift_words": ("sift", "words"),
}


def settings_of(options: Mapping[str, Any]) -> Settings | None:
    """Settings from the values of `index_options`; None where none of them was given, so that a collection keeps its own.

    Raises:
        click.UsageError: values that make no sense, alone or together.
    """
    given = {name: value for name, value in options.items() if value is not None and value != ()}
    if not given:
        return None
    views = _views(given)
    index = {name: given[name] for name in ("factory", "binary_factory", "seed") if name in given}
    sample = {key: given[name] for name, key in (("sample", "sample_size"), ("seed", "seed")) if name in given}
    try:
        settings = Settings(views, decoding_of(given), IndexSpec(**index), **sample)
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
    given = {name: value for name, value in options.items() if value is not None}
    if "window" in given and "percentiles" in given:
        raise click.UsageError("--window and --percentiles exclude each other")
    chosen: dict[str, Any] = {}
    if "window" in given:
        chosen |= dict(zip(("centre", "width"), given["window"], strict=True))
    if "percentiles" in given:
        chosen |= dict(zip(("low", "high"), given["percentiles"], strict=True))
    if "nifti_axis" in given:
        chosen["axis"] = given["nifti_axis"]
    return Decoding(**chosen)


def _views(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    views: dict[str, dict[str, Any]] = {name: {} for name in given.get("view", VIEWS)}
    for name, (view, key) in _OF_VIEWS.items():
        if name in given:
            if view not in views:
                raise click.UsageError(f"--{name.replace('_', '-')} is for view {view}, which --view leaves out")
            views[view][key] = given[name]
    weights = given.get("resnet_weights", "bundled")
    if weights not in ("bundled", "imagenet") and not weights.startswith("random:"):
        views["resnet"]["weights"] = str(Path(weights).absolute())  # the collection is used from other folders too
    return views
