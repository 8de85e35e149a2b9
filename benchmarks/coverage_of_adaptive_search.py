"""How often the adaptive search's bets reject what is true, by simulation, and how many samples they take otherwise.

Run `python benchmarks/coverage_of_adaptive_search.py`; it prints a Markdown table in a quarter of an hour. A population
of samples changes as stated, and they are looked at in the order in which `SampledDrop` does. A claim that is exactly
true is wrong to reject at any time, on either side; the risk stated bounds the share of series in which that happens.
Beside it, after how many samples a drop that is `DISTANCE` smaller than the bound is told from it.
"""

from __future__ import annotations

import numpy as np

from quantbench.stats.draws import Floats
from quantbench.stats.sampled_drop import SampledDrop, ToDecide, log_odds

N, ACCURACY = 10_000, 0.9
RISK = 0.05
SERIES, SEED = 1_000, 0
# Samples by which the bound is above the true drop, where power is looked at, and between two looks.
DISTANCE, LOOK = 60, 128
# Samples lost and gained of `N`.
CHANGES = ((20, 20), (150, 100), (250, 150), (600, 100))
NOTHING = (np.zeros(0, np.int64), np.zeros(0))


def population(lost: int, gained: int, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Changes `[n]`, and the probabilities of a change from which they were drawn, likelier at narrow margins."""
    correct = np.arange(N) < ACCURACY * N
    rank = np.where(correct, np.arange(N) / (ACCURACY * N), (np.arange(N) - ACCURACY * N) / ((1 - ACCURACY) * N))
    weights = np.exp(-rank / 0.1) + 0.005
    changes = np.zeros(N)
    for group, count, sign in ((correct, lost, 1.0), (~correct, gained, -1.0)):
        members = np.flatnonzero(group)
        chances = weights[members] / weights[members].sum()
        changes[random.choice(members, count, replace=False, p=chances)] = sign
    share = np.where(correct, lost / weights[correct].sum(), gained / weights[~correct].sum())
    return changes, np.clip(share * weights, 0.002, 0.9)


def predicted(how: str, probabilities: Floats, random: np.random.Generator) -> Floats:
    """What is taken for the probabilities of a change."""
    if how == "good":
        return probabilities
    return random.permutation(probabilities) if how == "none" else probabilities[::-1].copy()


def one(lost: int, gained: int, how: str, random: np.random.Generator) -> tuple[bool, bool, int]:
    """Whether a series ever rejects each of two true claims, and after how many samples it rejects a false one."""
    changes, probabilities = population(lost, gained, random)
    correct, drop = np.arange(N) < ACCURACY * N, lost - gained
    needed = log_odds(RISK)
    sample = SampledDrop(correct, predicted(how, probabilities, random), NOTHING, ToDecide(DISTANCE, needed), random)
    told = 0
    while len(ids := sample.next(LOOK)):
        sample.add(changes[ids])
        if not told and sample.log_wealth_below(drop + DISTANCE) >= needed:
            told = sample.seen
    # The largest wealth of all times, also between looks.
    return sample.log_wealth_above(drop) >= needed, sample.log_wealth_below(drop) >= needed, told


def main() -> None:
    """Prints the table."""
    print(f"Risk {100 * RISK:g} %, n = {N:,}, {SERIES:,} series each; ± is the standard error of the simulation.\n")
    print(
        "| lost | gained | predictions | true 'at most' rejected, % | true 'at least' rejected, % | samples to tell |"
    )
    print("|---:|---:| --- |---:|---:|---:|")
    for lost, gained in CHANGES:
        for how in ("good", "none", "inverted"):
            random = np.random.default_rng([SEED, lost, gained])
            found = np.array([one(lost, gained, how, random) for _ in range(SERIES)])
            shares = [f"{100 * x:.1f} ± {100 * np.sqrt(x * (1 - x) / SERIES):.1f}" for x in found[:, :2].mean(0)]
            print(f"| {lost} | {gained} | {how} | {' | '.join(shares)} | {np.median(found[:, 2]):,.0f} |", flush=True)


if __name__ == "__main__":
    main()
