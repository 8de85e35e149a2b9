"""The fastest form of a model at hand: what a quantized one must beat to be worth it."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from quantbench.arrays import Inputs
from quantbench.backends.interface import Predictor
from quantbench.measure.latency import quiet_process

# Enough to tell forms apart that differ by several per cent; which of two close ones is taken matters little.
TRIAL_ROUNDS = 10


def fastest_form(forms: Mapping[str, Predictor], inputs: Inputs, threads: int) -> tuple[str, Predictor]:
    """The form with the smallest median forward time on a batch, measured in interleaved rounds.

    Args:
        forms: predictors that compute the same, by name, loaded with that many threads.
        inputs: the batch, which each is given in the layout that it prefers.
        threads: intra-operator threads, as in the measurement to come.
    """
    times: dict[str, list[float]] = {name: [] for name in forms}
    given = {name: form.prepared(inputs) for name, form in forms.items()}
    with quiet_process(threads):
        for _ in range(TRIAL_ROUNDS):
            for name, form in forms.items():
                started = time.perf_counter()
                form(given[name])
                times[name].append(time.perf_counter() - started)
    # The first rounds settle allocators and caches.
    name = min(forms, key=lambda name: float(np.median(times[name][TRIAL_ROUNDS // 3 :])))
    return name, forms[name]
