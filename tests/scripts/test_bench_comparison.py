"""The memory of comparing all pairs, measured by scripts/bench/comparison.py."""

import json
import subprocess
import sys
from pathlib import Path

from tests.helpers.places import ROOT


def peak(out: Path, generated: int) -> int:
    """Bytes, of 50 real images against so many generated ones."""
    asked = ["--real", "50", "--generated", str(generated), "--shard", "4096", "--of-generated", "1", "--json", str(out)]
    subprocess.run([sys.executable, ROOT / "scripts/bench/comparison.py", *asked], check=True, capture_output=True)
    measured: int = json.loads(out.read_text())["figures"]["peak"]
    return measured


def test_memory_does_not_grow_with_the_generated_images(tmp_path: Path) -> None:
    """But for results that each of them has: a neighbour of 8 bytes in five views, and moments of 16 in four."""
    few, many = 8_192, 32_768
    grown = peak(tmp_path / "many.json", many) - peak(tmp_path / "few.json", few)
    vectors = (many - few) * (32 + 3 * 1024)
    assert grown < 2 * (many - few) * (5 * 8 + 4 * 16) + 5_000_000 < vectors / 5
