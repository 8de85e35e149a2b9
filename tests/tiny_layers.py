"""The tiny model with layers that can be quantized one at a time, and the experiments that do so."""

from __future__ import annotations

import shutil

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


def add_workload_of_layers(project) -> None:
    """Gives a project a second workload, `layers`: this model with the weights of its own, and these experiments."""
    workload = project.config.read_text().partition("experiments:\n")[0]
    own = workload.replace("tiny_model:tiny_cnn", "tiny_layers:tiny_layers").replace(
        "baseline: tiny", "baseline: layers"
    )
    (project.configs / "layers.yaml").write_text(f"{own}experiments:\n{EXPERIMENTS}")
    for file in (project.golden / "baselines").glob("tiny.*"):
        shutil.copy(file, file.with_name(f"layers{file.suffix}"))


def check_tables(lines: list[str], title: str) -> None:
    """The title, its columns, two layers, their sum and the whole model, every figure with its interval."""
    at = lines.index(title)
    assert lines[at + 1].startswith("int8")
    assert "PTQ drop pp [95 %]" in lines[at + 1]
    rows = [line.split("  ")[0] for line in lines[at + 2 : at + 6]]
    assert sorted(rows[:2]) == ["classifier", "features"]
    assert rows[2:] == ["sum of the 2 layers", "all layers"]
    assert all("[" in lines[at + i] and "]" in lines[at + i] for i in (2, 3, 5))
