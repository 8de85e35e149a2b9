"""What tests of exported programs share: networks' inputs, calibration data, recipes."""

from __future__ import annotations

from typing import Any

import torch
from artifacts import named

from quantbench.backends.interface import BackendSpec, Calibration
from quantbench.recipes.spec import Recipe
from quantbench.registry import RECIPES

SPEC = BackendSpec("pt2e", {}, "here")
PICTURES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SOUNDS = torch.randn(8, 1, 64, generator=torch.Generator().manual_seed(0))


def calibration(batch: torch.Tensor) -> Calibration:
    """Of a batch, in parts of four."""
    return Calibration(lambda: [named(part) for part in batch.split(4)], named(batch[:2]))


def recipe(name: str, **params: Any) -> Recipe:
    """By its registered name."""
    return RECIPES.create(name, "here", params)
