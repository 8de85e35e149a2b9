"""What evaluation costs beyond the forward passes: `python benchmarks/evaluation_overhead.py` (about 2 minutes).

One pass of `evaluate` over 10,000 cached 32×32 images (memory map, normalization, loss, per-sample correctness,
finiteness check) against the bare forward passes over the same batches, normalized and in memory beforehand. Both are
timed in every round, in random order; the figure is the median of the paired ratios.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from interleaved import interleaved
from median_bootstrap import median_ratio_interval

from quantbench.arrays import Inputs
from quantbench.backends.interface import Predictor
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.measure.environment import environment
from quantbench.measure.evaluation import EVALUATION_BATCH, evaluate, inputs_of

ROUNDS = 15
TARGET = 1.05
MODELS = ("fp32_baseline", "ptq_static_int8_per_channel")


def main() -> None:
    """Prints one row per model."""
    here = environment()
    print(
        f"{here.processor} ({', '.join(here.isa)}), {torch.get_num_threads()} threads, torch {here.versions['torch']}\n"
    )
    print("| model | bare forwards, s | evaluate, s | ratio [99 %] | rounds | target |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    runs = Runs(Settings(Path("golden")))
    for name in MODELS:
        run = runs.run(select(load_experiments(Path("configs")), f"cifar_cnn_shapes/{name}")[0])
        split, predictor = run.opened.splits.test, run.loaded(torch.get_num_threads())
        batches = list(inputs_of(split, EVALUATION_BATCH))

        def bare(predictor: Predictor = predictor, batches: list[Inputs] = batches) -> None:
            for batch in batches:
                predictor(batch)

        def whole(predictor: Predictor = predictor) -> None:
            evaluate(predictor, split)  # noqa: B023 — called within this iteration

        times = interleaved({"bare": bare, "whole": whole}, ROUNDS)
        ratios = times["whole"] / times["bare"]
        interval = median_ratio_interval(ratios)
        print(
            f"| {name} | {np.median(times['bare']):.3f} | {np.median(times['whole']):.3f} | {np.median(ratios):.3f} "
            f"[{interval.low:.3f}, {interval.high:.3f}] | {ROUNDS} | ≤ {TARGET} |"
        )


if __name__ == "__main__":
    main()
