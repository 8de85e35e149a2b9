"""How long the embedded speech takes to make, how much room it takes, and whether it is the same bytes every time.

`python benchmarks/make_speech.py` (under a minute): each attempt in a fresh process, with an empty cache of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ATTEMPTS = 2
TARGET_S, TARGET_BYTES = 90.0, 300_000_000
MAKE = """
from quantbench.config import DataConfig
from quantbench.data.opening import open_splits
splits = open_splits(DataConfig(name="spoken_words"), "data")
print(*(split.sha256 for split in (splits.train, splits.calibration, splits.test)))
"""


def main() -> None:
    """Prints one line per attempt, then how they compare with the targets."""
    made = []
    for attempt in range(ATTEMPTS):
        with tempfile.TemporaryDirectory() as cache:
            started = time.monotonic()
            done = subprocess.run(  # noqa: S603 — our own program
                [sys.executable, "-c", MAKE],
                env={**os.environ, "QUANTBENCH_CACHE": cache},
                capture_output=True,
                text=True,
                check=False,
            )
            wall_s = time.monotonic() - started
            if done.returncode:
                sys.exit(done.stderr)
            size = sum(path.stat().st_size for path in Path(cache).rglob("*") if path.is_file())
        made.append((wall_s, size, done.stdout.split()))
        digests = ", ".join(f"{sha256[:16]}…" for sha256 in made[-1][2])
        print(f"attempt {attempt + 1}: {wall_s:.1f} s, {size:,} bytes; train, calibration, test: {digests}")
    slowest, largest = max(wall_s for wall_s, _, _ in made), max(size for _, size, _ in made)
    same = all(digests == made[0][2] for _, _, digests in made)
    print(f"under {TARGET_S:.0f} s: {slowest < TARGET_S}; under {TARGET_BYTES:,} bytes: {largest < TARGET_BYTES}")
    print(f"the same bytes every time: {same}")
    sys.exit(0 if same and slowest < TARGET_S and largest < TARGET_BYTES else 1)


if __name__ == "__main__":
    main()
