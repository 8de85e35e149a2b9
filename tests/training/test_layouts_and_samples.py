"""A model that only runs on contiguous tensors trains too, and a sample that gives NaN is named with its layer."""

import re

import pytest
import torch
from tiny_model import TinyCNN
from tiny_training import BATCH, CONFIG, different_keys, made_split, weights
from torch import nn

from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.errors import TrainingError
from quantbench.progress import Progress
from quantbench.registry import RECIPES
from quantbench.training.loop import train


class Flattened(TinyCNN):
    """Pools to 2×2 and flattens."""

    def __init__(self):
        super().__init__(3, 4)
        self.pool, self.fc = nn.AvgPool2d(4), nn.Linear(16, 3)

    def flat(self, x):
        return x.flatten(1)

    def forward(self, x):
        x = self.pool(self.relu(self.bn(self.conv(self.quant(x)))))
        return self.dequant(self.fc(self.flat(x)))


class Viewed(Flattened):
    """The same by a view, which tensors in channels-last layout do not allow."""

    def flat(self, x):
        return x.view(len(x), -1)


def fitted(model, split, state_file):
    return train(model, split, CONFIG.changed({"epochs": 1}), state_file, Progress("test"))


@pytest.mark.parametrize("kind", [Flattened, Viewed])
def test_either_way_of_flattening_trains(kind, tmp_path):
    torch.manual_seed(0)
    model = kind()
    before = weights(model)
    outcome = fitted(model, made_split(), tmp_path / "state.pt")
    assert len(outcome.history) == 1
    assert "fc.weight" in different_keys(before, weights(model))


def test_an_error_of_the_model_in_every_layout_is_its_own(tmp_path):
    model = Flattened()
    model.fc = nn.Linear(7, 3)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        fitted(model, made_split(), tmp_path / "state.pt")


class Standardized(TinyCNN):
    """Divides by each image's own deviation, which is 0 for a black one."""

    def __init__(self):
        super().__init__(3, 4)

    def forward(self, x):
        return super().forward((x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True))


@pytest.mark.parametrize("is_qat", [False, True], ids=["fp32", "quantization-aware training"])
def test_a_sample_that_gives_nan_is_named_with_the_layer(is_qat, tmp_path):
    split = made_split()
    split.side.inputs[split.stored_at(37)] = 0
    model = Standardized()
    if is_qat:
        recipe = RECIPES.create("qat_int8", "here", {})
        model = EagerBackend(default_engine()).prepare_module(model.eval(), recipe)
    with pytest.raises(TrainingError) as refused:
        fitted(model, split, tmp_path / "state.pt")
    message = str(refused.value)
    assert re.search(r"at epoch 1, step \d of 5: 'quant' \(QuantStub\) of Standardized is given NaN", message)
    assert "for sample number 37 of the training side;" in message
    assert "smaller lr" not in message


def test_weights_that_overflow_for_every_sample_are_no_sample_s_doing(tmp_path):
    model = Standardized()
    nn.init.constant_(model.fc.weight, 3e38)
    with pytest.raises(TrainingError, match=r"the loss is \w+ at epoch 1, step 1 of 5; .* Try a smaller lr"):
        fitted(model, made_split(n=BATCH * 5), tmp_path / "state.pt")
