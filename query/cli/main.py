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
from contextlib import suppress

from embeddings.images.child import begin

_THREADS = "OPENBLAS_NUM_THREADS"


def main() -> None:
    """Entry point of the command `synthtrace`."""
    os.umask(0o077)  # outputs hold patients' scans
    if sys.argv[1:2] == ["lookup"]:
        _hurry()
    from query import terminal
    from query.cli.group import program
    from query.cli.program import INTERRUPTED

    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # decoders warn of what the images' own errors say better
    for library in ("PIL", "pydicom", "nibabel.global"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    terminal.prepare()
    try:
        program(prog_name="synthtrace")
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _leave(INTERRUPTED)
        raise


def _leave(code: int) -> None:
    """End at once, without Python's own end: an interrupted command may have left threads at work in C++ libraries.

    Such a thread asks for Python's lock when its work is done. Python 3.11 to 3.13 then end it inside a C++ destructor, and so
    the process, by SIGABRT ("terminate called without an active exception"). All that must be put away was, on the way here.
    """
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(code)


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
