"""Blinded reading: which pairs are read, each reader's order of them, and who the reader of a request is.

Nothing that could tell a reader what a method found leaves here but pixels: a pair is a place in the reader's own order, its two
pictures are A and B. Places and sides are drawn from the seed and the reader's name, so that they are the same after a restart.
"""

import hashlib
import hmac
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from query.comparison.combined import COMBINED
from query.comparison.matching import MATCHED, SCORE
from query.database.store import Store
from query.inputs.reviews import READ, Kept, Key
from query.service.backend.reviews.reviews import Reviews
from query.service.backend.runs import gallery
from query.service.backend.snapshot import Snapshot
from query.service.errors import Refused
from query.text import name

SIDES = ("a", "b")
_NAME_LENGTH = 60
_CODE_BYTES = 9  # 72 bits: nobody guesses one over HTTP
_CHANGED = "the database holds other images than when the reading began; start the service anew"


@dataclass(frozen=True)
class Blinding:
    """How pairs are read.

    Attributes:
        seed: of the choice of pairs, of their order and of their sides.
        pairs: how many, half of them the best ranked, half drawn from the others.
        reader: the only reader; empty where readers give their names on the page.
    """

    seed: int = 0
    pairs: int = READ
    reader: str = ""


@dataclass(frozen=True)
class Reader:
    """Who reads: the name, and SHA-256 of the code that this reader's requests carry, empty for the only reader."""

    name: str
    code: str = ""


@dataclass(frozen=True)
class HiddenPair:
    """A pair with all that a reader must not see.

    Attributes:
        ids: of the real and of the generated image.
        keys: contents of the same.
    """

    ids: tuple[int, int]
    keys: tuple[Key, Key]


class BlindedReading:
    """A blinded reading of the pairs of one run, the newest when the first reader came. Safe from several threads."""

    def __init__(self, blinding: Blinding, reviews: Reviews) -> None:
        self.blinding, self._reviews = blinding, reviews
        self._lock = threading.Lock()
        self._codes: dict[str, str] = {}  # readers that began here -> SHA-256 of their codes
        self._run = 0
        self._pairs: list[HiddenPair] = []

    def begin(self, wanted: str, code: str) -> tuple[str, str]:
        """Enter a reader: the name, and the code that the reader's requests carry from now on.

        Args:
            wanted: name of the reader.
            code: what this reader got before; empty for a new reader.

        Raises:
            Refused: it is no name, or that of a reader who has another code.
        """
        reader = " ".join(wanted.split())
        if not reader or len(reader) > _NAME_LENGTH or name(reader) != reader:
            raise Refused(422, f"a reader's name has 1 to {_NAME_LENGTH} printable characters")
        if self.blinding.reader:
            raise Refused(409, "this service has one reader, who was named when it was started")
        with self._lock:
            known = {each.casefold(): (each, digest) for each, digest in {**self._reviews.codes(), **self._codes}.items()}
            kept, digest = known.get(reader.casefold(), (reader, ""))
            if reader.casefold() in known and not (digest and hmac.compare_digest(_digest(code), digest)):
                raise Refused(409, "this name is taken: give the code that came with it, or take another name")
            given = code if digest else secrets.token_urlsafe(_CODE_BYTES)
            self._codes[kept] = _digest(given)
        return kept, given

    def reader(self, code: str) -> Reader:
        """Who sends a request.

        Raises:
            Refused: nobody began with this code.
        """
        if self.blinding.reader:
            return Reader(self.blinding.reader)
        digest = _digest(code)
        for reader, kept in {**self._reviews.codes(), **self._codes}.items():
            if kept and hmac.compare_digest(kept, digest):
                return Reader(reader, kept)
        raise Refused(403, "say who reads first: POST /v1/blinded/readers, then send the code as Synthtrace-Reader")

    def run(self, snapshot: Snapshot) -> int:
        """The run that is read.

        Raises:
            Refused: the database is not the one of the beginning any more.
        """
        with self._lock:
            if not self._run:
                self._pairs = chosen(snapshot.store, snapshot.run, self.blinding)
                self._run = snapshot.run
        return self._run

    def total(self, snapshot: Snapshot) -> int:
        """How many pairs are read."""
        self.run(snapshot)
        return len(self._pairs)

    def pair(self, snapshot: Snapshot, reader: Reader, place: int) -> HiddenPair:
        """The pair at a place of a reader's order.

        Raises:
            Refused: there is no such place, or the database is not the one of the beginning any more.
        """
        run = self.run(snapshot)
        if not 0 <= place < len(self._pairs):
            raise Refused(404, f"there are {len(self._pairs):,} pairs, counted from 0")
        pair = self._pairs[self._order(reader)[place]]
        if gallery.keys_of(snapshot.store, run, pair.ids) != dict(zip(pair.ids, pair.keys, strict=True)):
            raise Refused(409, _CHANGED)
        return pair

    def side(self, reader: Reader, pair: HiddenPair, side: str) -> int:
        """The image shown as a side: which is the real one is drawn for each pair and reader."""
        swapped = hashlib.sha256(f"{self.blinding.seed} {reader.name} {pair.keys}".encode()).digest()[0] % 2
        return pair.ids[SIDES.index(side) ^ swapped]

    def labels(self, snapshot: Snapshot, reader: Reader) -> list[Kept | None]:
        """The reader's own labels, by place."""
        self.run(snapshot)
        kept = self._reviews.of_reader(reader.name)
        return [kept.get(self._pairs[at].keys) for at in self._order(reader)]

    def _order(self, reader: Reader) -> list[int]:
        own = int.from_bytes(hashlib.sha256(reader.name.encode()).digest()[:8])
        order: list[int] = np.random.default_rng([self.blinding.seed, own]).permutation(len(self._pairs)).tolist()
        return order


