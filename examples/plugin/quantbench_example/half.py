"""Recipe `half`: weights in half precision."""

from dataclasses import dataclass
from typing import ClassVar

from quantbench.recipes.spec import Recipe


@dataclass(frozen=True)
class Half(Recipe):
    """Every weight rounded to float16; no calibration."""

    kind: ClassVar[str] = "half"


def half() -> Half:
    """Weights in half precision."""
    return Half()
