import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from embeddings.views.registry import VIEWS
from indexer.build.build import Settings, build
from indexer.files import locked
from query.cli.group import program
from query.database.store import Store
from tests.helpers.dicoms import Element, dicom
from tests.helpers.making import slice_of, write_image, write_images
from tests.helpers.places import ROOT
from tests.helpers.toy import TOY

REALS, GENERATED = range(6), range(100, 112)
COPIED = "copy.png"  # a generated file that is a real one
COMMANDS = sorted(program.commands)
NOTE = "resnet18 with seeded random weights (random:0): not trained on anything"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, a collection of the generated ones and a database, that no test changes."""
    folder = tmp_path_factory.mktemp("world")
    write_images(folder / "real", REALS)
    write_images(folder / "generated", GENERATED)
    shutil.copy(folder / "real" / "003.png", folder / "generated" / COPIED)
    build(folder / "g.c", folder / "generated", settings=TOY)
    ok(run("compare", folder / "real", folder / "g.c", "--db", folder / "results.duckdb"))
    return folder


def run(*arguments: object, environment: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(program, [str(argument) for argument in arguments], env=environment)


def ok(result: Result) -> Result:
    assert result.exit_code == 0, result.stderr
    return result


def result_of(result: Result) -> Any:
    """What the JSON on standard output says; nothing else may be there."""
    return json.loads(result.stdout)


def start(*arguments: object, environment: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "query.cli.main", *map(str, arguments)]
    everything = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(command, text=True, env=everything, **streams)


def spoil(folder: Path, count: int = 1) -> None:
    for number in range(count):
        (folder / f"bad_{number:02d}.png").write_bytes(b"no image")


# Help and documents


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_one_sentence_and_an_example(command: str) -> None:
    text = ok(run(command, "--help")).stdout
    assert re.search(rf"Example:\n +synthtrace {command}\b", text)
    assert program.commands[command].get_short_help_str(200).count(".") == 1


def test_help_lists_every_command_uncut() -> None:
    text = ok(run("--help")).stdout
    assert re.findall(r"^  ([a-z][a-z-]+)  +[A-Z]", text, re.MULTILINE) == list(program.list_commands(None))  # type: ignore[arg-type]
    assert "..." not in text.partition("Commands:")[2]
    assert sorted(program.list_commands(None)) == COMMANDS  # type: ignore[arg-type]


def test_without_arguments_it_shows_help_and_fails() -> None:
    result = run()
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: " in result.stderr


def test_version() -> None:
    assert re.fullmatch(r"synthtrace (\d+\.\d+.*|\(not installed\))\n", ok(run("--version")).stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_reference(command: str) -> None:
    assert f"synthtrace {command}" in (ROOT / "docs" / "COMMANDS.md").read_text(encoding="utf-8")


# index


def test_index_says_what_it_made(world: Path, tmp_path: Path) -> None:
    made = result_of(ok(run("index", world / "generated", "--out", tmp_path / "c", "--view", "phash", "--json")))
    assert (made["images"], made["failed"], made["failures"]) == (13, 0, [])
    assert [view["view"] for view in made["views"]] == ["phash"]
    assert made["views"][0]["dim"] == 256
    assert made == result_of(ok(run("info", tmp_path / "c", "--json")))


def test_index_takes_every_option(world: Path, tmp_path: Path) -> None:
    options = ["--view", "phash", "--phash-bits", "64", "--view", "sift", "--sift-encoding", "bow", "--sift-words", "3"]
    more = ["--percentiles", "1,99", "--nifti-axis", "0", "--sample", "7", "--seed", "5", "--binary-factory", "BHNSW8"]
    made = result_of(ok(run("index", world / "real", "--out", tmp_path / "c", *options, *more, "--json")))
    phash, sift = made["views"]
    assert (phash["dim"], phash["index"]) == (64, "BHNSW8")
    assert (sift["options"]["encoding"], sift["options"]["words"]) == ("bow", 3)
    assert made["sample"] == {"size": 7, "seed": 5}
    assert (made["decoding"]["low"], made["decoding"]["high"], made["decoding"]["axis"]) == (1, 99, 0)


def test_window_reaches_the_decoding(world: Path, tmp_path: Path) -> None:
    made = result_of(ok(run("index", world / "real", "--out", tmp_path / "c", "--view", "phash", "--window=-600,1500", "--json")))
    assert (made["decoding"]["centre"], made["decoding"]["width"]) == (-600, 1500)


def test_indexing_again_without_options_keeps_those_of_the_collection(world: Path, tmp_path: Path) -> None:
    ok(run("index", world / "real", "--out", tmp_path / "c", "--view", "phash", "--phash-bits", 64))
    again = result_of(ok(run("index", world / "real", "--out", tmp_path / "c", "--json")))
    assert again["views"][0]["dim"] == 64
    other = run("index", world / "real", "--out", tmp_path / "c", "--view", "phash")
    assert (other.exit_code, "bits: 256 asked for, 64 there" in other.stderr) == (2, True)
    refitted = result_of(ok(run("index", world / "real", "--out", tmp_path / "c", "--view", "phash", "--refit", "--json")))
    assert refitted["views"][0]["dim"] == 256


def test_index_reads_lists(world: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\n".join(str(world / "real" / f"{n:03d}.png") for n in (1, 4)))
    made = result_of(ok(run("index", f"@{tmp_path / 'list.txt'}", "--out", tmp_path / "c", "--view", "phash", "--json")))
    assert made["images"] == 2


def test_unreadable_images_are_listed_and_counted(tmp_path: Path) -> None:
    write_images(tmp_path / "images", range(3))
    spoil(tmp_path / "images", 12)
    result = run("index", tmp_path / "images", "--out", tmp_path / "c", "--view", "phash", "--json")
    assert result.exit_code == 3
    made = result_of(result)
    assert (made["images"], made["failed"]) == (3, 12)
    assert [failure["path"] for failure in made["failures"]] == [f"bad_{n:02d}.png" for n in range(12)]
    lines = [line for line in result.stderr.splitlines() if line.startswith("cannot read ")]
    assert [Path(line.split(": ")[0]).name for line in lines] == [f"bad_{n:02d}.png" for n in range(10)]
    assert f"and 2 more; see {tmp_path / 'c'}/images.parquet" in result.stderr


def test_the_random_network_is_named_wherever_it_shows(world: Path, tmp_path: Path) -> None:
    network = ["--view", "resnet", "--resnet-weights", "random:0", "--resnet-size", "32"]
    assert NOTE in ok(run("index", world / "generated", "--out", tmp_path / "c", *network)).stdout
    assert NOTE in ok(run("info", tmp_path / "c")).stdout
    image = world / "real" / "003.png"
    assert NOTE in ok(run("lookup", image, tmp_path / "c")).stdout
    assert result_of(ok(run("lookup", image, tmp_path / "c", "--json")))["notes"] == {"resnet": NOTE}
    assert NOTE in ok(run("compare", world / "real", tmp_path / "c", "--db", tmp_path / "a.duckdb")).stdout
    assert NOTE in ok(run("map", tmp_path / "c", tmp_path / "a.real", "--view", "resnet")).stderr
    asked = ok(run("sql", "--db", tmp_path / "a.duckdb", "nearest-generated", "--format", "json"))
    assert NOTE in asked.stderr
    assert NOTE not in ok(run("sql", "--db", tmp_path / "a.duckdb", "SELECT 'phash' AS view")).stderr


# query


def test_query_keeps_its_collections_beside_the_database(world: Path, tmp_path: Path) -> None:
    arguments = ["compare", world / "real", world / "g.c", "--db", tmp_path / "a.duckdb", "--mirror", "--k", 3, "--json"]
    first, second = (result_of(ok(run(*arguments))) for _ in range(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.duckdb", "a.mirrored", "a.real"]
    assert (first.pop("run"), second.pop("run")) == (1, 2)
    assert first == second
    with Store.open(tmp_path / "a.duckdb", read_only=True) as store:
        assert store.sql("SELECT k, mirror FROM runs").to_pylist() == [{"k": 3, "mirror": True}] * 2


def test_query_reports_what_the_database_holds(world: Path, tmp_path: Path) -> None:
    found = result_of(ok(run("compare", world / "real", world / "g.c", "--db", tmp_path / "a.duckdb", "--json")))
    assert set(found) == {
        *("run", "database", "copies", "memorisation", "real", "generated"),
        *("shared_files", "warnings", "views", "nearest"),
    }
    assert (found["real"], found["generated"]) == ({"images": 6, "failed": 0}, {"images": 13, "failed": 0})
    assert found["shared_files"] == 1
    assert [view["view"] for view in found["views"]] == ["phash", "toy", "combined"]
    assert (found["nearest"][0]["real_image"], found["nearest"][0]["generated_image"]) == ("003.png", COPIED)
    with Store.open(tmp_path / "a.duckdb", read_only=True) as store:
        for view in found["views"]:
            query = "SELECT distance FROM nearest_generated WHERE view = $view AND NOT blank ORDER BY 1"
            distances = store.sql(query, {"view": view["view"]})["distance"].to_pylist()
            assert view["smallest"] == distances[0]
            assert view["median"] == pytest.approx((distances[2] + distances[3]) / 2)


def test_query_takes_labels_groups_and_a_ready_collection(world: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "Image;Label\n000;yes\nward/001.png;0.0\nelsewhere.png;1\n", encoding="utf-16"
    )  # 001 has a patient of its own
    real = world / "results.real"
    options = ["--labels", labels, "--groups", r"^(001|00)", "--mirror"]
    result = ok(run("compare", real, world / "g.c", "--db", tmp_path / "a.duckdb", *options))
    text, told = result.stdout, result.stderr.splitlines()
    assert told.count(f"{labels}: used from column 'Label'") == 1
    ignored = "ignored 1 name of 3 that no image has, such as 'elsewhere.png', while images have names such as '000.png'"
    assert told.count(f"{labels}: {ignored}") == 1
    assert text.startswith("1 generated image is an exact copy of 1 real image (1 patient): this is evidence by itself")
    assert not (tmp_path / "a.real").exists()
    with Store.open(tmp_path / "a.duckdb", read_only=True) as store:
        assert store.sql("SELECT used FROM labels ORDER BY image_id")["used"].to_pylist() == [True, False]
        query = """SELECT DISTINCT "group" FROM images WHERE role = 'real'"""
        assert sorted(store.sql(query)["group"].to_pylist()) == ["00", "001"]


def test_query_counts_unreadable_images(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "real", tmp_path / "real")
    spoil(tmp_path / "real")
    result = run("compare", tmp_path / "real", world / "g.c", "--db", tmp_path / "a.duckdb")
    assert (result.exit_code, "1 real file, 0 generated files" in result.stdout) == (3, True)
    assert f"cannot read {tmp_path / 'real' / 'bad_00.png'}: " in result.stderr


def test_files_read_with_a_note_are_named(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for seed in range(12):
        broken = dicom(slice_of(seed).astype(np.uint16) * 16, bits=12, WindowCenter=Element("DS", "18,0"), WindowWidth="9")
        (images / f"{seed:02d}.dcm").write_bytes(broken)
    lines = ok(run("index", images, "--out", tmp_path / "c", "--view", "phash")).stderr.splitlines()
    told = [line for line in lines if line.startswith("read with a note: ")]
    assert told[0].endswith("00.dcm: WindowCenter '18,0' is no number: taken as absent")
    assert len(told) == 10
    assert lines[-1].startswith("and 2 more with notes; see ")


# lookup


def test_lookup_shows_a_table(world: Path) -> None:
    text = ok(run("lookup", world / "real" / "003.png", world / "g.c", "--view", "phash", "--k", 2)).stdout
    title, header, _, first, second = text.splitlines()
    assert title == str(world / "real" / "003.png")
    assert header.split() == ["view", "rank", "file", "distance"]
    assert first.split() == ["phash", "1", COPIED, "0", "bits"]
    assert second.split()[:2] == ["phash", "2"]


def test_lookup_in_json_asks_every_view(world: Path) -> None:
    found = result_of(ok(run("lookup", world / "real", world / "g.c", "--k", 1, "--json")))
    assert set(found) == {"collection", "notes", "hits", "failures"}
    assert set(found["hits"][0]) == {"image", "view", "rank", "name", "row", "distance", "mirrored", "blank"}
    images = [str(world / "real" / f"{n:03d}.png") for n in REALS]
    assert [(hit["image"], hit["view"]) for hit in found["hits"]] == [
        (i, v) for i in images for v in ("phash", "toy", "combined-lookup")
    ]
    copied = [hit for hit in found["hits"] if hit["image"] == images[3]]
    assert {hit["name"] for hit in copied} == {COPIED}


def test_lookup_finds_flipped_images(world: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "flipped.png", slice_of(3)[:, ::-1])
    (hit,) = result_of(ok(run("lookup", image, world / "g.c", "--mirror", "--view", "phash", "--k", 1, "--json")))["hits"]
    assert (hit["name"], hit["distance"], hit["mirrored"]) == (COPIED, 0, True)
    assert "mirrored" in ok(run("lookup", image, world / "g.c", "--mirror", "--view", "phash")).stdout


def test_lookup_names_unreadable_images_and_shows_the_others(world: Path, tmp_path: Path) -> None:
    spoil(tmp_path)
    result = run("lookup", tmp_path / "bad_00.png", world / "real" / "003.png", world / "g.c", "--json")
    assert result.exit_code == 3
    assert [failure["path"] for failure in result_of(result)["failures"]] == [str(tmp_path / "bad_00.png")]
    assert result_of(result)["hits"]
    assert f"cannot read {tmp_path / 'bad_00.png'}: " in result.stderr


def test_lookup_draws(world: Path, tmp_path: Path) -> None:
    arguments = ["lookup", world / "real" / "003.png", world / "g.c", "--view", "phash", "--figure"]
    ok(run(*arguments, tmp_path / "figure.png"))
    with Image.open(tmp_path / "figure.png") as picture:
        assert picture.width > picture.height > 100
    two = run("lookup", world / "real", world / "g.c", "--view", "phash", "--figure", tmp_path / "two.png")
    assert (two.exit_code, "a figure shows one image" in two.stderr) == (2, True)


LOADED = """
import sys
from query.cli.main import main
try:
    main()
