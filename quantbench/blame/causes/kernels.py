"""Causes in how a layer is computed, and what is left where nothing is wrong."""

from __future__ import annotations

from quantbench.blame.causes.interface import Cause, Checker, Facts

# Of a layer's results; a few may round otherwise without any fault.
LEAST_OFF = 1e-3


class Saturation(Checker):
    """Sums of products that a kernel of 16 bits cuts off.

    Source: pytorch/pytorch#103646, microsoft/onnxruntime#6004.
    """

    kind, explains = "saturation", "its kernel does not compute the sums of its products"

    def check(self, facts: Facts) -> Cause | None:
        """See `Checker.check`."""
        test = facts.test
        if not test.kernel or test.off <= LEAST_OFF * test.n:
            return None
        share = test.kernel / (test.kernel + test.local)
        part = 100 * test.off / test.n
        words = f"{part:.2g} % of its results are more than one code away from the sums of its products: its kernel "
        if facts.has_vnni:
            return self.found(share, f"{words}computes something else", "another version or another backend")
        return self.found(
            share,
            f"{words}saturates, since this processor has no VNNI",
            "recipe: static_int8_histogram, which keeps a bit free (reduce_range)",
        )


class Rounding(Checker):
    """Nothing is wrong: so few bits are too few for this layer."""

    kind, explains = "rounding", "so few bits are too few for it"

    def check(self, facts: Facts) -> Cause | None:
        """See `Checker.check`."""
        test = facts.test
        weights, results = test.share(test.weights), test.share(test.rounded - test.clipped)
        most = "its weights" if weights > results else "its results"
        words = (
            f"nothing is wrong with its ranges and scales; rounding {most} leaves {test.local_db:.0f} dB of signal to "
            "noise"
        )
        return Cause(self.kind, 0.0, words, self._advice(facts))

    def _advice(self, facts: Facts) -> str:
        from quantbench.recipes.lowering import unsupported
        from quantbench.recipes.static_int8 import static_int8_layers

        leaves = unsupported(facts.backend, static_int8_layers(("layer",))) is None if facts.backend else False
        if leaves:
            return "recipe: static_int8_layers with the other layers, which leaves it in fp32, or recipe: qat_int8"
        return "leaving it in floating point, or recipe: qat_int8"
