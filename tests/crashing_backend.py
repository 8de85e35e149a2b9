"""A backend whose runtime crashes in native code, reached as `crashing_backend:crashing`."""

from __future__ import annotations

import os
import signal
from typing import ClassVar

from quantbench.backends.interface import Artifact, Backend, Description, Predictor
from quantbench.errors import EvaluationError


class CrashingBackend(Backend):
    """Dies of a segmentation fault when it loads, when it runs, or raises there."""

    name: ClassVar[str] = "crashing"

    def __init__(self, when: str) -> None:
        self.when = when

    def load(self, artifact: Artifact, threads: int) -> Predictor:
        """See `Backend.load`."""
        if self.when == "load":
            os.kill(os.getpid(), signal.SIGSEGV)
        return CrashingPredictor(self.when)

    def describe(self, artifact: Artifact) -> Description:
        """See `Backend.describe`."""
        return Description({}, {}, 0)


class CrashingPredictor(Predictor):
    """A forward that crashes, raises, or gives what it was given."""

    def __init__(self, when: str) -> None:
        self.when = when

    def __call__(self, inputs):
        """See `Predictor.__call__`."""
        if self.when == "run":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.when == "raise":
            raise EvaluationError("a.bin: takes two inputs")
        return dict(inputs)


def crashing(when: str = "load") -> CrashingBackend:
    """The backend."""
    return CrashingBackend(when)