finally:
    heavy = {"torch", "torchvision", "duckdb", "matplotlib", "rich", "pandas", "scipy", "indexer.build.build"}
    heavy |= {"cv2", "faiss", "pyarrow.compute", "query.membership.case", "query.cli.commands.audit"}
    print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""


def loaded_by_lookup(world: Path, *options: str) -> str:
    """Which of the heavy libraries a look-up has loaded at its end."""
    arguments = ["lookup", str(world / "real" / "003.png"), str(world / "g.c"), *options, "--quiet"]
    done = subprocess.run([sys.executable, "-c", LOADED, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert COPIED in done.stdout
    return done.stderr


def test_lookup_by_phash_loads_no_heavy_library(world: Path) -> None:
    assert loaded_by_lookup(world, "--view", "phash") == "[]\n"


def test_lookup_by_the_bundled_network_loads_no_pytorch(world: Path, tmp_path: Path) -> None:
    build(tmp_path / "c", world / "generated", settings=Settings(views={"phash": {}, "resnet": {"size": 32}, "pixels": {}}))
    arguments = ["lookup", str(world / "real" / "003.png"), str(tmp_path / "c"), "--quiet"]
    done = subprocess.run([sys.executable, "-c", LOADED, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "['cv2']\n")
    assert COPIED in done.stdout


def test_what_decodes_begins_before_numpy_is_loaded() -> None:
    code = """
import sys
from embeddings.images import child
from query.cli import main
begun = []
main.begin = lambda: begun.append("numpy" in sys.modules)
sys.argv = ["synthtrace", "lookup", "--help"]
try:
    main.main()
finally:
    print(begun, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "[False]\n")


def test_a_command_is_imported_when_it_is_asked_for() -> None:
    code = """
import sys
from query.cli.group import program
def imported(): return sorted(name.rpartition(".")[2] for name in sys.modules if name.startswith("query.cli.commands."))
print(len(program.commands), "index" in program.commands, imported())
program.commands["sql"], program.commands["check"]
print(imported())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{len(COMMANDS)} True []\n['inspect']\n"


# map


def bits(world: Path) -> dict[tuple[str, str], int]:
    """(generated, real) -> Hamming distance by the library that system S1 used."""
    hashes = {path: imagehash.phash(Image.open(path), 16) for path in world.glob("*/*.png")}
    return {
        (g.name, r.name): int(hashes[g] - hashes[r])
        for g in hashes
        if g.parent.name == "generated"
        for r in hashes
        if r.parent.name == "real"
    }


def lines_of_s1(world: Path, threshold: int | None) -> list[str]:
    """What the published program would print, in order of the names."""
    distances = bits(world)
    lines = []
    for generated in sorted({g for g, _ in distances}):
        distance, real = min((d, r) for (g, r), d in distances.items() if g == generated)
        source = real if threshold is None or distance <= threshold else None
        lines.append(f"The source image for {generated} is {source} with {distance}")
    return lines


def test_map_prints_the_nearest_of_each(world: Path) -> None:
    result = ok(run("map", world / "generated", world / "real"))
    assert result.stdout.splitlines() == lines_of_s1(world, None)
    assert f"The source image for {COPIED} is 003.png with 0" in result.stdout


@pytest.mark.parametrize("threshold", [0, 50, 90])
def test_map_with_a_threshold_prints_none_beyond(world: Path, threshold: int) -> None:
    result = run("map", world / "g.c", world / "real", "--threshold", threshold)
    expected = lines_of_s1(world, threshold)
    assert any(" is None with " in line for line in expected)
    assert result.stdout.splitlines() == expected
    assert result.exit_code == 1
    assert "not calibrated" in result.stderr


def test_map_at_the_threshold_is_within(world: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    shutil.copy(world / "generated" / "100.png", tmp_path / "one")
    nearest = min(d for (g, _), d in bits(world).items() if g == "100.png")
    assert [run("map", tmp_path / "one", world / "real", "--threshold", t).exit_code for t in (nearest, nearest - 1)] == [1, 0]


def test_map_into_a_database_decides(world: Path, tmp_path: Path) -> None:
    distances = bits(world)
    nearest = {real: min(d for (_, r), d in distances.items() if r == real) for _, real in distances}
    threshold = sorted(nearest.values())[2]
    result = run("map", world / "generated", world / "real", "--threshold", threshold, "--db", tmp_path / "m.duckdb")
    assert result.exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.duckdb", "m.generated", "m.real"]
    with Store.open(tmp_path / "m.duckdb", read_only=True) as store:
        decided = store.analyse("decisions").to_pylist()
        (about,) = store.analyse("runs").to_pylist()
    assert about["command"] == "map"
    assert {row["real_image"]: (row["decided_used"], row["value"]) for row in decided} == {
        real: (distance <= threshold, -distance) for real, distance in nearest.items()
    }
    assert {(row["method"], row["threshold"], row["role"]) for row in decided} == {("phash", -threshold, "unlabelled")}
    used = sum(distance <= threshold for distance in nearest.values())
    assert f"recorded in table decisions: {used} real images used by this rule" in result.stderr


def test_map_in_json_and_csv(world: Path, tmp_path: Path) -> None:
    result = run("map", world / "generated", world / "real", "--threshold", 50, "--json", "--csv", tmp_path / "map.csv")
    found = result_of(result)
    assert set(found) == {"view", "threshold", "calibrated", "failed", "links"}
    assert (found["threshold"], found["calibrated"]) == (50, False)
    with open(tmp_path / "map.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["generated_image"], row["source"], float(row["distance"])) for row in rows] == [
        (link["generated_image"], link["source"] or "", link["distance"]) for link in found["links"]
    ]
    assert (tmp_path / "map.csv").stat().st_mode & 0o077 == 0


def test_map_gives_a_blank_image_no_source(world: Path, tmp_path: Path) -> None:
    (tmp_path / "generated").mkdir()
    write_image(tmp_path / "generated" / "blank.png", slice_of(0) * 0)
    result = run("map", tmp_path / "generated", world / "real", "--threshold", 256)
    assert result.exit_code == 0
    assert result.stdout.startswith("The source image for blank.png is None with ")
    assert "blank" in result.stderr


def test_map_sees_with_the_eyes_of_a_ready_real_collection(world: Path, tmp_path: Path) -> None:
    ok(run("index", world / "real", "--out", tmp_path / "r.c", "--view", "phash", "--phash-bits", 64, "--percentiles", "5,95"))
    links = result_of(ok(run("map", world / "generated", tmp_path / "r.c", "--json")))["links"]
    assert max(link["distance"] for link in links) < 64
    assert next(link for link in links if link["generated_image"] == COPIED)["distance"] == 0


# sql


def test_sql_without_query_lists_the_analyses() -> None:
    text = ok(run("sql")).stdout
    for analysis in Store.analyses().values():
        assert re.search(rf"^{analysis.name}( |$)", text, re.MULTILINE)
        assert analysis.question.split("?")[0][:40] in " ".join(text.split())


@pytest.mark.parametrize("query", ["nearest-generated", "SELECT view, rank, distance FROM neighbours ORDER BY ALL"])
def test_sql_gives_the_same_in_every_form(world: Path, tmp_path: Path, query: str) -> None:
    arguments = ["sql", "--db", world / "results.duckdb", query]
    rows = result_of(ok(run(*arguments, "--format", "json")))
    assert rows
    (tmp_path / "a.parquet").write_bytes(ok(run(*arguments, "--format", "parquet")).stdout_bytes)
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == rows
    parsed = list(csv.DictReader(ok(run(*arguments, "--format", "csv")).stdout.splitlines()))
    assert [row.keys() for row in parsed] == [row.keys() for row in rows]
    assert len(ok(run(*arguments)).stdout.splitlines()) == len(rows) + 2
    ok(run(*arguments, "--out", tmp_path / "b.json"))
    assert json.loads((tmp_path / "b.json").read_text()) == rows


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--param", "limit=5"], "--param is for the answer"),
        (["--format", "csv"], "--format is for the answer"),
        (["--out", "answer.csv"], "--out is for the answer"),
        (["--db", "nothere.duckdb"], "nothere.duckdb: there is no such file"),
        (["runs", "--out", "nothere/answer.csv"], "there is no folder nothere"),
    ],
)
def test_sql_passes_over_nothing_that_was_asked(arguments: list[str], complaint: str) -> None:
    refused(run("sql", *arguments), complaint)


def test_sql_takes_parameters(world: Path) -> None:
    arguments = ["sql", "--db", world / "results.duckdb", "--format", "json"]
    near = result_of(ok(run(*arguments, "within-distance", "--param", "distance=0", "--param", "view=phash")))
    assert [(row["real_image"], row["generated_image"]) for row in near] == [("003.png", COPIED)]
    assert result_of(ok(run(*arguments, "SELECT $a + 1 AS b, $c AS c", "--param", "a=1.5", "--param", "c=x=y"))) == [
        {"b": 2.5, "c": "x=y"}
    ]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nothing-such"], "there is no analysis 'nothing-such'"),
        (["SELEC 1"], "syntax error"),
        (["DROP TABLE runs"], "one SELECT is wanted"),
        (["SELECT * FROM read_csv('/etc/passwd')"], "may only read this database"),
        (["source-map", "--param", "threshold=near"], "threshold must be a number"),
        (["source-map", "--param", "threshold"], "--param takes NAME=VALUE"),
        (["runs", "--format", "csv", "--out", "a.csv"], "the file's suffix decides"),
        (["runs", "--out", "a.xls"], "suffix must be one of"),
        (["runs", "--out", "nowhere/a.csv"], "there is no folder nowhere"),
    ],
)
def test_sql_refuses(world: Path, arguments: list[str], complaint: str) -> None:
    refused(run("sql", "--db", world / "results.duckdb", *arguments), complaint)


