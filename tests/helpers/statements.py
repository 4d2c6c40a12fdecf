"""Statements that SQL from outside must refuse, and such as it must answer; and random ones made of parts that write."""

import random
from pathlib import Path

FOLDER = Path(__file__).with_name("sql")
_WRITING = (  # bodies of a CTE
    "COPY runs TO '{db}.wal'",
    "COPY runs TO '{db}' (USE_TMP_FILE false)",
    "COPY (SELECT * FROM images) TO '{other}' (FORMAT json)",
    "DELETE FROM runs RETURNING *",
    "DELETE FROM images",
    "UPDATE runs SET k = 7 RETURNING k",
    "INSERT INTO failures VALUES (1, 'real', 'a', 'b') RETURNING *",
)
_CALLED = (  # what stands where a table stands
    "read_text('{db}')",
    "read_csv('{other}')",
    "glob('{folder}/*')",
    "query('SELECT 1')",
    "enable_logging(storage := 'file', storage_path := '{folder}/logs')",
    "force_checkpoint()",
    "duckdb_settings()",
    "'{other}'",
    '"{other}"',
)
_VALUES = ("write_log('a')", "nextval('s')", "setseed(0.1)", "current_setting('threads')", "getenv('HOME')", "sleep_ms(1)")
_AROUND = (  # {} is a query; what is made is one too
    "SELECT * FROM ({})",
    "SELECT * FROM runs AS r, LATERAL ({})",
    "SELECT (SELECT count(*) FROM ({}))",
    "SELECT 1 WHERE EXISTS ({})",
    "SELECT 1 UNION ALL SELECT count(*) FROM ({})",
    "WITH a AS ({}) SELECT * FROM a",
    "WITH a AS (SELECT 1), b AS ({}) SELECT 1",
    "SELECT [i FOR i IN [1, 2] IF EXISTS ({})]",
    "SELECT CASE WHEN k > 0 THEN (SELECT count(*) FROM ({})) END FROM runs",
    "SELECT sum(k) OVER (ORDER BY (SELECT count(*) FROM ({}))) FROM runs",
    "FROM ({}) SELECT *",
    "SUMMARIZE {}",
    "SELECT * FROM runs ORDER BY (SELECT count(*) FROM ({}))",
    "EXPLAIN ANALYZE {}",
    "CREATE TEMP TABLE t AS {}",
    "PREPARE p AS {}",
    "SELECT 1; {}",
    "{}; SELECT 1",
)


def listed(name: str, db: Path) -> list[str]:
    """The statements of `sql/NAME.txt`, with the paths of a database."""
    lines = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [_placed(line, db) if name == "refused" else line for line in lines if not line.startswith("# ")]


def made(count: int, seed: int, db: Path) -> list[str]:
    """So many statements that write, read files or change something, deep in others."""
    rng = random.Random(seed)
    return [_placed(_made(rng), db) for _ in range(count)]


def _made(rng: random.Random) -> str:
    text = rng.choice(
        (
            f"WITH x AS {rng.choice(('', 'MATERIALIZED '))}({rng.choice(_WRITING)}) SELECT * FROM x",
            f"SELECT * FROM {rng.choice(_CALLED)}",
            f"SELECT {rng.choice(_VALUES)}",
        )
    )
    for _ in range(rng.randrange(4)):
        text = rng.choice(_AROUND).replace("{}", text, 1)
    space = rng.choice((" ", "\n", "\t", " /* ; */ ", " -- '\n"))
    words = text.split(" ")
    at = rng.randrange(len(words))
    text = " ".join(words[:at]) + space + " ".join(words[at:])
    return rng.choice((str, str.swapcase))(text) if "{" not in text else text


def _placed(text: str, db: Path) -> str:
    return text.replace("{db}", str(db)).replace("{folder}", str(db.parent)).replace("{other}", str(db.with_name("other.csv")))
