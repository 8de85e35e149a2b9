"""When a training has gone wrong for good: its loss is not finite, or has exploded."""

from __future__ import annotations

import math
from collections import deque

# Steps that are looked at together, so that one bad batch ends no training; the last of them decides when.
RECENT_STEPS = 20
# How many times its reference a loss may be. At ten times the loss of guessing, the right one of C classes is given a
# probability of C^-10.
EXPLODED = 10.0


class LossWatch:
    """Looks at the losses of one epoch, step by step.

    A loss that is not finite ends the training at once. A finite one has exploded when more than half of the last
    `RECENT_STEPS` steps (of all steps, in a shorter epoch) have a loss above `EXPLODED` times a reference: the larger
    of ln(classes), the loss of guessing, and the lowest mean loss of any epoch so far, or in the first epoch the loss
    of its first step. So neither a network that starts far off (its own beginning is the reference), nor a spike
    that passes, nor a rate that makes a good network worse for a while ends a training; and a loss that grows slowly
    over many epochs is held against the best of them.

    Args:
        n_classes: columns of the logits.
        epoch_losses: mean training loss of each finished epoch.
        steps: of one epoch.
    """

    def __init__(self, n_classes: int, epoch_losses: list[float], steps: int) -> None:
        self._guessing = math.log(max(n_classes, 2))
        self._reference = max(self._guessing, min(epoch_losses)) if epoch_losses else None
        self._recent: deque[float] = deque(maxlen=min(RECENT_STEPS, steps))

    def problem(self, loss: float) -> str | None:
        """Sign of divergence after a step with that loss, in words; None if there is none."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if self._reference is None:
            self._reference = max(self._guessing, loss)
        limit = EXPLODED * self._reference
        self._recent.append(loss)
        above = sum(each > limit for each in self._recent)
        if len(self._recent) < (self._recent.maxlen or 0) or above <= len(self._recent) / 2:
            return None
        return (
            f"the loss has exploded: it is {loss:.4g}, and above {limit:.4g} in {above} of the last {len(self._recent)}"
        )
