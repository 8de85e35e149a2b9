"""Task `top2`: a sample is right when its label is one of the two largest logits."""

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import Outputs
from quantbench.tasks.interface import Targets, Task


class Top2(Task):
    """Score 1 where the label is among the two largest logits, else 0."""

    unit = "top-2 accuracy"
    higher_is_better = True
    is_binary = True

    def scores(self, outputs: Outputs, targets: Targets) -> NDArray[np.float64]:
        """See `Task.scores`."""
        (logits,) = outputs.values()
        two = np.argsort(logits, axis=1)[:, -2:]
        return (two == targets[:, None]).any(axis=1).astype(np.float64)


TOP2 = Top2
