"""What the steps of eager quantization refuse, and the line that says what to do instead."""

import pytest
import tiny_residual
import torch
from stepped import HERE, QAT_QCONFIG, QCONFIG, SAMPLES, calibrated, line_of, trained
from tiny_model import TinyCNN, tiny_cnn
from tiny_residual import Residual
from torch import nn
from torch.ao.quantization import ObserverBase

from quantbench.backends.torch_ao.qconfigs import power_of_two_qat_qconfig, power_of_two_qconfig
from quantbench.backends.torch_ao.steps import check_trainable, convert, fuse, prepare, prepare_qat
from quantbench.models.quantizable import fuse as fuse_groups


@pytest.fixture
def model():
    torch.manual_seed(0)
    return tiny_cnn().eval()


def test_a_model_fused_by_its_own_method_counts_as_fused(model):
    model.fuse_model(is_qat=False)
    assert line_of(fuse, model) == (
        "fuse: TinyCNN is fused for inference; fuse once, as the first step, and start from the fp32 model"
    )


class Unrectified(TinyCNN):
    """Nothing tells its fused convolution from any other."""

    def forward(self, x):
        return self.dequant(self.fc(self.pool(self.bn(self.conv(self.quant(x)))).flatten(1)))

    def fuse_model(self, is_qat=False):
        fuse_groups(self, [["conv", "bn"]], is_qat)


def test_fusing_twice_is_refused_where_the_fused_layers_cannot_be_told_from_others():
    fused = fuse(Unrectified(3, 4).eval())
    assert type(fused.conv) is nn.Conv2d
    assert line_of(fuse, fused).startswith("fuse: Unrectified is fused for inference; fuse once")


def test_a_fuse_model_that_fails_is_quoted_in_a_line():
    fused = Unrectified(3, 4).eval()
    fused.fuse_model()
    message = line_of(fuse, fused)
    assert message.startswith("Unrectified.fuse_model(is_qat=False) failed: ")
    assert "Identity" in message
    assert message.endswith("name groups of Conv-BN, Conv-BN-ReLU, Conv-ReLU or Linear-ReLU that the model has")


class NoArgument(TinyCNN):
    """Its fuse_model cannot fuse for training."""

    def fuse_model(self): ...


def test_a_fuse_model_that_does_not_take_is_qat_is_refused():
    assert line_of(fuse, NoArgument(3, 4).eval()).startswith("NoArgument has no fuse_model(is_qat): eager quantization")


def test_one_layer_in_another_mode_than_its_model_is_named(model):
    model.bn.train()
    assert line_of(fuse, model) == (
        "fuse for inference: 'bn' of TinyCNN is in train mode and has to be in eval mode: call model.eval() first"
    )


def test_the_pair_that_is_not_fused_is_named(model):
    assert line_of(prepare, model, QCONFIG) == (
        "prepare: 'conv' and 'bn' of TinyCNN are not fused; call fuse first, with a fuse_model that names every such "
        "pair, or set qconfig = None on the convolution to leave it in fp32"
    )


class Forgetful(Residual):
    """Fuses its stem and forgets its block."""

    def fuse_model(self, is_qat=False):
        fuse_groups(self, [["conv", "bn", "relu"]], is_qat)


@pytest.mark.parametrize("is_qat", [False, True])
def test_a_pair_that_fuse_model_forgot_is_named(is_qat):
    fused = fuse(Forgetful().train(is_qat), is_qat)
    step, qconfig = (prepare_qat, QAT_QCONFIG) if is_qat else (prepare, QCONFIG)
    assert "'layers.0.conv1' and 'layers.0.bn1' of Forgetful are not fused" in line_of(step, fused, qconfig)


def test_an_unfused_pair_that_stays_fp32_is_nobody_s_business():
    fused = fuse(Forgetful().eval())
    fused.fc.qconfig = QCONFIG
    prepared = prepare(fused)
    observed = [name for name, module in prepared.named_modules() if isinstance(module, ObserverBase)]
    assert observed == ["fc.activation_post_process"]


