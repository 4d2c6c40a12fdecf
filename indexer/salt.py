"""Salt of a collection: what patients' identifiers are hashed with before anything is written.

The salt lies in the collection's folder, in a file of its own for its owner only, and nowhere else. Without it nobody can try
identifiers against the hashed values; with it, anybody who can guess identifiers can.
"""

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from embeddings.errors import SynthtraceError
from embeddings.files.writing import write_bytes

NAME = "salt"
VARIABLE = "SYNTHTRACE_SALT"
_HASHED = re.compile(r"(patient|series|folder) [0-9a-f]{32}")
_LEAST = 16  # bytes of a salt
_DIGITS = 32  # hex digits of a hashed value: 128 bits


class SaltError(SynthtraceError):
    """The salt cannot be used: it is too short or cannot be read; the message names where it comes from."""


@dataclass(frozen=True)
class Salt:
    """A secret of at least 16 bytes.

    Raises:
        SaltError: it is shorter.
    """

    value: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.value) < _LEAST:
            raise SaltError(f"the salt has {len(self.value)} bytes, at least {_LEAST} are needed; see {VARIABLE}")

    @classmethod
    def random(cls) -> "Salt":
        """A new one."""
        return cls(secrets.token_bytes(32))

    @classmethod
    def read(cls, folder: Path) -> "Salt | None":
        """That of a collection; None where it has none.

        Raises:
            SaltError: the file cannot be read, or is too short.
        """
        try:
            return cls((folder / NAME).read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SaltError(f"{folder / NAME}: {error.strerror}") from error

    def hashed(self, kind: str, text: str) -> str:
        """``kind`` and 32 hex digits: HMAC-SHA256 of both, shortened to 128 bits.

        Args:
            kind: ``patient``, ``series`` or ``folder``: a patient never equals a series of the same name.
            text: the identifier.
        """
        message = f"{kind}\0{text}".encode("utf-8", "surrogatepass")
        return f"{kind} {hmac.new(self.value, message, hashlib.sha256).hexdigest()[:_DIGITS]}"

    def of_patient(self, patient: str) -> str:
        """`embeddings.images.decoding.Frame.patient` hashed; empty where it is empty."""
        kind, _, text = patient.partition(":")
        return self.hashed(kind, text) if text else ""

    @property
    def fingerprint(self) -> str:
        """Tells whether two collections have the same salt, and nothing of it: 16 hex digits."""
        return hmac.new(self.value, b"fingerprint", hashlib.sha256).hexdigest()[:16]


def is_hashed(value: str) -> bool:
    """Whether a text is of the form that `Salt.hashed` gives."""
    return _HASHED.fullmatch(value) is not None


def new_salt() -> Salt:
    """The salt of the environment variable, else a new one.

    Raises:
        SaltError: that of the environment is too short.
    """
    given = os.environ.get(VARIABLE)
    return Salt(os.fsencode(given)) if given else Salt.random()


def salt_for(folder: Path, fitted_on: Path | None) -> Salt:
    """The salt for a collection that is built in `folder`, which is kept there.

    It is that of the environment variable, else of the collection that this one is compared with, else the one that is there,
    else a new one.

    Raises:
        SaltError: the salt of the environment or of a file cannot be used.
    """
    there = Salt.read(folder)
    kept = None if os.environ.get(VARIABLE) else (fitted_on and Salt.read(fitted_on)) or there
    salt = kept or new_salt()
    if there != salt:
        write_bytes(folder / NAME, salt.value)
    return salt
