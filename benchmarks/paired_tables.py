"""What can come out of comparing two models on the same samples, and how likely each outcome is."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

SAMPLE_COUNTS = (500, 2_000, 10_000)

# Probability left out on each side of each count when outcomes are enumerated: far below the last digit shown.
NEGLIGIBLE = 1e-10

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A sample count, the share of samples that change, and the true drop, both as fractions."""

    n: int
    flip_rate: float
    drop: float

    @property
    def probabilities(self) -> tuple[float, float, float]:
        """Probability that a sample is lost, gained or unchanged."""
        lost, gained = (self.flip_rate + self.drop) / 2.0, (self.flip_rate - self.drop) / 2.0
        return lost, gained, 1.0 - self.flip_rate

    @property
    def expected_flips(self) -> float:
        """Number of samples expected to change."""
        return self.n * self.flip_rate

    @property
    def columns(self) -> list[str]:
        """Drop and flips in percent and n, as the first columns of a table."""
        return [f"{100.0 * self.drop:g}", f"{100.0 * self.flip_rate:g}", f"{self.n:,}"]


def simulated_tables(scenario: Scenario, trials: int, rng: np.random.Generator) -> tuple[Counts, Floats]:
    """Draws `trials` comparisons and puts equal ones together, so that each interval is computed once.

    Returns:
        Lost and gained samples, shape (tables, 2), and the share of the trials that gave each, shape (tables,).
    """
    draws = rng.multinomial(scenario.n, scenario.probabilities, size=trials)
    tables, counts = np.unique(draws[:, :2], axis=0, return_counts=True)
    return tables, counts / trials


def all_tables(scenario: Scenario) -> tuple[Counts, Floats]:
    """Every outcome that is not negligible, with its probability under the trinomial distribution.

    Returns:
        Lost and gained samples, shape (tables, 2), and the probability of each, shape (tables,).
    """
    n, (p_lost, p_gained, _) = scenario.n, scenario.probabilities
    lost, gained = np.meshgrid(_likely_counts(n, p_lost), _likely_counts(n, p_gained), indexing="ij")
    probability = binom.pmf(lost, n, p_lost) * binom.pmf(gained, n - lost, p_gained / (1.0 - p_lost))
    return np.stack([lost.ravel(), gained.ravel()], axis=1), probability.ravel()


def percent_of_trials(share: float, trials: int) -> str:
    """Writes a share of the trials and its simulation standard error, both in percent."""
    # Rounding can leave a sum of shares a hair outside of 0 and 1.
    share = min(max(share, 0.0), 1.0)
    return f"{100.0 * share:.2f} ± {100.0 * sqrt(share * (1.0 - share) / trials):.2f}"


def print_table(columns: list[str], rows: list[list[str]]) -> None:
    """Prints Markdown."""
    print(f"| {' | '.join(columns)} |")
    print("|" + "---:|" * len(columns))
    for row in rows:
        print(f"| {' | '.join(row)} |")


def _likely_counts(n: int, p: float) -> Counts:
    low, high = binom.ppf(NEGLIGIBLE, n, p), binom.isf(NEGLIGIBLE, n, p)
    return np.arange(max(int(low), 0), int(high) + 1, dtype=np.int64)
