"""A mistake of inductor's about int8 convolutions of one channel and an open batch, undone while it compiles.

The strides of a tensor of one channel say channels first and channels last alike. For batches of any size inductor
expects the output of such a convolution as channels first, which is what oneDNN's floating-point kernel gives; the int8
kernel gives channels last always, and its values would be read in another order.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Classes of int8 convolutions in inductor's representation.
INT8 = "QConv"


@contextmanager
def int8_convolutions_in_channels_last() -> Iterator[None]:
    """Lets inductor expect the output of every int8 convolution where the kernel puts it."""
    module: Any = importlib.import_module("torch._inductor.mkldnn_ir")
    prepare, is_contiguous = module._prepare_convolution_fusion_create, module.is_contiguous_storage_and_layout

    def prepared(cls: type, *args: Any, **kwargs: Any) -> Any:
        if not cls.__name__.startswith(INT8):
            return prepare(cls, *args, **kwargs)
        module.is_contiguous_storage_and_layout = lambda _: False
        try:
            return prepare(cls, *args, **kwargs)
        finally:
            module.is_contiguous_storage_and_layout = is_contiguous

    module._prepare_convolution_fusion_create = prepared
    try:
        yield
    finally:
        module._prepare_convolution_fusion_create = prepare
