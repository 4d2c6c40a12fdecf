"""Entry point of the command `synthtrace`.

A look-up answers at once: the process that decodes begins before anything else is imported, since it takes as long to start as
what asks it, and heavy libraries are imported by the commands that need them.
"""

import logging
import os
import sys
import warnings

from embeddings.images.child import begin


def main() -> None:
    """Entry point of the command `synthtrace`."""
    os.umask(0o077)  # outputs hold patients' scans
    if sys.argv[1:2] == ["lookup"]:
        begin()
    from query import terminal
    from query.cli.group import program

    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # decoders warn of what the images' own errors say better
    for library in ("PIL", "pydicom", "nibabel.global"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    terminal.prepare()
    program(prog_name="synthtrace")


if __name__ == "__main__":
    main()
