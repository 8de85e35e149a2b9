"""One training loop, for fp32 baselines and for quantization-aware fine-tuning: seeded, resumable bit for bit."""

from __future__ import annotations

import copy
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LRScheduler

from quantbench.backends.finite import first_not_finite, is_finite
from quantbench.backends.module import ModulePredictor
from quantbench.config.training import TrainingConfig
from quantbench.data.splits import Split
from quantbench.errors import EvaluationError, TrainingError
from quantbench.foreign import passes
from quantbench.measure.evaluation import evaluate
from quantbench.progress import Progress
from quantbench.training.augmentation import augmentation, check_augmentation
from quantbench.training.device import device_facts, forked_generators, same_bits, training_device
from quantbench.training.divergence import LossWatch
from quantbench.training.objective import rows_of
from quantbench.training.schedule import make_optimizer, make_schedule
from quantbench.training.state import EpochSummary, Part, Progressed, alone, restore, save

# Called before each epoch with the model and the epoch's number.
EpochHook = Callable[[nn.Module, int], None]


def in_eval_mode(model: nn.Module) -> nn.Module:
    """The model itself, switched to eval mode."""
    return model.eval()


@dataclass(frozen=True)
class Validation:
    """Settings by which the best epoch is found.

    Attributes:
        split: samples of the training side that are neither trained nor calibrated on, and never test samples.
        evaluated: the model in training → what is evaluated of it, in eval mode. Must leave alone what training
            depends on; a quantizer whose observers see validation samples would not.
    """

    split: Split
    evaluated: Callable[[nn.Module], nn.Module] = in_eval_mode


@dataclass(frozen=True)
class Outcome:
    """A finished training.

    Attributes:
        history: of every epoch.
        best_epoch: the epoch whose weights the model has, counted from 1; None where there was no validation, and the
            weights are the last epoch's.
    """

    history: list[EpochSummary]
    best_epoch: int | None


def train(
    model: nn.Module,
    split: Split,
    config: TrainingConfig,
    state_file: Path,
    show: Progress,
    before_epoch: EpochHook | None = None,
    validation: Validation | None = None,
    origin: Mapping[str, Any] | None = None,
) -> Outcome:
    """Trains in place; a killed run continues from `state_file` and ends with the same bits.

    Every epoch's randomness comes from (seed, epoch) alone, and the state is saved after each. With validation the
    model ends with the weights of its best epoch, by accuracy and then by loss; validation changes no step.

    Args:
        model: `[n, channels, …]` float32 → logits `[n, classes]`.
        split: training samples.
        config: optimizer and schedule.
        state_file: where the unfinished training is kept; removed by the caller when its result is safe.
        show: progress, in steps.
        before_epoch: may change the model's mode, for example to freeze batch norm.
        validation: held-out samples; without them `config.patience` must be off.
        origin: what else decides the result, as JSON: a training is continued only with the same.

    Raises:
        TrainingError: if the loss is not finite or explodes (the state file keeps the last good epoch); if the state
            file is damaged, of a training begun otherwise, or in use; if an augmentation does not fit the samples, or
            the model has no weight to train.
        EvaluationError: if the model's output is not `[n, classes]` with a column for every label.
    """
    _check(model, split, config, validation)
    device = training_device()
    layout = _layout(model, split)
    model.to(device, memory_format=layout)  # type: ignore[call-overload]
    optimizer = make_optimizer(model, config)
    schedule = make_schedule(optimizer, config, math.ceil(len(split) / config.batch_size))
    loop = _Loop(model, split, config, optimizer, schedule, device, layout, show, state_file)
    parts: dict[str, Part] = {"model": model, "optimizer": optimizer, "schedule": schedule}
    identity = _identity(split, config, validation) | dict(device_facts(device)) | dict(origin or {})
    with alone(state_file), same_bits(device):
        progressed = restore(state_file, identity, parts)
        with _told_when_interrupted(progressed, loop):
            while not progressed.has_ended(config.epochs, config.patience):
                started, epoch = time.monotonic(), len(progressed.history)
                model.train()
                if before_epoch is not None:
                    before_epoch(model, epoch)
                summary = _epoch(loop, progressed)
                if validation is not None:
                    summary = _validated(summary, validation, loop, epoch)
                progressed.add(replace(summary, seconds=time.monotonic() - started), model)
                save(state_file, identity, parts, progressed)
    if progressed.best is not None:
        model.load_state_dict(progressed.best)
    model.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return Outcome(progressed.history, progressed.best_epoch)


