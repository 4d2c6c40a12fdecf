"""JSON and TOML from files that somebody else may have written."""

import json
import tomllib
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """What the text says.

    Raises:
        ValueError: it is no JSON, or nested more deeply than Python follows.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def parse_toml(text: str) -> dict[str, Any]:
    """What the text says.

    Raises:
        ValueError: it is no TOML, or nested more deeply than Python follows.
    """
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
