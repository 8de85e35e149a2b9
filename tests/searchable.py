"""A chain of layers small enough to train in seconds, and the experiments whose layers are searched."""

from __future__ import annotations

import torch
from torch import nn

from quantbench.models.quantizable import DeQuantStub, QuantStub, fuse

CONFIG = """\
workload:
  model: {name: "searchable:tiny_chain"}
  data: {name: image_folder, root: images, size: 8, calibration_pool: 60, search_pool: 80}
  baseline: chain
  training: {epochs: 6, lr: 0.05, batch_size: 16, augment: []}
  latency: {batch_size: 4, runtimes: [], rounds: 12}
  regression: {accuracy_pp: 3.0, speedup: 0.9}
experiments:
  fp32_baseline:
    recipe: {name: fp32_baseline}
  ptq_dynamic_int8:
    recipe: {name: dynamic_int8}
  ptq_static_int8:
    recipe: {name: static_int8, calibration_n: 32}
  low_bit_4:
    recipe: {name: low_bit, epochs: 3, frozen_epochs: 1}
    backend: low_bit
    gates: {search_drop_pp: 30.0}
    search: {low: 2, epsilon_pp: 10.0}
"""
# What the accepted drop of the search is, in the file.
EPSILON = "epsilon_pp: 10.0"


class TinyChain(nn.Module):
    """Four Conv-BN-ReLU triples, global max pooling and a linear head on `[n, 3, 8, 8]`."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.quant = QuantStub()
        for i, (inputs, outputs) in enumerate(((3, 6), (6, 6), (6, 8), (8, 8))):
            self.add_module(f"conv{i}", nn.Conv2d(inputs, outputs, 3, padding=1, bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm2d(outputs))
            self.add_module(f"relu{i}", nn.ReLU())
        self.pool = nn.MaxPool2d(8)
        self.fc = nn.Linear(8, n_classes)
        self.dequant = DeQuantStub()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to logits `[n, n_classes]`."""
        x = self.quant(x)
        for i in range(4):
            for part in ("conv", "bn", "relu"):
                x = getattr(self, f"{part}{i}")(x)
        logits: torch.Tensor = self.dequant(self.fc(self.pool(x).flatten(1)))
        return logits

    def fuse_model(self, is_qat: bool = False) -> None:
        """Fuses the triples."""
        fuse(self, [[f"conv{i}", f"bn{i}", f"relu{i}"] for i in range(4)], is_qat)


def tiny_chain(n_classes: int = 3) -> TinyChain:
    """A factory as a user would write it."""
    return TinyChain(n_classes)
