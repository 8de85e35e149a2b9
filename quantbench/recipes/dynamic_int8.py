"""Dynamic quantization: a control for convolutional models, whose linear layers are a small part."""

from __future__ import annotations

from quantbench.recipes.spec import DynamicInt8


def dynamic_int8() -> DynamicInt8:
    """Only `nn.Linear`: weights once, activations on the fly, no calibration.

    Example:
        >>> dynamic_int8()
        DynamicInt8(layers=('Linear',))
    """
    return DynamicInt8(layers=("Linear",))
