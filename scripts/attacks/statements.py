"""Attack: SQL that writes, or reads files, in every form that DuckDB might accept as a query."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attacks.tally import Tally
from attacks.target import ROOT, TRACEBACK, Target, copied, untidy

TOGETHER = 2
SECRET = "only in this file"
LISTS = ROOT / "tests" / "helpers" / "sql"
REFUSED = LISTS / "refused.txt"  # what writes, in some two hundred forms, and reads what it must not
AT_PARQUET = LISTS / "refused_parquet.txt"  # the same of the Parquet files of a database
READS = (
    "SELECT * FROM '{secret}'",
    "FROM read_csv('{secret}')",
    "FROM read_text('{secret}')",
    "FROM read_blob('{secret}')",
    "FROM sniff_csv('{secret}')",
    "FROM glob('{folder}/*')",
    "WITH x AS (FROM read_text('{secret}')) FROM x",
    "SELECT (SELECT content FROM read_text('{secret}'))",
    "SELECT getenv('HOME')",
    "FROM duckdb_secrets()",
    "FROM duckdb_settings()",
    "DESCRIBE '{secret}'",
    "SUMMARIZE '{secret}'",
)


def statements(target: Target, tally: Tally) -> str:
    """Nothing is written and no file read: by `synthtrace sql`, `Store.sql` and the service; the folder stays as it was."""
    forms, at_parquet = [*READS, *_listed(REFUSED)], _listed(AT_PARQUET)
    half, other = (forms[::32], forms[16::32]) if target.quick else (forms[::2], forms[1::2])  # a process for each takes its time
    _by_library(target, target.database, forms, tally)
    _by_command(target, target.database, half, tally)
    _by_service(target, target.database, other, tally)
    beside = _with_parquet(target, tally)
    some = at_parquet[::16] if target.quick else at_parquet
    _by_library(target, beside, [*READS, *at_parquet], tally)
    _by_command(target, beside, some, tally)
    _by_service(target, beside, some, tally)
    told = f"{len(forms)} statements that write or read files by the library, {len(half)} by command, {len(other)} by the service"
    return f"{told}; {len(at_parquet)} at Parquet files by the library, {len(some)} by command and service"


def _listed(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# ")]


def _with_parquet(target: Target, tally: Tally) -> Path:
    """A database of the same images that has Parquet files."""
    database = target.room("statements-parquet") / "p.duckdb"
    done = target.run("compare", target.real, target.audit / "generated", "--db", database, "--parquet-above", "0")
    there = any(database.with_suffix(".tables").rglob("*.parquet"))
    tally.check(done.returncode == 0 and there, f"compare --parquet-above: {done.stderr[-200:]!r}")
    return database


class _Room:
    """A folder with a database, its Parquet files, and a file, and whether it is still as it was."""

    def __init__(self, target: Target, source: Path, name: str) -> None:
        self.folder = target.room(f"statements-{name}")
        self.database = copied(source, self.folder / "r.duckdb")
        self.secret = self.folder / "secret.csv"
        self.secret.write_text(f"a,b\n1,{SECRET}\n")
        self.tables = source.with_suffix(".tables")
        if self.tables.exists():
            self.tables = copied(self.tables, self.folder / self.tables.name)
            (self.tables / "link.parquet").symlink_to(self.secret)
            (self.folder / "to.tables").symlink_to(self.tables)
        self._before = self._now()

    def filled(self, form: str, database: Path | None = None) -> str:
        """The statement with the paths of this folder, or of another database."""
        database = database or self.database
        paths = {"db": database, "folder": database.parent, "other": database.with_name("other.csv"), "secret": self.secret}
        paths |= {"tables": self.tables, "file": next(self.tables.rglob("images/*.parquet"), self.tables)}
        for name, path in paths.items():
            form = form.replace(f"{{{name}}}", str(path))
        return form

    def changed(self) -> str:
        """What is not as it was; it is put right again."""
        now = self._now()
        wrong = sorted(name for name in {*now, *self._before} if now.get(name) != self._before.get(name))
        for name in wrong:
            if name in self._before:
                (self.folder / name).write_bytes(self._before[name])
            else:
                (self.folder / name).unlink()
        return ", ".join(wrong)

    def _now(self) -> dict[str, bytes]:
        return {str(p.relative_to(self.folder)): p.read_bytes() for p in self.folder.rglob("*") if p.is_file()}


def _by_command(target: Target, source: Path, forms: list[str], tally: Tally) -> None:
    def worker(number: int) -> None:
        room = _Room(target, source, f"command-{number}")
        for form in forms[number::TOGETHER]:
            done = target.run("sql", room.filled(form), "--db", room.database, cwd=room.folder)
            changed = room.changed()
            tally.count("asked")
            tally.check(not changed, f"sql: {form}: {changed} changed")
            tally.check(SECRET.encode() not in done.stdout + done.stderr, f"sql: {form}: a file was read")
            tally.check(not untidy(done), f"sql: {form}: {untidy(done)}")

    with ThreadPoolExecutor(TOGETHER) as pool:
        list(pool.map(worker, range(TOGETHER)))


_LIBRARY = """
import json, sys
from query.database.store import Store, StoreError
path, read_only, forms = json.load(sys.stdin)
with Store.open(path, read_only=read_only) as store:
    for form in forms:
        try:
            print(str(store.sql(form).to_pylist())[:1000])
        except StoreError as error:
            print(error)