# check, info, doctor


def test_check_finds_damage(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "g.c", tmp_path / "d.c")
    assert ok(run("check", world / "g.c", tmp_path / "d.c")).stdout.count(": whole\n") == 2
    with open(tmp_path / "d.c" / "phash" / "index.faiss", "r+b") as file:
        file.write(b"?")
    result = run("check", world / "g.c", tmp_path / "d.c", "--json")
    assert result.exit_code == 1
    whole, damaged = result_of(result)["collections"]
    assert (whole["problems"], len(damaged["problems"])) == ([], 1)
    assert "phash/index.faiss" in damaged["problems"][0]
    (tmp_path / "d.c" / "manifest.json").write_text("{}")
    assert run("check", tmp_path / "d.c").exit_code == 1


def test_check_looks_at_all_whatever_the_first_is(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "g.c", tmp_path / "d.c")
    (tmp_path / "d.c" / "phash" / "index.faiss").write_bytes(b"?")
    shutil.copytree(world / "g.c", tmp_path / "nested.c")
    (tmp_path / "nested.c" / "manifest.json").write_text("[" * 200_000)
    result = run("check", tmp_path / "none", tmp_path / "d.c", tmp_path / "nested.c", world / "g.c")
    assert result.exit_code == 2
    lines = result.stdout.splitlines()
    assert [line.split(": ", 1)[0].removeprefix(f"{tmp_path}/") for line in lines[1:3]] == [
        "d.c/phash/index.faiss",
        "nested.c/manifest.json cannot be read (it is nested too deeply); build the collection again",
    ]
    assert "none is no collection" in lines[0]
    assert lines[3] == f"{world / 'g.c'}: whole"
    assert run("check", tmp_path / "nested.c", world / "g.c").exit_code == 1
    result = run("check", world / "real")
    assert (result.exit_code, result.stdout.count("\n"), "is no collection" in result.stdout) == (2, 1, True)


