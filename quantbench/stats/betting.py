"""Anytime-valid bounds on a total over a finite population, from items drawn without replacement with unequal chances.

Items `x_i` are in `[low_i, high_i]`, for example a sample that was right (0 or 1: lost or not) or wrong (−1 or 0). One
after the other is drawn, item `i` of those left with probability `q_i ∝ w_i`, and looked at. Whether the total exceeds
a bound is decided by betting against the claim that it does not. A wealth that starts at 1 and is a supermartingale
under the claim exceeds `1 / α` at any time with probability at most α (Ville's inequality). So one may look after every
item and stop when one likes.

Source:
    Shekhar, Xu, Lipton, Liang & Ramdas, Risk-limiting financial audits via weighted sampling without replacement, UAI
    2023, arXiv:2305.06884, section 2: with `Z_t = x_{I_t} / q_t(I_t)` and `S_{t−1}` the sum of the items seen before,
    `E[Z_t | past] = total − S_{t−1}`. Bets of that form: Waudby-Smith & Ramdas 2020, arXiv:2006.04347 (without
    replacement) and 2023, arXiv:2010.09686 (betting). Deviations: the stake is not one estimated from past draws but a
    mixture of the best ones for some distances between total and bound, given in advance; its wealth is the mean of
    theirs, and so a supermartingale too. Items have ranges of their own, which bound the stakes. A claim that the items
    seen already contradict is rejected at once.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log

import numpy as np

from quantbench.errors import StatisticsError
from quantbench.stats.draws import Draws, Floats

# No bet stakes more than this share of the wealth, so that it never ends at zero.
LARGEST_STAKE = 0.9
# Of sums of items that are whole numbers or nearly so; far below one of them.
ROUNDING = 1e-6


def log_wealth_against_at_most(draws: Draws, bound: float, distances: Floats) -> float:
    """Largest log of the wealth so far of betting that the total exceeds `bound`; infinite where that is certain.

    Args:
        draws: items seen.
        bound: on the total of all items.
        distances: `[k]`, positive: between total and bound, for which the stakes would be best; settled before the
            first draw.

    Returns:
        A number that ever exceeds `log(1 / α)` with probability at most α if the total is at most `bound`.
    """
    return _log_wealth(draws, bound, distances, 1.0)


def log_wealth_against_at_least(draws: Draws, bound: float, distances: Floats) -> float:
    """Largest log of the wealth so far of betting that the total is below `bound`; see `log_wealth_against_at_most`."""
    return _log_wealth(draws, bound, distances, -1.0)


def total_interval(draws: Draws, alpha: float, distances: Floats) -> tuple[float, float]:
    """Confidence sequence of the total: the intervals of all times hold it at once with probability `1 − alpha`.

    Args:
        draws: items seen.
        alpha: risk, half of it on each side.
        distances: see `log_wealth_against_at_most`.

    Returns:
        Lower and upper limit, to half an item outwards.

    Raises:
        StatisticsError: if `alpha` is not between 0 and 1.
    """
    needed = log(2.0 / check_risk(alpha))
    seen = float(draws.values.sum())
    low, high = seen + float(draws.floor[-1]), seen + float(draws.ceiling[-1])
    return (
        _limit(low, high, lambda bound: log_wealth_against_at_most(draws, bound, distances) >= needed),
        _limit(high, low, lambda bound: log_wealth_against_at_least(draws, bound, distances) >= needed),
    )


def estimated_total(draws: Draws, predicted_rest: float, uncertainty: float) -> float:
    """The total, from the draws and from a prediction of the items still to be drawn, each as far as it can be trusted.

    The mean of the guesses `S_{t−1} + Z_t` is unbiased and, of few draws, wild; a prediction is neither. Both are
    weighted by the inverse of their variance.

    Args:
        draws: items seen.
        predicted_rest: total of those not seen.
        uncertainty: standard deviation of that prediction; 0 where nothing is left.

    Source:
        The guesses: arXiv:2305.06884, section 2. Deviation: the weighting, and that all guesses count alike.
    """
    seen = np.concatenate([[0.0], np.cumsum(draws.values)])
    predicted = seen[-1] + predicted_rest
    if not len(draws.values) or uncertainty == 0.0:
        return float(predicted)
    guessed = np.mean(seen[:-1] + draws.values / draws.chances)
    trust = uncertainty**2 / (uncertainty**2 + np.mean(draws.squares) / len(draws.values))
    low, high = seen[-1] + draws.floor[-1], seen[-1] + draws.ceiling[-1]
    return float(np.clip(trust * guessed + (1.0 - trust) * predicted, low, high))


def check_risk(alpha: float) -> float:
    """Refuses a risk that is no probability; gives it back.

    Raises:
        StatisticsError: if it is not between 0 and 1.
    """
    if not 0.0 < alpha < 1.0:
        raise StatisticsError(f"risk {alpha:g} is not strictly between 0 and 1")
    return alpha


def _log_wealth(draws: Draws, bound: float, distances: Floats, sign: float) -> float:
    """Of betting that `sign · total` exceeds `sign · bound`."""
    seen = np.concatenate([[0.0], np.cumsum(draws.values)])
    # What is left if the bound is the total, and the least that can be.
    claimed = sign * (bound - seen)
    least = draws.floor if sign > 0 else -draws.ceiling
    if (claimed < least - ROUNDING).any():
        return inf
    if not len(draws.values):
        return 0.0
    gain = sign * draws.values / draws.chances - claimed[:-1]
    worst = claimed[:-1] - (draws.lowest if sign > 0 else -draws.highest)
    # The stake under which wealth grows fastest, to second order, at that distance.
    best = distances[:, None] / np.maximum(draws.squares, ROUNDING)
    stakes = np.minimum(best, LARGEST_STAKE / np.maximum(worst, ROUNDING))
    growth = np.cumsum(np.log1p(stakes * np.maximum(gain, -worst)), axis=1)
    return max(0.0, float((np.logaddexp.reduce(growth, axis=0) - log(len(distances))).max()))


def _limit(start: float, end: float, excluded: Callable[[float], bool]) -> float:
    """The last bound from `start` towards `end` that is excluded with all before it, to half an item."""
    if not excluded(start):
        return start
    while abs(end - start) > 0.5:
        middle = (start + end) / 2.0
        if excluded(middle):
            start = middle
        else:
            end = middle
    return start
