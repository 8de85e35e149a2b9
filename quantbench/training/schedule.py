"""Optimizer and learning rate of every step, from the library's own classes, whose state is saved with a training."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, MultiStepLR, SequentialLR

from quantbench.config.training import TrainingConfig

# The first step of a linear warm-up, as a share of the peak; zero would waste it.
WARMUP_START = 1e-3


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """The optimizer that the configuration asks for, over all parameters of a model.

    Source:
        `sgd`: with Polyak's momentum, as torch has it. `adamw`: Loshchilov & Hutter (arXiv:1711.05101), algorithm 2,
        β = (0.9, 0.999) and ε = 1e-8. Deviation: the decay is multiplied by the learning rate, as in torch.
    """
    if config.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(model.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)


def make_schedule(optimizer: torch.optim.Optimizer, config: TrainingConfig, steps_per_epoch: int) -> LRScheduler:
    """The scheduler that the configuration asks for, to be stepped once per batch.

    Source:
        `warmup_cosine`: Loshchilov & Hutter, SGDR (arXiv:1608.03983), equation (5) without restarts, after a linear
        warm-up as in Goyal et al. (arXiv:1706.02677), section 2.2. Deviation: none; both change the rate per batch.
    """
    if config.schedule != "warmup_cosine":
        # Without a step the rate is constant.
        return MultiStepLR(optimizer, [epoch * steps_per_epoch for epoch in config.step_epochs], config.step_factor)
    total = config.epochs * steps_per_epoch
    warmup = min(round(config.warmup_epochs * steps_per_epoch), total - 1)
    cosine = CosineAnnealingLR(optimizer, T_max=total - warmup, eta_min=config.min_lr)
    if warmup == 0:
        return cosine
    linear = LinearLR(optimizer, start_factor=WARMUP_START, total_iters=warmup)
    return SequentialLR(optimizer, [linear, cosine], milestones=[warmup])
