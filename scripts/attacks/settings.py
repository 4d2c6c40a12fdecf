"""Attack: a hostile synthtrace.toml in the working folder."""

from attacks.tally import Tally
from attacks.target import Target, untidy

PRECIOUS = "precious\n"


def tampered(target: Target, tally: Tally) -> str:
    """It chooses nothing that is written, and a command says that it read the file."""
    real, generated = target.audit / "real", target.audit / "generated"
    commands: dict[str, tuple[list[object], str]] = {
        "sql": (["sql", "SELECT 1", "--db", target.database], 'out = "victim.csv"'),
        "map": (["map", generated, real], 'csv = "victim.csv"\ndb = "victim.duckdb"'),
        "lookup": (["lookup", target.first, generated], 'figure = "victim.png"'),
        "report": (["report", target.database, "--out", "own.html"], 'out = "victim.html"'),
        "filter": (
            ["filter", real, generated, "--list", "own.csv"],
            'out = "victim-folder"\ndb = "victim.duckdb"\nlist = "victim.csv"',
        ),
        "leakage": (["leakage", real, real, generated], 'work = "victim-folder"'),
        "compare": (["compare", real, generated, "--db", "own.duckdb"], 'db = "victim.duckdb"'),
        "index": (["index", target.first, "--out", "own.c", "--view", "phash"], 'out = "victim-folder"'),
        "evaluate": (["evaluate", "--recompute"], 'out = "victim-folder"\ndb = "victim.duckdb"'),
    }
    for name, (line, options) in list(commands.items())[:: 3 if target.quick else 1]:
        ways = (("in its table", f"[{name}]\n{options}\n"), ("at the top", f"{options}\n"))
        for where, text in ways:
            folder = target.room("settings")
            (folder / "victim.csv").write_text(PRECIOUS)
            (folder / "synthtrace.toml").write_text(text)
            done = target.run(*line, cwd=folder)
            tally.count("commands")
            told = f"{name}, {options.splitlines()[0]} {where}"
            written = sorted(path.name for path in folder.iterdir() if path.name.startswith("victim") and path.suffix != ".csv")
            tally.check((folder / "victim.csv").read_text() == PRECIOUS, f"{told}: victim.csv was overwritten")
            tally.check(not written, f"{told}: {written} were written")
            tally.check(b"synthtrace.toml" in done.stderr, f"{told}: nothing says that the file was read")
            tally.check(not untidy(done), f"{told}: {untidy(done)}")
    return f"{tally.figures['commands']} commands in a folder with somebody else's synthtrace.toml"
