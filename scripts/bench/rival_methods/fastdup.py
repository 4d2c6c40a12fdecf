"""fastdup (Visual Layer, version 2.54), by its own program: it wants older libraries than ours, and has an environment apart."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import make_folder, write_bytes
from rival_methods.rival import Compared, Groups, NotInstalledError, Pictures, cosine

FEATURES = 576  # of the network that the package holds
LIMIT = 0.1  # fastdup's `threshold` is a cosine of 0.9
PROGRAM = """
import sys, fastdup, numpy
if fastdup.run(input_dir="pictures", work_dir="found", num_threads=1, run_mode=1):
    sys.exit(1)
names, vectors = fastdup.load_binary_feature("found/atrain_features.dat", d=576)
numpy.savez("vectors.npz", names=numpy.array(names, dtype=str), vectors=vectors)
"""


@dataclass(frozen=True)
class FastDup:
    """1 - cosine of the features of fastdup's own network, all pairs compared where fastdup would search a graph.

    Attributes:
        python: of an environment with fastdup (`pip install fastdup`); None where there is none.
    """

    python: Path | None = None
    name = "fastdup"

    def compare(self, real: Pictures, generated: Pictures, groups: Groups) -> Compared:
        """See `Rival`."""
        if self.python is None:
            raise NotInstalledError("name the Python of an environment that has fastdup, --fastdup PYTHON")
        if not self.python.is_file():
            raise NotInstalledError(f"{self.python}: no such file")
        found = self._features(np.concatenate([real, generated]))
        return Compared(cosine(found[: len(real)], found[len(real) :]), LIMIT)

    def _features(self, pictures: Pictures) -> NDArray[np.float32]:
        assert self.python is not None
        with temporary_folder() as folder:
            make_folder(folder / "pictures")
            for number, picture in enumerate(pictures):
                write_bytes(folder / "pictures" / f"{number:06d}.png", cv2.imencode(".png", picture)[1].tobytes())
            command = [str(self.python.absolute()), "-c", PROGRAM]
            quiet = {**os.environ, "SENTRY_OPT_OUT": "1", "HOME": str(folder)}  # it reports to its maker otherwise
            run = subprocess.run(command, cwd=folder, env=quiet, capture_output=True, text=True)
            if run.returncode or not (folder / "vectors.npz").exists():
                last = (run.stderr.strip() or run.stdout.strip() or "no word").splitlines()[-1]
                raise NotInstalledError(f"fastdup cannot be run by {self.python}: {last}")
            with np.load(folder / "vectors.npz") as made:
                order = [int(Path(name).stem) for name in made["names"].tolist()]
                vectors = np.asarray(made["vectors"], np.float32)
        if sorted(order) != list(range(len(pictures))):
            raise NotInstalledError(f"fastdup left out {len(pictures) - len(order)} pictures")
        return vectors[np.argsort(order)]
