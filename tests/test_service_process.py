"""The service as a process: how it starts, what it refuses, that it serves while an audit writes; its benchmark and fuzzing."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from making import slice_of, write_image
from serving import World, make_world

from indexer.build import Settings
from query.audit import DATABASE, audit
from query.cli import program
from query.command import serve as command

ROOT = Path(__file__).resolve().parent.parent
ENTRY = "from query.cli import main; main()"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@contextmanager
def process(*arguments: object, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service in a process of its own, and its address."""
    line = [sys.executable, "-c", ENTRY, "serve", *map(str, arguments), "--port", "0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    with subprocess.Popen(line, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stderr is not None
            said = started.stderr.readline()
            found = re.search(r"http://\S+", said)
            assert found, said + started.stderr.read()
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
    assert "no collection" in refused(["serve", str(world.folder), "--db", str(world.db)])
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert "pip install 'synthtrace[serve]'" in refused(["serve", collection, "--db", str(world.db)])


def refused(line: list[str], environment: dict[str, str] | None = None) -> str:
    done = CliRunner(env=environment).invoke(program, line)
    assert done.exit_code == 2, done.output
    (said,) = done.stderr.strip().splitlines()
    return said


# The process


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_told_to_and_leaves_nothing(world: World, tmp_path: Path, sent: signal.Signals) -> None:
    own = world.copied(tmp_path)
    (tmp_path / "temp").mkdir()
    with process(world.folder / "generated.c", "--db", own.db, TMPDIR=str(tmp_path / "temp")) as (started, address):
        assert get(f"{address}/livez") == {"status": "alive"}
        port = address.rpartition(":")[2]
        assert "Address already in use" in refused_process(world, own.db, "--port", port)
        assert "in use by another service" in refused_process(world, own.db, "--port", "0")
        started.send_signal(sent)
        out, err = started.communicate(timeout=20)
        assert (started.returncode, out, err.strip()) == (0, "", "stopped")
    assert not list((tmp_path / "temp").iterdir())


def refused_process(world: World, db: Path, *options: str) -> str:
    line = [sys.executable, "-c", ENTRY, "serve", str(world.folder / "generated.c"), "--db", str(db), *options]
    done = subprocess.run(line, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    (said,) = done.stderr.strip().splitlines()
    return said


@pytest.mark.slow
def test_an_audit_writes_while_the_service_reads(tmp_path: Path) -> None:
    for number in range(8):
        for role, seed in (("real", number), ("generated", 100 + number)):
            (tmp_path / role).mkdir(exist_ok=True)
            write_image(tmp_path / role / f"{number:03d}.png", slice_of(seed))
    out, settings = tmp_path / "out", Settings(views={"phash": {}}, sample_size=50)

    def again() -> None:
        audit([tmp_path / "real"], [tmp_path / "generated"], out, settings=settings, device="cpu")

    again()
    with process(out / "generated", "--db", out / DATABASE) as (_, address):
        wait_for(address, 8)
        write_image(tmp_path / "real" / "008.png", slice_of(200))
        again()  # neither waits for the other, nor refuses
        wait_for(address, 9)
        line = [sys.executable, "-c", ENTRY, "query", str(out / "real"), str(out / "generated"), "--db", str(out / DATABASE)]
        done = subprocess.run(line, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)  # in place
        assert done.returncode == 0, done.stderr
        wait_for(address, 9, run=2)


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
    done = script("bench_service.py", audited, "--clients", "1,2", "--seconds", "0.3", "--views", "phash")
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
@pytest.mark.parametrize("name", ["bench_service.py", "fuzz_service.py"])
def test_scripts_refuse_what_is_no_audit(name: str, tmp_path: Path) -> None:
    done = script(name, tmp_path / "nowhere")
    assert (done.returncode, done.stderr.splitlines()[-1].partition(": error: ")[2].partition(":")[0]) == (
        2, str(tmp_path / "nowhere" / DATABASE)
    )  # fmt: skip
