"""Output of `leakage`: attacks in the words of regulators."""

from typing import TYPE_CHECKING

from query.text import table

if TYPE_CHECKING:
    from query.leakage.attacks import Attacks, Rate

_HEAD = "attacks on patients, in the words of Anonymeter: main (training), control (hold-out), baseline (random guesses)"
_NOTE = "risk = (main - control) / (1 - control); 0 in its interval: none was found, which does not show that there is none"


def attacks_text(found: "Attacks") -> str:
    """A row for each attack, with 95% intervals, and why another was not made."""
    rows = [
        [str(kind), f"{attack.patients:,}", *map(_rate, (attack.main, attack.control, attack.baseline, attack.risk))]
        for kind, attack in found.made.items()
    ]
    lines = [_HEAD, table(["", "patients", "main", "control", "baseline", "risk"], rows), _NOTE] if rows else []
    lines += [f"{kind} was not measured: {reason}" for kind, reason in found.missing.items()]
    return "\n".join(lines)


def _rate(rate: "Rate") -> str:
    return f"{rate.value:.2f} [{rate.low:.2f}, {rate.high:.2f}]"