def _identity(split: Split, config: TrainingConfig, validation: Validation | None) -> dict[str, Any]:
    """Facts that decide the result of a training, but for the model and where it comes from, as JSON."""
    data = {each.name: each.sha256 for each in (split, *([validation.split] if validation else []))}
    return {"training": config.described(), "data": data, "normalization": asdict(split.normalization)}


@contextmanager
def _told_when_interrupted(progressed: Progressed, loop: _Loop) -> Iterator[None]:
    """Tells on Ctrl-C how far the training is, and that it goes on from there."""
    try:
        yield
    except KeyboardInterrupt:
        epochs, found = f"{len(progressed.history)} of {loop.config.epochs} epochs are done and kept", ""
        if progressed.history:
            last = progressed.history[-1]
            found = f", the last with loss {last.loss:.4f} and {100 * last.accuracy:.2f} % right of training samples"
        print(f"{loop.state_file}: interrupted: {epochs}{found}; the same command goes on from there", file=sys.stderr)
        raise


def _check(model: nn.Module, split: Split, config: TrainingConfig, validation: Validation | None) -> None:
    """Refuses what cannot be trained, before anything is begun."""
    check_augmentation(config, split)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError(
            f"{type(model).__name__} has no weight that could be trained: it was converted to integers, or is frozen; "
            "train it before it is converted"
        )
    if config.patience and validation is None:
        raise TrainingError(f"patience: {config.patience} needs a validation split to stop by; hold samples out")


