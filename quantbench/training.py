"""One training loop, for fp32 baselines and for quantization-aware fine-tuning: seeded, resumable bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from quantbench.config import TrainingConfig
from quantbench.data.splits import Split
from quantbench.errors import TrainingError
from quantbench.evaluation import check_logits
from quantbench.files import replacing
from quantbench.progress import Progress

# The first step of a linear warm-up; zero would waste it.
WARMUP_START = 1e-3
CROP_PADDING = 4
# Largest random shift of a sound, as a share of its length: 100 ms of a second.
LARGEST_SHIFT = 0.1
# Dimensions of a batch → what its samples are called, and the augmentations that fit them.
KINDS = {3: ("sounds", ("time_shift",)), 4: ("images", ("pad_crop", "horizontal_flip"))}
# Called before each epoch with the model and the epoch's number.
EpochHook = Callable[[nn.Module, int], None]


@dataclass(frozen=True)
class EpochSummary:
    """Training samples of one epoch, as seen while the weights were moving.

    Attributes:
        loss: mean cross entropy, nats.
        accuracy: share of correct samples, 0..1.
    """

    loss: float
    accuracy: float


def train(
    model: nn.Module,
    split: Split,
    config: TrainingConfig,
    state_file: Path,
    show: Progress,
    before_epoch: EpochHook | None = None,
) -> list[EpochSummary]:
    """Trains in place; a killed run continues from `state_file` and ends with the same bits.

    Every epoch's randomness comes from (seed, epoch) alone, and the state is saved after each.

    Args:
        model: `[n, channels, …]` float32 → logits `[n, classes]`.
        split: training samples.
        config: optimizer and schedule.
        state_file: where the unfinished training is kept; removed by the caller when its result is safe.
        show: progress, in steps.
        before_epoch: may change the model's mode, for example to freeze batch norm.

    Raises:
        TrainingError: if the loss is not finite (the state file keeps the last good epoch), or if an augmentation is
            not for samples of this kind.
        EvaluationError: if the model's output is not `[n, classes]` with a column for every label.
    """
    _check_augmentation(config, split)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        model.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
    steps = math.ceil(len(split) / config.batch_size)
    schedule = _schedule(optimizer, config, steps)
    history = _resume(state_file, model, optimizer, schedule)
    for epoch in range(len(history), config.epochs):
        model.train()
        if before_epoch is not None:
            before_epoch(model, epoch)
        history.append(_epoch(model, split, config, optimizer, schedule, epoch, device, show))
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
        with replacing(state_file) as temporary:
            torch.save({**state, "history": [asdict(summary) for summary in history]}, temporary)
    model.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    model.eval()
    return history


def _epoch(
    model: nn.Module,
    split: Split,
    config: TrainingConfig,
    optimizer: torch.optim.Optimizer,
    schedule: LRScheduler,
    epoch: int,
    device: torch.device,
    show: Progress,
) -> EpochSummary:
    steps = math.ceil(len(split) / config.batch_size)
    augment = _augmentation(config)
    loss_sum = n_correct = n_seen = 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed * 1_000_003 + epoch)
        order = torch.randperm(len(split)).numpy()
        for step in range(steps):
            stored, labels = split.take(order[step * config.batch_size : (step + 1) * config.batch_size])
            labels = labels.to(device)
            inputs = split.normalization(augment(stored)).to(device)
            if inputs.dim() == 4:
                inputs = inputs.to(memory_format=torch.channels_last)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16"):
                logits = model(inputs)
            check_logits(logits, len(labels), int(labels.max()))
            logits = logits.float()
            loss = cross_entropy(logits, labels)
            if not math.isfinite(loss.item()):
                raise TrainingError(
                    f"the loss is {loss.item()} at epoch {epoch + 1}, step {step + 1} of {steps}; the last good epoch "
                    f"is kept. Try a smaller lr than {config.lr} or more than {config.warmup_epochs} warm-up epochs"
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            n_seen += len(labels)
            loss_sum += loss.item() * len(labels)
            n_correct += float((logits.argmax(1) == labels).sum())
            shown = f"loss {loss_sum / n_seen:.3f} accuracy {100 * n_correct / n_seen:.2f} %"
            total = config.epochs * steps
            show.update(epoch * steps + step + 1, total, f"epoch {epoch + 1}/{config.epochs} {shown}")
    return EpochSummary(loss_sum / n_seen, n_correct / n_seen)


def _schedule(optimizer: torch.optim.Optimizer, config: TrainingConfig, steps_per_epoch: int) -> LRScheduler:
    """Linear warm-up, then one half cosine down to `min_lr`, stepped per batch."""
    total = config.epochs * steps_per_epoch
    warmup = min(round(config.warmup_epochs * steps_per_epoch), total - 1)
    cosine = CosineAnnealingLR(optimizer, T_max=total - warmup, eta_min=config.min_lr)
    if warmup == 0:
        return cosine
    linear = LinearLR(optimizer, start_factor=WARMUP_START, total_iters=warmup)
    return SequentialLR(optimizer, [linear, cosine], milestones=[warmup])


def _check_augmentation(config: TrainingConfig, split: Split) -> None:
    """Refuses what would run and destroy the samples: a crop of a padded sound is silence most of the time."""
    dims = split.side.inputs.ndim
    kind, fitting = KINDS.get(dims, (f"samples of {dims - 1} dimensions", ()))
    for name in config.augment:
        if name not in fitting:
            kept = ", ".join(each for each in config.augment if each in fitting)
            raise TrainingError(
                f"workload.training.augment: '{name}' is not for {kind}. Allowed: {', '.join(fitting) or '(none)'}; "
                f"set augment: [{kept}]"
            )


def _augmentation(config: TrainingConfig) -> Callable[[torch.Tensor], torch.Tensor]:
    """Random changes, drawn per sample, on stored integers `[n, channels, …]`."""
    from torchvision.transforms import v2

    def apply(batch: torch.Tensor) -> torch.Tensor:
        if "time_shift" in config.augment:
            batch = _shifted(batch)
        transforms: list[Any] = []
        if "pad_crop" in config.augment:
            transforms.append(v2.RandomCrop(list(batch.shape[-2:]), padding=CROP_PADDING))
        if "horizontal_flip" in config.augment:
            transforms.append(v2.RandomHorizontalFlip())
        if not transforms:
            return batch
        chain = v2.Compose(transforms)
        return torch.stack([chain(sample) for sample in batch])

    return apply


def _shifted(batch: torch.Tensor) -> torch.Tensor:
    """Sounds `[n, channels, samples]`, each moved by up to a tenth of its length either way; silence moves in."""
    n, channels, samples = batch.shape
    most = int(samples * LARGEST_SHIFT)
    padded = torch.nn.functional.pad(batch, (most, most))
    starts = torch.randint(0, 2 * most + 1, (n, 1, 1))
    return padded.gather(2, (starts + torch.arange(samples)).expand(n, channels, samples))


def _resume(
    state_file: Path, model: nn.Module, optimizer: torch.optim.Optimizer, schedule: LRScheduler
) -> list[EpochSummary]:
    if not state_file.is_file():
        return []
    try:
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        return [EpochSummary(**summary) for summary in state["history"]]
    except Exception as error:
        raise TrainingError(
            f"{state_file}: cannot continue this training ({type(error).__name__}: {_first_line(error)}); "
            "remove the file to start again"
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
