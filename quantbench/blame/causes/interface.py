"""Causes: each is checked on a layer's values, and says which part of the layer's error it makes up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from quantbench.backends.insides import InnerLayer
from quantbench.blame.errors import Errors
from quantbench.recipes.spec import Recipe

# Of a layer's own error: a smaller part is not told as a cause.
LEAST_SHARE = 0.2


@dataclass(frozen=True)
class Facts:
    """Everything known of one layer.

    Attributes:
        layer: see `InnerLayer`.
        test: on some test samples, whose labels are not looked at.
        calibration: on calibration samples; None where there are none.
        shown: on those that the recipe calibrated with; None where that is not known.
        calibration_n: how many those were.
        recipe: that made the candidate.
        backend: its name.
        has_vnni: the processor multiplies 8-bit integers without saturating.
    """

    layer: InnerLayer
    test: Errors
    calibration: Errors | None = None
    shown: Errors | None = None
    calibration_n: int | None = None
    recipe: Recipe | None = None
    backend: str = ""
    has_vnni: bool = True

    @property
    def needed(self) -> tuple[float, float]:
        """The range of all values that were seen."""
        ranges = [each.range for each in (self.test, self.calibration) if each is not None]
        return min(low for low, _ in ranges), max(high for _, high in ranges)


@dataclass(frozen=True)
class Cause:
    """A cause that was found.

    Attributes:
        kind: of the checker.
        share: of the layer's own error that would go with it, 0..1.
        words: after a colon, with figures.
        advice: recipes and options that exist; empty where there is none.
    """

    kind: str
    share: float
    words: str
    advice: str = ""


class Checker(ABC):
    """Looks for one cause.

    Attributes:
        kind: its name in records.
        explains: the same in words, for tables.
        hides: kinds that are what this one looks like from elsewhere, and are not told beside it.
    """

    kind: ClassVar[str]
    explains: ClassVar[str]
    hides: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def check(self, facts: Facts) -> Cause | None:
        """The cause, or None where it is not there."""

    def found(self, share: float, words: str, advice: str = "") -> Cause | None:
        """A cause of this kind; None for too small a part."""
        return Cause(self.kind, min(share, 1.0), words, advice) if share >= LEAST_SHARE else None


def figures(*values: float) -> str:
    """Ends of a range.

    Example:
        >>> figures(0.0, 6.125)
        '0…6.12'
    """
    return "…".join(f"{each:.3g}" for each in values)


def listed(names: Sequence[object], most: int = 4) -> str:
    """A few of many.

    Example:
        >>> listed([3, 5, 8], most=2)
        '3, 5 and 1 more'
    """
    shown = ", ".join(str(each) for each in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
