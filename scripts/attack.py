#!/usr/bin/env python3
"""Attack a fresh small audit in every known way, and report what held.

Slices are drawn and audited in a temporary folder. Nothing else is needed, nothing leaves this machine, every attempt is bounded.
A line each says what was tried and whether it held: nothing let in, nothing lost, nothing false. Exit code 0 only where all held.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from attacks.kinds import KINDS, Attack
from attacks.tally import Result, Tally
from attacks.target import ROOT, Target


def main() -> int:
    """Parse, attack, print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(KINDS), metavar="KIND", help="this kind; repeat it for several")
    parser.add_argument("--quick", action="store_true", help="a few attempts of each kind")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures too, with commit and machine")
    parser.add_argument("--list", action="store_true", help="say what kinds there are, and attack nothing")
    given = parser.parse_args()
    if given.list:
        print("\n".join(f"{name:<12} {attack.__doc__}" for name, attack in KINDS.items()))
        return 0
    chosen = given.only or list(KINDS)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        target = Target(Path(folder), given.seed, given.quick)
        target.make()
        results = []
        for name in chosen:
            results.append(attacked(target, name, KINDS[name]))
            print(results[-1], flush=True)
    seconds = time.monotonic() - started
    held = sum(result.held for result in results)
    print(f"{held} of {len(results)} kinds held, in {seconds:.0f} s")
    if given.json:
        sys.path.append(str(ROOT / "scripts" / "bench"))
        from result_file import write_results

        write_results(given.json, {"seconds": round(seconds), "kinds": [asdict(result) for result in results]})
    return 0 if held == len(results) else 1


def attacked(target: Target, name: str, attack: Attack) -> Result:
    """The outcome of one kind; an attack that fails by itself did not hold either."""
    tally, started = Tally(), time.monotonic()
    try:
        tried = attack(target, tally)
    except Exception as error:
        tried = "the attack did not get to its end"
        tally.check(False, f"{type(error).__name__}: {error}")
    return tally.result(name, tried, round(time.monotonic() - started, 1))


if __name__ == "__main__":
    sys.exit(main())