def test_relocate_says_where_images_lie_now(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "generated", tmp_path / "moved")
    shutil.copytree(world / "g.c", tmp_path / "g.c")
    shutil.copy(world / "results.duckdb", tmp_path / "r.duckdb")
    text = ok(run("relocate", tmp_path / "g.c", tmp_path / "moved")).stdout
    assert text.strip().endswith(f"now in {tmp_path}/moved (before: {world}/generated)")
    assert json.loads(ok(run("info", tmp_path / "g.c", "--json")).stdout)["source"] == f"{tmp_path}/moved"
    ok(run("relocate", tmp_path / "r.duckdb", tmp_path / "moved", "--role", "generated"))
    with Store.open(tmp_path / "r.duckdb", read_only=True) as store:
        assert store.sql("SELECT generated_source FROM runs")["generated_source"].to_pylist()[0] == f"{tmp_path}/moved"
    next((tmp_path / "moved").iterdir()).unlink()
    assert run("relocate", tmp_path / "g.c", tmp_path / "moved").exit_code == 3
    refused(run("relocate", tmp_path / "r.duckdb", tmp_path / "moved"), "a database has two sides")
    refused(run("relocate", tmp_path / "g.c", tmp_path), "holds none of the")


def test_info_tells_of_a_database(world: Path) -> None:
    facts = result_of(ok(run("info", world / "results.duckdb", "--json")))
    assert set(facts) == {"database", "bytes", "parquet_bytes", "parquet_files", "runs", "rows"}
    assert (facts["runs"][0]["real_images"], facts["rows"]["images"]) == (6, 19)
    assert "phash toy" in ok(run("info", world / "results.duckdb")).stdout


