"""The learning rate of every step is the one that the configuration asks for."""

import numpy as np
import pytest
import torch
from tiny_training import BATCH, STEPS, fit

from quantbench.config.training import TrainingConfig


@pytest.fixture
def rates(split, state_file, monkeypatch):
    """Trains with these settings: the learning rate of every step, and the history."""

    def rates(**settings):
        seen = []
        step = torch.optim.SGD.step

        def recording(self, *args, **kwargs):
            seen.append(self.param_groups[0]["lr"])
            return step(self, *args, **kwargs)

        monkeypatch.setattr(torch.optim.SGD, "step", recording)
        config = TrainingConfig(batch_size=BATCH, augment=(), **settings)
        _, outcome = fit(split, state_file, config)
        assert len(seen) == config.epochs * STEPS
        return seen, [epoch.lr for epoch in outcome.history]

    return rates


def test_the_learning_rate_warms_up_and_then_falls_along_half_a_cosine(rates):
    seen, _ = rates(epochs=4, lr=0.1, min_lr=0.01, warmup_epochs=1)
    assert seen[0] == pytest.approx(0.1e-3)
    assert seen[STEPS] == pytest.approx(0.1)
    assert seen[:STEPS] == sorted(seen[:STEPS])
    cosine = [0.01 + 0.045 * (1 + np.cos(np.pi * i / 15)) for i in range(15)]
    assert seen[STEPS:] == pytest.approx(cosine)


def test_without_a_warm_up_the_cosine_begins_at_once(rates):
    seen, _ = rates(epochs=2, lr=0.1, warmup_epochs=0)
    assert seen == pytest.approx([0.05 * (1 + np.cos(np.pi * i / 10)) for i in range(10)])


def test_a_step_schedule_lowers_the_rate_after_each_of_its_epochs(rates):
    seen, _ = rates(epochs=4, lr=0.08, schedule="step", step_epochs=(1, 3), step_factor=0.5)
    assert seen == pytest.approx([0.08] * STEPS + [0.04] * 2 * STEPS + [0.02] * STEPS)


def test_a_step_is_a_tenth_by_default(rates):
    seen, _ = rates(epochs=2, lr=0.08, schedule="step", step_epochs=(1,))
    assert seen == pytest.approx([0.08] * STEPS + [0.008] * STEPS)


def test_a_constant_schedule_neither_warms_up_nor_falls(rates):
    seen, _ = rates(epochs=3, lr=0.07, schedule="constant")
    assert set(seen) == {0.07}


@pytest.mark.parametrize("schedule", [{}, {"schedule": "step", "step_epochs": (1,)}, {"schedule": "constant"}])
def test_the_history_tells_the_rate_of_each_epochs_last_step(rates, schedule):
    seen, told = rates(epochs=3, **schedule)
    assert told == seen[STEPS - 1 :: STEPS]


def test_adamw_takes_the_steps_of_torch_and_goes_on_where_it_was(split, state_file, monkeypatch):
    made = []
    step = torch.optim.AdamW.step

    def recording(self, *args, **kwargs):
        made.append((self.param_groups[0]["weight_decay"], self.param_groups[0]["betas"]))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", recording)
    config = TrainingConfig(epochs=2, batch_size=BATCH, augment=(), optimizer="adamw", lr=0.01, weight_decay=0.1)
    _, outcome = fit(split, state_file, config)
    assert made == [(0.1, (0.9, 0.999))] * (2 * STEPS)
    assert outcome.history[-1].loss < outcome.history[0].loss
