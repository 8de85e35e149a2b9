"""Two files of one model that differ in values: which, layer by layer, and the one with values of the other."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.backends.interface import Artifact

Floats = NDArray[np.float64]
# Suffix of a file → the class that reads and writes its values.
FORMATS = {
    ".onnx": "quantbench.backends.onnx_runtime.exchange:OnnxExchange",
    ".pt": "quantbench.backends.state_exchange:StateExchange",
}
# Numbers that are told one by one; of more, their ratio.
SHOWN = 1


@dataclass(frozen=True)
class Value:
    """One value of a layer that is not what it was.

    Attributes:
        entry: its name in both files.
        layer: that it belongs to.
        part: of the layer: scale, zero point, weights, bias or values.
        base: in the earlier file.
        head: in the later one.
    """

    entry: str
    layer: str
    part: str
    base: Floats
    head: Floats

    @property
    def size(self) -> float:
        """Norm of the difference, as a share of the earlier value's."""
        norm, apart = float(np.linalg.norm(self.base)), float(np.linalg.norm(self.head - self.base))
        return apart / norm if norm else apart

    def words(self) -> str:
        """The change.

        Example:
            >>> Value("s", "conv", "scale", np.array([0.5]), np.array([0.25])).words()
            'scale 0.5 → 0.25'
        """
        if self.base.size <= SHOWN:
            return f"{self.part} {self.base.reshape(-1)[0]:.4g} → {self.head.reshape(-1)[0]:.4g}"
        changed = int((self.base != self.head).sum())
        of = f"{changed:,} of {self.base.size:,}"
        if self.part == "scale" and (self.base > 0).all():
            ratios = self.head / self.base
            return f"{of} scales, {ratios.min():.3g} to {ratios.max():.3g} times as large"
        return f"{self.part}: {of} values, by {100 * self.size:.2g} % of their norm"


class Exchange(ABC):
    """An earlier and a later file of one model.

    Attributes:
        values: those that both have in the same form, and that differ.
        unlike: lines about entries of one file alone, or of another form in each.
    """

    values: Sequence[Value]
    unlike: Sequence[str]

    @abstractmethod
    def with_base(self, entries: Collection[str], folder: Path) -> Path:
        """Writes the later file with some values of the earlier one.

        Args:
            entries: names of the values.
            folder: for the file.
        """

    @property
    def layers(self) -> dict[str, list[Value]]:
        """Values by layer, the one that changed most first."""
        found: dict[str, list[Value]] = {}
        for each in sorted(self.values, key=lambda value: -value.size):
            found.setdefault(each.layer, []).append(each)
        return found


def exchange(base: Artifact, head: Artifact) -> Exchange | str:
    """Both files opened; or why their values are not compared, in words.

    Raises:
        QuantbenchError: if one cannot be read.
    """
    suffixes = {each.path.suffix.lower() for each in (base, head)}
    if len(suffixes) > 1:
        return f"one file is {base.path.suffix} and the other {head.path.suffix}"
    (suffix,) = suffixes
    if suffix not in FORMATS:
        return f"values within {suffix or 'such'} files cannot be exchanged"
    module, _, name = FORMATS[suffix].partition(":")
    made: Exchange = getattr(importlib.import_module(module), name)(base.path, head.path)
    return made


def unlike(base: Mapping[str, Any], head: Mapping[str, Any]) -> list[str]:
    """Lines about entries of one file alone, and about those of another form in each.

    Args:
        base: name → form, of the earlier file.
        head: the same of the later one.
    """
    gone = [f"{name}: gone" for name in base if name not in head]
    new = [f"{name}: new" for name in head if name not in base]
    other = [f"{name}: {base[name]} → {form}" for name, form in head.items() if name in base and base[name] != form]
    return [*other, *gone, *new]
