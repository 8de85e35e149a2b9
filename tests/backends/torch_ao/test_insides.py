"""Values inside of a converted module, and the module with layers put back."""

import copy

import numpy as np
import pytest
import torch
from tiny_residual import Plus
from torch import nn

from quantbench.backends.engines import default_engine
from quantbench.backends.torch_ao.insides import EagerInsides
from quantbench.backends.torch_ao.qconfigs import static_qconfig
from quantbench.backends.torch_ao.steps import calibrate, convert, fuse, prepare
from quantbench.errors import QuantizationError
from quantbench.models.quantizable import DeQuantStub, FloatFunctional, QuantStub
from quantbench.recipes.static_int8 import static_int8_per_channel
from quantbench.upstream import silenced

BATCH = {"input": np.random.RandomState(0).randn(8, 3, 8, 8).astype(np.float32)}
RECIPE = static_int8_per_channel(8)


class Net(nn.Module):
    """Convolution, ReLU, a residual sum, pooling and a linear layer."""

    def __init__(self):
        super().__init__()
        self.quant, self.dequant = QuantStub(), DeQuantStub()
        self.conv1, self.relu1 = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.add, self.fc = FloatFunctional(), nn.Linear(8, 4)

    def forward(self, x):
        x = self.relu1(self.conv1(self.quant(x)))
        x = self.add.add_relu(x, self.bn2(self.conv2(x)))
        return self.dequant(self.fc(torch.nn.functional.max_pool2d(x, 8).flatten(1)))

    def fuse_model(self, is_qat=False):
        from quantbench.models.quantizable import fuse

        fuse(self, [["conv1", "relu1"], ["conv2", "bn2"]], is_qat)


def made(change=None, is_trained=False):
    """The parts of an `EagerInsides`; `change` is applied to the converted module."""
    torch.manual_seed(0)
    model = Net().eval()
    fused = fuse(copy.deepcopy(model))
    prepared = prepare(copy.deepcopy(fused), static_qconfig(RECIPE, default_engine()))
    calibrate(prepared, [torch.from_numpy(BATCH["input"])])
    converted = convert(prepared)
    if change is not None:
        change(converted)
    return EagerInsides(model, fused, converted, is_trained, default_engine())


def outputs(insides, layers):
    return insides.put_back(layers)(BATCH)["output"]


def error(insides, layers, reference):
    return float(np.square(outputs(insides, layers) - reference).mean())


def test_layers_come_in_the_order_in_which_they_run_with_their_grids():
    insides = made()
    insides.run(BATCH)
    assert [each.name for each in insides.layers] == ["quant", "conv1", "conv2", "add", "fc"]
    assert [each.op for each in insides.layers] == ["input", "ConvReLU2d", "Conv2d", "QFunctional", "Linear"]
    conv = insides.layers[1]
    assert conv.weight.grid.axis == 0
    # But for what lies in the middle of two codes.
    assert np.isclose(conv.weight.grid.rounded(conv.weight.reference), conv.weight.candidate, atol=1e-6).mean() > 0.98
    assert all(each.is_quantized for each in insides.layers)


def test_all_put_back_is_the_reference_and_none_the_candidate():
    insides = made()
    inside = insides.run(BATCH)
    names = [each.name for each in insides.layers]
    np.testing.assert_allclose(outputs(insides, names), inside.reference["output"], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(outputs(insides, []), inside.candidate["output"])


def test_values_of_a_layer_are_those_of_both_models():
    insides = made()
    inside = insides.run(BATCH)
    for layer in insides.layers:
        values = inside.layers[layer.name]
        local = layer.grid.rounded(values.exact)
        assert np.abs(local - values.reference).max() < 0.2 * np.abs(values.reference).max()
        # The kernel computes what floating point does, but for the last code.
        assert np.abs(layer.grid.rounded(values.simulated) - values.candidate).max() <= 1.01 * float(layer.grid.scale)


@pytest.mark.parametrize("name", ["conv1", "conv2", "add", "fc"])
def test_a_broken_scale_is_mended_by_putting_that_layer_back_alone(name):
    def shrink(converted):
        module = converted.get_submodule(name)
        module.scale = module.scale / 20

    insides = made(shrink)
    reference = insides.run(BATCH).reference["output"]
    errors = {each.name: error(insides, [each.name], reference) for each in insides.layers}
    assert min(errors, key=errors.get) == name
    assert errors[name] < 0.05 * error(insides, [], reference)


def test_a_trained_layer_that_is_put_back_keeps_its_weights():
    def halve(converted):
        conv = converted.conv1
        conv.set_weight_bias(torch.quantize_per_channel(
            conv.weight().dequantize() / 2, conv.weight().q_per_channel_scales(),
            conv.weight().q_per_channel_zero_points(), 0, torch.qint8,
        ), conv.bias())  # fmt: skip

    insides = made(halve, is_trained=True)
    inside = insides.run(BATCH)
    assert inside.all_back is None
    assert insides.layers[1].weight.reference is None
    assert np.abs(outputs(insides, ["quant", "conv1", "conv2", "add", "fc"]) - inside.candidate["output"]).max() < 0.1
    assert insides.notes == ("weights were fine-tuned: a layer that is put back keeps them",)


def test_a_layer_that_is_called_twice_is_told():
    class Twice(Net):
        def forward(self, x):
            x = self.relu1(self.conv1(self.quant(x)))
            x = self.bn2(self.conv2(self.bn2(self.conv2(x))))
            return self.dequant(self.fc(torch.nn.functional.max_pool2d(x, 8).flatten(1)))

    torch.manual_seed(0)
    model = Twice().eval()
    fused = fuse(copy.deepcopy(model))
    prepared = prepare(copy.deepcopy(fused), static_qconfig(RECIPE, default_engine()))
    calibrate(prepared, [torch.from_numpy(BATCH["input"])])
    insides = EagerInsides(model, fused, convert(prepared), False, default_engine())
    insides.run(BATCH)
    assert "'conv2' is called 2 times: its values are those of the first call" in insides.notes[0]
    assert "add" in insides.unmatched


def test_a_model_without_any_layer_in_int8_is_refused():
    model = Plus(4).eval()
    with pytest.raises(QuantizationError, match="no module of it computes in int8"):
        EagerInsides(model, model, copy.deepcopy(model), False, default_engine())


def test_a_layer_that_is_quantized_batch_by_batch_has_no_range_of_its_results():
    from torch.ao.quantization import quantize_dynamic

    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)).eval()
    with silenced():
        converted = quantize_dynamic(copy.deepcopy(model), {nn.Linear}, dtype=torch.qint8)
    insides = EagerInsides(model, model, converted, False, default_engine())
    inside = insides.run(BATCH)
    assert [(each.name, each.grid) for each in insides.layers] == [("1", None)]
    np.testing.assert_allclose(outputs(insides, ["1"]), inside.reference["output"], rtol=1e-5)
