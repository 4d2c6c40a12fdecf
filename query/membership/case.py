"""Types of membership inference: images, case, method, model, prediction. NumPy only."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import SynthtraceError
from query.inputs.images import Images

UNKNOWN, NOT_USED, USED = -1, 0, 1  # what `Case.used` holds

Values = NDArray[np.float64]
Rows = NDArray[np.int64]


class MembershipError(SynthtraceError):
    """A method cannot be used as asked; the message is one line that says what it lacks and how to mend it."""


class Needs(StrEnum):
    """What a method must be told before it can answer."""

    NOTHING = "nothing"
    REFERENCE = "images known not to be used"
    LABELS = "images known to be used and images known not to be used"


@dataclass(frozen=True)
class Draws:
    """So many draws of as many generated images, without replacement."""

    size: int
    count: int

    def rows(self, generated: int, seed: int) -> list[Rows]:
        """(size,) rows of each draw, ascending."""
        rng = np.random.default_rng(seed)
        return [np.sort(rng.choice(generated, self.size, replace=False)) for _ in range(self.count)]


@dataclass(frozen=True)
class Case:
    """One set of real images before one set of generated ones, and what is known of them.

    Attributes:
        real, generated: the images.
        used: (nr,) int8, `USED`, `NOT_USED` or `UNKNOWN`. Those not used are the reference.
        groups: (nr,) which real images belong together (one patient); of any type that can be sorted.
        flipped: the real images flipped left to right, where those count too.
        siblings: (nr,) bool, images known not to be used of patients with used ones; their `used` is `UNKNOWN`, and they are no
            reference. None for none.
        weights: (nr,) how much each image's patient counts as one of the reference; None for all alike.
        seed: random seed.
        memory: what was computed before labels were looked at, see `once`; cases that differ in labels alone share it.

    Raises:
        ValueError: lengths differ.
    """

    real: Images
    generated: Images
    used: NDArray[np.int8]
    groups: NDArray[Any]
    flipped: Images | None = None
    siblings: NDArray[np.bool_] | None = None
    weights: Values | None = None
    seed: int = 0
    memory: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        sizes = {len(self.real), len(self.used), len(self.groups), len(self.flipped or self.real)}
        if len(sizes) != 1:
            raise ValueError(f"real images, used, groups and flipped images must be as many, got {sorted(sizes)}")

    @property
    def labelled(self) -> Rows:
        """Rows of real images whose membership is known."""
        return np.flatnonzero(self.used != UNKNOWN)

    @property
    def unlabelled(self) -> Rows:
        """Rows of real images whose membership is asked for."""
        return np.flatnonzero((self.used == UNKNOWN) & ~self.held_back)

    @property
    def held_back(self) -> NDArray[np.bool_]:
        """(nr,) bool, siblings of used images."""
        return np.zeros(len(self.real), bool) if self.siblings is None else self.siblings

    @property
    def reference(self) -> Rows:
        """Rows of real images known not to be used."""
        return np.flatnonzero(self.used == NOT_USED)

    @property
    def reference_patients(self) -> int:
        """Groups in the reference."""
        return len(np.unique(self.groups[self.reference]))

    def forgetting(self, rows: Rows) -> "Case":
        """The same without the labels of these real images: for cross-fitting."""
        used = self.used.copy()
        used[rows] = UNKNOWN
        return replace(self, used=used)

    def drawn(self, rows: Rows) -> "Case":
        """The same before these generated images alone."""
        return replace(self, generated=self.generated.take(rows), memory={})

    def draws(self, draws: Draws) -> list["Case"]:
        """The same before each draw; what is measured of a draw is kept with this case."""
        if draws not in self.memory:
            self.memory[draws] = [(rows, {}) for rows in draws.rows(len(self.generated), self.seed)]
        return [replace(self.drawn(rows), memory=memory) for rows, memory in self.memory[draws]]

    def once(self, name: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """What `make` gives, computed once for this case and those that differ from it in labels alone."""
        if name not in self.memory:
            self.memory[name] = make()
        known: NDArray[Any] = self.memory[name]
        return known


@dataclass(frozen=True)
class Model:
    """What a method learned, to be applied now or later.

    Attributes:
        method: name of the method.
        arrays: name -> array.
        facts: JSON-able; `generated` is the number of generated images that a threshold was found with, where it depends on it.
        seen: digests (hex) of the pixels of the images whose labels it was fitted on; None where nobody can tell. No file of a
            model holds them, see `query.membership.models`.
    """

    method: str
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    seen: frozenset[str] | None = frozenset()


def applied_to(method: str, model: Model, here: int, draws: int) -> int:
    """The number of generated images that a method answers for with a model: all, or draws of as many as the model had.

    Args:
        method: name.
        model: perhaps with a threshold that belongs to a number of generated images.
        here: generated images there are.
        draws: whether draws are wanted.

    Raises:
        MembershipError: the numbers differ and no draws are wanted, or there are fewer generated images than the model had.
    """
    needed = model.facts.get("generated", here)
    if needed > here or (needed < here and not draws):
        mend = "match it by --draws 20" if needed < here else "find it anew"
        raise MembershipError(
            f"the threshold of {method} was found with {needed:,} generated images and means nothing for {here:,}: {mend}, "
            "or give labelled images of this set"
        )
    return int(needed)


@dataclass(frozen=True)
class Answer:
    """What a method says of every real image of a case.

    Attributes:
        value: (nr,) float64, larger speaks for used; NaN where the method cannot tell.
        threshold: used where value >= threshold.
        calibrated: whether the threshold was found on images whose membership is known.
        note: one sentence on where the threshold comes from, for people.
        detail: JSON-able facts and, for figures, lists of numbers.
    """

    value: Values
    threshold: float
    calibrated: bool
    note: str
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def used(self) -> list[bool | None]:
        """The binary prediction of each image, None where the method cannot tell."""
        return [None if np.isnan(value) else bool(value >= self.threshold) for value in self.value]


class Method(Protocol):
    """One way to predict. `fit` sees labels, `answer` must not look at the labels of the images that it scores."""

    @property
    def name(self) -> str:
        """As on the command line."""

    @property
    def needs(self) -> Needs:
        """What must be known before `fit`."""

    @property
    def looks(self) -> bool:
        """Whether its values depend on labels of the case, so that a reference image that it looked at calibrates nothing."""

    @property
    def views(self) -> tuple[str, ...]:
        """Views that the collections must have."""

    def fit(self, case: Case) -> Model:
        """Learn from the labelled images of a case (and its generated ones).

        Raises:
            MembershipError: what it needs is not there.
        """

    def answer(self, case: Case, model: Model) -> Answer:
        """Score every real image of a case, which may be another than that of `fit`.

        Raises:
            MembershipError: the model does not fit the case: another number of generated images, other features.
        """
