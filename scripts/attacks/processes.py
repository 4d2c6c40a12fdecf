"""Attack: do commands end with the exit code they document."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from attacks.tally import Tally
from attacks.target import Target, last_line

TOGETHER = 3  # more than there are cores: ends of processes are more often disturbed where they wait


def exits(target: Target, tally: Tally) -> str:
    """index ends with 0 every time."""
    many = 10 if target.quick else 500
    images = sorted(target.generated.iterdir())[:4]

    def once(number: int) -> int:
        folder = target.room(f"exits-{number}")
        done = target.run("index", *images, "--out", folder / "c", "--view", "phash")
        tally.check(done.returncode == 0, f"run {number} ends with {done.returncode}: {last_line(done)}")
        return done.returncode

    with ThreadPoolExecutor(TOGETHER) as pool:
        codes = Counter(pool.map(once, range(many)))
    tally.figures["exit_codes"] = ", ".join(f"{count} x {code}" for code, count in sorted(codes.items()))
    return f"{many} runs of index"
