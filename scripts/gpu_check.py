#!/usr/bin/env python3
"""Check every GPU path against the CPU, then measure images and searches a second, and shares of the card's limits.

    gpu_check.py [--device cuda:0] [--json FILE] [--seconds 450]
    gpu_check.py --stand-in      the same code without a GPU, tiny: PyTorch on the CPU, FAISS's GPU classes played

Runs from a checkout, without a network, with a plain python3 that has PyTorch and NumPy; FAISS is the installed one, or the kit
in ../shared/gpu_kit. What needs a library that is not there is skipped and said. Exit code 1 where a check does not hold.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


class Report:
    """What was found, printed as it comes and kept for the JSON."""

    def __init__(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds
        self.results: dict[str, Any] = {}
        self.failed: list[str] = []

    def run(self, name: str, work: Callable[[], Any]) -> None:
        """One check or measurement; an error in it is told and does not end the others."""
        if time.monotonic() > self.until:
            self.add(name, "skipped: no time left")
            return
        try:
            self.add(name, work())
        except ImportError as error:
            self.add(name, f"skipped: {error}")
        except Exception as error:
            if type(error).__name__ == "Skipped":
                self.add(name, f"skipped: {error}")
                return
            self.failed.append(name)
            self.add(name, f"FAILED: {type(error).__name__}: {' '.join(str(error).split())[:300]}")

    def add(self, name: str, result: Any) -> None:
        """A line, or several figures."""
        self.results[name] = result
        if not isinstance(result, dict):
            print(f"{name}: {result}", flush=True)
            return
        for what, value in result.items():
            shown = f"{value:.1%}" if what.startswith("share") else f"{value:,.6g}" if isinstance(value, float) else value
            print(f"{name}, {what}: {shown}", flush=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0", help="GPU to check (default %(default)s)")
    parser.add_argument("--stand-in", action="store_true", help="without a GPU, tiny")
    parser.add_argument("--seconds", type=float, default=450, help="after which nothing more is begun (default %(default)s)")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Run everything; 1 where a check failed."""
    options = parse(arguments)
    sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "scripts")) if path not in sys.path]
    import torch  # before FAISS: it loads the libraries of CUDA that the kit's FAISS takes
    from gpu_checks.machine import TINY, Machine, Sizes, Skipped, card, find_faiss, play_gpu

    if not options.stand_in and not torch.cuda.is_available():
        print("PyTorch finds no GPU here; --stand-in runs the same code without one", file=sys.stderr)
        return 2
    report = Report(options.seconds)
    try:
        find_faiss(ROOT)
    except Skipped as error:
        print(error, file=sys.stderr)
        return 2
    machine = Machine("cpu", "cuda:0", TINY) if options.stand_in else Machine(options.device, options.device, Sizes())
    from gpu_checks.checks import CHECKS
    from gpu_checks.speed import SPEEDS, searches

    if options.stand_in:
        play_gpu()
    report.add("machine", card(machine))

    def search_speeds() -> str:
        for name, figures in searches(machine):
            report.add(name, figures)
        return "measured"

    for name, check in CHECKS.items():
        report.run(name, lambda: check(machine))  # noqa: B023
    for name, measure in SPEEDS.items():
        report.run(name, lambda: measure(machine))  # noqa: B023
    report.run("searches", search_speeds)
    if options.json:
        date = datetime.now(UTC).date().isoformat()
        text = json.dumps({"date": date, "failed": report.failed, "results": report.results}, indent=1)
        from embeddings.files.writing import write_text

        write_text(options.json, text + "\n")
    print(f"not held: {', '.join(report.failed)}" if report.failed else "all that ran held", flush=True)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
