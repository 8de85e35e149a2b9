"""The accuracy that is lost by quantizing some layers of a model alone."""

from __future__ import annotations

from quantbench.quantities.accuracy_drop import AccuracyDrop


class LayerDrop(AccuracyDrop):
    """The drop of an experiment that quantizes some layers of its model, judged by the claim about sensitivity."""

    name = "layer_drop_pp"
    columns = ()
    needs_all = True


LAYER_DROP = LayerDrop()
