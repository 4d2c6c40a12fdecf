"""One comparison as another processor would compute it, in a process of its own: `python -m tests.helpers.kernels FOLDER OUT`.

FOLDER holds collections `generated` and `real`. OUT becomes an .npz file: distances that a search finds, those of all pairs, and
the real images' vectors, made anew by what the collection learned. With `SYNTHTRACE_TEST_BFLOAT16` set, the network computes in
bfloat16.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from embeddings.views.libtorch import Library
from indexer.collection import Collection
from indexer.search import brute_force

_SSE = {
    "OPENBLAS_CORETYPE": "Nehalem",
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "FAISS_OPT_LEVEL": "generic",
    "OPENCV_CPU_DISABLE": "AVX2,AVX,FMA3",
}
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
KERNELS = {  # environments in which OpenBLAS, PyTorch, oneDNN, FAISS and OpenCV take the code of another processor
    "sse, one thread": _SSE | _ONE_THREAD,
    "avx": {"OPENBLAS_CORETYPE": "Sandybridge", "ONEDNN_MAX_CPU_ISA": "AVX"},
    "avx2": {
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "FAISS_OPT_LEVEL": "avx2",
    },
    "bfloat16": {"SYNTHTRACE_TEST_BFLOAT16": "1"},
}


def main(folder: Path, out: Path) -> None:
    if os.environ.get("SYNTHTRACE_TEST_BFLOAT16"):
        setattr(Library, "has_bfloat16", lambda _: True)  # noqa: B010
    generated, real = Collection(folder / "generated"), Collection(folder / "real")
    images = [np.asarray(Image.open(real.path(row))) for row in range(len(real))]
    arrays: dict[str, Any] = {}
    for view in generated.views:
        vectors = real.vectors(view)
        arrays[f"search {view}"] = generated.nearest(view, vectors, 10).distances
        arrays[f"all {view}"] = brute_force.distances(generated.spec(view).metric, vectors, generated.vectors(view))
        arrays[f"vectors {view}"] = generated.embed(view, images).vectors
    np.savez(out, **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
