"""Random changes of training samples, drawn per sample, on stored integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from quantbench.config.training import TrainingConfig
from quantbench.data.splits import Split
from quantbench.errors import TrainingError

CROP_PADDING = 4
# Largest random shift of a sound, as a share of its length: 100 ms of a second.
LARGEST_SHIFT = 0.1
# Dimensions of a batch → what its samples are called, and the augmentations that fit them.
KINDS = {3: ("sounds", ("time_shift",)), 4: ("images", ("pad_crop", "horizontal_flip"))}


def check_augmentation(config: TrainingConfig, split: Split) -> None:
    """Refuses what would run and destroy the samples: a crop of a padded sound is silence most of the time.

    Raises:
        TrainingError: naming the augmentation and those that fit.
    """
    dims = split.stored(0, 1).ndim
    kind, fitting = KINDS.get(dims, (f"samples of {dims - 1} dimensions", ()))
    for name in config.augment:
        if name not in fitting:
            kept = ", ".join(each for each in config.augment if each in fitting)
            raise TrainingError(
                f"workload.training.augment: '{name}' is not for {kind}. Allowed: {', '.join(fitting) or '(none)'}; "
                f"set augment: [{kept}]"
            )


def augmentation(config: TrainingConfig) -> Callable[[torch.Tensor], torch.Tensor]:
    """Augmentation of the configuration, as a function of a batch `[n, channels, …]` of stored integers."""
    images = {"pad_crop", "horizontal_flip"} & set(config.augment)

    def apply(batch: torch.Tensor) -> torch.Tensor:
        if "time_shift" in config.augment:
            batch = _shifted(batch)
        return _cropped_and_flipped(batch, images) if images else batch

    return apply


def _cropped_and_flipped(batch: torch.Tensor, which: set[str]) -> torch.Tensor:
    """Images `[n, channels, height, width]`, each padded and cut out anew, and mirrored half of the time."""
    from torchvision.transforms import v2

    transforms: list[Any] = []
    if "pad_crop" in which:
        transforms.append(v2.RandomCrop(list(batch.shape[-2:]), padding=CROP_PADDING))
    if "horizontal_flip" in which:
        transforms.append(v2.RandomHorizontalFlip())
    chain = v2.Compose(transforms)
    return torch.stack([chain(sample) for sample in batch])


def _shifted(batch: torch.Tensor) -> torch.Tensor:
    """Sounds `[n, channels, samples]`, each moved by up to a tenth of its length either way; silence moves in."""
    n, channels, samples = batch.shape
    most = int(samples * LARGEST_SHIFT)
    padded = torch.nn.functional.pad(batch, (most, most))
    starts = torch.randint(0, 2 * most + 1, (n, 1, 1))
    return padded.gather(2, (starts + torch.arange(samples)).expand(n, channels, samples))
