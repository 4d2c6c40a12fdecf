"""Attacks in the words of regulators as rows of table `attacks`, and back."""

from collections.abc import Iterator
from dataclasses import asdict

from query.database.store import Rows, Store
from query.leakage.attacks import Attack, AttackKind, Attacks, Rate

RATES = ("main", "control", "baseline", "risk")


def rows_of_attacks(found: Attacks) -> Iterator[Rows]:
    """Four rows for each attack that was made, one for each that was not."""
    rows = [
        {"attack": str(kind), "rate": name, "patients": attack.patients, **asdict(getattr(attack, name)), "reason": None}
        for kind, attack in found.made.items()
        for name in RATES
    ]
    nothing = dict.fromkeys(("rate", "patients", "value", "low", "high"))
    rows += [{"attack": str(kind), **nothing, "reason": reason} for kind, reason in found.missing.items()]
    yield "attacks", {name: [row[name] for row in rows] for name in rows[0]}


def read_attacks(store: Store, run: int) -> Attacks | None:
    """What a run keeps; None where no attack was tried.

    Raises:
        StoreError: the database cannot be read.
    """
    query = "SELECT attack, rate, patients, value, low, high, reason FROM attacks WHERE run_id = $run"
    rows = store.sql(query, {"run": run}).to_pylist()
    if not rows:
        return None
    made, missing = {}, {}
    for kind in AttackKind:
        own = [row for row in rows if row["attack"] == kind]
        rates = {row["rate"]: Rate(row["value"], row["low"], row["high"]) for row in own if row["rate"]}
        if rates:
            made[kind] = Attack(own[0]["patients"], **rates)
        elif own:
            missing[kind] = own[0]["reason"]
    return Attacks(made, missing)
