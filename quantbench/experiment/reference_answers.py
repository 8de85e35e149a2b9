"""A reference's evaluation on the test split, cached by a hash of its inputs: every run compares with the same one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from quantbench.arrays import Outputs
from quantbench.backends.interface import Artifact, Predictor
from quantbench.cache import HASHES, CacheEntry, Meta
from quantbench.experiment.artifact import reference_content
from quantbench.experiment.built import entry_of
from quantbench.experiment.workload import OpenWorkload
from quantbench.measure.evaluation import Evaluation, inputs_of

KIND, FILE, AGAIN = "evaluations", "evaluation.npz", "evaluating the reference again"
# Begins the names of the outputs that were given for the first batch.
FIRST = "first "


def kept_evaluation(
    opened: OpenWorkload, artifact: Artifact, predictor: Predictor, keeps_files: bool = False
) -> Evaluation:
    """The reference's evaluation from the cache, or made now.

    The one in the cache counts while the model, loaded now, answers the first batch with the same bits: it may read
    files, or ask the machine, by itself. Of a file made elsewhere nothing is kept, unless that is asked for: its
    samples are decoded as they are used, so that their hash is known after the pass.

    Args:
        opened: the workload.
        artifact: the reference.
        predictor: loaded from it.
        keeps_files: also where it is a file made elsewhere, decoding all of its samples first.
    """
    if opened.workload.config.reference is not None and not keeps_files:
        return opened.evaluated(predictor)
    content = content_of(opened, artifact)
    entry = entry_of(KIND, opened.workload.name, content, AGAIN)
    first = {f"{FIRST}{name}": array for name, array in answers_first(opened, predictor).items()}

    def fill(folder: Path) -> Meta:
        found = opened.evaluated(predictor)
        answers = {} if found.answers is None else {"answers": found.answers}
        np.savez(folder / FILE, scores=found.scores, **answers, **first)  # type: ignore[arg-type]
        return {"content": content, "loss": found.loss}

    with entry.locked():
        return _read(entry, first) or _found(entry, entry.write(fill))


def content_of(opened: OpenWorkload, artifact: Artifact) -> dict[str, Any]:
    """Everything that decides the evaluation and is known before it is made."""
    config = opened.workload.config
    return {
        **reference_content(opened),
        "artifact": list(artifact.sha256),
        "task": config.task.described,
        "classes": list(opened.splits.classes),
        "batch_size": config.evaluation.batch_size,
    }


def answers_first(opened: OpenWorkload, predictor: Predictor) -> Outputs:
    """Outputs of the first batch."""
    n = opened.workload.config.evaluation.batch_size
    return predictor(next(inputs_of(opened.splits.test, n, n)))


def _read(entry: CacheEntry, first: Outputs) -> Evaluation | None:
    """The evaluation that is kept; None, with a line, where the first batch is answered otherwise now."""
    if (meta := entry.read(_check_meta)) is None:
        return None
    with np.load(entry.folder / FILE) as arrays:
        kept = {name: arrays[name] for name in arrays.files if name.startswith(FIRST)}
    if _bits(kept) == _bits(first):
        return _found(entry, meta)
    print(f"{entry.folder}: the model answers the first batch otherwise now; {AGAIN}", file=sys.stderr)
    return None


def _found(entry: CacheEntry, meta: Meta) -> Evaluation:
    with np.load(entry.folder / FILE) as arrays:
        return Evaluation(arrays["scores"], meta["loss"], arrays.get("answers"))


def _check_meta(meta: Meta) -> None:
    """Raises KeyError unless the loss is noted, and a hash of the scores."""
    _ = meta["loss"], meta[HASHES][FILE]


def _bits(outputs: Outputs) -> dict[str, tuple[tuple[int, ...], bytes]]:
    return {name: (array.shape, array.tobytes()) for name, array in outputs.items()}
