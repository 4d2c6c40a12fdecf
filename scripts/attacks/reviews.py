"""Attack: replace, move and delete the review file under a service."""

import os
from pathlib import Path

from attacks.kills import real_and_generated, review
from attacks.tally import Tally
from attacks.target import Service, Target, copied


def replaced(target: Target, tally: Tally) -> str:
    """What was acknowledged is found: by the service, in the file, and by the next service."""
    ways = {"replaced by renaming": _edit, "replaced by a shorter one": _shorten, "moved away": _move, "deleted": os.unlink}
    times = 1 if target.quick else 10
    for name, change in ways.items():
        folder = target.room("reviews")
        database = copied(target.database, folder / "r.duckdb")
        pairs = real_and_generated(database)
        acknowledged: dict[tuple[int, int], str] = {}
        with target.serving(target.audit / "generated", database) as service:
            for number in range(times):
                _review_some(service, pairs, number, acknowledged)
                if not tally.check((folder / "r.reviews.jsonl").exists(), f"{name}: there is no file any more"):
                    break
                change(folder / "r.reviews.jsonl")
                if change is not _edit:
                    acknowledged.clear()  # whoever takes the file away takes what is in it
                _review_some(service, pairs, number + times, acknowledged)
                tally.count("replaced")
            with_it = _found(service)
        in_file = (folder / "r.reviews.jsonl").read_text() if (folder / "r.reviews.jsonl").exists() else ""
        with target.serving(target.audit / "generated", database) as service:
            afterwards = _found(service)
        for pair, note in acknowledged.items():
            tally.count("acknowledged")
            told = f"{name}: the review of {pair} is not"
            tally.check(with_it.get(pair) == note, f"{told} with the service")
            tally.check(note in in_file, f"{told} in the file")
            tally.check(afterwards.get(pair) == note, f"{told} with the next service")
    _held_by_name(target, tally)
    return f"{tally.figures['replaced']} files of reviews replaced, moved or deleted under a service"


def _held_by_name(target: Target, tally: Tally) -> None:
    """A second service may not have the file, also where it was replaced."""
    folder = target.room("reviews-two")
    database = copied(target.database, folder / "r.duckdb")
    with target.serving(target.audit / "generated", database) as service:
        review(service, *real_and_generated(database)[0], "first")
        _edit(folder / "r.reviews.jsonl")
        second = target.run("serve", target.audit / "generated", "--db", database, "--port", "0", timeout=20)
        tally.check(second.returncode == 2, f"a second service had the replaced file: exit code {second.returncode}")


def _review_some(service: Service, pairs: list[tuple[int, int]], number: int, acknowledged: dict[tuple[int, int], str]) -> None:
    for real, generated in pairs[number % len(pairs) :: 17]:
        note = f"note {number} of {real} and {generated}"
        if review(service, real, generated, note):
            acknowledged[real, generated] = note


def _found(service: Service) -> dict[tuple[int, int], str]:
    kept = service.ask("/v1/reviews").json()["reviews"]
    return {(each["real_id"], each["generated_id"]): each["note"] for each in kept}


def _edit(path: Path) -> None:
    """As editors do: a new file with the same content in place of the old."""
    new = path.with_name("edited")
    new.write_bytes(path.read_bytes())
    new.replace(path)


def _shorten(path: Path) -> None:
    """As somebody does who deletes lines."""
    lines = path.read_text().splitlines(keepends=True)
    new = path.with_name("edited")
    new.write_text("".join(lines[:1]))
    new.replace(path)


def _move(path: Path) -> None:
    path.rename(path.with_name("moved away"))
