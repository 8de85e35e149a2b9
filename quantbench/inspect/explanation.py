"""The keys of one checkpoint traced into another, and the conclusion from it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Explanation:
    """The keys of one checkpoint traced into another.

    Attributes:
        explained: a line per change that quantization makes.
        values: a line per key that kept its form and changed its values.
        unexplained: a line per difference that none of our rules accounts for.
        unchanged: keys equal in form and values.
        rounded: layers whose int8 weights are the float ones, folded and rounded: steps apart, at most ½.
        moved: layers whose weights are further apart than rounding explains.
        packed: low-bit layers, and the width of their weights' codes.
    """

    explained: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    unchanged: int = 0
    rounded: dict[str, float] = field(default_factory=dict)
    moved: dict[str, float] = field(default_factory=dict)
    packed: dict[str, int] = field(default_factory=dict)

    def conclusion(self) -> str:
        """Conclusion from the weights about the way from the first to the second; empty where nothing was quantized."""
        if self.packed:
            widths = "/".join(str(bits) for bits in sorted(set(self.packed.values())))
            return f"{len(self.packed)} layers hold packed codes of {widths} bits: low-bit training"
        if self.moved:
            furthest = max(self.moved, key=lambda layer: self.moved[layer])
            n = len(self.moved) + len(self.rounded)
            return (
                f"{len(self.moved)} of {n} int8 layers are further from the float weights than rounding explains (most "
                f"of all {furthest}, {self.moved[furthest]:.1f} steps): they were trained further, as by "
                "quantization-aware training, or come from another baseline"
            )
        if self.rounded:
            n = len(self.rounded)
            return f"{n} of {n} int8 layers are the float weights, rounded: post-training quantization"
        return ""
