"""Design effect: the variance of a mean whose samples come in clusters, over that of independent samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def design_effect(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> float | None:
    """Variance of the mean of values in clusters over the one that it would have if they were independent.

    Args:
        values: `[n]`.
        clusters: `[n]`, the cluster of each.

    Returns:
        1 where clusters tell nothing; None where all values are the same, or there is one cluster.

    Source:
        Kish, Survey Sampling, 1965, section 8.2; the variance in clusters of unequal sizes by Cochran, Sampling
        Techniques, 3rd ed. 1977, equation 9A.1, of a ratio of sums.

    Example:
        >>> values, clusters = np.array([1.0, 1.0, 0.0, 0.0]), np.array([0, 0, 1, 1])
        >>> design_effect(values, clusters), design_effect(values, np.arange(4))
        (3.0, 1.0)
    """
    n, unit = len(values), np.unique(clusters, return_inverse=True)[1].reshape(-1)
    units, away = int(unit.max(initial=-1)) + 1, values - values.mean() if n else values
    alone = float((away**2).sum()) / (n * (n - 1)) if n > 1 else 0.0
    if alone == 0.0 or units < 2:
        return None
    sums = np.bincount(unit, weights=away, minlength=units)
    return float((sums**2).sum()) * units / (units - 1) / n**2 / alone