def test_info_tells_of_a_collection(world: Path) -> None:
    text = ok(run("info", world / "g.c")).stdout
    assert "13 images, 0 files that could not be read" in text
    assert re.search(r"^phash +256 +hamming +BFlat", text, re.MULTILINE)


def test_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    found = result_of(run("doctor", "--json"))
    assert {"python", "torch", "faiss", "cpu", "gpu", "network", "disk", "writing"} <= {
        check["what"] for check in found["checks"]
    }
    monkeypatch.setattr("query.cli.output.doctor.REQUIRED", ("no-such-package",))
    result = run("doctor")
    assert result.exit_code == 1
    assert "cannot work here because of: no-such-package" in result.stdout


# audit and demo


def test_audit_ends_with_what_was_found(world: Path, tmp_path: Path) -> None:
    arguments = ["audit", world / "real", world / "generated", "--out", tmp_path / "out", "--view", "phash", "--match", 0]
    result = run(*arguments, "--threshold", 0)
    assert result.exit_code == 1, result.stderr
    assert result.stdout.startswith("1 generated image is an exact copy of 1 real image: this is evidence by itself")
    found = result_of(ok(run(*arguments, "--json")))
    assert found["counts"]["generated"]["images"] == 13
    inside = run("audit", world / "real", world / "generated", "--out", world / "real" / "out")
    refused(inside, "lies inside")


