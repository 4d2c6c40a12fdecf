"""Attack: planted links and world-readable files where a command writes."""

import os
import stat
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from attacks.kills import real_and_generated, review
from attacks.tally import Tally
from attacks.target import Target, copied, last_line

PRECIOUS = b"precious\n"
TOGETHER = 2
AT_ITS_PLACE, PASSING = "at its place", "under a passing name"


def planted(target: Target, tally: Tally) -> str:
    """Nothing that a link names is written, and no output is readable for others."""
    outputs = _outputs(target)
    ways = [(plant, where) for plant in (_link, _open_file) for where in (AT_ITS_PLACE, PASSING)]
    attempts = [(output, plant, where) for output in outputs for plant, where in [(_nothing, AT_ITS_PLACE), *ways]]
    if target.quick:
        attempts = [each for each in attempts if each[0] == "map.csv"]
    with ThreadPoolExecutor(TOGETHER) as pool:
        list(pool.map(lambda each: _attempt(target, (each[0], outputs[each[0]]), each[1], each[2], tally), attempts))
    _database(target, tally)
    _collection(target, tally)
    _reviews(target, tally)
    return f"{tally.figures['outputs']} outputs beside planted links and files that others may read"


def _outputs(target: Target) -> Mapping[str, list[object]]:
    """What makes each file."""
    real, generated, asked = target.audit / "real", target.audit / "generated", ["sql", "--db", target.database]
    return {
        "sql.csv": [*asked, "SELECT * FROM images", "--out", "sql.csv"],
        "sql.json": [*asked, "SELECT * FROM runs", "--out", "sql.json"],
        "sql.parquet": [*asked, "SELECT * FROM images", "--out", "sql.parquet"],
        "map.csv": ["map", generated, real, "--csv", "map.csv"],
        "figure.png": ["lookup", target.first, generated, "--figure", "figure.png"],
        "report.html": ["report", target.database, "--out", "report.html"],
        "decisions.csv": ["filter", real, generated, "--list", "decisions.csv"],
        "run.csv": ["submit", "--db", target.database, "--all", "--method", "phash", "--undecided", "no", "--out", "run.csv"],
    }


Plant = Callable[[Path, Path], None]


def _nothing(path: Path, victim: Path) -> None:
    """For comparison."""


def _link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def _open_file(path: Path, victim: Path) -> None:
    """Others may read it already, whatever becomes of its name."""
    path.write_bytes(b"")
    path.chmod(0o666)


def _attempt(target: Target, made: tuple[str, list[object]], plant: Plant, where: str, tally: Tally) -> None:
    output, line = made
    folder = target.room(f"planted-{output}-{plant.__name__}-{where}")
    victim, out = _victim(folder), folder / output
    if where == AT_ITS_PLACE:
        plant(out, victim)

    def in_child() -> None:  # whose number the command keeps: so it can be known which name will be taken
        if where == PASSING:
            plant(folder / f".{output}.{os.getpid()}.part", victim)

    done = target.run(*line, cwd=folder, preexec_fn=in_child)
    told = f"{output}, {plant.__name__.strip('_').replace('_', ' ')} {where}"
    tally.count("outputs")
    if done.returncode in (0, 1):
        tally.check(out.exists() and out.stat().st_size > 0, f"{told}: nothing was written")
        tally.check(not out.is_symlink(), f"{told}: the output is a link still")
        _check_mode(out, told, tally)
    else:
        tally.check(done.returncode == 2 and plant is not _nothing, f"{told}: {last_line(done)}")
        tally.count("refused")
    tally.check(victim.read_bytes() == PRECIOUS, f"{told}: the file that the link names was written")


def _database(target: Target, tally: Tally) -> None:
    """A database that others could read is its owner's alone once it was written."""
    folder = target.room("planted")
    database = copied(target.database, folder / "r.duckdb")
    database.chmod(0o644)
    done = target.run("compare", target.audit / "real", target.audit / "generated", "--db", database)
    tally.check(done.returncode == 0, f"query into a database of 0644: {last_line(done)}")
    tally.count("outputs")
    _check_mode(database, "database of 0644", tally)


def _collection(target: Target, tally: Tally) -> None:
    """Links inside the folder of a collection lead nowhere."""
    for name in (
        ("next", "manifest.json") if target.quick else (".synthtrace-lock", "manifest.json", "next", "parts", "images.parquet")
    ):
        folder = target.room("planted")
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir()
        victim = _victim(elsewhere)
        collection = folder / "c"
        collection.mkdir()
        (collection / ".synthtrace-lock").touch()
        is_folder = name in ("next", "parts")
        with suppress(FileExistsError):
            (collection / name).unlink(missing_ok=True)
            (collection / name).symlink_to(elsewhere if is_folder else victim)
        target.run("index", target.generated, "--out", collection, "--view", "phash")
        found = sorted(path.name for path in elsewhere.iterdir())
        tally.count("outputs")
        tally.check(found == ["victim"], f"a link {name} in a collection's folder: {found} are where it leads")
        tally.check(victim.exists() and victim.read_bytes() == PRECIOUS, f"a link {name}: the file it names was written")
        for path in collection.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.stat().st_size:
                _check_mode(path, f"a link {name} in a collection's folder", tally)


def _reviews(target: Target, tally: Tally) -> None:
    """The file of reviews is no link, and not readable for others."""
    for plant in (_nothing, _link, _open_file):
        folder = target.room("planted")
        victim, database = _victim(folder), copied(target.database, folder / "r.duckdb")
        file = folder / "r.reviews.jsonl"
        plant(file, victim)
        told = f"{file.name}, {plant.__name__.strip('_').replace('_', ' ')}"
        with suppress(RuntimeError), target.serving(target.audit / "generated", database) as service:  # it may refuse to start
            kept = review(service, *real_and_generated(database)[0], "planted")
            tally.check(kept or plant is not _nothing, f"{told}: no review is kept")
            if kept:
                _check_mode(file, told, tally)
        tally.count("outputs")
        tally.check(victim.read_bytes() == PRECIOUS, f"{told}: the file that the link names was written")


def _victim(folder: Path) -> Path:
    victim = folder / "victim"
    victim.write_bytes(PRECIOUS)
    victim.chmod(0o644)
    return victim


def _check_mode(path: Path, told: str, tally: Tally) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    tally.check(not mode & 0o077, f"{told}: {path.name} has mode {mode:04o}")
