"""Save and load fitted methods, to apply them to other images.

A model file names no image and holds no digest of one: with a digest, anyone who holds an image could test whether it was in
the study. The images a model was fitted on are listed in a separate file beside the database, `results.seen.json` for
`results.models/`, under a random name that the model holds. Without that file nobody can tell.
"""

import json
import secrets
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from embeddings.files.reading import parse_json
from embeddings.files.writing import write_bytes, write_text
from query.membership.case import MembershipError, Model

_ENTRY = "synthtrace"  # one entry of metadata: the order of several is random
_FORMAT = 2


def save_model(model: Model, path: Path, fitted: str | None = None) -> None:
    """Write a model as safetensors, its facts as JSON in the metadata; whole or not at all, readable for its owner only.

    Args:
        fitted: the name of the images that it was fitted on, from `save_seen`.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in model.arrays.items()} or {"nothing": np.zeros(1, np.int8)}
    about = {"format": _FORMAT, "method": model.method, "facts": dict(model.facts), "fitted": fitted}
    write_bytes(path, save(arrays, {_ENTRY: json.dumps(about, sort_keys=True)}))


def load_model(path: Path) -> Model:
    """The model in a file, with whose labels it has seen, where that stands beside the file's folder.

    Raises:
        MembershipError: the file cannot be read, or holds none.
    """
    try:
        content = path.read_bytes()
        arrays = load(content)
        header = parse_json(content[8 : 8 + int.from_bytes(content[:8], "little")])
        card = parse_json(header["__metadata__"][_ENTRY])
        version, method, facts, fitted = card["format"], card["method"], card["facts"], card.get("fitted")
    except OSError as error:
        raise MembershipError(f"{path}: cannot be read: {error.strerror}") from error
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise MembershipError(f"{path}: no model that `synthtrace predict` saved") from error
    if version != _FORMAT:
        raise MembershipError(f"{path}: of format {version}, this program reads {_FORMAT}; fit it again")
    seen = _seen(seen_beside(path.absolute().parent)).get(fitted) if fitted else []
    return Model(method, arrays, facts, None if seen is None else frozenset(seen))


def seen_beside(folder: Path) -> Path:
    """Where it stands whose labels the models of a folder have seen."""
    return folder.with_suffix(".seen.json")


def save_seen(seen: frozenset[str], path: Path) -> str:
    """Write down digests of images, readable for the owner only, beside those of other models: the name they go by.

    Raises:
        MembershipError: the file is there and cannot be read.
    """
    kept, digests = _seen(path), sorted(seen)
    name = next((name for name, theirs in kept.items() if theirs == digests), None) or secrets.token_hex(16)
    write_text(path, json.dumps({**kept, name: digests}, sort_keys=True) + "\n")
    return name


def _seen(path: Path) -> dict[str, Any]:
    """Name -> digests."""
    try:
        found = parse_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise MembershipError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise MembershipError(f"{path}: damaged; move it away, then nobody can tell which images models have seen") from error
    if not isinstance(found, dict) or not all(isinstance(digests, list) for digests in found.values()):
        raise MembershipError(f"{path}: not written by `synthtrace predict`; move it away")
    return found
