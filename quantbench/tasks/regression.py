"""Regression: outputs and targets of one shape."""

from __future__ import annotations

import numpy as np

from quantbench.arrays import Outputs
from quantbench.errors import EvaluationError
from quantbench.tasks.classes import only
from quantbench.tasks.interface import Floats, Targets, Task


class Regression(Task):
    """A task on real numbers: one output, `[n, …]`, of as many numbers for each sample as the targets have.

    Attributes:
        name: of the task, for messages.
    """

    name: str
    is_binary = False

    def check(self, outputs: Outputs, n: int, targets: Targets) -> None:
        """See `Task.check`."""
        found = only(outputs, f"the targets' shape [n{''.join(f', {each}' for each in targets.shape[1:])}]")
        if targets.dtype.kind not in "fiu":
            raise EvaluationError(f"the targets are {targets.dtype}; task {self.name} takes real numbers [n, …]")
        if np.asarray(found).dtype.kind not in "fiu":
            raise EvaluationError(f"the model gave {found.dtype}; task {self.name} takes real numbers [n, …]")
        if len(found) != n or int(np.prod(found.shape[1:])) != int(np.prod(targets.shape[1:])):
            raise EvaluationError(
                f"the model gave {list(found.shape)} for {n} samples, but the targets are {list(targets.shape)}; task "
                f"{self.name} takes an output for each number of a target"
            )


def differences(outputs: Outputs, targets: Targets) -> Floats:
    """Output less target, `[n, numbers of a sample]`, in float64."""
    n = len(targets)
    found = np.asarray(only(outputs), dtype=np.float64).reshape(n, -1)
    return found - np.asarray(targets, dtype=np.float64).reshape(n, -1)
