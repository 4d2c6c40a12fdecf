"""Parse JSON and TOML from untrusted files."""

import json
import tomllib
from collections.abc import Callable
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """What the text says.

    Raises:
        ValueError: it is no JSON, or nested more deeply than Python follows.
    """
    return _followed(json.loads, text)


def parse_toml(text: str) -> dict[str, Any]:
    """What the text says.

    Raises:
        ValueError: it is no TOML, or nested more deeply than Python follows.
    """
    parsed: dict[str, Any] = _followed(tomllib.loads, text)
    return parsed


def _followed(parse: Callable[..., Any], text: str | bytes) -> Any:
    try:
        return parse(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
