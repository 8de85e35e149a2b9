"""All of torchvision's quantizable models through a rehearsal, and how far fusing moves them.

`python benchmarks/torchvision_models.py`: some minutes on one thread and 3 GB of memory. Untrained weights, two images
of 96 pixels, of 107 where the model needs them; batch norms have statistics of noise.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn
from torchvision.models import quantization

from quantbench.backends.engines import default_engine
from quantbench.backends.torch_ao.eager import EagerBackend
from quantbench.backends.torch_ao.steps import fuse
from quantbench.errors import QuantizationError
from quantbench.measure.environment import environment
from quantbench.recipes.qat_int8 import qat_int8
from quantbench.recipes.spec import Recipe
from quantbench.recipes.static_int8 import static_int8_histogram, static_int8_per_channel

NAMES = (
    "googlenet", "inception_v3", "mobilenet_v2", "mobilenet_v3_large", "resnet18", "resnet50", "resnext101_32x8d",
    "resnext101_64x4d", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0",
)  # fmt: skip
SIZES = {"inception_v3": 107}
PARAMS: dict[str, dict[str, Any]] = {
    name: {"aux_logits": False, "init_weights": False} for name in ("googlenet", "inception_v3")
}
RECIPES: dict[str, Recipe] = {
    "per channel": static_int8_per_channel(),
    "histogram": static_int8_histogram(),
    "QAT": qat_int8(),
}


def main() -> None:
    """Prints a table."""
    torch.set_num_threads(1)
    backend, here = EagerBackend(default_engine()), environment()
    print(f"{here.processor}, torch {here.versions['torch']}, seconds of a rehearsal\n")
    print(f"| model | fusing moves its output by | {' | '.join(RECIPES)} |\n| --- | ---: |{' ---: |' * len(RECIPES)}")
    for name in NAMES:
        model, samples = _made(name)
        with torch.inference_mode():
            before, after = model(samples), fuse(model)(samples)
        moved = float((before - after).abs().max() / before.abs().max())
        cells = [_rehearsed(backend, model, recipe, samples) for recipe in RECIPES.values()]
        print(f"| {name} | {moved:.1e} | {' | '.join(cells)} |", flush=True)


def _made(name: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model = getattr(quantization, name)(weights=None, quantize=False, num_classes=10, **PARAMS.get(name, {}))
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            # The mean over all batches, of which there is one.
            module.momentum = None
    size = SIZES.get(name, 96)
    samples = torch.randn(2, 3, size, size)
    with torch.no_grad():
        model.train()(torch.randn(4, 3, size, size))
    return model.eval(), samples


def _rehearsed(backend: EagerBackend, model: nn.Module, recipe: Recipe, samples: torch.Tensor) -> str:
    started = time.perf_counter()
    try:
        backend.rehearse_module(model, recipe, samples)
    except QuantizationError as error:
        return str(error)
    return f"{time.perf_counter() - started:.1f}"


if __name__ == "__main__":
    main()
