"""Batch norms folded into layers, against the layers themselves."""

import pytest
import torch
from torch import nn

from quantbench.inspect.folding import (
    Layer,
    batch_norms,
    bias_difference,
    find_folding,
    folded,
    is_same,
    layer_of,
    names_apart,
    natural,
    steps_apart,
)


def batch_norm(width, seed=0, eps=1e-5, kind=nn.BatchNorm2d):
    generator = torch.Generator().manual_seed(seed)
    module = kind(width, eps=eps)
    with torch.no_grad():
        for tensor in (module.weight, module.running_var):
            tensor.uniform_(0.5, 2, generator=generator)
        for tensor in (module.bias, module.running_mean):
            tensor.normal_(generator=generator)
    return module.eval()


def state_of(**modules):
    return {f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}


@pytest.mark.parametrize("bias", [True, False], ids=["with a bias", "without a bias"])
@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Conv1d, nn.BatchNorm1d, (2, 3, 9)),
        (nn.Conv2d, nn.BatchNorm2d, (2, 3, 9, 9)),
        (nn.Linear, nn.BatchNorm1d, (2, 3)),
    ],
)
def test_a_folded_layer_computes_what_layer_and_batch_norm_compute(layer, norm, shape, bias):
    torch.manual_seed(0)
    sizes = (3, 8) if layer is nn.Linear else (3, 8, 3)
    first, second, x = layer(*sizes, bias=bias), batch_norm(8, kind=norm), torch.randn(shape)
    found = folded(layer_of(first.state_dict() | state_of(l=first), "l"), state_of(bn=second), "bn", 1e-5)
    expected = second(first(x)).detach()
    alone = layer(*sizes)
    alone.load_state_dict({"weight": found.weight.float(), "bias": found.bias.float()})
    assert (alone(x) - expected).abs().max() < 1e-5


def test_rounding_alone_is_half_a_step_and_a_step_further_is_one_more():
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    scales = weight.abs().flatten(1).amax(1) / 127.5
    quantized = torch.quantize_per_channel(weight, scales, torch.zeros(4, dtype=torch.int64), 0, torch.qint8)
    assert 0.4 < steps_apart(Layer(weight, None), quantized) <= 0.5 + 1e-4
    moved = weight.clone()
    inner = weight[2].abs().argmin()
    moved[2].view(-1)[inner] += 3 * scales[2]
    assert 2.4 < steps_apart(Layer(moved, None), quantized) < 3.6
    tensor = torch.quantize_per_tensor(weight, 0.05, 0, torch.qint8)
    assert 0.4 < steps_apart(Layer(weight, None), tensor) <= 0.5 + 1e-4
    assert steps_apart(Layer(weight[:2], None), tensor) == float("inf")


def test_a_weight_beyond_the_range_of_its_integers_is_no_further_than_the_range():
    weight = torch.tensor([[9.0, -9.0], [0.5, 0.1]])
    assert steps_apart(Layer(weight, None), torch.quantize_per_tensor(weight, 0.01, 3, torch.qint8)) < 0.51
    assert steps_apart(Layer(-weight, None), torch.quantize_per_tensor(weight, 0.01, 3, torch.qint8)) == 255


@pytest.mark.parametrize("eps", [1e-5, 1e-3])
def test_either_usual_epsilon_is_found(eps):
    torch.manual_seed(0)
    conv, bn = nn.Conv2d(3, 8, 3), batch_norm(8, eps=eps)
    bn.running_var.mul_(0.01)
    state = state_of(conv=conv, bn=bn)
    fused = torch.nn.utils.fusion.fuse_conv_bn_eval(conv.eval(), bn)
    found = find_folding("conv", layer_of(state, "conv"), state, ["bn"], lambda each: is_same(each, fused.weight))
    assert found.is_exact
    assert bias_difference(found.layer.bias, fused.bias) == 0.0


def two(prefix=""):
    torch.manual_seed(0)
    modules = {"conv1": nn.Conv2d(8, 8, 3), "conv2": nn.Conv2d(8, 8, 3),
               "bn1": batch_norm(8, 1), "bn2": batch_norm(8, 2)}  # fmt: skip
    return {prefix + key: value for key, value in state_of(**modules).items()}


@pytest.mark.parametrize("free", [["bn1", "bn2"], ["bn2", "bn1"]], ids=" then ".join)
@pytest.mark.parametrize("true", ["bn1", "bn2"])
def test_of_two_batch_norms_of_equal_width_the_one_whose_folding_fits_is_found(free, true):
    state = two()
    target = folded(layer_of(state, "conv1"), state, true, 1e-5).weight.float()
    found = find_folding("conv1", layer_of(state, "conv1"), state, free, lambda each: is_same(each, target))
    assert (found.batch_norm, found.is_exact, found.by_name) == (true, True, "bn1")


@pytest.mark.parametrize("free", [["bn1", "bn2"], ["bn2", "bn1"]], ids=" then ".join)
@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_where_none_fits_the_name_decides_and_not_the_order(free, layer):
    state = two()
    found = find_folding(layer, layer_of(state, layer), state, free, lambda _: False)
    assert (found.batch_norm, found.is_exact) == (layer.replace("conv", "bn"), False)


def test_a_batch_norm_of_another_place_or_width_is_no_candidate():
    state = two() | two("deep.") | state_of(narrow=batch_norm(4))
    layer = layer_of(state, "conv1")
    assert find_folding("conv1", layer, state, ["deep.bn1", "narrow"], lambda _: True) is None


@pytest.mark.parametrize(
    ("layer", "batch_norm", "apart"),
    [("conv2", "bn2", 0), ("0", "1", 1), ("a.3", "a.4", 1), ("conv", "bn", 0), ("conv", "bn2", 2), ("c", "c.bn", -1)],
)
def test_names_are_as_far_apart_as_their_numbers(layer, batch_norm, apart):
    assert names_apart(layer, batch_norm) == apart


def test_names_sort_by_their_numbers():
    assert sorted(["conv10.w", "conv2.w", "conv1.w", "a.b"], key=natural) == ["a.b", "conv1.w", "conv2.w", "conv10.w"]


def test_only_what_has_the_four_vectors_is_a_batch_norm():
    state = state_of(bn=batch_norm(8), plain=nn.BatchNorm2d(8, affine=False))
    broken = {**state_of(odd=batch_norm(8)), "odd.running_var": torch.ones(7)}
    hostile = {**state_of(text=batch_norm(8)), "text.weight": "no tensor"}
    assert batch_norms(state | broken | hostile) == ["bn"]


def test_what_has_no_weight_with_channels_is_no_layer():
    assert layer_of({"a.weight": torch.tensor(1.0)}, "a") is layer_of({"a.weight": "text"}, "a") is None
    assert layer_of({"a.weight": torch.ones(2, 2), "a.bias": None}, "a").bias is None
