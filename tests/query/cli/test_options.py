import re
from contextlib import chdir
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from embeddings.images.decoding import Decoding
from embeddings.views.registry import VIEWS
from indexer import gpu_memory
from indexer.build.build import Settings
from indexer.types import IndexSpec
from query.cli.config import CONFIG, CONFIG_SAID, read_config
from query.cli.group import program
from query.cli.options import common_options, device_option, index_options, k_option, settings_of
from query.cli.parameters import Help


@click.group(context_settings={"auto_envvar_prefix": "SYNTHTRACE"})
def small() -> None:
    """Two commands that say what reached them."""


@small.command()
@index_options
@device_option
@common_options
def index(**values: Any) -> None:
    click.echo(repr({name: value for name, value in values.items() if value is not None and value != ()}))


@small.command()
@k_option
@device_option
@common_options
def compare(k: int, device: str) -> None:
    click.echo(repr({"k": k, "device": device}))


def run(folder: Path, text: str, *arguments: str, **environment: str) -> Result:
    """The result of a command in a folder whose synthtrace.toml holds this text."""
    with chdir(folder):
        CONFIG.write_text(text, encoding="utf-8")
        return CliRunner().invoke(small, arguments, env=environment)


def values(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return eval(result.stdout)


# Device


@pytest.mark.parametrize(
    ("text", "arguments", "environment", "limit"),
    [
        ("", [], {}, None),
        ("", ["--gpu-memory", "512M"], {}, 512 << 20),
        ("", [], {"SYNTHTRACE_GPU_MEMORY": "1G"}, 1 << 30),
        ("gpu_memory = 65536\n", [], {}, 65536),
    ],
)
def test_working_memory_on_gpus_is_limited_for_the_process(
    tmp_path: Path, text: str, arguments: list[str], environment: dict[str, str], limit: int | None
) -> None:
    try:
        assert values(run(tmp_path, text, "compare", *arguments, "--device", "cuda:all", **environment))["device"] == "cuda:all"
        assert gpu_memory.limited_to() == limit
    finally:
        gpu_memory.limit(None)


# Settings


def test_no_option_means_no_settings() -> None:
    assert settings_of({"view": (), "resnet": None, "seed": None}) is None


def test_every_option_reaches_its_setting() -> None:
    settings = settings_of(
        {
            "view": ("phash", "sift"),
            "phash_bits": 64,
            "sift_encoding": "bow",
            "sift_words": 7,
            "window": (40.0, 400.0),
            "nifti_axis": 1,
            "factory": "HNSW8",
            "binary_factory": "BHNSW8",
            "sample": 9,
            "seed": 3,
        }
    )
    assert settings == Settings(
        {"phash": {"bits": 64}, "sift": {"encoding": "bow", "words": 7}},
        Decoding(centre=40, width=400, axis=1),
        IndexSpec("HNSW8", "BHNSW8", seed=3),
        9,
        3,
    )


def test_without_a_choice_of_views_there_are_all_with_defaults() -> None:
    assert settings_of({"seed": 0}) == Settings()
    assert set(Settings().views) == set(VIEWS)


def test_options_of_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = settings_of({"resnet": "resnet34", "resnet_weights": "a.pth", "resnet_size": 64, "percentiles": (1.0, 90.0)})
    assert settings is not None
    assert settings.views["resnet"] == {"architecture": "resnet34", "weights": str(tmp_path / "a.pth"), "size": 64}
    assert (settings.decoding.low, settings.decoding.high) == (1, 90)
    for named in ("bundled", "imagenet", "random:7"):
        kept = settings_of({"resnet_weights": named})
        assert kept is not None
        assert kept.views["resnet"]["weights"] == named


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"view": ("phash",), "resnet": "resnet50"}, "--resnet is for view resnet"),
        ({"view": ("sift",), "phash_bits": 64}, "--phash-bits is for view phash"),
        ({"window": (1.0, 2.0), "percentiles": (1.0, 2.0)}, "exclude each other"),
        ({"window": (1.0, -2.0)}, "width positive"),
        ({"sift_words": 0}, "must be positive"),
        ({"sample": -1}, "sample_size must be positive"),
        ({"factory": ""}, "factory string is empty"),
    ],
)
def test_settings_without_sense_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(click.UsageError, match=complaint):
        settings_of(options)


