"""The tiny network, its recipe and its inputs, as tests of backend `low_bit` use them."""

from __future__ import annotations

from typing import Any

import torch
from tiny_model import tiny_cnn
from torch import nn

from quantbench.backends.low_bit import LowBitBackend
from quantbench.backends.torch_ao.eager import default_engine
from quantbench.recipes.spec import Recipe
from quantbench.registry import RECIPES

INPUTS = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
BACKEND = LowBitBackend(default_engine())


def recipe(name: str = "low_bit", **params: Any) -> Recipe:
    """A recipe as a config makes it."""
    return RECIPES.create(name, "here", params)


def model(made: nn.Module | None = None) -> nn.Module:
    """The tiny network, or the one given, as it is handed to a backend."""
    torch.manual_seed(0)
    return (made or tiny_cnn()).eval()
