"""Causes in how a layer is computed, and what is left where nothing is wrong."""

from __future__ import annotations

import numpy as np

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


class NotKnown(Checker):
    """A module of somebody else's, of which only its results are seen."""

    kind, explains = "not_known", "what it rounds is not known"

    def check(self, facts: Facts) -> Cause | None:
        """See `Checker.check`."""
        if not is_unknown(facts):
            return None
        layer, weight = facts.layer, facts.layer.weight
        words = f"{layer.op} leaves {facts.test.local_db:.0f} dB of signal to noise; what it rounds is not known"
        if weight is not None and weight.reference is not None:
            reference = np.asarray(weight.reference, np.float64)
            apart = np.square(weight.candidate - reference).sum() / max(np.square(reference).sum(), 1e-30)
            words = f"its weights are {100 * apart**0.5:.3g} % apart from the reference's, and lie on no grid"
        return Cause(self.kind, 0.0, words, "leaving it in floating point")


def is_unknown(facts: Facts) -> bool:
    """Nothing tells what a layer rounds."""
    layer = facts.layer
    return layer.is_changed and layer.grid is None and (layer.weight is None or layer.weight.grid is None)


class Rounding(Checker):
    """Nothing is wrong: so few bits are too few for this layer."""

    kind, explains = "rounding", "so few bits are too few for it"

    def check(self, facts: Facts) -> Cause | None:
        """See `Checker.check`."""
        test = facts.test
        if is_unknown(facts):
            return None
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