def chosen(store: Store, run: int, blinding: Blinding) -> list[HiddenPair]:
    """The pairs to read, sorted by their contents.

    Of each real image the nearest pair, by matching where it was matched. The first half are the best ranked ones, the others are
    drawn from the rest by the seed: a reader who saw suspicious pairs alone would know what the tool thinks of each.
    """
    ranked = _ranked(store, run)
    best = ranked[: -(-blinding.pairs // 2)]
    rest = ranked[len(best) :]
    drawn = np.random.default_rng(blinding.seed).permutation(len(rest))[: blinding.pairs - len(best)]
    return sorted([*best, *(rest[at] for at in drawn)], key=lambda pair: pair.keys)


def _ranked(store: Store, run: int) -> Sequence[HiddenPair]:
    """The nearest pair of each real image, the most suspicious first; without blank images."""
    query = f"""SELECT r.image_id AS real, g.image_id AS generated, r.sha256, r.frame, g.sha256 AS theirs, g.frame AS their_frame
        FROM neighbours AS n
        JOIN images AS r ON r.run_id = n.run_id AND r.image_id = n.query_id AND r.role = 'real'
        JOIN images AS g ON g.run_id = n.run_id AND g.image_id = n.neighbour_id
        LEFT JOIN scores AS m ON m.run_id = n.run_id AND m.image_id = n.query_id AND m.view = '{MATCHED}' AND m.score = '{SCORE}'
        WHERE n.run_id = $run AND n.rank = 1 AND NOT (list_contains(r.blank, n.view) OR list_contains(g.blank, n.view))
        QUALIFY row_number() OVER (
            PARTITION BY n.query_id ORDER BY n.view <> '{MATCHED}', n.view <> '{COMBINED}', n.view) = 1
        ORDER BY m.value DESC NULLS LAST, n.distance, r.image_id"""
    rows = store.sql(query, {"run": run}).to_pylist()
    return [
        HiddenPair((row["real"], row["generated"]), ((row["sha256"], row["frame"]), (row["theirs"], row["their_frame"])))
        for row in rows
    ]


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
