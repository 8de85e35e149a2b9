"""Models taken some steps of the way to int8, for tests of the steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.ao import quantization as ao

from quantbench.backends.torch_ao.eager import default_engine
from quantbench.backends.torch_ao.qconfigs import static_qconfig, training_qconfig
from quantbench.backends.torch_ao.steps import calibrate, fuse, prepare, prepare_qat
from quantbench.errors import QuantizationError
from quantbench.registry import RECIPES

HERE = default_engine()
QCONFIG = static_qconfig(RECIPES.create("static_int8_per_channel", "here", {}), HERE)
QAT_QCONFIG = training_qconfig(RECIPES.create("qat_int8", "here", {}), HERE)
SAMPLES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def calibrated(model: nn.Module) -> nn.Module:
    """A model in eval mode, fused, prepared and calibrated."""
    prepared = prepare(fuse(model), QCONFIG)
    assert calibrate(prepared, [SAMPLES[:5], SAMPLES[5:]]) == 8
    return prepared


def trained(model: nn.Module) -> nn.Module:
    """A model fused for training, prepared and shown samples until batch norm's statistics are theirs; in eval mode."""
    prepared = prepare_qat(fuse(model.train(), is_qat=True), QAT_QCONFIG)
    for _ in range(60):
        prepared(SAMPLES)
    return prepared.eval().apply(ao.disable_observer)


def line_of(call: Callable[..., Any], *args: Any) -> str:
    """What a step refuses with, which is one line."""
    with pytest.raises(QuantizationError) as refused:
        call(*args)
    assert "\n" not in str(refused.value)
    return str(refused.value)