"""


def _by_library(target: Target, source: Path, forms: list[str], tally: Tally) -> None:
    """All statements one after the other in one process: one that only reads, and one that writes runs."""
    for read_only in (True, False)[: 1 if target.quick else 2]:
        room = _Room(target, source, f"library-{read_only}")
        for form in [*([] if target.quick else forms[::40]), None]:  # a few alone, all of them at the end
            asked = forms if form is None else [form]
            sent = json.dumps([str(room.database), read_only, [room.filled(each) for each in asked]])
            done = subprocess.run(
                [sys.executable, "-P", "-c", _LIBRARY], input=sent.encode(), env=target.environment(),
                cwd=room.folder, capture_output=True, timeout=300,
            )  # fmt: skip
            changed = room.changed()
            tally.count("asked", len(asked))
            told = f"Store.sql, {'read only' if read_only else 'writing'}: {form or 'all statements'}"
            tally.check(not changed, f"{told}: {changed} changed")
            tally.check(SECRET.encode() not in done.stdout + done.stderr, f"{told}: a file was read")
            tally.check(TRACEBACK not in done.stderr, f"{told}: {done.stderr[-200:]!r}")


def _by_service(target: Target, source: Path, forms: list[str], tally: Tally) -> None:
    room = _Room(target, source, "service")
    temporary = target.room("statements-service-tmp")
    with target.serving(target.audit / "generated", room.database, temporary=temporary) as service:
        right = service.sql("SELECT count(*) FROM images").json()
        copy = next(temporary.rglob("*.duckdb"))
        before = {path.name: path.stat().st_size for path in copy.parent.iterdir()}

        def ask(form: str) -> None:
            answer = service.sql(room.filled(form, copy))
            tally.count("asked")
            tally.check(SECRET.encode() not in answer.body, f"/v1/sql: {form}: a file was read")
            tally.check(answer.status in (200, 400, 422, 503, 504), f"/v1/sql: {form}: {answer.status}")
            after = {path.name: path.stat().st_size for path in copy.parent.iterdir()}
            tally.check(after == before, f"/v1/sql: {form}: the folder of the copy holds {after}, not {before}")

        for form in forms:
            ask(form)
        again = service.sql("SELECT count(*) FROM images").json()
        tally.check(bool(right) and again["rows"] == right["rows"], f"the service then answers {again}, not {right}")
        tally.check(service.bugs() == 0 and service.lives(), f"{service.bugs()} are counted as 500")
    changed = [name for name in room.changed().split(", ") if name and not name.endswith(".log") and "reviews" not in name]
    tally.check(not changed, f"/v1/sql: {changed} changed beside the user's database")
