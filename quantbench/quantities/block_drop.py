"""The accuracy that is lost by quantizing some blocks of a model alone."""

from __future__ import annotations

from quantbench.quantities.accuracy_drop import AccuracyDrop


class BlockDrop(AccuracyDrop):
    """The drop of an experiment that quantizes some blocks of its model, judged by the claim about sensitivity."""

    name = "block_drop_pp"
    columns = ()


BLOCK_DROP = BlockDrop()