def test_audit_says_both_where_images_are_bad_and_near(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "real", tmp_path / "real")
    spoil(tmp_path / "real")
    arguments = ["audit", tmp_path / "real", world / "generated", "--out", tmp_path / "out", "--view", "phash", "--match", 0]
    result = run(*arguments, "--threshold", 0)
    assert result.exit_code == 3
    assert "Within 0 bits" in result.stdout


def test_audit_lets_methods_judge(world: Path, tmp_path: Path) -> None:
    arguments = ["audit", world / "real", world / "generated", "--out", tmp_path / "out", "--view", "phash", "--match", 0]
    wanted = ["--method", "phash-calibrated", "--method", "phash", "--primary", "phash", "--prior", 0.2, "--fdr", 0.3]
    (tmp_path / "labels.csv").write_text("000.png,0\n001.png,0\n002.png,0\n003.png,1\n004.png,1\n")
    methods = result_of(ok(run(*arguments, *wanted, "--labels", tmp_path / "labels.csv", "--json")))["decisions"]["methods"]
    assert {name: (found["primary"], found["fdr"]) for name, found in methods.items()} == {
        "phash-calibrated": (False, 0.3), "phash": (True, 0.3),
    }  # fmt: skip
    assert methods["phash"]["priors"] == [0.2, 0.2]
    asked = run(*arguments, "--method", "svm")
    refused(asked, "svm")
    (tmp_path / "never").mkdir()
    write_image(tmp_path / "never" / "other.png", slice_of(950))
    found = result_of(ok(run(*arguments, "--unused", tmp_path / "never", "--json")))
    assert found["labels"]["not_used"] == 1


