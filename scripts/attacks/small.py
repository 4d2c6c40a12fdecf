"""Attack: past mistakes; each command must end in one line with the right exit code and leave nothing behind."""

import os
import resource
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from attacks.tally import Tally
from attacks.target import Service, Target, copied, last_line, untidy, until


def small(target: Target, tally: Tally) -> str:
    """Damaged and missing files, a full disk, little memory, broken requests."""
    folder = target.room("small")
    _commands(target, folder, tally)
    _check(target, folder, tally)
    _full(target, folder, tally)
    if not target.quick:
        _little_memory(target, folder, tally)
    _service_files(target, folder, tally)
    _requests(target, folder, tally)
    return f"{tally.figures['looked_at']} mistakes, one by one"


def _said(tally: Tally, told: str, held: bool, found: str) -> None:
    tally.count("looked_at")
    tally.check(held, f"{told}: {found}")


def _refused(target: Target, tally: Tally, told: str, *line: object, codes: tuple[int, ...] = (2,), **options: Any) -> str:
    """A command that must end in one line and a code; what it said."""
    done = target.run(*line, **options)
    note = done.stderr.decode(errors="replace")
    errors = [each for each in note.splitlines() if "error:" in each]
    right = done.returncode in codes and not untidy(done) and len(errors) <= 1
    _said(tally, told, right, f"exit code {done.returncode}, {len(errors)} lines of error; {last_line(done)}")
    return note


def _commands(target: Target, folder: Path, tally: Tally) -> None:
    _refused(target, tally, "sql on a missing database, listing", "sql", "--db", folder / "nowhere.duckdb")
    _refused(target, tally, "sql --param without a query", "sql", "--db", target.database, "--param", "limit=5")
    deep = folder / "deep"
    deep.mkdir()
    (deep / "manifest.json").write_text("[" * 100_000 + "]" * 100_000)
    _refused(target, tally, "a deeply nested manifest", "info", deep)
    (deep / "manifest.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    _refused(target, tally, "a deeply nested manifest of objects", "check", deep, codes=(1, 2))
    empty = folder / "empty.duckdb"
    _refused(target, tally, "query of a missing folder", "compare", folder / "nowhere", target.audit / "generated", "--db", empty)
    _said(tally, "a refused query", not empty.exists(), "leaves an empty database")
    note = _refused(target, tally, "an unknown table", "sql", "SELECT * FROM nowhere", "--db", target.database)
    _said(tally, "an unknown table", str(Path.home()) not in note or str(target.folder).startswith(str(Path.home())), note)


def _check(target: Target, folder: Path, tally: Tally) -> None:
    damaged = copied(target.audit / "generated", folder / "damaged")
    (damaged / "phash" / "vectors.npy").write_bytes(b"")
    done = target.run("check", folder / "nowhere", damaged, target.audit / "real")
    text = (done.stdout + done.stderr).decode(errors="replace")
    named = [name for name in ("nowhere", "damaged", "real") if name in text]
    _said(
        tally,
        "check of three, one missing, one damaged",
        len(named) == 3 and done.returncode == 2,
        f"{named}, {done.returncode}",
    )


def _full(target: Target, folder: Path, tally: Tally) -> None:
    """A limit on the size of files does what a full disk does."""

    def full(limit: int = 20_000) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    for limit in (100_000, 300_000):  # of the files a run needs: nothing fits, or a part of it
        database = folder / f"full-{limit}.duckdb"
        line = ["compare", target.audit / "real", target.audit / "generated", "--db", database]
        note = _refused(target, tally, "query on a full disk", *line, preexec_fn=lambda limit=limit: full(limit))
        _said(
            tally,
            "query on a full disk",
            "rollback" not in note.lower() and ("space" in note or "too large" in note),
            note[-200:],
        )
        again = target.run(*line)
        _said(tally, "query after there is space", again.returncode == 0, last_line(again))
    out = folder / "full.csv"
    line = ["sql", "SELECT * FROM distances AS a, range(100)", "--db", target.database, "--out", out]
    note = _refused(target, tally, "sql --out on a full disk", *line, preexec_fn=full)
    _said(tally, "sql --out on a full disk", "No such file" not in note and not out.exists(), note[-200:])
    line = ["index", target.generated, "--out", folder / "full.c", "--view", "pixels"]
    note = _refused(target, tally, "index on a full disk", *line, preexec_fn=full)
    _said(tally, "index on a full disk", "space" in note, note[-200:])


def _little_memory(target: Target, folder: Path, tally: Tally) -> None:
    """index with all views either works, or says in one line what it needs."""
    for limit in (300_000_000, 600_000_000, 900_000_000, 1_200_000_000):
        line = ["index", target.generated, "--out", folder / f"{limit}.c"]

        def little(limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

        _refused(target, tally, f"index with {limit // 1_000_000} MB", *line, codes=(0, 2), preexec_fn=little)


def _service_files(target: Target, folder: Path, tally: Tally) -> None:
    damaged = copied(target.audit / "generated", folder / "served")
    content = (damaged / "images.parquet").read_bytes()
    (damaged / "images.parquet").write_bytes(content[:100])
    database = copied(target.database, folder / "s.duckdb")
    line = ["serve", damaged, "--db", database, "--port", "0"]
    _refused(target, tally, "serve of a damaged images.parquet", *line, timeout=60)
    (damaged / "images.parquet").write_bytes(content)
    unwritable = {"TMPDIR": "/nowhere", "TEMP": "/nowhere", "TMP": "/nowhere"}
    if os.getuid():  # root may write everywhere
        _refused(target, tally, "serve without a temporary folder", *line, timeout=60, env=unwritable)
    with target.serving(damaged, database) as service:
        aside = database.rename(folder / "aside.duckdb")
        gone = until(lambda: service.ask("/readyz").status == 503, 5)
        _said(tally, "the database is gone", gone, "/readyz stays 200")
        aside.rename(database)
        back = until(lambda: service.ask("/readyz").status == 200, 5)
        _said(tally, "the database is back", back, "/readyz stays 503")


def _requests(target: Target, folder: Path, tally: Tally) -> None:
    database = copied(target.database, folder / "t.duckdb")
    with target.serving(target.audit / "generated", database) as service:
        cached = (service.ask("/v1/images/0/thumbnail").headers or {}).get("cache-control", "")
        _said(tally, "a thumbnail", "no-store" in cached, f"has Cache-Control {cached!r}")
        both = b"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        status = _raw(service, both)
        _said(tally, "Content-Length beside Transfer-Encoding", status == 400, f"is answered {status}")
        answer = service.sql("SELECT * FROM read_csv('/etc/hostname')")
        told = str(Path.home()).encode() in answer.body or str(target.folder).encode() in answer.body
        _said(tally, "an error of SQL", not told and answer.status == 400, f"{answer.status} {answer.body[:200]!r}")
        _said(tally, "afterwards", service.lives() and service.bugs() == 0, f"{service.bugs()} answers are 500")


def _raw(service: Service, request: bytes) -> int:
    """Status of the answer to these bytes; 0 for none."""
    with (
        suppress(OSError, ValueError, IndexError),
        socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection,
    ):
        connection.sendall(request)
        return int(connection.recv(1000).split()[1])
    return 0
