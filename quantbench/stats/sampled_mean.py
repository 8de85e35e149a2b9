"""Side of a bound on which the mean of a test set's values lies, from as few of them as it takes.

The samples are looked at in random order, chunk by chunk, and after each chunk bets are settled against both claims:
the mean is at most the bound, and it is at least the bound. A wealth that starts at 1 and is a supermartingale under a
claim ever exceeds `1 / risk` with probability `risk` at most (Ville's inequality). So one may look after each chunk and
stop as soon as a claim is rejected.

Each claim is bet against twice, and is rejected only once both bets have won. One is about what the test set stands
for: its samples, in random order, are independent draws of that, and their mean is the claimed one. The other is about
this very test set, of which samples are drawn without replacement: what is left of its total is the mean of the samples
left. So a verdict holds of both. The second alone would be another question: it is decided for certain by the last
sample, however near the bound, where an interval of all samples decides nothing.

Source:
    Waudby-Smith and Ramdas, Confidence sequences for sampling without replacement, NeurIPS 2020, arXiv:2006.04347,
    section 3, for the mean that is left; the same, Estimating means of bounded random variables by betting, J. R.
    Statist. Soc. B 86 (2024) 1–27, arXiv:2010.09686, sections 4 and 6 (betting, with and without replacement).
    Deviations: stakes are set before a chunk and kept within it, and so is the mean that is left. The product of
    `1 + stake · gain` over a chunk drawn without replacement then has a mean of at most 1, as it has with replacement:
    an elementary symmetric mean of numbers that are not negative is at most that power of their mean (Maclaurin's
    inequality; Hardy, Littlewood and Pólya, Inequalities, 1952, theorem 52). A chunk so counts by how often each value
    is in it, in any order. Stakes are a mixture, of which the wealth is the mean: the best ones, to second order, for a
    few distances between mean and bound that are given in advance, and the one for the distance seen so far.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import StatisticsError
from quantbench.stats.betting import ROUNDING, check_risk
from quantbench.stats.early_verdict import Side

Floats = NDArray[np.float64]
# Multiples of the expected distance between mean and bound, and the share of the stakes that is best for each; the rest
# is for the distance seen so far.
MULTIPLES, SHARES = (2.0, 1.0, 0.5), (0.15, 0.5, 0.2, 0.15)
# Of each the largest share of the wealth that a bet stakes. What is best to second order is too much where a gain is
# small and likely, and a loss is rare and large: as where few samples change, all of them for the worse.
LARGEST_STAKES = (0.9, 0.6, 0.3, 0.6)
# The least distance that is bet on, in standard errors of the whole set: nearer ones it could not tell either.
NEAREST = 4.0
# Mean square of a value's distance from the mean, in units of half the range, before any is seen; as good as so many.
PRIOR_SQUARE, PRIOR_WORTH = 0.02, 16.0
# A chunk is this part of the set, so that its looks are two hundred.
CHUNKS = 200
# Bounds that are tried at once to find a limit, and rounds of it: to a millionth of the range.
GRID, ROUNDS = 65, 3


class MeanBets:
    """Bets against both claims about the mean of values within known limits, for any number of bounds at once.

    Args:
        bounds: `[…]`, of each claim.
        total: samples of the whole set.
        limits: smallest and largest value that there can be.
        distance: expected between mean and bound, for stakes; 0 where nothing is expected. A wrong one costs samples,
            never validity.

    Attributes:
        seen: samples so far.
        above: `[…]`, largest log of the wealth so far of betting that the mean exceeds the bound.
        below: `[…]`, the same of betting that it is below.
    """

    def __init__(self, bounds: Floats, total: int, limits: tuple[float, float], distance: float) -> None:
        self._bounds, self._total, self._limits, self._distance = (
            np.asarray(bounds, np.float64),
            total,
            limits,
            distance,
        )
        self.seen = 0
        self.above, self.below = np.zeros(self._bounds.shape), np.zeros(self._bounds.shape)
        # One for each direction, and for the claim about what the set stands for and that about the set.
        self._logs = {(sign, of_set): np.zeros(()) for sign in (1.0, -1.0) for of_set in (False, True)}
        half = (limits[1] - limits[0]) / 2
        self._sum, self._squares, self._prior = np.zeros(()), np.zeros(()), PRIOR_SQUARE * half**2

    def add(self, values: Floats, counts: Floats) -> None:
        """Settles the bets on one more chunk.

        Args:
            values: `[k]`, different ones.
            counts: `[…, k]`, how often each is in the chunk; of all bounds the same number of samples.
        """
        n = int(np.asarray(counts).reshape(-1, len(values))[0].sum())
        best = {}
        for sign in (1.0, -1.0):
            both = [self._settled(sign, of_set, values, counts) for of_set in (False, True)]
            best[sign] = np.minimum(*both)
        self.above, self.below = np.maximum(self.above, best[1.0]), np.maximum(self.below, best[-1.0])
        self._sum = self._sum + counts @ values
        self._squares = self._squares + counts @ values**2
        self.seen += n

    def _settled(self, sign: float, of_set: bool, values: Floats, counts: Floats) -> Floats:
        """Log of the wealth after the chunk."""
        claimed = self._bounds
        if of_set:
            claimed = (self._total * self._bounds - self._sum) / (self._total - self.seen)
        claimed = np.asarray(claimed)
        worst = sign * claimed - min(sign * self._limits[0], sign * self._limits[1])
        stakes = self._stakes(sign, claimed, worst)
        gains = sign * (values - claimed[..., None])
        growth = np.log1p(np.maximum(stakes[..., None] * gains[..., None, :], -max(LARGEST_STAKES)))
        self._logs[sign, of_set] = self._logs[sign, of_set] + np.einsum("...km,...m->...k", growth, counts)
        mixed = np.logaddexp.reduce(self._logs[sign, of_set] + np.log(SHARES), axis=-1)
        # No values of those left make up a mean beyond the limits: the samples seen contradict the claim.
        return np.asarray(np.where(worst < -ROUNDING, np.inf, mixed))

    def _stakes(self, sign: float, claimed: Floats, worst: Floats) -> Floats:
        """`[…, distances]`, from the chunks before."""
        worth = self.seen + PRIOR_WORTH
        mean = self._sum / max(self.seen, 1)
        square = (np.maximum(self._squares - self.seen * mean**2, 0.0) + PRIOR_WORTH * self._prior) / worth
        least = np.maximum(self._distance, NEAREST * np.sqrt(square / self._total))
        seen = np.maximum(sign * (mean - claimed), least / 4) if self.seen else least
        far = np.stack(np.broadcast_arrays(*(each * least for each in MULTIPLES), seen, claimed)[:-1], axis=-1)
        best = far / (np.asarray(square)[..., None] + far**2)
        largest: Floats = np.maximum(worst, ROUNDING)[..., None]
        return np.asarray(np.minimum(best, np.array(LARGEST_STAKES) / largest))


class MeanSequence:
    """A verdict on one bound on a mean, at any time.

    Args:
        bound: on the mean.
        total: samples of the whole set.
        limits: smallest and largest value that there can be.
        distance: see `MeanBets`.
        risks: of `AT_MOST` where the mean is above, and of `ABOVE` where it is not.

    Attributes:
        side: where the mean was found to be.
        decided_at: samples after which it was; None where it is open.

    Raises:
        StatisticsError: if a risk is no probability, or limits are out of order.

    Example:
        >>> sequence = MeanSequence(0.01, 50_000, (-1.0, 1.0), 0.01, (0.005, 0.005))
        >>> while sequence.side is Side.OPEN:
        ...     sequence.add(np.r_[np.ones(3), -np.ones(3), np.zeros(250)])
        >>> sequence.side.value, sequence.decided_at
        ('at most', 3072)
    """

    def __init__(
        self, bound: float, total: int, limits: tuple[float, float], distance: float, risks: tuple[float, float]
    ) -> None:
        if not limits[0] < limits[1]:
            raise StatisticsError(f"limits {limits[0]:g} and {limits[1]:g} are not in order")
        self.bound, self._total, self._limits, self._distance = bound, total, limits, distance
        self._risks = check_risk(risks[0]), check_risk(risks[1])
        self._bets = self._of(np.float64(bound))
        self._chunks: list[tuple[Floats, Floats]] = []
        self.side, self.decided_at = Side.OPEN, None

    side: Side
    decided_at: int | None

    def _of(self, bounds: Floats | np.float64) -> MeanBets:
        return MeanBets(np.asarray(bounds), self._total, self._limits, self._distance)

    def add(self, values: Floats) -> None:
        """Looks at one more chunk, `[m]`; a decision stands whatever follows."""
        different, counts = np.unique(values, return_counts=True)
        self._chunks.append((different, counts.astype(np.float64)))
        self._bets.add(*self._chunks[-1])
        if self.side is not Side.OPEN:
            return
        needed = [log(1 / risk) for risk in self._risks]
        if self._bets.below >= needed[0]:
            self.side = Side.AT_MOST
        elif self._bets.above >= needed[1]:
            self.side = Side.ABOVE
        if self.side is not Side.OPEN:
            self.decided_at = self._bets.seen

    @property
    def mean(self) -> float:
        """Of the samples seen."""
        total = sum(float(values @ counts) for values, counts in self._chunks)
        return total / max(self._bets.seen, 1)

    def interval(self, risk: float) -> tuple[float, float]:
        """Limits of the mean, each wrong with that risk at most at any time, and on the side that was decided."""
        needed, mean = log(1 / check_risk(risk)), self.mean
        low = self._limit(self._limits[0], mean, lambda bets: bets.above >= needed)
        high = self._limit(self._limits[1], mean, lambda bets: bets.below >= needed)
        if self.side is Side.AT_MOST and risk >= self._risks[0]:
            high = min(high, self.bound)
        if self.side is Side.ABOVE and risk >= self._risks[1]:
            low = max(low, float(np.nextafter(self.bound, np.inf)))
        return min(low, mean), max(high, mean)

    def _limit(self, out: float, within: float, excluded: Callable[[MeanBets], NDArray[np.bool_]]) -> float:
        """The last bound from `out` towards `within` that is excluded with all before it."""
        for _ in range(ROUNDS):
            grid = np.linspace(out, within, GRID)
            bets = self._of(grid)
            for values, counts in self._chunks:
                bets.add(values, np.broadcast_to(counts, (GRID, len(counts))))
            held = ~excluded(bets)
            first = int(held.argmax()) if held.any() else GRID - 1
            if first == 0:
                return out
            out, within = float(grid[first - 1]), float(grid[first])
        return out


def chunk_of(total: int, batch: int) -> int:
    """Samples of a chunk: whole batches, and about a two-hundredth of the set.

    Example:
        >>> chunk_of(50_000, 64)
        256
    """
    return batch * max(round(total / CHUNKS / batch), 1)
