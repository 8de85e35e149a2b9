"""What it costs to find out beforehand whether a model can run in int8: `python benchmarks/rehearsal.py`.

One thread, two samples, untrained weights: the time does not depend on them. Half a minute.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from quantbench.backends.engines import default_engine
from quantbench.backends.torch_ao.dry_run import rehearse
from quantbench.backends.torch_ao.qconfigs import static_qconfig
from quantbench.measure.environment import environment
from quantbench.recipes.static_int8 import static_int8_per_channel
from quantbench.registry import MODELS

SHAPES = {"m5": (1, 8000)}
NAMES = ("m5", "cifar_cnn", "resnet20", "resnet18", "resnet50")
REPETITIONS = 5


def main() -> None:
    """Prints a table."""
    torch.set_num_threads(1)
    here = environment()
    qconfig = static_qconfig(static_int8_per_channel(), default_engine())
    print(f"{here.processor}, torch {here.versions['torch']}, median of {REPETITIONS}\n")
    print("| model | rehearsal, s |\n| --- | ---: |")
    for name in NAMES:
        model = MODELS.create(name, "here", {}).eval()
        samples = torch.randn(2, *SHAPES.get(name, (3, 32, 32)))
        seconds = []
        for _ in range(REPETITIONS):
            started = time.perf_counter()
            rehearse(model, samples, qconfig)
            seconds.append(time.perf_counter() - started)
        print(f"| {name} | {np.median(seconds):.2f} |", flush=True)


if __name__ == "__main__":
    main()
