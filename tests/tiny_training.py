"""A training that takes a fraction of a second: 70 images, five steps an epoch, and ways to end it early."""

from __future__ import annotations

import numpy as np
import torch
from tiny_model import tiny_cnn

from quantbench.config.training import TrainingConfig
from quantbench.data.cache import CachedSide
from quantbench.data.source import Normalization
from quantbench.data.splits import Split
from quantbench.progress import Progress
from quantbench.training.loop import Validation, train

# 70 is no multiple of the batch size, so that every epoch ends with a smaller batch.
N, BATCH, EPOCHS = 70, 16, 4
STEPS = 5
CONFIG = TrainingConfig(epochs=EPOCHS, batch_size=BATCH, lr=0.05)
NORMALIZATION = Normalization(255.0, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def made_split(name="train", n=N, seed=0, wrong=0):
    """Noise with the channel of the label brighter; `wrong` of the labels are another class's."""
    random = np.random.RandomState(seed)
    labels = random.randint(0, 3, n)
    inputs = random.randint(0, 120, (n, 3, 8, 8))
    inputs[np.arange(n), labels] += 80
    labels[:wrong] = (labels[:wrong] + 1) % 3
    digests = random.randint(0, 256, (n, 16)).astype(np.uint8)
    return Split(name, CachedSide(inputs.astype(np.uint8), labels, digests), None, NORMALIZATION)


class KilledAt(Progress):
    """Ends the training as Ctrl-C does, at a step counted from 1."""

    def __init__(self, step):
        super().__init__("test")
        self.step = step

    def update(self, done, *_):
        if done == self.step:
            raise KeyboardInterrupt


def new_model():
    """The same weights every time."""
    torch.manual_seed(0)
    return tiny_cnn()


def fit(split, state_file, config=CONFIG, hook=None, validation=None, show=None, origin=None):
    """Trains a new model: the model and the outcome."""
    model = new_model()
    held_out = Validation(validation) if isinstance(validation, Split) else validation
    return model, train(model, split, config, state_file, show or Progress("test"), hook, held_out, origin)


def trained(split, state_file, config=CONFIG, hook=None, validation=None):
    """The weights of a new model after training, and the history."""
    model, outcome = fit(split, state_file, config, hook, validation)
    return weights(model), outcome.history


def weights(model):
    """A copy of them."""
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}


def killed(split, state_file, step, config=CONFIG, validation=None):
    """Trains until that step and leaves what a killed training leaves."""
    try:
        fit(split, state_file, config, validation=validation, show=KilledAt(step))
    except KeyboardInterrupt:
        return
    raise AssertionError(f"the training ended before step {step}")


def different_keys(first, second):
    """Keys whose tensors are not the same bit for bit."""
    assert first.keys() == second.keys()
    return [key for key in first if not torch.equal(first[key].cpu(), second[key].cpu())]
