"""Rows of logits and the class of each, for a cross entropy over samples, tokens or pixels."""

from __future__ import annotations

import torch

from quantbench.errors import EvaluationError, TrainingError
from quantbench.tasks.classes import check_logits

# Places of a sequence, and pixels of a label, that do not count.
MASKED, IGNORED = -100, 255


def rows_of(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits `[m, classes]` and labels `[m]` of all that counts in a batch.

    Args:
        logits: `[n, classes]`, of tokens `[n, places, vocabulary]`, of pixels `[n, classes, height, width]`.
        labels: integers; `[n]`, `[n, places]` with −100 where none counts, `[n, height, width]` with 255 where that is
            no class.

    Raises:
        EvaluationError: if the two do not belong together.
        TrainingError: if the labels are no classes, or none counts.

    Example:
        >>> logits, labels = rows_of(torch.zeros(2, 3, 5), torch.tensor([[0, 4, -100], [1, 2, 3]]))
        >>> logits.shape, labels.tolist()
        (torch.Size([5, 5]), [0, 4, 1, 2, 3])
    """
    if labels.is_floating_point():
        raise TrainingError("the targets are no integers; only classes of samples, tokens or pixels are trained here")
    if labels.dim() == 1:
        check_logits(logits, len(labels), int(labels.max()))
        return logits, labels
    last = logits if labels.dim() == 2 else logits.movedim(1, -1)
    if logits.dim() != labels.dim() + 1 or last.shape[:-1] != labels.shape:
        expected = "[n, places, vocabulary]" if labels.dim() == 2 else "[n, classes, height, width]"
        raise EvaluationError(
            f"the model gave {list(logits.shape)} for targets {list(labels.shape)}; expected {expected}"
        )
    flat, of_rows = last.flatten(0, -2), labels.flatten()
    classes = flat.shape[1]
    counts = of_rows != MASKED
    if labels.dim() > 2 and classes <= IGNORED:
        counts &= of_rows != IGNORED
    if not bool(counts.all()):
        flat, of_rows = flat[counts.to(flat.device)], of_rows[counts]
    if not len(of_rows):
        raise TrainingError("no target of a batch counts: all are masked")
    check_logits(flat, len(of_rows), int(of_rows.max()))
    return flat, of_rows
