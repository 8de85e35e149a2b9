"""Multiply-accumulates of a forward, by the precision of the kernels that ran."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Coverage:
    """Multiply-accumulates of a forward, by the kernels that ran.

    Attributes:
        int8_macs: done by int8 kernels.
        float_macs: done by floating-point kernels.
        float_layers: multiply-accumulates of each layer that computed in floating point.
        int8_layers: the same of those that computed in int8.
        unknown_layers: the same of layers whose kernels do not tell what they compute in.
        uncounted: operators and layers that may have multiplied, and whose work is not in these figures.

    Example:
        >>> Coverage(int8_macs=900, float_macs=100, float_layers={"fc": 100}, int8_layers={"conv": 900}).int8_share
        0.9
    """

    int8_macs: int
    float_macs: int
    float_layers: dict[str, int]
    int8_layers: dict[str, int] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()
    unknown_layers: dict[str, int] = field(default_factory=dict)

    @property
    def macs(self) -> int:
        """All that were counted, in whatever precision."""
        return self.int8_macs + self.float_macs + sum(self.unknown_layers.values())

    @property
    def int8_share(self) -> float:
        """Share of the counted multiply-accumulates that surely ran as int8, 0..1; 0 where none was counted."""
        return self.int8_macs / self.macs if self.macs else 0.0

    def per_sample(self, n: int) -> Coverage:
        """The same of one of the `n` samples of its forward."""
        return replace(
            self,
            int8_macs=round(self.int8_macs / n),
            float_macs=round(self.float_macs / n),
            float_layers={name: round(macs / n) for name, macs in self.float_layers.items()},
            int8_layers={name: round(macs / n) for name, macs in self.int8_layers.items()},
            unknown_layers={name: round(macs / n) for name, macs in self.unknown_layers.items()},
        )
