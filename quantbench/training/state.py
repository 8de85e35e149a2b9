"""An unfinished training on disk: one file, written after every epoch, from which it continues bit for bit."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from filelock import FileLock, Timeout

from quantbench.backends.torch_file import read_sealed, seal
from quantbench.errors import CheckpointError, TrainingError
from quantbench.files import cache_dir, replacing
from quantbench.provenance import Code, changed_code, loaded_code

# Seconds that a training waits for another of the same name: one that was killed a moment ago is gone by then.
LOCK_TIMEOUT_S = 10.0
# Keys that differ and are named; the rest is counted.
SHOWN_KEYS = 6
ABSENT = "(absent)"


class Part(Protocol):
    """Part of a training that is saved: its model, optimizer or schedule."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """The reverse."""


@dataclass(frozen=True)
class EpochSummary:
    """One epoch.

    Attributes:
        loss: mean cross entropy of the training samples, augmented and seen while the weights were moving, nats.
        accuracy: share of them that was right, 0..1.
        lr: of the epoch's last step.
        seconds: that it took, validation included; two equal epochs may differ in it.
        validation_loss: mean cross entropy of the validation split after the epoch, in eval mode; None without one.
        validation_accuracy: share of it that was right, 0..1.
    """

    loss: float
    accuracy: float
    lr: float
    seconds: float = field(compare=False)
    validation_loss: float | None = None
    validation_accuracy: float | None = None

    @property
    def rank(self) -> tuple[float, float]:
        """Larger is better: validation accuracy, and of equal ones the lower validation loss."""
        if self.validation_accuracy is None or self.validation_loss is None:
            raise TrainingError("an epoch without validation has no rank")
        return self.validation_accuracy, -self.validation_loss

    def as_json(self) -> dict[str, float]:
        """For a card, rounded; what was not measured is left out."""
        digits = {"lr": f"{self.lr:.6g}", "seconds": f"{self.seconds:.3f}"}
        return {key: float(digits.get(key, f"{value:.6f}")) for key, value in asdict(self).items() if value is not None}


@dataclass
class Progressed:
    """Progress of a training.

    Attributes:
        history: of the finished epochs.
        best_epoch: number of the best one by validation, counted from 1; None without validation.
        best: its weights, on the processor; None without validation.
    """

    history: list[EpochSummary] = field(default_factory=list)
    best_epoch: int | None = None
    best: dict[str, torch.Tensor] | None = None

    def add(self, summary: EpochSummary, model: torch.nn.Module) -> None:
        """Takes in a finished epoch, and a copy of the weights if it is the best one; of equal ones the first is."""
        self.history.append(summary)
        if summary.validation_accuracy is None:
            return
        if self.best_epoch is None or summary.rank > self.history[self.best_epoch - 1].rank:
            self.best_epoch = len(self.history)
            self.best = {key: each.detach().to("cpu", copy=True) for key, each in model.state_dict().items()}

    def has_ended(self, epochs: int, patience: int | None) -> bool:
        """True if all epochs are done, or `patience` of them have passed since the best one."""
        waited = len(self.history) - (self.best_epoch or len(self.history))
        return len(self.history) >= epochs or bool(patience and waited >= patience)


def state_path(name: str) -> Path:
    """File of the unfinished training of that name: of a workload, an experiment or a row of an ablation."""
    return cache_dir() / "training" / f"{name}.pt"


def forget_training(name: str) -> None:
    """Removes the state of a training whose result is safe."""
    state_path(name).unlink(missing_ok=True)


@contextmanager
def alone(state_file: Path) -> Iterator[None]:
    """Keeps every other process from training into the same file.

    Raises:
        TrainingError: if another one does.
    """
    path = cache_dir() / "locks" / f"{state_file.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=LOCK_TIMEOUT_S)
    try:
        lock.acquire()
    except Timeout:
        raise TrainingError(
            f"{state_file}: another process is training this right now; wait for it, or train with another cache: "
            "QUANTBENCH_CACHE=<folder>"
        ) from None
    try:
        yield
    finally:
        lock.release()


def save(state_file: Path, identity: Mapping[str, Any], parts: Mapping[str, Part], progressed: Progressed) -> None:
    """Writes all that a training needs to continue, whole or not at all.

    Raises:
        TrainingError: if it cannot be written; the epochs before stay.
    """
    states = {name: part.state_dict() for name, part in parts.items()}
    rest = {
        "identity": dict(identity),
        "history": [asdict(summary) for summary in progressed.history],
        "best_epoch": progressed.best_epoch,
        "best": progressed.best,
        "code": {name: list(noted) for name, noted in loaded_code().items()},
    }
    try:
        with replacing(state_file) as temporary:
            torch.save({**states, **rest}, temporary)
            seal(temporary)
    # torch's own writer raises a RuntimeError where the disk is full.
    except (OSError, RuntimeError) as error:
        cause = getattr(error, "strerror", None) or _first_line(error)
        raise TrainingError(
            f"{state_file}: cannot be written ({cause}); the epochs before the last are kept: free some space, or name "
            "another folder with QUANTBENCH_CACHE, and go on with the same command"
        ) from error


def restore(state_file: Path, identity: Mapping[str, Any], parts: Mapping[str, Part]) -> Progressed:
    """Continues the training in the file, or begins one where there is no file, or one that is not as it was written.

    Args:
        state_file: written by `save`.
        identity: everything that decides the result, as JSON.
        parts: filled from the file.

    Raises:
        TrainingError: if the file is of another model, or its identity is another one, naming what changed.
    """
    if not state_file.exists():
        return Progressed()
    try:
        # To the processor first: the machine that continues need not have the accelerator of the one that began.
        state = read_sealed(state_file, "beginning this training anew")
    except CheckpointError as error:
        print(error, file=sys.stderr)
        return Progressed()
    try:
        history = [EpochSummary(**summary) for summary in state["history"]]
        _refuse_changes(state_file, state["identity"], identity, len(history))
        _refuse_other_code(state_file, state["code"], len(history))
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return Progressed(history, state["best_epoch"], state["best"])
    except TrainingError:
        raise
    except Exception as error:
        raise TrainingError(
            f"{state_file}: cannot continue this training ({type(error).__name__}: {_first_line(error)}); "
            "remove the file to start again"
        ) from None


def _refuse_changes(state_file: Path, before: Mapping[str, Any], now: Mapping[str, Any], epochs: int) -> None:
    old, new = _flat(before), _flat(now)
    changed = [key for key in [*new, *(old.keys() - new.keys())] if old.get(key, ABSENT) != new.get(key, ABSENT)]
    if not changed:
        return
    shown = [f"{key} {_short(old.get(key, ABSENT))} → {_short(new.get(key, ABSENT))}" for key in changed[:SHOWN_KEYS]]
    more = f" and {len(changed) - SHOWN_KEYS} more" if len(changed) > SHOWN_KEYS else ""
    raise TrainingError(
        f"{state_file}: holds an unfinished training ({epochs} epoch(s) done) that was begun otherwise: "
        f"{', '.join(shown)}{more}; restore what changed to continue it, or remove the file to start anew"
    )


def _refuse_other_code(state_file: Path, code: Code, epochs: int) -> None:
    if changed := changed_code(code):
        raise TrainingError(
            f"{state_file}: holds an unfinished training ({epochs} epoch(s) done) that was begun by other code: "
            f"{', '.join(changed)}; restore what changed to continue it, or remove the file to start anew"
        )


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` → `{"a.b": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        place = f"{prefix}{key}"
        flat |= _flat(value, f"{place}.") if isinstance(value, Mapping) and value else {place: value}
    return flat


def _short(value: Any) -> str:
    """A value in a message; of a hash its beginning."""
    text = str(value)
    return f"{text[:12]}…" if isinstance(value, str) and len(text) > 40 else text


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
