"""The fastest form of a model at hand: what a quantized one must beat to be worth it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping

import numpy as np

from quantbench.arrays import Inputs, Outputs
from quantbench.backends.interface import Predictor
from quantbench.errors import ForeignError, FormLeftOutWarning
from quantbench.foreign import calling, cause_of
from quantbench.measure.latency import quiet_process

# Enough to tell forms apart that differ by several per cent; which of two close ones is taken matters little.
TRIAL_ROUNDS = 10
# Of the largest output: by more than this no rounding changes it.
SAME_OUTPUT = 1e-3


def fastest_form(forms: Mapping[str, Predictor], inputs: Inputs, threads: int) -> tuple[str, Predictor]:
    """The form with the smallest median forward time on a batch, measured in interleaved rounds.

    A form that does not run, or does not compute what the first one does, is left out with a warning.

    Args:
        forms: predictors by name, loaded with that many threads; the first is the model as it was written.
        inputs: the batch, which each is given in the layout that it prefers.
        threads: intra-operator threads, as in the measurement to come.
    """
    times: dict[str, list[float]] = {name: [] for name in forms}
    given = {name: form.prepared(inputs) for name, form in forms.items()}
    with quiet_process(threads):
        forms = _sound(forms, given)
        for _ in range(TRIAL_ROUNDS):
            for name, form in forms.items():
                started = time.perf_counter()
                form(given[name])
                times[name].append(time.perf_counter() - started)
    # The first rounds settle allocators and caches.
    name = min(forms, key=lambda name: float(np.median(times[name][TRIAL_ROUNDS // 3 :])))
    return name, forms[name]


def _sound(forms: Mapping[str, Predictor], given: Mapping[str, Inputs]) -> dict[str, Predictor]:
    """The forms that run and compute what the first one computes."""
    (name, first), *others = forms.items()
    expected, sound = first(given[name]), {name: first}
    for name, form in others:
        try:
            with calling("the forward"):
                found = form(given[name])
            reason = _deviation(expected, found)
        except ForeignError as error:  # Whatever a model raises in a layout that it was not written for.
            reason = f"it does not run ({cause_of(error if error.__cause__ is None else error.__cause__)})"
        if reason is None:
            sound[name] = form
        else:
            warnings.warn(f"the fp32 model's form '{name}' is not timed: {reason}", FormLeftOutWarning, stacklevel=3)
    return sound


def _deviation(expected: Outputs, found: Outputs) -> str | None:
    for name, array in expected.items():
        other = found.get(name)
        if other is None or other.shape != array.shape:
            return f"its output '{name}' is not as the model's"
        scale = np.abs(array).max(initial=0.0)
        if not np.allclose(other, array, rtol=0, atol=SAME_OUTPUT * scale + 1e-30, equal_nan=True):
            return f"its output '{name}' differs from the model's by more than rounding; look at its fuse_model"
    return None
