"""The service as a process: how it starts, what it refuses, that it serves while an audit writes; its benchmark and fuzzing."""

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from indexer.build.build import Settings
from query.cli.commands import serve as command
from query.cli.group import program
from query.flow import DATABASE, AuditSettings, audit
from tests.helpers.making import QUICK, slice_of, write_image
from tests.helpers.places import ROOT
from tests.helpers.serving import REAL, World, make_world

ENTRY = "from query.cli.main import main; main()"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), QUICK)


@contextmanager
def process(*arguments: object, entry: str = ENTRY, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service in a process of its own, and its address."""
    line = [sys.executable, "-c", entry, "serve", *map(str, arguments), "--port", "0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    with subprocess.Popen(line, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stderr is not None
            note = started.stderr.readline()
            found = re.search(r"http://\S+", note)
            assert found, note
            yield started, found[0].rstrip("/")
        finally:
            started.kill()


def get(address: str, **headers: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=30) as answer:
        return json.loads(answer.read())


# Refusals in one line


@pytest.mark.parametrize(
    ("options", "environment", "reason"),
    [
        (["--host", "0.0.0.0"], {}, "give a token"),
        (["--host", "0.0.0.0"], {"SYNTHTRACE_SERVE_TOKEN": "short"}, "at least 16"),
        (["--host", "no such address"], {"SYNTHTRACE_SERVE_TOKEN": "x" * 16}, "no such address, port"),
        (["--token-file", "nowhere"], {}, "nowhere"),
        ([], {"SYNTHTRACE_SERVE_TOKEN": "schlüssel-schlüssel"}, "ASCII"),
    ],
)
def test_what_cannot_be_served_is_refused(world: World, options: list[str], environment: dict[str, str], reason: str) -> None:
    line = ["serve", str(world.folder / "generated.c"), "--db", str(world.db), *options]
    assert reason in refused(line, environment)


def test_a_missing_database_collection_or_package_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = str(world.folder / "generated.c")
    assert "no such file" in refused(["serve", collection, "--db", str(world.folder / "nowhere.duckdb")])
    assert "--blinded needs --db" in refused(["serve", collection, "--blinded"])
    assert "no collection" in refused(["serve", str(world.folder), "--db", str(world.db)])
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert "pip install '.[serve]' in the project folder" in refused(["serve", collection, "--db", str(world.db)])


@pytest.mark.parametrize("damage", ["images.parquet", "temporary folder", "link"])
def test_what_is_damaged_is_said_in_one_line_before_anything_is_served(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    own = world.copied(tmp_path)
    collection = tmp_path / "generated.c"
    shutil.copytree(world.folder / "generated.c", collection)
    reason = damage
    if damage == "images.parquet":
        content = bytearray((collection / damage).read_bytes())
        content[len(content) // 2] ^= 1
        (collection / damage).write_bytes(content)
    elif damage == "link":
        reason = "results.reviews.jsonl"
        (tmp_path / reason).symlink_to(tmp_path / "elsewhere")
    else:
        reason = "usable temporary directory"
        nowhere = str(tmp_path / "nowhere")  # /tmp and the current folder would do too, so TMPDIR is not enough
        monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [nowhere])
        monkeypatch.setattr(tempfile, "tempdir", None)
    assert reason.lower() in refused(["serve", str(collection), "--db", str(own.db), "--port", "0"]).lower()


def refused(line: list[str], environment: dict[str, str] | None = None) -> str:
    done = CliRunner(env=environment).invoke(program, line)
    assert done.exit_code == 2, done.output
    (note,) = done.stderr.strip().splitlines()
    return note


# The process


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_told_to_and_leaves_nothing(world: World, tmp_path: Path, sent: signal.Signals) -> None:
    own = world.copied(tmp_path)
    (tmp_path / "temp").mkdir()
    with process(world.folder / "generated.c", "--db", own.db, TMPDIR=str(tmp_path / "temp")) as (started, address):
        assert get(f"{address}/livez") == {"status": "alive"}
        port = address.rpartition(":")[2]
        another = ["serve", str(world.folder / "generated.c"), "--db", str(own.db), "--port"]
        assert "Address already in use" in refused([*another, port])
        assert "in use by another service" in refused([*another, "0"])
        started.send_signal(sent)
        out, err = started.communicate(timeout=20)
        assert (started.returncode, out, err.strip()) == (0, "", "stopped")
    assert not list((tmp_path / "temp").iterdir())


@pytest.mark.slow
def test_an_audit_writes_while_the_service_reads(tmp_path: Path) -> None:
    for number in range(8):
        for role, seed in (("real", number), ("generated", 100 + number)):
            (tmp_path / role).mkdir(exist_ok=True)
            write_image(tmp_path / role / f"{number:03d}.png", slice_of(seed))
    out, settings = tmp_path / "out", Settings(views={"phash": {}}, sample_size=50)

    def again() -> None:
        audit([tmp_path / "real"], [tmp_path / "generated"], out, AuditSettings(settings, device="cpu"))

    again()
    with process(out / "generated", "--db", out / DATABASE) as (_, address):
        wait_for(address, 8)
        write_image(tmp_path / "real" / "008.png", slice_of(200))
        again()  # neither waits for the other, nor refuses
        wait_for(address, 9)
        line = [sys.executable, "-c", ENTRY, "compare", str(out / "real"), str(out / "generated"), "--db", str(out / DATABASE)]
        done = subprocess.run(line, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)  # in place
        assert done.returncode == 0, done.stderr
        wait_for(address, 9, run=2)


@pytest.mark.slow
def test_it_answers_while_more_connections_are_held_than_it_may_open_files(world: World, tmp_path: Path) -> None:
    """1,200 of them, of which some send nothing, some half a head, and some half a body; then all go away at once."""
    own = world.copied(tmp_path)
    limited = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024)); " + ENTRY
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1500:
        pytest.skip("this process itself may not open 1,200 connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1500), hard))
    sent = [b"", b"GET /livez HT", b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nx"]
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        collection = world.folder / "generated.c"
        started, address = stack.enter_context(process(collection, "--db", own.db, entry=limited))
        port = int(address.rpartition(":")[2])
        with ExitStack() as held:
            for number in range(1200):
                opened = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
                with suppress(OSError):
                    opened.sendall(sent[number % 3])
                if number % 200 == 199:
                    assert get(f"{address}/livez") == {"status": "alive"}
            assert get(f"{address}/livez") == {"status": "alive"}
        wait_for(address, REAL)
        with urllib.request.urlopen(f"{address}/metrics", timeout=30) as answer:
            assert 'status="500"' not in answer.read().decode()
        started.send_signal(signal.SIGTERM)
        out, err = started.communicate(timeout=30)
        assert (started.returncode, out, err.strip()) == (0, "", "stopped")


def wait_for(address: str, images: int, run: int = 1) -> None:
    """Until the service knows of a run with so many real images."""
    until = time.monotonic() + 30
    while True:
        try:
            latest = get(f"{address}/v1/runs")["runs"][0]
        except OSError:
            latest = {"real_images": 0, "run": 0}
        if (latest["real_images"], latest["run"]) == (images, run):
            return
        assert time.monotonic() < until, latest
        time.sleep(0.2)


# Scripts


@pytest.fixture(scope="module")
def audited(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world as an audit would have left it."""
    folder = tmp_path_factory.mktemp("audited")
    shutil.copytree(world.folder / "generated.c", folder / "generated")
    shutil.copy(world.db, folder / DATABASE)
    return folder


def script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(ROOT / "scripts" / name), *map(str, arguments)]
    return subprocess.run(line, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)


@pytest.mark.slow
def test_the_benchmark_prints_what_it_promises(audited: Path) -> None:
    done = script("bench/service.py", audited, "--clients", "1,2", "--seconds", "0.3", "--views", "phash")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^phash: uploads of \d+ KB against 40 images on \d+ cores$", done.stdout, re.M)
    line = r"^ +(\d+) clients: .* searches/s, .*; p50 .* ms, p99 .* ms; CPU .*: HTTP costs \S+ ms$"
    assert re.findall(line, done.stdout, re.M) == ["1", "2"]


@pytest.mark.slow
def test_nothing_that_is_sent_makes_the_service_fail(audited: Path) -> None:
    done = script("fuzz_service.py", audited, "--requests", "1000")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no answer is wrong\nthe service lives" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bench/service.py", "fuzz_service.py"])
def test_scripts_refuse_what_is_no_audit(name: str, tmp_path: Path) -> None:
    done = script(name, tmp_path / "nowhere")
    assert (done.returncode, done.stderr.splitlines()[-1].partition(": error: ")[2].partition(":")[0]) == (
        2, str(tmp_path / "nowhere" / DATABASE)
    )  # fmt: skip
