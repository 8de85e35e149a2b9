"""Fusing may change nothing but rounding: what computes something else is named by its first module."""

import pytest
import tiny_residual
import torch
from small_models import small_model
from stepped import QAT_QCONFIG, QCONFIG
from tiny_model import TinyCNN
from tiny_residual import Residual
from torch import nn

from quantbench.backends.torch_ao.dry_run import rehearse
from quantbench.backends.torch_ao.fused_forward import TOLERANCE, check_fused
from quantbench.backends.torch_ao.steps import fuse
from quantbench.errors import QuantizationError
from quantbench.models.quantizable import fuse as fuse_groups
from quantbench.registry import MODELS

SAMPLES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
ONE_AFTER_ANOTHER = "names layers that follow each other in the forward, in that order, and each of them runs once"
BOTH_WAYS = pytest.mark.parametrize("is_qat", [False, True], ids=["after training", "quantization-aware training"])


def settled(model):
    """With batch norms that are neither the identity nor like each other."""
    random = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.uniform_(-0.5, 0.5, generator=random)
            module.running_var.uniform_(0.3, 2.0, generator=random)
    return model.eval()


def refusal_of(model, is_qat=False):
    with pytest.raises(QuantizationError) as refused:
        rehearse(settled(model), SAMPLES, QAT_QCONFIG if is_qat else QCONFIG, is_qat=is_qat)
    assert "\n" not in str(refused.value)
    return str(refused.value)


class Swapped(Residual):
    """Each convolution of the block is fused with the other one's batch norm."""

    def fuse_model(self, is_qat=False):
        fuse_groups(self, [["conv", "bn", "relu"]], is_qat)
        fuse_groups(self.layers[0], [["conv1", "bn2"], ["conv2", "bn1"]], is_qat)


@BOTH_WAYS
def test_batch_norms_of_each_other_s_convolution_are_named_by_the_first_of_them(is_qat):
    message = refusal_of(Swapped(), is_qat)
    assert message.startswith(
        "fusing changed what Swapped computes: the result of 'layers.0.bn1' (BatchNorm2d), with which the fused group "
        "of 'layers.0.conv1' ends, is the first to differ, by "
    )
    assert message.endswith(ONE_AFTER_ANOTHER)


@BOTH_WAYS
def test_a_relu_that_is_fused_and_called_once_more_is_named_with_its_calls(is_qat):
    message = refusal_of(Residual(tiny_residual.SharedRelu), is_qat)
    assert "the result of 'layers.0.relu1' (ReLU)" in message
    assert message.endswith("It is called 2 times and went into one group: give each call a layer of its own")


class TwoGroups(TinyCNN):
    """One ReLU for two convolutions, in a group of each."""

    def __init__(self, n_classes, channels):
        super().__init__(n_classes, channels)
        self.conv2 = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        x = self.relu(self.conv2(self.relu(self.bn(self.conv(self.quant(x))))))
        return self.dequant(self.fc(self.pool(x).flatten(1)))

    def fuse_model(self, is_qat=False):
        fuse_groups(self, [["conv", "bn", "relu"], ["conv2", "relu"]], is_qat)


@BOTH_WAYS
def test_a_relu_in_two_groups_is_named_with_the_second(is_qat):
    assert (
        "failed: the group 'conv2', 'relu': 'relu' is an Identity: it was fused before, or is named in two groups"
        in refusal_of(TwoGroups(3, 4), is_qat)
    )


class Elsewhere(TinyCNN):
    """What fuse_model changes is no group at all."""

    def fuse_model(self, is_qat=False):
        super().fuse_model(is_qat)
        self.fc.weight.data *= 1.01


def test_a_change_of_one_per_cent_in_the_last_layer_is_found():
    message = refusal_of(Elsewhere(3, 4))
    assert "the result of 'fc' (Linear) is the first to differ, by 0.0" in message


class Functional(TinyCNN):
    """The last step is in no module."""

    def __init__(self, n_classes, channels):
        super().__init__(n_classes, channels)
        self.factor = 1.0

    def forward(self, x):
        return super().forward(x) * self.factor

    def fuse_model(self, is_qat=False):
        super().fuse_model(is_qat)
        self.factor = 2.0


def test_where_no_module_s_result_differs_the_output_is_named():
    assert "Functional computes: the model's output is the first to differ, by 1 " in refusal_of(Functional(3, 4))


class PooledFirst(TinyCNN):
    """A ReLU that is moved before a pooling; of a maximum it may be."""

    def __init__(self, pooling):
        super().__init__(3, 4)
        self.pooling = pooling

    def forward(self, x):
        x = self.relu(self.pooling(self.bn(self.conv(self.quant(x)))))
        return self.dequant(self.fc(self.pool(x).flatten(1)))


def test_a_relu_moved_before_a_maximum_changes_nothing_and_before_a_mean_it_does():
    rehearse(settled(PooledFirst(nn.MaxPool2d(2))), SAMPLES, QCONFIG)
    assert "the result of 'bn' (BatchNorm2d), with which" in refusal_of(PooledFirst(nn.AvgPool2d(2)))


class Cancelling(TinyCNN):
    """The mean of what was normalized to mean 0 is nothing but rounding."""

    def __init__(self):
        super().__init__(3, 4)
        self.norm = nn.InstanceNorm2d(4)

    def forward(self, x):
        x = self.norm(self.relu(self.bn(self.conv(self.quant(x)))))
        return self.dequant(self.fc(self.pool(x).flatten(1)))


def test_rounding_is_no_change_where_values_cancel():
    rehearse(settled(Cancelling()), SAMPLES, QCONFIG)


class FarOff(TinyCNN):
    """The mean is 1e6 deviations, and float32 has no room for what folding adds to it."""

    def __init__(self):
        super().__init__(3, 4)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        nn.init.constant_(self.conv.bias, 1e6)
        nn.init.constant_(self.bn.running_mean, 1e6)


def test_what_only_float32_rounds_apart_is_let_through_after_a_look_in_float64():
    model = FarOff().eval()
    in_float32, in_float64 = (
        (fuse(each)(samples) - each(samples)).abs().max() / each(samples).abs().max()
        for each, samples in ((model, SAMPLES), (FarOff().double().eval(), SAMPLES.double()))
    )
    assert in_float32 > TOLERANCE > 100 * in_float64
    check_fused(model, fuse, SAMPLES)


@pytest.mark.parametrize("name", [name for name in MODELS.names() if name not in ("token_transformer", "unet")])
def test_rounding_of_a_registered_model_is_far_below_the_tolerance(name):
    model = settled(small_model(name))
    samples = torch.randn(2, *((1, 8000) if name == "m5" else (3, 32, 32)))
    with torch.inference_mode():
        before, after = model(samples), fuse(model)(samples)
    assert (before - after).abs().max() < TOLERANCE / 30 * before.abs().max()


def test_model_and_modes_are_left_as_they_were():
    model = settled(Residual())
    model.layers.train()
    hooks = [len(module._forward_hooks) for module in model.modules()]
    check_fused(model.eval(), fuse, SAMPLES)
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert not any(module.training for module in model.modules())
