"""Attack: kill index, compare, predict and serve at random moments, then run the same command again."""

import json
import random
import re
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from attacks.tally import Tally
from attacks.target import Target, copied, end, last_line, survivors, tree, until

TOGETHER = 2  # attempts at once
RANDOM = rb"[0-9a-f]{32}"  # the name under which it stands whose labels a model has seen
REDRAWN = 4  # times that a moment is drawn anew where the command was done before it


@dataclass(frozen=True)
class Killed:
    """A command that is killed.

    Attributes:
        name: of the command.
        start: makes a folder as it is before the command.
        line: its arguments in that folder.
        content: what is left afterwards, to be equal to what an undisturbed command leaves.
    """

    name: str
    start: Callable[[Path], None]
    line: Callable[[Path], list[object]]
    content: Callable[[Path], Mapping[str, Any]]


def index(target: Target, tally: Tally) -> str:
    """A new collection, and one that is brought up to date."""
    half = target.room("kills-index-half")
    for image in sorted(target.generated.iterdir())[::2]:
        shutil.copy(image, half)
    before = target.folder / "kills-index-before"
    target.run("index", half, "--out", before, "--view", "phash", "--view", "pixels")

    def fresh(folder: Path) -> None:
        pass

    def older(folder: Path) -> None:
        copied(before, folder / "c")

    def line(folder: Path) -> list[object]:
        return ["index", target.generated, "--out", folder / "c", "--view", "phash", "--view", "pixels"]

    def content(folder: Path) -> Mapping[str, bytes]:
        return tree(folder / "c")

    many = 2 if target.quick else 13
    _kill(target, Killed("index", fresh, line, content), many, tally)
    _kill(target, Killed("index again", older, line, content), many - 1, tally)
    return f"{tally.figures.get('kills', 0)} kills, then the same command"


def compare(target: Target, tally: Tally) -> str:
    """A second run into a database that has one."""

    def start(folder: Path) -> None:
        copied(target.database, folder / "r.duckdb")

    def line(folder: Path) -> list[object]:
        return ["compare", target.real, target.audit / "generated", "--db", folder / "r.duckdb", "--labels", target.labels]

    _kill(target, Killed("compare", start, line, _database), 2 if target.quick else 25, tally)
    return f"{tally.figures.get('kills', 0)} kills, then the same command"


def predict(target: Target, tally: Tally) -> str:
    """Decisions, models and collections from nothing, beside a run that is there."""

    def start(folder: Path) -> None:
        copied(target.database, folder / "r.duckdb")

    def line(folder: Path) -> list[object]:
        known = ["--labels", target.labels, "--groups", target.labels]
        sides = [target.audit / "real", target.audit / "generated"]
        return ["predict", *sides, *known, "--method", "hubness", "--method", "phash", "--db", folder / "r.duckdb"]

    def content(folder: Path) -> dict[str, Any]:
        models = tree(folder / "r.models") if (folder / "r.models").exists() else {}
        return {**_database(folder), **{name: re.sub(RANDOM, b"", content) for name, content in models.items()}}

    _kill(target, Killed("predict", start, line, content), 2 if target.quick else 25, tally)
    return f"{tally.figures.get('kills', 0)} kills, then the same command"


def serve(target: Target, tally: Tally) -> str:
    """A service in use: what it acknowledged is there afterwards, and what it kept for a moment is not."""
    kills = 2 if target.quick else 25
    chance = random.Random(target.seed)
    moments = [chance.uniform(0.2, 3) for _ in range(kills)]
    with ThreadPoolExecutor(TOGETHER) as pool:
        for number, found in enumerate(pool.map(lambda n: _kill_service(target, n, moments[n], tally), range(kills))):
            tally.check(not found, f"kill {number} after {moments[number]:.2f} s: {found}")
    return f"{tally.figures.get('kills', 0)} kills of a service that is asked and reviewed, then it is started again"


