"""Entry point of the command `synthtrace`.

A look-up answers at once: the process that decodes begins before anything else is imported, since it takes as long to start as
what asks it, and heavy libraries are imported by the commands that need them.
"""

import atexit
import gc
import logging
import os
import sys
import warnings

from embeddings.images.child import begin

_THREADS = "OPENBLAS_NUM_THREADS"


def main() -> None:
    """Entry point of the command `synthtrace`."""
    os.umask(0o077)  # outputs hold patients' scans
    if sys.argv[1:2] == ["lookup"]:
        _hurry()
    from query import terminal
    from query.cli.group import program

    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # decoders warn of what the images' own errors say better
    for library in ("PIL", "pydicom", "nibabel.global"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    terminal.prepare()
    program(prog_name="synthtrace")


def _hurry() -> None:
    """Begin a look-up: without what takes longer than all that it has to compute."""
    begin()
    gc.set_threshold(100_000)  # imports make many objects and no rubbish
    atexit.register(gc.freeze)  # none is looked for at the end either
    threads = os.environ.get(_THREADS)
    os.environ[_THREADS] = "1"
    import numpy  # noqa: F401 - whose own BLAS starts no threads now; FAISS's is another

    if threads is None:
        del os.environ[_THREADS]
    else:
        os.environ[_THREADS] = threads


if __name__ == "__main__":
    main()
