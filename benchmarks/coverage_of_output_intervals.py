"""Coverage of intervals of unlabelled errors: `python benchmarks/coverage_of_output_intervals.py` (some minutes).

Test sets are drawn from distributions whose SQNR and mean are known, and each interval either holds the true value or
does not: studentized bootstrap as the gates use it, beside the percentile bootstrap and the normal interval. At 95 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from quantbench.stats.bootstrap import log_ratio_interval, mean_interval
from quantbench.stats.proportions import wilson_interval

Floats = NDArray[np.float64]
LEVEL, PERCENTILE_REPLICATES = 0.95, 999
SIZES = (200, 1_000, 10_000)
# Name → draws of the error's power per sample, and its mean.
ERRORS: dict[str, tuple[Callable[[np.random.Generator, int], Floats], float]] = {
    "light: gamma, shape 4": (lambda random, n: random.gamma(4.0, 0.25, n), 1.0),
    "exponential": (lambda random, n: random.exponential(1.0, n), 1.0),
    "heavy: lognormal, σ = 1": (lambda random, n: random.lognormal(-0.5, 1.0, n), 1.0),
    "heavier: lognormal, σ = 1.5": (lambda random, n: random.lognormal(-1.125, 1.5, n), 1.0),
    "10 % changed, 50 times as much": (lambda random, n: _mixture(random, n, 0.10), 0.9 + 0.10 * 50),
    "1 % changed, 50 times as much": (lambda random, n: _mixture(random, n, 0.01), 0.99 + 0.01 * 50),
}


def _mixture(random: np.random.Generator, n: int, share: float) -> Floats:
    scale = np.where(random.random(n) < share, 50.0, 1.0)
    return scale * random.exponential(1.0, n)


def percentile(values: Floats, random: np.random.Generator) -> tuple[float, float]:
    """Percentile bootstrap of the mean."""
    means = [values[random.integers(0, len(values), len(values))].mean() for _ in range(PERCENTILE_REPLICATES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def normal(values: Floats) -> tuple[float, float]:
    """Mean and 1.96 standard errors."""
    half = 1.959964 * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def covered(name: str, n: int, trials: int) -> list[int]:
    """How often each interval held the truth: SQNR, then the mean by three intervals."""
    draw, mean = ERRORS[name]
    random, hits = np.random.default_rng(n), [0, 0, 0, 0]
    for trial in range(trials):
        signal, noise = random.gamma(8.0, 125.0, n), draw(random, n)
        ratio, own = log_ratio_interval(signal, noise, LEVEL, seed=trial), mean_interval(noise, LEVEL, seed=trial)
        limits = ((own.low, own.high), percentile(noise, random), normal(noise))
        hits[0] += ratio.low <= np.log(1_000.0 / mean) <= ratio.high
        for at, (low, high) in enumerate(limits, 1):
            hits[at] += low <= mean <= high
    return hits


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1_000, help="of each cell; a fifth of it for the largest n")
    options = parser.parse_args()
    print("| errors | n | trials | SQNR, studentized | mean, studentized | mean, percentile | mean, normal |")
    print("| --- |" + " ---: |" * 6)
    for name in ERRORS:
        for n in SIZES:
            trials = options.trials if n < max(SIZES) else options.trials // 5
            shares = []
            for hits in covered(name, n, trials):
                interval = wilson_interval(hits, trials)
                shares.append(f"{100 * hits / trials:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]")
            print(f"| {name} | {n:,} | {trials:,} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
