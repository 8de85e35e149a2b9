"""Time and forwards that a blame may use, and has used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic


@dataclass
class Budget:
    """Counts what is used.

    Attributes:
        seconds: allowed; None without a limit.
        clock: seconds of some clock.
        forwards: samples that went through a model so far.

    Example:
        >>> budget = Budget(10.0, clock=iter([0.0, 4.0]).__next__)
        >>> budget.used
        0.4
    """

    seconds: float | None = None
    clock: Callable[[], float] = monotonic
    forwards: int = 0
    _begun: float = field(init=False)

    def __post_init__(self) -> None:
        self._begun = self.clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self.clock() - self._begun

    @property
    def used(self) -> float:
        """Part of the time that is used; 0 without a limit."""
        return 0.0 if self.seconds is None else self.elapsed / self.seconds

    def allows(self, seconds: float) -> bool:
        """Enough is left for something that takes so long."""
        return self.seconds is None or self.elapsed + seconds <= self.seconds

    def affords(self, seconds: float, part: float) -> int:
        """Number of steps of so many seconds each that fit into what is left of a part of the time, which has a limit.

        Example:
            >>> Budget(10.0, clock=iter([0.0, 4.0]).__next__).affords(0.5, part=0.5)
            2
        """
        left = part * (self.seconds or 0.0) - self.elapsed
        return max(0, int(left / max(seconds, 1e-9)))

    def count(self, samples: int) -> None:
        """Notes forwards."""
        self.forwards += samples
