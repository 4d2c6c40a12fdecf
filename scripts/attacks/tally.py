"""Result of an attack, as one line and as figures."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

SHOWN = 3  # complaints in the line; the JSON holds more
KEPT = 20  # complaints in the JSON


@dataclass(frozen=True)
class Result:
    """The outcome of one kind of attack.

    Attributes:
        kind: name of the attack.
        tried: how often, in words: "25 kills of index".
        held: whether nothing was let in, lost or false.
        figures: what was counted and measured.
        wrong: what did not hold, the first of them.
        seconds: how long it took.
    """

    kind: str
    tried: str
    held: bool
    figures: Mapping[str, float | int | str]
    wrong: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        note = ", ".join(f"{name.replace('_', ' ')} {_number(value)}" for name, value in self.figures.items())
        line = f"{'held' if self.held else 'NOT HELD'}: {self.kind}: {self.tried}" + (f"; {note}" if note else "")
        return "\n".join([line, *(f"    {each}" for each in self.wrong[:SHOWN])])


@dataclass
class Tally:
    """Counts of one attack while it runs; safe from several threads."""

    figures: dict[str, float | int | str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    failed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, held: bool, complaint: str) -> bool:
        """Note the complaint where this did not hold; says whether it did."""
        if not held:
            with self._lock:
                self.failed += 1
                if len(self.wrong) < KEPT:
                    self.wrong.append(complaint)
        return held

    def count(self, name: str, more: int = 1) -> None:
        """Add to a figure."""
        with self._lock:
            self.figures[name] = int(self.figures.get(name, 0)) + more

    def result(self, kind: str, tried: str, seconds: float) -> Result:
        """All of it as one value."""
        figures = {**self.figures, **({"not_held": self.failed} if self.failed else {})}
        return Result(kind, tried, not self.failed, figures, tuple(self.wrong), seconds)


def _number(value: float | int | str) -> str:
    return f"{value:,.3g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value
