"""What scales of powers of two cost, and how fine they have to be: `python benchmarks/power_of_two_scales.py NAME …`.

Quantizes the baseline of each named workload after training: by the processor's default and with power-of-two scales,
for several `max_shift`. Accuracy is over the whole test set, the drop is from fp32 on the same samples, and the last
column is the share of output channels whose weights have the finest scale that is allowed. A minute for each workload.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch
from torch import nn

from quantbench.arrays import INPUT
from quantbench.backends.module import ModulePredictor
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.config.selection import find_workload
from quantbench.experiment.workload import OpenWorkload
from quantbench.measure.evaluation import Evaluation, evaluate
from quantbench.registry import RECIPES
from quantbench.stats.paired import PairedOutcomes, tango_interval

ROOT = Path(__file__).parents[1]
MAX_SHIFTS = (6, 7, 8, 9, 10, 12, 16)
BATCH, N = 64, 256


def clamped(model: nn.Module, max_shift: int) -> float:
    """The share of weight scales of a converted model that are as fine as is allowed."""
    found: list[float] = []
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if callable(weight):
            found += weight().q_per_channel_scales().tolist()
    return sum(scale <= 2.0**-max_shift for scale in found) / len(found)


def row(name: str, before: Evaluation, after: Evaluation, clamp: str) -> str:
    """Accuracy, drop with its interval, clamp."""
    outcomes = PairedOutcomes.from_correct(before.correct, after.correct)
    interval = tango_interval(outcomes)
    drop = f"{100 * outcomes.drop:+.2f} [{100 * interval.low:+.2f}, {100 * interval.high:+.2f}]"
    return f"| {name} | {100 * after.accuracy:.2f} | {drop} | {clamp} |"


def main() -> None:
    """Prints a table for each workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="+", metavar="WORKLOAD", help="such as cifar_cnn_cifar10")
    backend = EagerBackend(default_engine())
    for name in parser.parse_args().workloads:
        opened = OpenWorkload(find_workload(name, ROOT / "configs"), ROOT / "golden")
        model, test = opened.load_baseline(), opened.splits.test
        before = evaluate(ModulePredictor(model), test)
        print(f"\n{name}, n = {len(test):,}, {N} calibration samples, engine {backend.engine}\n")
        print("| scales | accuracy, % | drop from fp32, pp [95 %] | channels at the finest scale |")
        print("| --- | ---: | ---: | ---: |")
        print(row("fp32", before, before, "–"), flush=True)
        for max_shift in (None, *MAX_SHIFTS):
            params = {"calibration_n": N} | ({} if max_shift is None else {"max_shift": max_shift})
            recipe = RECIPES.create("static_int8" if max_shift is None else "static_int8_pow2", "here", params)
            calibration = [torch.from_numpy(each[INPUT]) for each in opened.splits.calibration.batches(BATCH, limit=N)]
            int8 = backend.quantize_module(model, recipe, partial(iter, calibration)).model
            after = evaluate(ModulePredictor(int8), test)
            clamp = "–" if max_shift is None else f"{100 * clamped(int8, max_shift):.0f} %"
            label = "any" if max_shift is None else f"2^-n, n ≤ {max_shift}"
            print(row(label, before, after, clamp), flush=True)


if __name__ == "__main__":
    main()
