"""What the plugin costs a project that does not use it: `python benchmarks/collection_cost.py` (2 minutes).

Collects the tests of a project of 200 files, without workload files, with the plugin loaded and without it, in pairs of
random order, each in a fresh process. Prints the ratio of wall times and its distribution-free interval.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from quantbench.measure.environment import environment
from quantbench.stats.ratios import order_statistic_interval

FILES = 200
WITHOUT = ("-p", "no:quantbench.plugin")
TEXT = "import pytest\n\n" + "".join(
    f"@pytest.mark.parametrize('i', range(5))\ndef test_{n}(i):\n    assert i >= 0\n\n" for n in range(5)
)


def collect(folder: Path, *args: str) -> float:
    """Seconds that a fresh process takes to collect the project's tests."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-p", "no:cacheprovider", *args]
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603 — our own arguments
    return time.perf_counter() - started


def main() -> None:
    """Makes the project, times the pairs and prints the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20, help="pairs")
    n = parser.parse_args().n
    order = random.Random(0)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for i in range(FILES):
            (folder / f"test_{i}.py").write_text(TEXT)
        (folder / "pytest.ini").write_text("[pytest]\n")
        ways = {"with": (), "without": WITHOUT}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        # The first of each compiles the files, and is not counted.
        for i in range(n + 1):
            for name in order.sample(list(ways), k=2):
                took = collect(folder, *ways[name])
                if i:
                    seconds[name].append(took)
    ratios = np.array(seconds["with"]) / np.array(seconds["without"])
    interval = order_statistic_interval(ratios, 0.95)
    here = environment()
    with_s, without_s = (np.median(seconds[name]) for name in ("with", "without"))
    print(
        f"with / without the plugin: {np.median(ratios):.3f} [{interval.low:.3f}, {interval.high:.3f}] at 95 %, "
        f"n = {n} pairs; {with_s:.2f} s against {without_s:.2f} s for {FILES} files with {25 * FILES:,} tests; "
        f"{here.processor}, {here.cores} cores, Python {here.python}"
    )


if __name__ == "__main__":
    main()
