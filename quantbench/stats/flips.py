"""Probability that a sample changes between right and wrong, learned from margins and from earlier changes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quantbench.stats.draws import Floats, Ids

# Samples of one bin of margins have one rate; so many bins for those that are right, and for those that are wrong.
BINS = (40, 10)
# Before anything is seen: the share that changes at the narrowest margin, over how many ranks it falls by a factor of
# e, as a share of all, and what it never falls below. As good as so many samples seen in every bin.
NARROWEST, FALL, LEAST, PRIOR_WEIGHT = 0.3, 0.1, 0.002, 10.0
MOST = 0.9
# A sample's own history counts beside its bin's rate, as good as so many observations.
BIN_WORTH = 2.0


class FlipModel:
    """Predicts the probability that a sample changes when a layer is switched.

    It decides which samples are looked at first and how large bets are, never whether a conclusion is valid; so it may
    be as rough as it is.

    Args:
        margin: `[n]`, logit of the label above the largest other one, before any change.
        correct: `[n]` bool, right before any change.

    Source:
        The rate of a bin is the posterior mean of a Beta prior; a sample's own is that of one whose mean is its bin's
        rate (Efron, Large-Scale Inference, 2010, chapter 1: empirical Bayes).
    """

    def __init__(self, margin: NDArray[np.float32], correct: NDArray[np.bool_]) -> None:
        n = len(margin)
        self._bin = np.zeros(n, np.int64)
        self._prior = np.zeros(sum(BINS))
        start = 0
        for group, bins in zip((correct, ~correct), BINS, strict=True):
            members = np.flatnonzero(group)
            rank = np.empty(len(members))
            rank[np.argsort(np.abs(margin[members]), kind="stable")] = np.arange(len(members)) / max(len(members), 1)
            self._bin[members] = start + (rank * bins).astype(np.int64)
            middle = (np.arange(bins) + 0.5) / bins
            self._prior[start : start + bins] = NARROWEST * np.exp(-middle / FALL) + LEAST
            start += bins
        self._flips_of, self._looks_of = np.zeros(n), np.zeros(n)
        self._flips_in, self._looks_in = np.zeros(sum(BINS)), np.zeros(sum(BINS))

    def observe(self, ids: Ids, flipped: NDArray[np.bool_]) -> None:
        """Learns what became of samples in one configuration.

        Args:
            ids: `[m]`, different from each other.
            flipped: `[m]`, whether each changed from what it was before any change.
        """
        self._flips_of[ids] += flipped
        self._looks_of[ids] += 1
        self._flips_in += np.bincount(self._bin[ids], weights=flipped, minlength=sum(BINS))
        self._looks_in += np.bincount(self._bin[ids], minlength=sum(BINS))

    def probabilities(self, scale: float = 1.0) -> Floats:
        """`[n]`, between `LEAST` and `MOST`.

        Args:
            scale: how much likelier changes are in the configuration asked about than in those seen, see `ratio`.
        """
        rate = (self._flips_in + PRIOR_WEIGHT * self._prior) / (self._looks_in + PRIOR_WEIGHT)
        own = (self._flips_of + BIN_WORTH * rate[self._bin]) / (self._looks_of + BIN_WORTH)
        return np.clip(scale * own, LEAST, MOST)

    def ratio(self, ids: Ids, flipped: NDArray[np.bool_]) -> float:
        """Ratio of the rate of changes in one configuration to that in all that were seen.

        Args:
            ids: `[m]`, looked at in that configuration.
            flipped: `[m]`, whether each changed.
        """
        return float((flipped.sum() + PRIOR_WEIGHT) / (self.probabilities()[ids].sum() + PRIOR_WEIGHT))
