"""Why memory is kept while timing: `python benchmarks/kept_memory.py` (about 2 minutes).

Measures the same speed-up six times in a process with the C library's default allocator and six times in one that keeps
freed memory. Two experiments with the same kernels take turns, so that what was allocated before differs.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

WORKLOAD = "cifar_cnn_shapes"
EXPERIMENTS = ("ptq_static_int8_per_channel", "ptq_static_int8_histogram")
REPEATS = 3


def measure(keep: bool) -> None:
    """Prints one row per measurement."""
    from quantbench.config.reading import load_experiments
    from quantbench.config.selection import select
    from quantbench.experiment import runs as opening
    from quantbench.experiment.run import Settings
    from quantbench.stats.speed import SpeedQuestions

    if not keep:
        # The suite's sessions always keep memory; here the C library is never told.
        vars(opening)["keep_freed_memory"] = lambda: False
    runs = opening.Runs(Settings(Path("golden")))
    for _ in range(REPEATS):
        for name in EXPERIMENTS:
            run = runs.run(select(load_experiments(Path("configs")), f"{WORKLOAD}/{name}")[0])
            run.time_forwards(SpeedQuestions())
            if (latency := run.latency) is not None:
                ms = (
                    1000 * float(np.median(times)) for times in (latency.fp32_s, latency.fp32_fastest_s, latency.int8_s)
                )
                low, high = latency.speedup_interval
                times = " | ".join(f"{value:.1f}" for value in ms)
                print(f"| {'kept' if keep else 'default'} | {times} | {latency.speedup:.2f} [{low:.2f}, {high:.2f}] |")


def main() -> None:
    """Runs both kinds of process and prints the table."""
    if len(sys.argv) > 1:
        measure(sys.argv[1] == "kept")
        return
    print("| freed memory | fp32, ms | fused fp32, ms | int8, ms | speed-up [99 %] |")
    print("| --- | ---: | ---: | ---: | ---: |", flush=True)
    for kind in ("default", "kept"):
        subprocess.run([sys.executable, __file__, kind], check=True)  # noqa: S603


if __name__ == "__main__":
    main()
