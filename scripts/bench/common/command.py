"""What the command lines of these scripts have in common: what is wrong is said in one line."""

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from embeddings.errors import SynthtraceError


class Parser(argparse.ArgumentParser):
    """Complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def run(prog: str, main: Callable[[], int | None]) -> NoReturn:
    """End with what `main` returns, with 2 after one line for what a user can mend, with 130 where the user stopped it."""
    try:
        sys.exit(main() or 0)
    except (SynthtraceError, OSError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{prog}: stopped", file=sys.stderr)
        sys.exit(130)
