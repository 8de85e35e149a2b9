"""Jobs timed in rounds, each round in a random order of its own: what disturbs one disturbs its neighbours too."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray


def interleaved(jobs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, NDArray[np.float64]]:
    """Seconds of each job, `[rounds]`, aligned by round; each is run once beforehand, to warm up."""
    order = random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()
    for _ in range(rounds):
        names = list(jobs)
        order.shuffle(names)
        for name in names:
            started = time.perf_counter()
            jobs[name]()
            times[name].append(time.perf_counter() - started)
    return {name: np.array(values) for name, values in times.items()}
