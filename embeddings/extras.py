"""How to install what an optional part needs: from the checkout that runs, or by name."""

from pathlib import Path

_CHECKOUT = (Path(__file__).parents[1] / "pyproject.toml").exists()


def installing(extra: str) -> str:
    """The command that installs an extra of synthtrace.

    Args:
        extra: as in pyproject.toml: ``serve``, ``medical``, ``gpu``, ``distributed``.
    """
    return f"pip install '.[{extra}]' in the project folder" if _CHECKOUT else f"pip install 'synthtrace[{extra}]'"
