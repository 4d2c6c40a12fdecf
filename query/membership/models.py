"""What methods learned, in files: to be applied later, to other images."""

import json
from pathlib import Path
from typing import BinaryIO

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from indexer.files import write_atomic
from query.membership.types import MembershipError, Model

_ENTRY = "synthtrace"  # one entry of metadata: the order of several is random
_FORMAT = 1


def save_model(model: Model, path: Path) -> None:
    """Write a model as safetensors, its facts as JSON in the metadata; whole or not at all, readable for its owner only."""
    arrays = {name: np.ascontiguousarray(array) for name, array in model.arrays.items()} or {"nothing": np.zeros(1, np.int8)}
    card = json.dumps({"format": _FORMAT, "method": model.method, "facts": dict(model.facts)}, sort_keys=True)
    content = save(arrays, {_ENTRY: card})

    def put(file: BinaryIO) -> None:
        file.write(content)

    write_atomic(path, put)


def load_model(path: Path) -> Model:
    """The model in a file.

    Raises:
        MembershipError: the file cannot be read, or holds none.
    """
    try:
        content = path.read_bytes()
        arrays = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        card = json.loads(header["__metadata__"][_ENTRY])
        version, model = card["format"], Model(card["method"], arrays, card["facts"])
    except OSError as error:
        raise MembershipError(f"{path}: cannot be read: {error.strerror}") from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise MembershipError(f"{path}: no model that `synthtrace decide` saved") from error
    if version != _FORMAT:
        raise MembershipError(f"{path}: of format {version}, this program reads {_FORMAT}; fit it again")
    return model
