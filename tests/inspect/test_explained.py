"""What quantization does to a checkpoint is explained, and nothing else is."""

import pytest
import torch
from torch import nn

from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.inspect.explained import explain
from quantbench.models.quantizable import DeQuantStub, QuantStub, fuse
from quantbench.registry import MODELS, RECIPES
from quantbench.upstream import silenced

BACKEND = EagerBackend(default_engine())
CLIPS = torch.randn(4, 1, 8000, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class InSequence(nn.Sequential):
    """Two convolutions of equal width, named by numbers alone; the first without a bias."""

    def __init__(self):
        triples = [nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)]
        super().__init__(*triples, nn.Conv2d(8, 4, 1, bias=False))
        self.quant, self.dequant = QuantStub(), DeQuantStub()

    def forward(self, x):
        x = self.quant(x)
        for i in range(6):
            x = self[i](x)
        return self.dequant(x).flatten(1)

    def fuse_model(self, is_qat=False):
        fuse(self, [["0", "1", "2"], ["3", "4"]], is_qat)


def seen(model, inputs):
    """A model whose batch norms have statistics and factors of their own, in eval mode."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    with torch.no_grad():
        model.train()(2 * inputs + 1)
    return model.eval()


@pytest.fixture(scope="module")
def m5():
    torch.manual_seed(0)
    return seen(MODELS.create("m5", "here", {}), CLIPS)


@pytest.fixture(scope="module")
def cifar_cnn():
    torch.manual_seed(0)
    return seen(MODELS.create("cifar_cnn", "here", {}), IMAGES)


@pytest.fixture(scope="module")
def sequence():
    torch.manual_seed(0)
    return seen(InSequence(), IMAGES)


@pytest.fixture(scope="module")
def m5_int8(m5):
    return ptq(m5, CLIPS)


def recipe(name, **params):
    return RECIPES.create(name, "here", params)


def ptq(model, inputs, name="static_int8_histogram", **params):
    return BACKEND.quantize_module(model, recipe(name, **params), lambda: [inputs]).model.state_dict()


def trained(model, inputs, name="qat_int8", steps=0, **params):
    """A model prepared for QAT that has seen a batch, and was trained for some steps."""
    prepared = BACKEND.prepare_module(model, recipe(name, **params))
    for module in prepared.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 0.0
    optimizer = torch.optim.SGD(prepared.parameters(), lr=0.3)
    prepared(inputs)
    for _ in range(steps):
        optimizer.zero_grad()
        prepared(inputs).square().mean().backward()
        optimizer.step()
    return prepared


def converted(prepared):
    return BACKEND.convert_module(prepared).model.state_dict()


def changed(state, **values):
    """A copy of the state dict with some keys replaced; None takes one away."""
    merged = {**state, **{key.replace("__", "."): value for key, value in values.items()}}
    return {key: value for key, value in merged.items() if value is not None}


@pytest.mark.parametrize("name", ["static_int8_histogram", "static_int8_per_channel", "static_int8_per_tensor"])
@pytest.mark.parametrize("which", ["m5", "cifar_cnn", "sequence"])
def test_post_training_quantization_is_explained_to_the_last_key(which, name, request):
    model = request.getfixturevalue(which)
    found = explain(model.state_dict(), ptq(model, CLIPS if which == "m5" else IMAGES, name))
    assert (found.unexplained, found.values, found.unchanged, found.moved) == ([], [], 0, {})
    n = {"m5": 5, "cifar_cnn": 7, "sequence": 3}[which]
    assert found.conclusion() == f"{n} of {n} int8 layers are the float weights, rounded: post-training quantization"
    assert max(found.rounded.values()) <= 0.51


def test_each_kind_of_change_has_its_line(m5, m5_int8):
    lines = explain(m5.state_dict(), m5_int8).explained
    assert len(lines) == 15
    for i in range(1, 5):
        assert f"conv{i}: batch norm bn{i} folded into its weight and bias" in lines
        assert f"conv{i}: scale and zero point of its output added" in lines
        assert sum(line.startswith(f"conv{i}: dtype changed: conv{i}.weight float32 [") for line in lines) == 1
    assert "quant: scale and zero point of a quantization stub added" in lines
    [packed] = [line for line in lines if "packed" in line]
    assert packed.startswith("fc1: linear packed: weight float32 [35, 64] → qint8 [35, 64] per_")
    assert packed.endswith(", bias inside")


def test_a_sequences_numbers_lead_to_the_batch_norm_behind_each_convolution(sequence):
    lines = explain(sequence.state_dict(), ptq(sequence, IMAGES)).explained
    assert [line for line in lines if "batch norm" in line] == [
        "0: batch norm 1 folded into its weight and bias",
        "3: batch norm 4 folded into its weight and bias",
    ]


def test_a_dynamic_checkpoint_is_the_baseline_but_for_its_packed_layer(m5):
    found = explain(m5.state_dict(), ptq(m5, CLIPS, "dynamic_int8"))
    assert (found.unexplained, found.values, found.unchanged) == ([], [], 28)
    assert found.explained[0].startswith("fc1: linear packed: weight float32 [35, 64] → qint8 [35, 64] per_tensor_")
    assert found.explained[1] == "fc1: scale and zero point (unused: its activations are quantized dynamically) added"


@pytest.mark.parametrize(("layer", "unchanged"), [("block1", 23), ("block3", 23), ("classifier", 28)])
def test_a_layer_quantized_alone_leaves_every_other_key_equal(m5, layer, unchanged):
    found = explain(m5.state_dict(), ptq(m5, CLIPS, "static_int8_layers", layers=[layer]))
    assert (found.unexplained, found.values, found.unchanged) == ([], [], unchanged)
    assert len(found.rounded) == 1
    assert any("of a quantization stub" in line for line in found.explained)


@pytest.mark.parametrize("which", ["m5", "cifar_cnn", "sequence"])
def test_prepared_models_are_explained_from_fp32_and_to_int8(which, request):
    model = request.getfixturevalue(which)
    inputs = CLIPS if which == "m5" else IMAGES
    fp32 = model.state_dict()
    with silenced():
        observed = BACKEND._prepared(model, recipe("static_int8_histogram"))
        observed(inputs)
    for_training = trained(model, inputs, steps=1)
    for prepared, int8 in ((observed, ptq(model, inputs)), (for_training, converted(for_training))):
        first, second = explain(fp32, prepared.state_dict()), explain(prepared.state_dict(), int8)
        assert (first.unexplained, second.unexplained, second.values, second.moved) == ([], [], [], {})
        assert len(second.rounded) == {"m5": 5, "cifar_cnn": 7, "sequence": 3}[which]
        assert any("observer added" in line for line in first.explained)
        assert any("observer removed" in line for line in second.explained)
    assert any("batch norm" in line and "moved into the fused layer" in line for line in
               explain(fp32, for_training.state_dict()).explained)  # fmt: skip


def test_training_shows_in_the_weights_and_is_explained(m5):
    found = explain(m5.state_dict(), converted(trained(m5, CLIPS, steps=3)))
    assert found.unexplained == []
    assert len(found.moved) >= 3
    assert sum("folded" in line for line in found.explained) == 4
    assert f"{len(found.moved)} of 5 int8 layers are further from the float weights than rounding" in found.conclusion()


def test_a_checkpoint_against_itself_differs_in_nothing(m5, m5_int8):
    for state in (m5.state_dict(), m5_int8, {"a": torch.tensor([float("nan"), 1.0]), "b": None, "c": ()}):
        found = explain(state, dict(state))
        assert (found.explained, found.values, found.unexplained) == ([], [], [])
        assert found.unchanged == len(state)
        assert found.conclusion() == ""


def test_values_are_compared_after_folding(m5, m5_int8):
    bias = m5_int8["conv2.bias"].clone()
    bias[3] += 0.5
    [line] = explain(m5.state_dict(), changed(m5_int8, conv2__bias=bias)).unexplained
    assert line == "conv2.bias: differs by up to 0.5 from what the float layer gives"


def test_the_bias_inside_of_a_packed_layer_is_compared_too(m5, m5_int8):
    weight, bias = m5_int8["fc1._packed_params._packed_params"]
    other = {**m5_int8, "fc1._packed_params._packed_params": (weight, bias + 0.25)}
    [line] = explain(m5.state_dict(), other).unexplained
    assert line == "fc1.bias: differs by up to 0.25 from what the float layer gives"
    lost = {**m5_int8, "fc1._packed_params._packed_params": (weight, None)}
    lines = explain(m5.state_dict(), lost).unexplained
    assert "fc1.bias: only in the first file: float32 [35]" in lines


def test_a_bias_that_appears_from_nowhere_where_there_was_none_is_compared_with_the_folding(cifar_cnn):
    int8 = ptq(cifar_cnn, IMAGES)
    assert "conv1.bias" in int8
    assert "conv1.bias" not in cifar_cnn.state_dict()
    found = explain(cifar_cnn.state_dict(), {**int8, "conv1.bias": int8["conv1.bias"] + 1})
    assert found.unexplained == ["conv1.bias: differs by up to 1 from what the float layer gives"]


def test_a_changed_float_value_is_listed_with_how_far_it_moved(m5, m5_int8):
    other = {**m5.state_dict(), "fc1.bias": m5.fc1.bias.detach() + 0.125}
    assert explain(m5.state_dict(), other).values == ["fc1.bias: values differ by up to 0.125"]
    assert explain(m5_int8, {**m5_int8, "conv1.scale": torch.tensor(2.0)}).values == [
        f"conv1.scale: {m5_int8['conv1.scale'].item():.6g} → 2"
    ]
