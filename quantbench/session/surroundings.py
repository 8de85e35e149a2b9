"""Surroundings that the code of one experiment may change, put back before the next one."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch

from quantbench.backends.process_settings import kept


@contextmanager
def restored() -> Iterator[None]:
    """Restores torch's settings, random states, the current folder and the environment.

    What the standard streams, warning filters, signal handlers and imported modules were changed to stays.
    """
    folder, environment = Path.cwd(), dict(os.environ)
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        with kept():
            yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        if os.environ != environment:
            os.environ.clear()
            os.environ.update(environment)
        # A folder that is gone cannot be gone back to.
        with suppress(OSError):
            os.chdir(folder)
