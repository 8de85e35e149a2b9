"""The steps of eager quantization: what each makes of a model, and that it leaves the one it was given as it was."""

import copy

import pytest
import torch
from stepped import QAT_QCONFIG, QCONFIG, SAMPLES, calibrated, trained
from tiny_model import tiny_cnn
from tiny_residual import Residual
from torch import nn
from torch.ao import quantization as ao

from quantbench.backends.checkpoint import serialize
from quantbench.backends.torch_ao.observers import observers_of
from quantbench.backends.torch_ao.states import State, state_of
from quantbench.backends.torch_ao.steps import calibrate, check_trainable, convert, fuse, prepare, prepare_qat
from quantbench.models.quantizable import DeQuantStub, QuantStub


@pytest.fixture
def model():
    torch.manual_seed(0)
    return tiny_cnn().eval()


@pytest.mark.parametrize("way", [calibrated, trained], ids=["after training", "quantization-aware training"])
def test_the_steps_in_order_make_an_int8_model_of_nearly_the_same_logits(model, way):
    prepared = way(copy.deepcopy(model))
    int8 = convert(prepared)
    assert state_of(int8) is State.INT8
    with torch.inference_mode():
        expected = prepared(SAMPLES)
        # Kernels pool in integers, where fake quantization does not.
        assert (int8(SAMPLES) - expected).abs().mean() < 0.03 * expected.abs().max()


@pytest.mark.parametrize("is_qat", [False, True])
def test_no_step_changes_the_model_it_is_given(model, is_qat):
    def seen(each):
        return str(each), serialize(each.state_dict()), hasattr(each, "qconfig")

    fused = fuse(model.train(is_qat), is_qat)
    prepared = prepare_qat(fused, QAT_QCONFIG) if is_qat else prepare(fused, QCONFIG)
    prepared(SAMPLES)
    prepared.eval()
    before = [seen(each) for each in (model, fused, prepared)]
    assert state_of(fuse(model, is_qat)) is state_of(fused)
    assert state_of(prepare_qat(fused, QAT_QCONFIG) if is_qat else prepare(fused.eval(), QCONFIG)) is state_of(prepared)
    convert(prepared)
    assert [seen(each) for each in (model, fused, prepared)] == before


@pytest.mark.parametrize("is_qat", [False, True], ids=["after training", "in training"])
def test_steps_in_place_give_the_same_bits_in_the_model_they_are_given(is_qat):
    def converted(in_place):
        model = tiny_cnn().train(is_qat)
        fused = fuse(model, is_qat, in_place=in_place)
        step, qconfig = (prepare_qat, QAT_QCONFIG) if is_qat else (prepare, QCONFIG)
        prepared = step(fused, qconfig, in_place=in_place)
        prepared(SAMPLES)
        found = convert(prepared.eval(), in_place=in_place)
        assert [each is model for each in (fused, prepared, found)] == [in_place] * 3
        return found

    torch.manual_seed(0)
    copies = converted(in_place=False)
    torch.manual_seed(0)
    assert serialize(converted(in_place=True).state_dict()) == serialize(copies.state_dict())


def test_a_qconfig_may_also_be_set_on_the_modules_themselves():
    fused = fuse(Residual().eval())
    fused.fc.qconfig = QCONFIG
    # A functional that stays fp32 has something in the place of an observer, too.
    assert list(observers_of(prepare(fused))) == ["fc"]


@pytest.mark.parametrize(
    ("made", "state"),
    [
        (lambda m: m, State.FLOAT),
        (fuse, State.FUSED),
        (lambda m: fuse(m.train(), True), State.FUSED_FOR_TRAINING),
        (calibrated, State.OBSERVED),
        (trained, State.FAKE_QUANTIZED),
        (lambda m: convert(calibrated(m)), State.INT8),
        (lambda m: ao.quantize_dynamic(m, {nn.Linear}), State.INT8),
    ],
)
def test_the_state_of_a_model_is_told_from_its_modules(model, made, state):
    assert state_of(made(model)) is state


class Plain(nn.Module):
    """A model without batch norm, which has nothing to fuse."""

    def __init__(self):
        super().__init__()
        self.quant, self.fc, self.dequant = QuantStub(), nn.Linear(4, 2), DeQuantStub()

    def forward(self, x):
        return self.dequant(self.fc(self.quant(x)))


def test_a_model_without_batch_norm_may_go_without_fusing():
    prepared = prepare(Plain().eval(), QCONFIG)
    calibrate(prepared, [torch.randn(4, 4)])
    assert state_of(convert(prepared)) is State.INT8


def test_a_model_whose_batch_norms_are_frozen_can_be_trained_and_converted(model):
    from torch.ao.nn.intrinsic.qat import freeze_bn_stats

    prepared = prepare_qat(fuse(model.train(), True), QAT_QCONFIG).apply(freeze_bn_stats).train()
    assert not prepared.conv.bn.training
    check_trainable(prepared)
    prepared(SAMPLES)
    assert state_of(convert(prepared.eval())) is State.INT8
