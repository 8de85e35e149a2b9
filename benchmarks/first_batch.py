"""How much slower an int8 model is for a batch that is not its first: `python benchmarks/first_batch.py` (1 minute).

oneDNN's int8 convolutions in torch keep what they prepare for the shape and the number of threads of their first call
(pytorch/pytorch#84470). Two copies of one checkpoint are timed on the same batch, in interleaved rounds of random
order: one that ran it first, and one that ran a larger batch before. An fp32 model is timed in the same way.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from interleaved import interleaved
from median_bootstrap import median_ratio_interval

from quantbench.arrays import INPUT, Inputs
from quantbench.backends.interface import Predictor
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.experiment.run import Run, Settings
from quantbench.experiment.runs import Runs
from quantbench.measure.environment import environment
from quantbench.measure.latency import quiet_process

EXPERIMENTS = (
    "cifar_cnn_shapes/ptq_static_int8_histogram",
    "m5_spoken_words/ptq_static",
    "resnet20_shapes/ptq_static_int8",
    "resnet20_shapes/fp32_baseline",
    "vgg16_shapes/ptq_static_int8",
)
ROUNDS = 100


def pair(run: Run, batch: Inputs, before: Inputs) -> tuple[Predictor, Predictor]:
    """Two copies: the first has run `batch`, the second something else before."""
    threads = run.experiment.workload.config.latency.threads
    first, second = run.loaded(threads), run.loaded(threads)
    first(batch)
    second(before)
    return first, second


def main() -> None:
    """Prints the table."""
    runs = Runs(Settings(Path("golden")))
    here = environment()
    print(f"{here.processor} ({', '.join(here.isa)}), torch {here.versions['torch']}, {ROUNDS} rounds\n")
    print("| experiment | batch | first, ms | after another batch, ms | slower by [99 %] |")
    print("| --- | ---: | ---: | ---: | ---: |", flush=True)
    for id_ in EXPERIMENTS:
        run = runs.run(select(load_experiments(Path("configs")), id_)[0])
        batch = run.baseline.latency_inputs
        with quiet_process(run.experiment.workload.config.latency.threads):
            first, second = pair(run, batch, {name: np.concatenate([each, each]) for name, each in batch.items()})
            times = interleaved({"first": partial(first, batch), "second": partial(second, batch)}, ROUNDS)
        ratios = times["second"] / times["first"]
        interval = median_ratio_interval(ratios)
        low, middle, high = (100 * (each - 1) for each in (interval.low, float(np.median(ratios)), interval.high))
        ms = " | ".join(f"{1000 * float(np.median(times[name])):.2f}" for name in ("first", "second"))
        print(f"| {id_} | {len(batch[INPUT])} | {ms} | {middle:+.1f} % [{low:+.1f}, {high:+.1f}] |", flush=True)


if __name__ == "__main__":
    main()
