"""A verdict that may come before the last sample: on which side of a bound, and at what part of a gate's error."""

from __future__ import annotations

from enum import StrEnum

# Share of a gate's error that the looks spend; the interval of all samples is left with the rest. Instead of 95 % it
# then has 96 %, and is 5 % wider; half of the error would decide a sixth sooner, and leave an interval 14 % wider.
SHARE_OF_LOOKS = 0.2


class Side(StrEnum):
    """Side of a bound; `OPEN` where it is not decided."""

    AT_MOST = "at most"
    ABOVE = "above"
    OPEN = "open"


def level_of_last(level: float) -> float:
    """Level of the interval of all samples, where looks before it spent their share of the error.

    Example:
        >>> round(level_of_last(0.95), 3)
        0.96
    """
    return 1 - (1 - SHARE_OF_LOOKS) * (1 - level)


def risk_of_looks(level: float) -> float:
    """Risk of one side of all looks together, of a gate that is judged by one side of an interval at that level.

    Example:
        >>> round(risk_of_looks(0.95), 4)
        0.005
    """
    return SHARE_OF_LOOKS * (1 - level) / 2