# Where values come from


def test_the_file_sets_options_for_all_commands_and_for_one(tmp_path: Path) -> None:
    text = 'device = "cpu"\nview = "phash"\n[compare]\nk = 7\n[index]\nphash_bits = 64\npercentiles = [1, 99]\nwindow = "1,2"\n'
    assert values(run(tmp_path, text, "compare")) == {"k": 7, "device": "cpu"}
    expected = {"view": ("phash",), "phash_bits": 64, "percentiles": (1.0, 99.0), "window": (1.0, 2.0), "device": "cpu"}
    assert values(run(tmp_path, text, "index")) == expected


def test_the_table_of_a_command_wins_over_the_top(tmp_path: Path) -> None:
    assert values(run(tmp_path, 'device = "cpu"\n[compare]\ndevice = "cuda:1"\n', "compare"))["device"] == "cuda:1"


def test_command_line_then_environment_then_file(tmp_path: Path) -> None:
    text = "k = 1\n"
    both = {"SYNTHTRACE_K": "2", "SYNTHTRACE_COMPARE_K": "3"}
    assert values(run(tmp_path, text, "compare", "--k", "4", **both))["k"] == 4
    assert values(run(tmp_path, text, "compare", **both))["k"] == 3
    assert values(run(tmp_path, text, "compare", SYNTHTRACE_K="2"))["k"] == 2
    assert values(run(tmp_path, text, "compare"))["k"] == 1
    assert values(run(tmp_path, "", "compare"))["k"] == 50


def test_the_environment_sets_names_with_dashes_and_repeated_options(tmp_path: Path) -> None:
    environment = {"SYNTHTRACE_PHASH_BITS": "64", "SYNTHTRACE_INDEX_VIEW": "phash sift"}
    assert values(run(tmp_path, "", "index", **environment)) == {"view": ("phash", "sift"), "phash_bits": 64, "device": "auto"}


def test_another_file_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("k = 9\n")
    assert values(run(tmp_path, "k = 1\n", "compare", "--config", str(tmp_path / "other.toml")))["k"] == 9
    assert values(run(tmp_path, "k = 1\n", "compare", SYNTHTRACE_CONFIG=str(tmp_path / "other.toml")))["k"] == 9


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("colour = 1", "synthtrace.toml: no command has an option 'colour'"),
        ("[index]\ncolour = 1", "synthtrace.toml: index has no option 'colour'; it has view, "),
        ("[paint]\nk = 1", "synthtrace.toml: there is no command 'paint'; there are "),
        ("[index]\nk = 1", "synthtrace.toml: index has no option 'k'"),
        ("k =", "synthtrace.toml: cannot be read as TOML"),
        ('k = "many"', "synthtrace.toml: k: 'many' is not a valid integer"),
        ("k = 0", "synthtrace.toml: k: 0 is not in the range"),
        ("k = true", "synthtrace.toml: k must not be true or false"),
        ("k = [1, 2]", "synthtrace.toml: k must be one value"),
        ('quiet = "yes"', "synthtrace.toml: quiet must be true or false"),
        ('device = "tpu"', "synthtrace.toml: device: 'tpu' is not auto"),
        ('config = "x"', "synthtrace.toml: no command has an option 'config'"),
    ],
)
def test_a_file_is_held_to_what_there_is(tmp_path: Path, text: str, complaint: str) -> None:
    result = run(tmp_path, text, "compare")
    assert result.exit_code == 2, result.output
    assert complaint in " ".join(result.stderr.split())


def test_a_file_that_is_not_there_is_an_error_only_where_it_was_named(tmp_path: Path) -> None:
    with chdir(tmp_path):
        assert CliRunner().invoke(small, ["compare"]).exit_code == 0
        assert CliRunner().invoke(small, ["compare", "--config", "none.toml"]).exit_code == 2


