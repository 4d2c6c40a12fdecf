"""Format numbers as text: values with their intervals, shares, p-values; ``-`` stands for no number."""

from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from query.evaluation.resampling import Estimate

NONE, UNDEFINED = "-", "undefined"


def number(value: float | None, spec: str = "z.2f", none: str = NONE) -> str:
    """``0.61``, never ``-0.00``; `none` where there is no number."""
    return none if value is None or not isfinite(value) else f"{value:{spec}}"


def interval(found: "Estimate | None", spec: str = "z.2f", none: str = NONE, alone: str = "") -> str:
    """``0.61 [0.53, 0.69]``; ``0.61`` and `alone` where there is no interval, `none` where there is no value."""
    if found is None or not found.known:
        return none
    ends = f" [{number(found.low, spec)}, {number(found.high, spec)}]" if found.has_interval else alone
    return f"{number(found.value, spec)}{ends}"


def percent_interval(found: "Estimate") -> str:
    """``81.0% [76.2, 85.1]``."""
    ends = f" [{100 * found.low:.1f}, {100 * found.high:.1f}]" if found.has_interval else ""
    return f"{found.value:.1%}{ends}" if found.known else UNDEFINED


def p_text(value: float | None) -> str:
    """``0.012``, ``0.61``."""
    return number(value, ".2g" if value is not None and value < 0.1 else "z.2f")


def share(value: float) -> str:
    """``3.1%``; ``<0.1%`` for what is more than nothing."""
    return "<0.1%" if 0 < value < 0.0005 else f"{value:.1%}"
