"""Attack: hostile file names in CSV, terminal output, report and page."""

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from attacks.tally import Tally
from attacks.target import Target, untidy

FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # what a spreadsheet may take for the beginning of one
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # drives a terminal, or turns text
HOSTILE = (
    "=cmd|' &C calc'!A0.png",
    "@SUM(1+1).png",
    "+1+cmd.png",
    "-2+3.png",
    "\t=1+1.png",
    "\r=1+2.png",
    "\x1b[31mred\x1b]0;title\x07.png",
    "\x9b31m of C1.png",
    "two\nlines.png",
    "\u202egnp.exe.png",
    "\uff1dfull width.png",
    "<script>alert(1)<&script>.png",
    "<img src=x onerror=alert(1)>.png",
    '"quoted", and comma.png',
    "'; DROP TABLE runs; --.png",
    "{{ 7*7 }}.png",
    "name=value.png",
)
NOT_UTF8 = b"\xff\xfe not UTF-8.png"


def hostile(target: Target, tally: Tally) -> str:
    """Names that are formulas, escapes, scripts: in CSV, on the terminal, in the report, in JSON, from the service."""
    folder = target.room("names")
    names: list[str | bytes] = [*HOSTILE, NOT_UTF8]
    for role, source in (("real", target.real), ("generated", target.generated)):
        (folder / role).mkdir()
        slices = sorted(source.iterdir())
        for number, name in enumerate(names):
            shutil.copy(slices[number % len(slices)], folder / role / os.fsdecode(name))
        for name in HOSTILE[:8]:
            (folder / role / f"{name}.broken.png").write_bytes(b"no image")
    with open(folder / "labels.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "used"])
        writer.writerows([name, number % 2] for number, name in enumerate(HOSTILE))
    audit = ["audit", "real", "generated", "--out", "out", "--view", "phash", "--match", "0"]
    commands: dict[str, list[str]] = {
        "audit": audit,
        "lookup": ["lookup", os.path.join("real", HOSTILE[6]), "out/generated", "--k", "30"],
        "info": ["info", "out/generated"],
        "info-db": ["info", "out/synthtrace.duckdb"],
        "check": ["check", "out/generated", f"nowhere{HOSTILE[6]}"],
        "compare": ["compare", "out/real", "out/generated", "--db", "q.duckdb", "--labels", "labels.csv"],
        "predict": ["predict", "out/real", "out/generated", "--db", "q.duckdb", "--method", "phash"],
        "map": ["map", "out/generated", "out/real", "--csv", "map.csv"],
        "filter": ["filter", "out/real", "out/generated", "--list", "decisions.csv", "--out", "kept"],
        "leakage": ["leakage", "out/real", "out/real", "out/generated"],
        "sql-table": ["sql", "SELECT name, path FROM images", "--db", "q.duckdb"],
        "sql-csv": ["sql", "SELECT name, path FROM images", "--db", "q.duckdb", "--format", "csv"],
        "sql-json": ["sql", "SELECT name, path FROM images", "--db", "q.duckdb", "--format", "json"],
        "sql-out": ["sql", "SELECT * FROM nearest_source", "--db", "q.duckdb", "--out", "sql.csv"],
        "sql-error": ["sql", "SELECT \x1b[31m FROM nowhere", "--db", "q.duckdb"],
        "sql-header": ["sql", 'SELECT 1 AS "=cmd|calc", 2 AS "\x1b[31m"', "--db", "q.duckdb", "--format", "csv"],
        "no-file": ["index", f"nowhere{HOSTILE[6]}", "--out", "x"],
        "report": ["report", "q.duckdb", "--out", "report.html"],
        "evaluate": ["evaluate", "--db", "q.duckdb", "--labels", "labels.csv", "--out", "judged"],
    }
    if target.quick:  # audit does most of what these do
        commands = {
            name: line for name, line in commands.items() if name not in ("predict", "evaluate", "leakage", "report", "info")
        }
    for name, line in commands.items():
        done = target.run(*line, cwd=folder, timeout=300)
        tally.count("commands")
        tally.check(not untidy(done), f"{name}: {untidy(done)}")
        if name not in ("sql-csv", "sql-header"):
            _terminal(name, done.stdout, tally)
        else:
            _spreadsheet(name, done.stdout, tally)
        _terminal(f"{name}, messages", done.stderr, tally)
    for path in sorted(folder.rglob("*.csv")):
        if path.name != "labels.csv":
            _spreadsheet(str(path.relative_to(folder)), path.read_bytes(), tally)
            tally.count("csv_files")
    for path in [*folder.rglob("*.html"), *folder.rglob("*.svg")]:
        text = path.read_text(errors="replace")
        tally.check("<script>alert" not in text and "<img src=x" not in text, f"{path.name} holds a script from a name")
        tally.check("49.png" not in text, f"{path.name} computes what a name holds")
    for path in folder.rglob("*.json"):
        try:
            json.loads(path.read_text())
        except ValueError as error:
            tally.check(False, f"{path.name} is no JSON: {error}")
    for printed in ("summary.txt", "details.txt"):
        path = folder / "out" / printed
        _terminal(printed, path.read_bytes() if path.exists() else b"", tally)
    kept = (folder / "kept").exists() and any((folder / "kept").iterdir())
    tally.check(kept or not (folder / "decisions.csv").exists(), "filter wrote its list, and then no folder")
    _over_http(target, folder, tally)
    return f"{len(HOSTILE) + 1} hostile names through {tally.figures['commands']} commands and the service"


def _over_http(target: Target, folder: Path, tally: Tally) -> None:
    with target.serving(folder / "out" / "generated", folder / "q.duckdb") as service:
        pairs = service.ask("/v1/images?role=real&limit=50").json()["images"]
        other = service.ask("/v1/images?role=generated&limit=1").json()["images"][0]["id"]
        for image in pairs:
            body = json.dumps({"review": "copy", "note": f"=cmd|calc \x1b[31m {image['id']}"}).encode()
            service.ask(f"/v1/reviews/{image['id']}/{other}", body, "PUT", headers={"Content-Type": "application/json"})
        found = service.ask("/v1/reviews.csv").body
        tally.check(len(found) > 100, "no reviews as CSV")
        _spreadsheet("reviews.csv", found, tally)
        tally.check(service.bugs() == 0, "hostile names make the service fail")
        _terminal("the service's messages", service.note().encode(), tally)


def _terminal(where: str, output: bytes, tally: Tally) -> None:
    """Nothing in it drives a terminal."""
    text = output.decode(errors="surrogateescape")
    found = CONTROL.search(text)
    shown = found and text[max(0, found.start() - 30) : found.end() + 10]
    tally.check(not found, f"{where}: {shown!r} goes to a terminal")


def _spreadsheet(where: str, content: bytes, tally: Tally) -> None:
    """No cell of a CSV is a formula, and none drives a terminal."""
    text = content.decode(errors="surrogateescape")
    for cell in _cells(text):
        formula = cell.startswith(FORMULA) and not _is_number(cell)
        if not tally.check(not formula, f"{where}: the cell {cell[:40]!r} is a formula"):
            break
    _terminal(where, content.replace(b"\r\n", b"\n"), tally)


def _cells(text: str) -> Iterator[str]:
    for row in csv.reader(io.StringIO(text, newline="")):
        yield from row


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