def test_demo_knows_the_truth(tmp_path: Path) -> None:
    arguments = ["demo", "--out", tmp_path / "demo", "--generated", 12, "--real", 4, "--view", "phash", "--match", 0]
    assert "TRUTH" in ok(run(*arguments)).stdout


# What goes wrong


def refused(result: Result, complaint: str) -> None:
    """One line on standard error, nothing on standard output, exit code 2."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("synthtrace: ")]
    assert (result.exit_code, result.stdout) == (2, ""), result.stderr
    assert len(lines) == 1
    assert lines[0].startswith("synthtrace: error: ")
    assert complaint in lines[0]
    assert "Traceback" not in result.stderr


Arguments = Callable[[Path, Path], list[object]]  # the world and an empty folder


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (lambda w, t: ["index", "--out", t / "c"], "Missing argument 'INPUT...'"),
        (lambda w, t: ["index", w / "real"], "Missing option '--out'"),
        (lambda w, t: ["index", t / "none", "--out", t / "c"], "none: no such file or folder"),
        (lambda w, t: ["index", t, "--out", t / "c"], "no image found"),
        (lambda w, t: ["index", w / "real", "--out", w / "generated"], "is not empty and no collection"),
        (lambda w, t: ["index", w / "real", "--out", t / "c", "--view", "zoo"], "'zoo' is not one of"),
        (lambda w, t: ["index", w / "real", "--out", t / "c", "--device", "cuda:99"], "cuda:99 was asked for"),
        (
            lambda w, t: ["index", w / "real", "--out", t / "c", "--device", "tpu"],
            "'tpu' is not auto, cpu, cuda, cuda:N or cuda:all",
        ),
        (lambda w, t: ["index", w / "real", "--out", t / "c", "--device", "cuda:all"], "cuda:all was asked for"),
        (lambda w, t: ["index", w / "real", "--out", t / "c", "--gpu-memory", "2G"], "GPU memory must be a size up to 1536M"),
        (lambda w, t: ["index", w / "real", "--out", t / "c", "--window", "5"], "is not two numbers"),
        (lambda w, t: ["index", w / "real", "--out", t / "c", "--percentiles", "9,1"], "percentiles must be"),
        (lambda w, t: ["index", w / "real", "--out", t / "c", "--window", "1,2", "--percentiles", "1,9"], "exclude each other"),
        (lambda w, t: ["index", w / "real", "--out", t / "c", "--sample", "0"], "sample_size must be positive"),
        (lambda w, t: ["index", w / "real", "--out", t / "c", "--resnet-size", "1"], "size >= 32"),
        (lambda w, t: ["index", w / "real", "--out", t / "c", "--resnet-weights", t / "no.pth"], "no.pth: no such file"),
        (
            lambda w, t: ["index", w / "real", "--out", t / "c", "--view", "phash", "--sift-words", "9"],
            "--sift-words is for view sift",
        ),
        (lambda w, t: ["index", w / "real", "--out", t / "c", "--view", "phash", "--binary-factory", "B?"], "FAISS cannot make"),
        (lambda w, t: ["compare", w / "real", t, "--db", t / "a.duckdb"], "is no collection"),
        (lambda w, t: ["compare", w / "real", w / "g.c", "--db", w / "real" / "000.png"], "not a DuckDB file"),
        (lambda w, t: ["compare", w / "real", w / "g.c", "--db", t / "a.duckdb", "--labels", w / "real" / "000.png"], "000.png"),
        (
            lambda w, t: ["compare", w / "real", w / "g.c", "--db", t / "a", "--labels", w / "real" / "000.png", "--all-used"],
            "--all-used says of all images what --labels says of each",
        ),
        (lambda w, t: ["compare", w / "real", w / "g.c", "--db", t / "a.duckdb", "--groups", "("], "not a regular expression"),
        (lambda w, t: ["compare", w / "real", w / "g.c", "--db", t / "a.duckdb", "--groups", "no.csv"], "no.csv: No such file"),
        (lambda w, t: ["compare", w / "real", w / "g.c", "--db", t / "a.duckdb", "--delimiter", ",,"], "a delimiter is one"),
        (lambda w, t: ["compare", w / "real", w / "g.c", "--db", t / "a.duckdb", "--encoding", "hex"], "no encoding 'hex'"),
        (lambda w, t: ["lookup", w / "real" / "000.png", w / "g.c", "--view", "resnet"], "has no view 'resnet'"),
        (lambda w, t: ["lookup", t / "none.png", w / "g.c"], "none.png: no such file"),
        (lambda w, t: ["lookup", w / "real" / "000.png", w / "g.c", "--figure", t / "no" / "a.png"], "there is no folder"),
        (lambda w, t: ["map", w / "generated", t / "none"], "none: no such file or folder"),
        (lambda w, t: ["map", w / "generated", w / "real", "--threshold", "-1"], "is not in the range"),
        (lambda w, t: ["map", w / "g.c", w / "real", "--view", "resnet"], "has no view 'resnet'"),
        (lambda w, t: ["sql", "--db", t / "none.duckdb", "runs"], "there is no such file"),
        (lambda w, t: ["info", t / "none"], "does not exist"),
        (lambda w, t: ["info", w / "real" / "000.png"], "not a DuckDB file"),
        (lambda w, t: ["nothing"], "No such command 'nothing'"),
        (lambda w, t: ["--nothing"], "No such option"),
        (lambda w, t: ["index", "--nothing"], "No such option"),
    ],
)
def test_a_mistake_gets_one_line(world: Path, tmp_path: Path, arguments: Arguments, complaint: str) -> None:
    refused(run(*arguments(world, tmp_path)), complaint)


def test_images_that_cannot_be_read_leave_nothing_to_map(world: Path, tmp_path: Path) -> None:
    spoil(tmp_path)
    result = run("map", world / "generated", tmp_path)
    refused(result, "no real image could be read")
    assert "cannot read " in result.stderr


def test_a_folder_in_use_is_named(world: Path, tmp_path: Path) -> None:
    ok(run("index", world / "real", "--out", tmp_path / "c", "--view", "phash"))
    with locked(tmp_path / "c"):
        refused(run("index", world / "real", "--out", tmp_path / "c"), "is in use by another process")


def test_debug_shows_where_an_error_came_from(tmp_path: Path) -> None:
    result = run("index", tmp_path / "none", "--out", tmp_path / "c", "--debug")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ValueError("shapes"), KeyError("x")])
def test_a_bug_is_not_taken_for_a_finding(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(folder: Path) -> None:
        raise error

    monkeypatch.setattr("query.cli.output.doctor.examine", fail)
    result = run("doctor")
    assert result.exit_code == 70
    assert "Traceback" in result.stderr
    assert "please report it" in result.stderr


def test_names_do_not_drive_the_terminal(world: Path, tmp_path: Path) -> None:
    (tmp_path / "generated").mkdir()
    shutil.copy(world / "real" / "003.png", tmp_path / "generated" / "a\x1b[2J\n.png")
    (line,) = ok(run("map", tmp_path / "generated", world / "real")).stdout.splitlines()
    assert line == r"The source image for a\x1b[2J\n.png is 003.png with 0"


# Processes


def test_interrupted_it_ends_with_130_and_one_line(tmp_path: Path) -> None:
    def listening() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # where tests run in the background, a shell has it ignored

    command = ["index", "-", "--out", tmp_path / "c", "--view", "phash", "--device", "cpu"]
    process = start(*command, stdin=subprocess.PIPE, preexec_fn=listening)
    assert process.stderr is not None
    assert process.stderr.readline() == "computing on the CPU\n"  # now it waits for its list
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    (line,) = (line for line in errors.splitlines() if line)
    assert line == "synthtrace: interrupted; the same command carries on where it stopped"


@pytest.mark.parametrize("arguments", [["sql"], ["sql", "SELECT 1", "--format", "csv"], ["--help"]])
def test_a_reader_that_goes_away_is_no_error(world: Path, arguments: list[str]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = start(*arguments, stdout=write_end, environment={"SYNTHTRACE_DB": str(world / "results.duckdb")})
    os.close(write_end)
    errors = process.communicate(timeout=60)[1]
    assert (process.returncode, errors) == (141, "")


def test_what_it_writes_is_for_its_owner(world: Path, tmp_path: Path) -> None:
    process = start("map", world / "generated", world / "real", "--db", tmp_path / "m.duckdb", umask=0)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert out.splitlines() == lines_of_s1(world, None)
    assert {path.stat().st_mode & 0o077 for path in tmp_path.rglob("*")} == {0}


def test_progress_goes_to_standard_error_as_lines(world: Path, tmp_path: Path) -> None:
    process = start("index", world / "real", "--out", tmp_path / "c", "--view", "phash", "--device", "cpu", "--json")
    out, errors = process.communicate(timeout=60)
    assert json.loads(out)["images"] == 6
    assert errors.splitlines()[:2] == ["computing on the CPU", "embedding: 6 of 6"]


def test_quiet_says_nothing_but_failures(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "real", tmp_path / "real")
    spoil(tmp_path / "real")
    result = run("index", tmp_path / "real", "--out", tmp_path / "c", "--view", "phash", "--quiet")
    assert [line[:12] for line in result.stderr.splitlines()] == ["cannot read "]


def test_completion_comes_with_click() -> None:
    environment = {"_SYNTHTRACE_COMPLETE": "bash_source"}
    result = CliRunner().invoke(program, [], prog_name="synthtrace", env=environment)
    assert (result.exit_code, "complete" in result.stdout) == (0, True)


def test_views_of_map_are_those_there_are() -> None:
    (view,) = (param for param in program.commands["map"].params if param.name == "view")
    assert list(view.type.choices) == list(VIEWS)  # type: ignore[attr-defined]
