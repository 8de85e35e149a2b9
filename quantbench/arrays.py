"""Named arrays of one batch: what a model takes and gives, whatever runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

Inputs = Mapping[str, NDArray[Any]]
Outputs = dict[str, NDArray[Any]]
# Names where there is only one. A model with one input takes it under any name.
INPUT, OUTPUT = "input", "output"
