"""Task `nll`: the mean negative log-likelihood of tokens or classes."""

from __future__ import annotations

from quantbench.tasks.interface import Floats
from quantbench.tasks.tokens import Tokens


class NegativeLogLikelihood(Tokens):
    """Token models and classifiers: −log p(target), nats, over all places whose target is not −100.

    Example:
        >>> import numpy as np
        >>> task, logits = NegativeLogLikelihood(), {"output": np.zeros((1, 3, 4))}
        >>> round(task.figure(task.statistics(logits, np.array([[0, 3, -100]]))), 3)
        1.386
    """

    name = "nll"
    unit = "nats"
    range = (0.0, None)

    def of_sums(self, sums: Floats) -> Floats:
        """See `Summed.of_sums`."""
        found: Floats = sums[..., 0] / sums[..., 1]
        return found
