"""How much a speed-up moves from process to process: `python benchmarks/speed_between_processes.py` (about 3 minutes).

Each experiment is timed in fresh processes, one after the other, with all rounds that are planned. If the interval that
a process finds told everything, the medians of two processes would differ by little more than it is wide. Run again
hours later, it shows how much the machine itself moves them.
"""

from __future__ import annotations

import argparse
from math import log
from pathlib import Path

import numpy as np

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.measure.confirmation import time_in_fresh_process
from quantbench.measure.environment import environment
from quantbench.stats.speed import SpeedQuestions, Speedup

EXPERIMENTS = (
    "cifar_cnn_shapes/ptq_static_int8_per_channel",
    "cifar_cnn_shapes/ptq_static_int8_histogram",
    "m5_spoken_words/ptq_static_full_range",
    "m5_spoken_words/ptq_static",
)


def main() -> None:
    """Prints a row for each experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--experiments", nargs="*", default=EXPERIMENTS)
    options = parser.parse_args()
    experiments = load_experiments(Path("configs"))
    runs, here = Runs(Settings(Path("golden"))), environment()
    print(f"{here.processor} ({', '.join(here.isa)}), {here.cores} cores, torch {here.versions['torch']}\n")
    print("| experiment | medians of processes | their spread, % | half an interval within one, % |")
    print("| --- | --- | ---: | ---: |")
    for id_ in options.experiments:
        run = runs.run(select(experiments, id_)[0])
        found = []
        for seed in range(options.processes):
            timings = time_in_fresh_process(run.timing_job(SpeedQuestions(to_accept=True), seed))
            found.append(Speedup.of(timings.speedup(), run.looks))
        logs = np.log([each.estimate for each in found])
        within = np.median([log(each.interval.high / each.interval.low) / 2 for each in found])
        medians = " ".join(f"{each.estimate:.2f}" for each in found)
        print(f"| {id_} | {medians} | {100 * np.std(logs, ddof=1):.2f} | {100 * within:.2f} |", flush=True)


if __name__ == "__main__":
    main()
