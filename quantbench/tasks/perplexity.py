"""Task `perplexity`: the number of tokens among which a model is as unsure as among equal ones."""

from __future__ import annotations

import numpy as np

from quantbench.tasks.interface import Floats
from quantbench.tasks.tokens import Tokens


class Perplexity(Tokens):
    """Token models: e to the mean negative log-likelihood over all places whose target is not −100.

    Example:
        >>> task, logits = Perplexity(), {"output": np.zeros((1, 3, 4))}
        >>> round(task.figure(task.statistics(logits, np.array([[0, 3, -100]]))), 3)
        4.0
    """

    name = "perplexity"
    unit = "perplexity"
    range = (1.0, None)

    def of_sums(self, sums: Floats) -> Floats:
        """See `Summed.of_sums`."""
        found: Floats = np.exp(sums[..., 0] / sums[..., 1])
        return found
