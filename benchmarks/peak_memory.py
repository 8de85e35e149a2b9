"""How steady peak memory is, and what it would be if measured otherwise: `python benchmarks/peak_memory.py` (5 min).

Each figure is of a process of its own, forked from a server that has imported torch, as in the suite, or started anew.
As in the suite, the model was loaded, run and freed there before; or, `cold`, the first forward is what is measured.
"""

from __future__ import annotations

import gc
import multiprocessing
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from quantbench.arrays import Inputs
from quantbench.backends.interface import Artifact
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.measure import fresh, memory
from quantbench.measure.allocator import return_freed_memory
from quantbench.measure.residency import reset_peak, resident, resident_after_trim

IDS = ("cifar_cnn_shapes/ptq_static_int8_per_channel", "m5_spoken_words/ptq_static")
PROCESSES = {"forked": 20, "started anew": 10}
MIB = 1 << 20


def cold(artifact: Artifact, inputs: Inputs, threads: int) -> int:
    """Peak of the first forward of a process, in bytes above what was resident before its model was loaded."""
    return_freed_memory()
    gc.freeze()
    before = resident_after_trim()
    reset_peak()
    predictor = artifact.backend.create().load(artifact, threads)
    resident_after_trim()
    reset_peak()
    predictor(inputs)
    return resident().peak - before.now


def warm(artifact: Artifact, inputs: Inputs, threads: int) -> int:
    """As the suite measures it."""
    return memory.run(artifact, inputs, threads).forward_bytes


def figures(artifact: Artifact, inputs: Inputs, threads: int, kind: str) -> list[list[int]]:
    """Ascending bytes of as many processes, warm and cold."""
    context = fresh.fresh_context() if kind == "forked" else multiprocessing.get_context("spawn")
    found = []
    for work in (warm, cold):
        each = []
        for _ in range(PROCESSES[kind]):
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                each.append(pool.submit(work, artifact, inputs, threads).result())
        found.append(sorted(each))
    return found


def main() -> None:
    """Prints a row per model and kind of process."""
    print(f"Peaks in MiB: median (smallest to largest); torch {torch.__version__}, {sys.platform}\n")
    print("| model | process | n each | as measured | cold |")
    print("| --- | --- | ---: | ---: | ---: |", flush=True)
    runs = Runs(Settings(Path("golden")))
    for id_ in IDS:
        run = runs.run(select(load_experiments(Path("configs")), id_)[0])
        workload, inputs = run.opened.workload, run.baseline.latency_inputs
        threads = workload.config.latency.threads
        for label, artifact in ((f"{workload.name} fp32", run.baseline.artifact), (id_, run.artifact)):
            for kind, n in PROCESSES.items():
                cells = [
                    f"{statistics.median_low(each) / MIB:.2f} ({each[0] / MIB:.2f} to {each[-1] / MIB:.2f})"
                    for each in figures(artifact, inputs, threads, kind)
                ]
                print(f"| {label} | {kind} | {n} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