def test_preparing_for_calibration_what_was_fused_for_training_is_refused(model):
    fused = fuse(model.train(), is_qat=True).eval()
    assert line_of(prepare, fused, QCONFIG) == (
        "prepare: TinyCNN is fused for quantization-aware training; fuse the fp32 model for inference, or go on with "
        "prepare_qat"
    )


def test_preparing_for_training_what_was_fused_for_inference_is_refused(model):
    fused = fuse(model).train()
    assert line_of(prepare_qat, fused, QAT_QCONFIG) == (
        "prepare_qat: TinyCNN is fused for inference; its batch norms are folded away: fuse the fp32 model with "
        "is_qat=True"
    )


@pytest.mark.parametrize(
    ("step", "qconfig", "words"),
    [
        (prepare, QAT_QCONFIG, "has fake quantizers; it needs observers"),
        (prepare_qat, QCONFIG, "has observers; it needs fake quantizers"),
    ],
)
def test_a_qconfig_for_the_other_way_is_refused(model, step, qconfig, words):
    is_qat = step is prepare_qat
    fused = fuse(model.train(is_qat), is_qat)
    assert line_of(step, fused, qconfig) == f"{step.__name__}: the qconfig of TinyCNN {words}"


def test_a_model_of_which_nothing_is_to_be_quantized_is_refused(model):
    message = "prepare: no part of TinyCNN has a qconfig; give one, for all or a part"
    assert line_of(prepare, fuse(model)) == message


def test_the_first_layer_that_saw_no_data_is_named():
    prepared = prepare(fuse(Residual().eval()), QCONFIG)
    prepared.quant.activation_post_process(SAMPLES)
    assert line_of(convert, prepared) == (
        "convert: 'conv' has seen no data, and its scale would be 1.0; run samples through it first (calibrate, or "
        "train), or set its qconfig to None if no sample ever gets there"
    )


class WithSpare(tiny_residual.Block):
    """One of its layers is never called."""

    def __init__(self, channels):
        super().__init__(channels)
        self.spare = nn.Conv2d(channels, channels, 1)


@pytest.mark.parametrize("way", [calibrated, trained], ids=["after training", "quantization-aware training"])
def test_a_layer_that_no_sample_reaches_is_named(way):
    assert line_of(convert, way(Residual(WithSpare).eval())).startswith("convert: 'layers.0.spare' has seen no data")


def test_a_functional_that_saw_no_data_is_named():
    prepared = calibrated(Residual().eval())
    prepared.layers[0].functional.activation_post_process.reset_min_max_vals()
    assert line_of(convert, prepared).startswith("convert: 'layers.0.functional' has seen no data")


def test_converting_somewhere_else_than_on_the_cpu_names_tensor_and_device(model):
    prepared = calibrated(model).to("meta")
    assert line_of(convert, prepared) == (
        "convert: 'conv.0.weight' of TinyCNN is on device 'meta', and int8 kernels run on the CPU: call model.cpu() "
        "first"
    )


def test_a_model_on_two_devices_is_refused_with_a_tensor_on_each(model):
    model.fc.to("meta")
    assert line_of(fuse, model) == (
        "fuse: TinyCNN is on several devices ('conv.weight' on 'cpu', 'fc.weight' on 'meta'); move it to one"
    )


def test_a_converted_model_has_nothing_to_train(model):
    assert line_of(check_trainable, convert(calibrated(model)).train()) == (
        "train: TinyCNN is converted to int8; integers have no gradient: train what prepare_qat gives, and convert that"
    )


@pytest.mark.parametrize("max_shift", [-1, 31])
@pytest.mark.parametrize("qconfig", [power_of_two_qconfig, power_of_two_qat_qconfig])
def test_a_max_shift_out_of_range_is_refused_when_the_qconfig_is_made(qconfig, max_shift):
    assert line_of(qconfig, HERE, max_shift).startswith(f"max_shift: {max_shift} is not possible; allowed: 0 to 30")
