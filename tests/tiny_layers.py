"""The tiny model with layers that can be quantized one at a time, and the experiments that do so."""

from __future__ import annotations

import torch
from tiny_model import TinyCNN
from torch import nn

EXPERIMENTS = """\
  ptq_static:
    recipe: {name: static_int8_histogram, calibration_n: 32}
    gates: {accuracy_drop_pp: 20.0}
  ptq_features:
    recipe: {name: static_int8_layers, layers: [features], calibration_n: 32}
    gates: {layer_drop_pp: 20.0}
  ptq_classifier:
    recipe: {name: static_int8_layers, layers: [classifier], calibration_n: 32}
    gates: {layer_drop_pp: 20.0}
"""


class TinyLayers(TinyCNN):
    """The same weights; `between` stands ready to become a stub."""

    layer_groups = {"features": ("conv", "bn", "relu", "pool"), "classifier": ("fc",)}  # noqa: RUF012 — read only
    boundaries = ("quant", "between", "dequant")

    def __init__(self, n_classes: int, channels: int) -> None:
        super().__init__(n_classes, channels)
        self.between = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to logits `[n, n_classes]`."""
        x = self.pool(self.relu(self.bn(self.conv(self.quant(x)))))
        logits: torch.Tensor = self.dequant(self.fc(self.between(x).flatten(1)))
        return logits


def tiny_layers(n_classes: int = 3, channels: int = 8) -> TinyLayers:
    """A factory as a user would write it."""
    return TinyLayers(n_classes, channels)


def add_layer_experiments(project) -> None:
    """Gives a project's only workload this model and these experiments beside its own."""
    project.edit("tiny_model:tiny_cnn", "tiny_layers:tiny_layers")
    project.config.write_text(project.config.read_text() + EXPERIMENTS)
