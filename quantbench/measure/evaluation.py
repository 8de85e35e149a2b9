"""One evaluation loop: a forward function over a split, keeping what became of every sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from quantbench.data.splits import Split
from quantbench.errors import EvaluationError

Forward = Callable[[torch.Tensor], torch.Tensor]
# Small enough that allocators which cannot be told to keep memory still reuse their blocks from batch to batch.
EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Evaluation:
    """What a model did on a split.

    Attributes:
        correct: `[n]` bool, whether each sample's largest logit was its label.
        loss: mean cross entropy, nats.
    """

    correct: NDArray[np.bool_]
    loss: float

    @property
    def accuracy(self) -> float:
        """Share of correct samples, 0..1."""
        return float(self.correct.mean())


@torch.inference_mode()
def evaluate(forward: Forward, split: Split, batch_size: int = EVALUATION_BATCH) -> Evaluation:
    """Runs a model over a split.

    Args:
        forward: normalized `[n, channels, …]` float32 → logits `[n, classes]`.
        split: the samples.
        batch_size: samples per forward.

    Raises:
        EvaluationError: if a logit is NaN or infinite, or the output is not `[n, classes]`.
    """
    labels = torch.from_numpy(np.array(split.labels))
    largest = int(labels.max())
    outputs: list[torch.Tensor] = []
    for inputs in split.batches(batch_size):
        logits = forward(inputs)
        check_logits(logits, len(inputs), largest)
        outputs.append(logits)
    # Judged all at once: done batch by batch, it would cost a small int8 model several per cent of its time.
    logits = torch.cat(outputs).double()
    if not bool(torch.isfinite(logits).all()):
        finite = torch.isfinite(logits).all(dim=1)
        first = int((~finite).to(torch.int8).argmax())
        raise EvaluationError(
            f"the model's logits are not finite for {int((~finite).sum()):,} of {len(split):,} samples of "
            f"'{split.name}', the first being sample {first}; look at its weights, scales and inputs before trusting "
            "any figure of it"
        )
    return Evaluation((logits.argmax(1) == labels).numpy(), float(cross_entropy(logits, labels)))


def check_logits(logits: object, n: int, largest_label: int) -> None:
    """Refuses an output that cannot be compared with the labels.

    Args:
        logits: what the model gave; must be `[n, classes]`.
        n: samples it was given.
        largest_label: class index that the output must reach.

    Raises:
        EvaluationError: saying what the output is instead.
    """
    if not isinstance(logits, torch.Tensor):
        raise EvaluationError(f"the model gave a {type(logits).__name__}; expected a tensor of logits [n, classes]")
    if logits.dim() != 2 or len(logits) != n:
        raise EvaluationError(f"the model gave {tuple(logits.shape)} for {n} samples; expected [n, classes]")
    if logits.shape[1] <= largest_label:
        raise EvaluationError(
            f"the model gave {logits.shape[1]} logits per sample, but a label is {largest_label}; size its head for "
            "the classes of the data (n_classes)"
        )
