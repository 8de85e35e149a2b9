"""Int8 residual networks against fp32, and torchvision's beside ours: `python benchmarks/quantized_resnets.py`.

One run, one thread (or `--threads`): the forwards of `resnet20` and `resnet18` on 32×32 images, and of torchvision's
quantizable ResNet-18 and ours with its stem and the same weights on 224×224 images, in interleaved rounds of random
order. Weights are random, since they do not change what is computed. About 3 minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from interleaved import interleaved
from median_bootstrap import median_ratio_interval
from torch import nn

from quantbench.arrays import INPUT
from quantbench.backends.fp32_forms import predictors
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.measure.allocator import keep_freed_memory
from quantbench.measure.environment import environment
from quantbench.measure.fastest_form import fastest_form
from quantbench.measure.latency import quiet_process
from quantbench.registry import MODELS, RECIPES

# Name → model, its parameters, batch and side of the images.
NETWORKS: dict[str, tuple[str, dict[str, Any], int, int]] = {
    "resnet20, batch 32": ("resnet20", {}, 32, 32),
    "resnet20, batch 1": ("resnet20", {}, 1, 32),
    "resnet18, batch 8": ("resnet18", {}, 8, 32),
    "resnet18, batch 1": ("resnet18", {}, 1, 32),
}
STEM = {"stem": "imagenet", "n_classes": 1000}
BATCH, SIDE = 1, 224


def int8(model: nn.Module, batch: torch.Tensor) -> nn.Module:
    """Quantized by the processor's default qconfig."""
    recipe = RECIPES.create("static_int8_histogram", "here", {})
    return EagerBackend(default_engine()).quantize_module(model, recipe, lambda: [batch]).model


def forward(model: nn.Module, batch: torch.Tensor) -> None:
    """Runs it; what it gives is not looked at."""
    model(batch)


def row(name: str, before: np.ndarray, after: np.ndarray) -> str:
    """Median times in ms and the median of paired ratios."""
    ratios = before / after
    interval = median_ratio_interval(ratios)
    times = " | ".join(f"{1000 * float(np.median(each)):.2f}" for each in (before, after))
    return f"| {name} | {times} | {float(np.median(ratios)):.3f} [{interval.low:.3f}, {interval.high:.3f}] |"


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    here = environment()
    print(
        f"{here.processor} ({', '.join(here.isa)}), torch {here.versions['torch']}, {options.threads} thread(s), "
        f"{options.rounds} rounds\n"
    )
    print("| network | fp32, ms | int8, ms | fp32 / int8 [99 %] |\n| --- | ---: | ---: | ---: |", flush=True)
    for name, (model_name, params, n, side) in NETWORKS.items():
        batch = torch.randn(n, 3, side, side)
        model = MODELS.create(model_name, "here", params).eval()
        inputs = {INPUT: batch.numpy()}
        forms = predictors(model, options.threads)
        form, fastest = fastest_form(forms, inputs, options.threads)
        quantized = int8(model, batch)
        forwards: dict[str, Callable[[], object]] = {
            "fp32": partial(forward, model, batch),
            "fastest": partial(fastest, fastest.prepared(inputs)),
            "int8": partial(forward, quantized, batch),
        }
        with quiet_process(options.threads):
            times = interleaved(forwards, options.rounds)
        print(row(name, times["fp32"], times["int8"]))
        print(row(f"{name}, against the fastest fp32 ({form})", times["fastest"], times["int8"]), flush=True)
    batch = torch.randn(BATCH, 3, SIDE, SIDE)
    ours = MODELS.create("resnet18", "here", STEM).eval()
    theirs = MODELS.create("torchvision_resnet18", "here", {"n_classes": STEM["n_classes"]}).eval()
    theirs.load_state_dict(ours.state_dict())
    forwards = {
        "theirs": partial(forward, int8(theirs, batch), batch),
        "ours": partial(forward, int8(ours, batch), batch),
    }
    with quiet_process(options.threads):
        times = interleaved(forwards, options.rounds)
    print(f"\n| int8 ResNet-18, {SIDE}×{SIDE}, batch {BATCH} | torchvision's, ms | ours, ms | ratio [99 %] |")
    print("| --- | ---: | ---: | ---: |")
    print(row("same weights", times["theirs"], times["ours"]))


if __name__ == "__main__":
    main()
