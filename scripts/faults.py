#!/usr/bin/env python3
"""Break a run that indexes into shards on Ray, in every way, and see that nothing is lost, nothing double, and no byte another.

Slices are drawn and indexed in a temporary folder. Each attempt starts anew at a random moment of the run:

  worker   kill a process that makes a shard              the run must end by itself
  slow     stop such a process for a few seconds          the run must end by itself
  node     kill the second of two nodes on this machine   the run must end by itself
  driver   kill the run itself                            nothing of Ray may stay; the same command must carry on
  disk     let the disk be full (a tmpfs; needs root)     the run must say so; the same command must carry on
  shard    take a shard away from what is finished        `check` must find it; the same command must mend it

At the end of each attempt the collection is whole, holds every image once, and has the fingerprint of a run without a fault.
Exit code 0 only where that holds for all.
"""

import argparse
import gc
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from embeddings.errors import SynthtraceError
from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import create, make_folder
from embeddings.phantoms.slices import phantom
from indexer.sharded.collection import ShardedCollection

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "scripts" / "bench"))
from common.nodes import cluster, draw_token, processes  # noqa: E402 - they lie in another folder
from result_file import write_results  # noqa: E402

SIZE = 256  # pixels of a side; a shard takes seconds then, longer than Ray needs to notice that a node has gone
LIMIT = 240  # seconds that one command may take


@dataclass(frozen=True)
class Trial:
    """What each attempt starts from."""

    images: Path
    shard: int
    work: Path
    fingerprint: str
    draw: random.Random

    def command(self, out: Path, *more: str) -> list[str]:
        """The command line of a run."""
        views = ["--view", "phash", "--view", "sift", "--sift-words", "16", "--sample", "200"]
        return [
            *(sys.executable, "-m", "query.cli.main", "index", str(self.images), "--out", str(out)),
            *("--shards", str(self.shard), "--device", "cpu", *views, *more),
        ]

    def start(self, out: Path, *more: str) -> "subprocess.Popen[str]":
        """A run in the background."""
        return subprocess.Popen(self.command(out, *more), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, out: Path, *more: str) -> None:
        """A run to its end."""
        ended(self.start(out, *more))

    def holds(self, out: Path) -> None:
        """Refuse a collection that is not what a run without a fault makes."""
        collection = ShardedCollection(out)
        problems = collection.check()
        names = [name for shard in collection.shards for name in shard.names]
        expect(not problems, f"damaged: {problems[:1]}")
        expect(names == sorted(path.name for path in self.images.iterdir()), f"{len(names)} rows, not every image once")
        expect(collection.manifest.fingerprint == self.fingerprint, "other bytes")


class TooLate(Exception):
    """The run ended before it could be disturbed: that was no attempt."""


def expect(held: bool, otherwise: str) -> None:
    """Raises AssertionError where it did not hold."""
    if not held:
        raise AssertionError(otherwise)


def ended(run: "subprocess.Popen[str]", code: int = 0) -> str:
    """Wait for a run; what it said.

    Raises:
        AssertionError: it ended with another code, or not at all.
    """
    try:
        _, said = run.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired as error:
        run.kill()
        run.communicate()
        raise AssertionError("the run did not end") from error
    expect(run.returncode == code, f"exit code {run.returncode}: {said[-300:]}")
    return said


# Processes


def below(top: int) -> list[tuple[int, str]]:
    """Processes that descend from one."""
    found, parents = [], {top}
    everything = list(processes())
    while more := [(number, line) for number, parent, line in everything if parent in parents]:
        found += more
        parents = {number for number, _ in more}
    return found


def working(top: int | None = None) -> list[int]:
    """Processes of Ray, below one or all, that do a piece of work now."""
    lines = below(top) if top else [(number, line) for number, _, line in processes()]
    return [number for number, line in lines if line.startswith("ray::_answer")]


def one_working(run: "subprocess.Popen[str]", top: int, draw: random.Random) -> int:
    """A process that makes a shard, at a random moment.

    Raises:
        TooLate: the run ended before.
    """
    wait_for(lambda: bool(working(top)), run)
    time.sleep(draw.uniform(0, 6))
    wait_for(lambda: bool(working(top)), run)
    return draw.choice(working(top))


def wait_for(condition: Callable[[], bool], run: "subprocess.Popen[str] | None" = None) -> None:
    """Until it holds.

    Raises:
        TooLate: the run ended before.
        AssertionError: it failed, or it took too long.
    """
    ends = time.monotonic() + LIMIT
    while not condition():
        if run is not None and run.poll() is not None:
            ended(run)
            raise TooLate
        expect(time.monotonic() < ends, "waited too long")
        time.sleep(0.1)


# Faults


def worker(trial: Trial, out: Path) -> None:
    """Kill a process that makes a shard."""
    run = trial.start(out, "--ray", "local")
    with suppress(ProcessLookupError):
        os.kill(one_working(run, run.pid, trial.draw), signal.SIGKILL)
    ended(run)


def slow(trial: Trial, out: Path) -> None:
    """Stop such a process for a few seconds."""
    run = trial.start(out, "--ray", "local")
    victim = one_working(run, run.pid, trial.draw)
    with suppress(ProcessLookupError):
        os.kill(victim, signal.SIGSTOP)
        time.sleep(trial.draw.uniform(2, 8))
        os.kill(victim, signal.SIGCONT)
    ended(run)


