"""How often each interval for a paired accuracy drop holds the true drop, by simulation.

Run `python benchmarks/coverage_of_drop_interval.py`; it prints a Markdown table in under a minute. An
interval wholly below the true drop is counted apart: by that error a gate passes a model that is too bad.
"""

from collections.abc import Callable
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from paired_tables import SAMPLE_COUNTS, Scenario, percent_of_trials, simulated_tables

from quantbench.stats.intervals import two_sided_z
from quantbench.stats.paired import PairedOutcomes, tango_interval

FLIP_RATES = (0.002, 0.01, 0.05)
TRUE_DROPS = (0.0, 0.002, 0.01)
LEVEL = 0.95
TRIALS = 20_000
RESAMPLES = 999
SEED = 0

# Limits and the true drop are multiples of 1 / n away from each other or equal; this only absorbs rounding.
ROUNDING = 1e-12

Limits = tuple[float, float]


def tango(outcomes: PairedOutcomes) -> Limits:
    interval = tango_interval(outcomes, LEVEL)
    return interval.low, interval.high


def wald(outcomes: PairedOutcomes) -> Limits:
    changed = (outcomes.lost + outcomes.gained) / outcomes.n
    half_width = two_sided_z(LEVEL) * sqrt((changed - outcomes.drop**2) / outcomes.n)
    return outcomes.drop - half_width, outcomes.drop + half_width


def percentile_bootstrap(outcomes: PairedOutcomes) -> Limits:
    n, lost, gained = outcomes.n, outcomes.lost, outcomes.gained
    # Seeded by the table, so that a table has one interval whatever the order of the scenarios.
    rng = np.random.default_rng([SEED, n, lost, gained])
    resampled = rng.multinomial(n, [lost / n, gained / n, (n - lost - gained) / n], size=RESAMPLES)
    drops = (resampled[:, 0] - resampled[:, 1]) / n
    low, high = np.quantile(drops, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0], method="weibull")
    return float(low), float(high)


METHODS: dict[str, Callable[[PairedOutcomes], Limits]] = {
    "Tango": tango,
    "Wald": wald,
    "bootstrap": percentile_bootstrap,
}


def scenarios() -> list[Scenario]:
    """Every combination in which the drop does not exceed the share of samples that change."""
    return [
        Scenario(n, flip_rate, drop)
        for drop in TRUE_DROPS
        for flip_rate in FLIP_RATES
        for n in SAMPLE_COUNTS
        if drop <= flip_rate
    ]


def table_row(scenario: Scenario, rng: np.random.Generator) -> list[str]:
    tables, shares = simulated_tables(scenario, TRIALS, rng)
    outcomes = [PairedOutcomes(scenario.n, int(lost), int(gained)) for lost, gained in tables]
    coverages, below = [], []
    for method in METHODS.values():
        limits: NDArray[np.float64] = np.array([method(outcome) for outcome in outcomes])
        too_low = limits[:, 1] < scenario.drop - ROUNDING
        too_high = limits[:, 0] > scenario.drop + ROUNDING
        coverages.append(percent_of_trials(1.0 - float(shares @ (too_low | too_high)), TRIALS))
        below.append(percent_of_trials(float(shares @ too_low), TRIALS))
    return [*scenario.columns, *coverages, *below]


def main() -> None:
    rng = np.random.default_rng(SEED)
    tail = 100.0 * (1.0 - LEVEL) / 2.0
    print(
        f"In percent of {TRIALS:,} trials ± simulation standard error; nominal are {100.0 * LEVEL:g} for the "
        f"coverage and {tail:g} for intervals wholly below the true drop. Bootstrap: {RESAMPLES} resamples.\n"
    )
    columns = ["drop (pp)", "flips (%)", "n", *METHODS, *(f"{name} below" for name in METHODS)]
    print(f"| {' | '.join(columns)} |")
    print("|" + "---:|" * len(columns))
    for scenario in scenarios():
        print(f"| {' | '.join(table_row(scenario, rng))} |", flush=True)


if __name__ == "__main__":
    main()