@dataclass(frozen=True)
class _Loop:
    """State that every step uses."""

    model: nn.Module
    split: Split
    config: TrainingConfig
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    device: torch.device
    layout: torch.memory_format
    show: Progress
    state_file: Path

    def placed(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalized inputs `[n, channels, …]` on the model's device and in its layout."""
        inputs = inputs.to(self.device)
        return inputs.to(memory_format=self.layout) if inputs.dim() == 4 else inputs


def _layout(model: nn.Module, split: Split) -> torch.memory_format:
    """Channels last, which is the faster one, where the model's forward runs in it; `.view` may not."""
    samples = split.normalization(torch.from_numpy(split.stored(0, min(2, len(split)))))
    if samples.dim() != 4:
        return torch.channels_last
    try:
        # A copy, whose observers may see what they like.
        trial = copy.deepcopy(model).eval().to(memory_format=torch.channels_last)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            trial(samples.to(memory_format=torch.channels_last))
    except BaseException as error:  # If it runs in no layout, the first step says so.
        if passes(error):
            raise
        return torch.contiguous_format
    return torch.channels_last


def _epoch(loop: _Loop, progressed: Progressed) -> EpochSummary:
    split, config, epoch = loop.split, loop.config, len(progressed.history)
    steps = math.ceil(len(split) / config.batch_size)
    augment = augmentation(config)
    watch: LossWatch | None = None
    loss_sum = n_correct = n_seen = lr = 0.0
    with torch.random.fork_rng(devices=forked_generators(loop.device)):
        torch.manual_seed(config.seed * 1_000_003 + epoch)
        order = torch.randperm(len(split)).numpy()
        for step in range(steps):
            positions = order[step * config.batch_size : (step + 1) * config.batch_size]
            stored, labels = map(torch.from_numpy, split.take(positions))
            augmented = augment(stored)
            where = f"at epoch {epoch + 1}, step {step + 1} of {steps}"
            try:
                logits, labels = _forward(loop, augmented, labels)
            except RuntimeError as error:
                # A fake quantizer stumbles over NaN before there is a loss.
                if cause := _not_finite(loop, augmented, positions):
                    raise TrainingError(f"{where}: {cause}") from error
                raise
            loss = cross_entropy(logits, labels)
            value = loss.item()
            watch = watch or LossWatch(logits.shape[1], [each.loss for each in progressed.history], steps)
            if problem := watch.problem(value):
                if cause := None if math.isfinite(value) else _not_finite(loop, augmented, positions):
                    raise TrainingError(f"{problem} {where}: {cause}")
                raise TrainingError(_diverged(loop, f"{problem} {where}", epoch))
            loop.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            lr = float(loop.optimizer.param_groups[0]["lr"])
            loop.optimizer.step()
            loop.schedule.step()
            n_seen += len(labels)
            loss_sum += value * len(labels)
            n_correct += float((logits.argmax(1) == labels).sum())
            shown = f"loss {loss_sum / n_seen:.3f} accuracy {100 * n_correct / n_seen:.2f} %"
            total = config.epochs * steps
            loop.show.update(epoch * steps + step + 1, total, f"epoch {epoch + 1}/{config.epochs} {shown}")
    return EpochSummary(loss_sum / n_seen, n_correct / n_seen, lr, 0.0)


def _forward(loop: _Loop, stored: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Stored integers `[n, …]` and labels → float32 logits `[m, classes]` and labels `[m]`, on one device."""
    inputs = loop.placed(loop.split.normalization(stored))
    with torch.autocast(loop.device.type, dtype=torch.bfloat16, enabled=loop.config.precision == "bf16"):
        logits = loop.model(inputs)
    rows, of_rows = rows_of(logits, labels)
    return rows.float(), of_rows.to(loop.device)


def _not_finite(loop: _Loop, stored: torch.Tensor, positions: NDArray[np.int64]) -> str | None:
    """The sample of a batch with which a layer gives NaN or infinity; None where it is not one sample's doing."""
    if not all(is_finite(weight) for weight in loop.model.parameters()):
        return None
    found = first_not_finite(loop.model, loop.placed(loop.split.normalization(stored)))
    if found is None or not 0 < len(found.rows) < len(stored):
        return None
    layer = loop.model.get_submodule(found.module)
    if not found.is_given and next(layer.parameters(), None) is not None:
        # A layer that makes it of finite values overflows, which is its weights' doing.
        return None
    split, row = loop.split, int(positions[found.rows[0]])
    return (
        f"{found.of(loop.model)} for sample {split.named(row)}; let the model give finite values "
        "for it, or take it out of the data"
    )


def _validated(summary: EpochSummary, validation: Validation, loop: _Loop, epoch: int) -> EpochSummary:
    """The epoch with its loss and accuracy on the validation split, in fp32 as the result is evaluated."""
    model = validation.evaluated(loop.model)
    # The loop's device for the model in training and copies of it; another one may be elsewhere.
    weight = next(model.parameters(), None)
    there = replace(loop, device=loop.device if weight is None else weight.device)
    try:
        found = evaluate(ModulePredictor(lambda inputs: model(there.placed(inputs)).cpu()), validation.split)
    except EvaluationError as error:
        raise TrainingError(_diverged(loop, f"after epoch {epoch + 1}: {error}", epoch)) from None
    return replace(summary, validation_loss=found.loss, validation_accuracy=found.accuracy)


def _diverged(loop: _Loop, problem: str, epochs: int) -> str:
    """The message for a training that went wrong for good: what, what is left, what to try."""
    config = loop.config
    kept = f"the last good epoch ({epochs}) is kept in {loop.state_file}" if epochs else "no epoch was finished"
    more = {
        "warmup_cosine": f" or more than {config.warmup_epochs:g} warm-up epochs",
        "step": " or schedule: warmup_cosine",
        "constant": " or schedule: warmup_cosine",
    }[config.schedule]
    remove = ", and remove that file to start anew" if epochs else ""
    precision = ", or precision: fp32" if config.precision == "bf16" else ""
    return f"{problem}; {kept}. Try a smaller lr than {config.lr:g}{more}{precision}{remove}"
