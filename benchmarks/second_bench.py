"""How long `make bench` takes once environment and caches are there: `python benchmarks/second_bench.py`."""

from __future__ import annotations

import subprocess
import sys
import time

from quantbench.backends.pt2e.compiling import COMPILED, PACKAGE
from quantbench.files import cache_dir

TARGET_S = 240.0


def main() -> None:
    """Runs it twice; prints the second wall time, and how many programs each run compiled."""
    for attempt in ("first", "second"):
        started, before = time.monotonic(), _programs()
        done = subprocess.run(["make", "bench"], capture_output=True, text=True, check=False)  # noqa: S607
        wall_s = time.monotonic() - started
        compiled = len(_programs() - before)
        last = done.stdout.strip().splitlines()[-1]
        print(f"{attempt}: {wall_s:.1f} s, {compiled} program(s) compiled, exit status {done.returncode}: {last}")
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
    if compiled:
        sys.exit(f"the second run compiled {compiled} program(s), and should find them all in the cache")
    print(f"target: second under {TARGET_S:.0f} s: {'met' if wall_s < TARGET_S else 'missed'}")


def _programs() -> set[str]:
    """Compiled programs in the cache."""
    return {path.parent.name for path in (cache_dir() / COMPILED).glob(f"*/{PACKAGE}")}


if __name__ == "__main__":
    main()