def node(trial: Trial, out: Path) -> None:
    """Kill the second of two nodes."""
    with cluster() as (address, second):
        run = trial.start(out, "--ray", address)
        wait_for(lambda: len(working()) >= 2, run)
        time.sleep(trial.draw.uniform(0, 4))
        for number in (*working(second), second):
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        ended(run)


def driver(trial: Trial, out: Path) -> None:
    """Kill the run itself, at any moment from its start on; then run it again."""
    run = trial.start(out, "--ray", "local")
    time.sleep(trial.draw.uniform(1, 25))
    children = {number for number, _ in below(run.pid)}
    run.kill()
    run.communicate()
    wait_for(lambda: not children & {number for number, _, _ in processes()})
    trial.finish(out, "--ray", "local")


def disk(trial: Trial, out: Path) -> None:
    """Let the disk be full; then give it space and run again."""
    make_folder(out)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={trial.draw.randint(300, 1500)}k", "none", str(out)], check=True)
    try:
        said = ended(trial.start(out / "c", "--ray", "local"), 2)
        expect("no space left" in said, said[-200:])
        expect("Traceback" not in said, "a traceback")
        subprocess.run(["mount", "-o", "remount,size=100m", str(out)], check=True)
        trial.finish(out / "c")
        trial.holds(out / "c")
        shutil.move(out / "c", out.with_name("copy"))
    finally:
        gc.collect()  # files of the collection that was looked at
        wait_for(lambda: subprocess.run(["umount", str(out)], stderr=subprocess.DEVNULL).returncode == 0)
    out.rmdir()
    out.with_name("copy").rename(out)


def shard(trial: Trial, out: Path) -> None:
    """Take a shard away from what is finished, or one of its files."""
    trial.finish(out)
    gone = trial.draw.choice(sorted(out.glob("shard-*")))
    victim = trial.draw.choice(
        [gone, *(path for path in sorted(gone.rglob("*")) if path.name not in (".synthtrace-lock", "salt"))]
    )
    shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
    check = subprocess.run([sys.executable, "-m", "query.cli.main", "check", str(out)], cwd=ROOT, capture_output=True, text=True)
    expect(check.returncode == 1 and gone.name in check.stdout, f"check did not find it: {check.stdout[-300:]}")
    trial.finish(out)


FAULTS: dict[str, Callable[[Trial, Path], None]] = {each.__name__: each for each in (worker, slow, node, driver, disk, shard)}


def main() -> int:
    """Draw, index once without a fault, break the others; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(FAULTS), metavar="FAULT", help="this one; repeat it for several")
    parser.add_argument("--times", type=int, default=20, help="attempts of each (default 20)")
    parser.add_argument("--images", type=int, default=480, help="slices to draw (default 480)")
    parser.add_argument("--shard", type=int, default=60, help="images in a shard (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures too, with commit and machine")
    given = parser.parse_args()
    os.environ |= {"SYNTHTRACE_SALT": "the same for all runs of this script", "PYTHONPATH": str(ROOT)}
    draw_token()  # of the cluster of two nodes
    results: list[dict[str, object]] = []
    with temporary_folder() as folder:
        trial = prepared(folder, given)
        for name in given.only or FAULTS:
            results.append(attempts(trial, name, given.times))
            if given.json:
                write_results(given.json, results)
    return 0 if all(result["held"] == given.times for result in results) else 1


def prepared(work: Path, given: argparse.Namespace) -> Trial:
    """Images, and what a run without a fault makes of them."""
    from PIL import Image

    images = work / "images"
    make_folder(images)
    for number in range(given.images):
        with create(images / f"{number:05d}.png") as file:
            Image.fromarray(phantom(given.seed * 1_000_000 + number, SIZE)).save(file, format="PNG")
    trial = Trial(images, given.shard, work, "", random.Random(given.seed))
    started = time.monotonic()
    trial.finish(work / "reference")
    collection = ShardedCollection(work / "reference")
    print(f"without a fault: {len(collection.shards)} shards in {time.monotonic() - started:.0f} s", flush=True)
    return Trial(images, given.shard, work, collection.manifest.fingerprint, random.Random(given.seed))


def attempts(trial: Trial, name: str, times: int) -> dict[str, object]:
    """So many attempts of a fault: how many held, and what went wrong in the others."""
    wrong: list[str] = []
    started = time.monotonic()
    number = 0
    while number < times:
        out = trial.work / f"{name}-{number}"
        try:
            FAULTS[name](trial, out)
            trial.holds(out)
            number += 1
        except TooLate:
            pass
        except (AssertionError, OSError, subprocess.SubprocessError, SynthtraceError) as error:
            wrong.append(f"attempt {number}: {error}")
            print(f"{name} {wrong[-1]}", flush=True)
            number += 1
        shutil.rmtree(out, ignore_errors=True)
    seconds = round(time.monotonic() - started)
    print(f"{name}: {times - len(wrong)} of {times} held, in {seconds} s", flush=True)
    return {"fault": name, "times": times, "held": times - len(wrong), "seconds": seconds, "wrong": wrong}


if __name__ == "__main__":
    sys.exit(main())