def _kill_service(target: Target, number: int, seconds: float, tally: Tally) -> str:
    folder = target.room(f"kills-serve-{number}")
    temporary = target.room(f"kills-serve-{number}/tmp")
    database = copied(target.database, folder / "r.duckdb")
    before = database.read_bytes()
    upload = next(iter(sorted(target.generated.iterdir()))).read_bytes()
    pairs = real_and_generated(database)
    acknowledged = {}
    chance = random.Random(number)
    with target.serving(target.audit / "generated", database, temporary=temporary) as service:
        killed_at = time.monotonic() + seconds
        while time.monotonic() < killed_at:
            real, generated = chance.choice(pairs)
            note = f"kill {number} at {time.monotonic_ns()}"
            if review(service, real, generated, note):
                acknowledged[real, generated] = note
            service.ask("/v1/search?k=3", upload)
        service.process.send_signal(signal.SIGKILL)
        service.process.wait(15)
    tally.count("kills")
    tally.count("reviews_acknowledged", len(acknowledged))
    if database.read_bytes() != before:
        return "the database is not what it was"
    with target.serving(target.audit / "generated", database, temporary=temporary) as service:
        kept = {(v["real_id"], v["generated_id"]): v["note"] for v in service.ask("/v1/reviews").json()["reviews"]}
        own = [path.name for path in temporary.iterdir()]
        if len(own) > 1:
            return f"the next service left what the dead one had: {sorted(own)}"
    lost = [pair for pair, note in acknowledged.items() if kept.get(pair) != note]
    left = sorted(path.name for path in temporary.iterdir())
    shutil.rmtree(folder)
    return f"{len(lost)} of {len(acknowledged)} reviews are lost" if lost else f"{left} stayed" if left else ""


def review(service: Any, real: int, generated: int, note: str) -> bool:
    """Say something of a pair; whether the service acknowledged it."""
    body = json.dumps({"review": "copy", "note": note}).encode()
    return bool(
        service.ask(f"/v1/reviews/{real}/{generated}", body, "PUT", headers={"Content-Type": "application/json"}).status == 200
    )


def real_and_generated(database: Path) -> list[tuple[int, int]]:
    """Ids of all pairs of the first real and generated images."""
    with duckdb.connect(str(database), read_only=True) as connection:
        run = "run_id = (SELECT max(run_id) FROM runs)"
        sides = [
            connection.execute(f"SELECT image_id FROM images WHERE {run} AND role = '{role}' ORDER BY 1 LIMIT 8").fetchall()
            for role in ("real", "generated")
        ]
    return [(real, generated) for (real,) in sides[0] for (generated,) in sides[1]]


def _kill(target: Target, killed: Killed, many: int, tally: Tally) -> None:
    """Kill the command at `many` moments between its start and its end; run it again; compare."""
    whole = target.room(f"kills-{killed.name.replace(' ', '-')}-whole")
    killed.start(whole)
    started = time.monotonic()
    done = target.run(*killed.line(whole))
    takes = time.monotonic() - started
    if not tally.check(done.returncode == 0, f"{killed.name} undisturbed: {last_line(done)}"):
        return
    expected = killed.content(whole)
    chance = random.Random(f"{target.seed} {killed.name}")
    moments = [[chance.uniform(0.1, 1) for _ in range(REDRAWN)] for _ in range(many)]

    def attempt(number: int) -> str:
        for moment in moments[number]:
            folder = target.room(f"kills-{killed.name.replace(' ', '-')}-{number}")
            killed.start(folder)
            if _killed_at(target, killed.line(folder), moment * takes, folder / "tmp"):
                tally.count("kills")
                return _after(target, killed, folder, expected)
        return ""

    with ThreadPoolExecutor(TOGETHER) as pool:
        for number, found in enumerate(pool.map(attempt, range(many))):
            tally.check(not found, f"{killed.name}, kill {number}: {found}")


def _killed_at(target: Target, line: list[object], seconds: float, temporary: Path) -> bool:
    """Start the command and kill its first process after so long; False where it was done before."""
    process = target.start(*line, temporary=temporary)
    try:
        if until(lambda: process.poll() is not None, seconds, pause=0.005):
            return False
        process.send_signal(signal.SIGKILL)
        process.wait(15)
        until(lambda: not survivors(process), 15)
        return True
    finally:
        end(process)


def _after(target: Target, killed: Killed, folder: Path, expected: Mapping[str, Any]) -> str:
    """Run it to the end; what is not as it should be."""
    done = target.run(*killed.line(folder), temporary=folder / "tmp")
    if done.returncode:
        return f"the same command then ends with {done.returncode}: {last_line(done)}"
    got = killed.content(folder)
    wrong = sorted(name for name in {*expected, *got} if expected.get(name) != got.get(name))
    left = sorted(path.name for path in (folder / "tmp").iterdir())
    shutil.rmtree(folder)
    return f"differs from an undisturbed one: {wrong[:5]}" if wrong else f"temporary files stayed: {left}" if left else ""


def _database(folder: Path) -> dict[str, Any]:
    """All rows of all tables but for when they were written."""
    with duckdb.connect(str(folder / "r.duckdb"), read_only=True) as connection:
        names = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal").fetchall()]
        return {name: _rows(connection, name, folder) for name in names}


def _rows(connection: Any, table: str, folder: Path) -> list[str]:
    left_out = "EXCLUDE (created)" if table == "runs" else ""
    rows = connection.execute(f'SELECT * {left_out} FROM "{table}" ORDER BY ALL').fetchall()
    return [repr(row).replace(str(folder), "FOLDER") for row in rows]
