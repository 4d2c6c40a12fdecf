"""Attack: bit flips and truncation of collections and databases, at rest and under a service."""

import json
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attacks.tally import Tally
from attacks.target import Service, Target, copied, last_line, untidy, until

TOGETHER = 2
EVERYTHING = """SELECT 'neighbours', count(*), sum(hash(t)::HUGEINT) FROM neighbours AS t
    UNION ALL SELECT 'images', count(*), sum(hash(t)::HUGEINT) FROM images AS t
    UNION ALL SELECT 'distances', count(*), sum(hash(t)::HUGEINT) FROM distances AS t
    UNION ALL SELECT 'scores', count(*), sum(hash(t)::HUGEINT) FROM scores AS t
    UNION ALL SELECT 'decisions', count(*), sum(hash(t)::HUGEINT) FROM decisions AS t"""
NOTICED = 5.0  # seconds in which /readyz must know what an answer already says


def at_rest(target: Target, tally: Tally) -> str:
    """A bit of a file is flipped, then the file is used: it is refused, or the answer is the same."""
    many = 6 if target.quick else 300

    def attempts(worker: int) -> int:
        folder = target.room(f"flips-{worker}")
        collection, database = copied(target.audit / "generated", folder / "c"), copied(target.database, folder / "r.duckdb")
        upload = sorted(target.generated.iterdir())[0]
        commands: dict[str, list[object]] = {
            "collection": ["lookup", upload, collection, "--json"],
            "database": ["sql", "--db", database, EVERYTHING, "--format", "csv"],
        }
        right = {name: target.run(*line).stdout for name, line in commands.items()}
        tally.check(all(right.values()), f"undisturbed, a command says nothing: {right}")
        places = _places([*_files(collection), database], random.Random(f"{target.seed} {worker}"))
        done = 0
        for number in range(worker, many, TOGETHER):
            path, at, bit = next(places)
            name = "database" if path == database else "collection"
            with _flipped(path, at, bit):
                found = target.run(*commands[name])
                caught = found.returncode != 0
                where = f"flip {number}, bit {bit} of byte {at} of {path.relative_to(folder)}"
                bad = untidy(found)
                tally.check(not bad, f"{where}: {bad}")
                tally.check(caught or found.stdout == right[name], f"{where}: another answer, and exit code 0")
                if name == "collection" and number % 3 == 0:  # it looks at all, and takes its time
                    checked = target.run("check", collection)
                    tally.check(checked.returncode == 1, f"{where}: check says {checked.returncode}, {last_line(checked)}")
                tally.count("caught" if caught else "answer_unchanged")
            done += 1
        return done

    with ThreadPoolExecutor(TOGETHER) as pool:
        return f"{sum(pool.map(attempts, range(TOGETHER)))} bits of collections and databases at rest"


def served(target: Target, tally: Tally) -> str:
    """A bit is flipped while a service answers: 503, or the right answer; and /readyz says the same."""
    many = 8 if target.quick else 100
    folder = target.room("flips-served")
    collection, database = copied(target.audit / "generated", folder / "c"), copied(target.database, folder / "r.duckdb")
    places = _places([*_files(collection), database], random.Random(target.seed))
    done = 0
    while done < many:
        with target.serving(collection, database) as service:
            right = _answers(target, service)
            for _ in range(many - done):
                path, at, bit = next(places)
                where = f"flip {done}, bit {bit} of byte {at} of {path.relative_to(folder)}"
                done += 1
                with _flipped(path, at, bit):
                    _judge(target, service, right, where, tally)
                if not until(lambda: service.ask("/readyz").status == 200, 3) or _answers(target, service) != right:
                    tally.count("restarts")  # a service may want that, once it has seen a damaged file
                    break
    return f"{done} bits of files that a service has open"


def cut(target: Target, tally: Tally) -> str:
    """A mapped file is cut short under a service: it lives, and says so."""
    folder = target.room("flips-cut")
    collection, database = copied(target.audit / "generated", folder / "c"), copied(target.database, folder / "r.duckdb")
    files = [path for path in _files(collection) if path.suffix in (".npy", ".faiss", ".parquet")]
    for path in [*files, database][:: 3 if target.quick else 1]:
        for length in (0, path.stat().st_size // 2):
            with target.serving(collection, database) as service:
                right, content = _answers(target, service), path.read_bytes()
                try:
                    os.truncate(path, length)
                    _judge(target, service, right, f"{path.relative_to(folder)} cut to {length} bytes", tally)
                finally:
                    path.write_bytes(content)
                tally.count("cuts")
    return f"{tally.figures.get('cuts', 0)} files cut to half and to nothing under a service"


def _judge(target: Target, service: Service, right: dict[str, Any], where: str, tally: Tally) -> None:
    """Ask everything several times; each answer is right or 503, and /readyz agrees."""
    for _ in range(2):
        for name, (status, note) in _answers(target, service).items():
            kept = (status, note) == right[name] or status == 503
            tally.check(kept, f"{where}: {name} is answered {status}" + ("" if kept or status != 200 else ", wrongly"))
            tally.count("answers_503" if status == 503 else "answers")
            if status == 503 and name == "search":
                agrees = until(lambda: service.ask("/readyz").status == 503, NOTICED)
                tally.check(agrees, f"{where}: /readyz is 200 where {name} is 503")
    tally.check(service.lives(), f"{where}: the service does not live: {service.note()[-200:]}")
    tally.check("Traceback" not in service.note(), f"{where}: a traceback in the log")


def _answers(target: Target, service: Service) -> dict[str, Any]:
    """What the service says of an upload, of a run and of the images; without what depends on time."""
    upload = sorted(target.generated.iterdir())[1].read_bytes()
    asked = {
        "search": service.ask("/v1/search?k=5", upload),
        "images": service.ask("/v1/images?limit=20&view=phash"),
        "distances": service.ask("/v1/runs/1/distances?view=pixels"),
    }
    return {name: (answer.status, _timeless(answer.body)) for name, answer in asked.items()}


def _timeless(body: bytes) -> Any:
    try:
        note = json.loads(body)
    except ValueError:
        return body
    if isinstance(note, dict):
        note.pop("seconds", None)
    return note


def _files(collection: Path) -> list[Path]:
    return [path for path in sorted(collection.rglob("*")) if path.is_file() and path.stat().st_size]


def _places(files: list[Path], chance: random.Random) -> Iterator[tuple[Path, int, int]]:
    """File, byte and bit: one file after the other, the place by chance; every second round near the beginning."""
    number = 0
    while True:
        path = files[number % len(files)]
        size = path.stat().st_size
        at = chance.randrange(min(size, 4096) if number // len(files) % 2 else size)
        yield path, at, chance.randrange(8)
        number += 1


@contextmanager
def _flipped(path: Path, at: int, bit: int) -> Iterator[None]:
    """One bit of a file is another meanwhile, in place, as a disk or a careless program does it."""
    before = path.stat()
    with open(path, "r+b", buffering=0) as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))
        try:
            yield
        finally:
            file.seek(at)
            file.write(bytes([byte]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