def test_the_file_that_was_used_is_said(tmp_path: Path) -> None:
    with chdir(tmp_path):
        CONFIG.write_text('view = "phash"\n')
        result = CliRunner().invoke(program, ["index", "nothing", "--out", "c"])
    assert "options from synthtrace.toml" in result.stderr


def test_every_option_can_be_set_by_environment_and_file() -> None:
    for name, command in program.commands.items():
        for param in command.params:
            if isinstance(param, click.Option):
                assert type(param).__name__ == "Option", f"{name} {param.name}"
                assert type(param).__module__ == "query.cli.parameters", f"{name} {param.name}"


@pytest.mark.parametrize("name", program.commands)
def test_help_shows_every_option_once_in_a_named_group_the_common_ones_first(name: str) -> None:
    text = CliRunner().invoke(program, [name, "--help"], prog_name="synthtrace").stdout
    titles = [line.removesuffix(":") for line in text.splitlines() if line.removesuffix(":") in list(Help)]
    assert titles == [title for title in Help if title in titles]
    assert (titles[0], titles[-1]) == (Help.COMMON, Help.GENERAL)
    shown = re.findall(r"^  (-[^ ,]+(?:, --\S+)?)", text[text.index(Help.COMMON) :], re.MULTILINE)
    options = [param for param in program.commands[name].params if isinstance(param, click.Option)]
    assert sorted(words.split(", ")[-1] for words in shown) == sorted([*(option.opts[0] for option in options), "--help"])


def test_help_of_the_program_shows_every_command_once() -> None:
    text = CliRunner().invoke(program, ["--help"], prog_name="synthtrace").stdout
    assert re.findall(r"^  ([a-z][a-z-]+)  +[A-Z]", text, re.MULTILINE) == list(program.commands)


OUTPUTS = "sql out, map csv, map db, lookup figure, report out, filter list, filter out, leakage work, compare db, index out"


@pytest.mark.parametrize(("command", "key"), [pair.split() for pair in OUTPUTS.split(", ")])
@pytest.mark.parametrize("table", [True, False])
def test_a_file_of_the_folder_names_no_output(command: str, key: str, table: bool, tmp_path: Path) -> None:
    """It may have come with the folder from elsewhere."""
    taken: dict[str, dict[str, Any]] = {}
    parsed = program.commands[command]
    context = parsed.make_context(command, [], parent=click.Context(program), resilient_parsing=True)
    with chdir(tmp_path):
        CONFIG.write_text(f'{f"[{command}]" if table else ""}\n{key} = "victim"\n')
        for named in (None, CONFIG):
            read_config(context, parsed.params[0], named)
            taken[str(named)] = dict(context.default_map or {})
    assert taken["None"] == {}
    assert list(taken[str(CONFIG)].values()) == ["victim"]
    read = context.meta[CONFIG_SAID]
    assert read == ["options from synthtrace.toml"]


def test_what_was_left_out_is_said_and_quiet_is_quiet(tmp_path: Path) -> None:
    with chdir(tmp_path):
        CONFIG.write_text('[sql]\nout = "victim.csv"\n')
        result = CliRunner().invoke(program, ["sql", "SELECT 1", "--db", "nothing.duckdb"])
        assert "options from synthtrace.toml\nsynthtrace.toml: not out: what it names may be written to" in result.stderr
        for arguments in (["sql", "-q", "SELECT 1", "--db", "nothing"], ["info", "nothing.duckdb", "--quiet"]):
            assert "synthtrace.toml" not in CliRunner().invoke(program, arguments).stderr
        assert "synthtrace.toml" in CliRunner().invoke(program, ["check", "nothing"]).stderr


def test_a_deeply_nested_file_is_no_bug(tmp_path: Path) -> None:
    with chdir(tmp_path):
        CONFIG.write_text("k = " + "[" * 100_000)
        result = CliRunner().invoke(program, ["check", "nothing"])
    assert result.exit_code == 2
    assert "synthtrace.toml: cannot be read as TOML" in result.stderr
