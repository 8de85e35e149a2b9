"""A module that a function of the user's quantized, beside the reference's modules of the same names."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from quantbench.backends.found_grid import grid_of
from quantbench.backends.twin_insides import TwinInsides
from quantbench.blame.causes import causes_of
from quantbench.blame.causes.interface import Facts
from quantbench.blame.errors import Errors
from quantbench.errors import QuantizationError
from quantbench.recipes.spec import Function

BATCH = {"input": np.random.RandomState(0).randn(8, 3, 8, 8).astype(np.float32)}


class Net(nn.Module):
    """Convolution, batch norm, ReLU, mean and a linear layer."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(torch.relu(self.bn(self.conv(x))).mean((2, 3)))


class Rounded(nn.Module):
    """Someone's linear layer, whose input is rounded too."""

    def __init__(self, linear):
        super().__init__()
        self.linear = linear

    def forward(self, x):
        return self.linear((x * 4).round() / 4)


@pytest.fixture
def net():
    torch.manual_seed(0)
    made = Net().eval()
    made.bn.running_mean.normal_()
    made.bn.running_var.uniform_(0.5, 2)
    return made


def rounded(weight, bits, per_channel):
    """Weights on a grid of so many bits, of each channel or of the tensor."""
    largest = weight.abs().amax(dim=tuple(range(1, weight.ndim)), keepdim=True) if per_channel else weight.abs().max()
    step = largest / (2 ** (bits - 1) - 1)
    return (weight / step).round() * step


def candidate_of(net, change):
    made = copy.deepcopy(net)
    with torch.no_grad():
        change(made)
    return made


def folded(made):
    """The batch norm in the convolution's weights, in 4 bits for each channel."""
    made.conv = nn.utils.fusion.fuse_conv_bn_eval(made.conv, made.bn)
    made.conv.weight.copy_(rounded(made.conv.weight, 4, True))
    made.bn = nn.Identity()


def coarse(made):
    made.fc.weight.copy_(rounded(made.fc.weight, 3, False))


def outputs(insides, layers):
    return insides.put_back(layers)(BATCH)["output"]


def test_all_put_back_is_the_reference_and_none_is_the_candidate(net):
    candidate = candidate_of(net, coarse)
    insides, x = TwinInsides(net, candidate), torch.from_numpy(BATCH["input"])
    inside = insides.run(BATCH)
    with torch.inference_mode():
        assert np.array_equal(inside.reference["output"], net(x).numpy())
        assert np.array_equal(inside.candidate["output"], candidate_of(net, coarse)(x).numpy())
    assert np.array_equal(inside.all_back["output"], inside.reference["output"])
    assert not np.array_equal(outputs(insides, []), inside.reference["output"])
    assert np.array_equal(outputs(insides, ["fc"]), inside.reference["output"])


def test_a_layer_that_is_the_reference_s_is_not_one_to_put_back(net):
    insides = TwinInsides(net, candidate_of(net, coarse))
    insides.run(BATCH)
    assert [(each.name, each.is_quantized) for each in insides.layers] == [("conv", False), ("bn", False), ("fc", True)]


def test_the_grid_of_a_layer_is_found_from_its_weights(net):
    insides = TwinInsides(net, candidate_of(net, coarse))
    insides.run(BATCH)
    fc = insides.layers[-1]
    assert fc.weight.grid.axis is None
    assert fc.weight.grid.scale == pytest.approx(net.fc.weight.abs().max().item() / 3)
    assert (fc.weight.grid.first, fc.weight.grid.last) == (-4, 3)


def test_a_batch_norm_that_was_folded_is_put_back_with_its_convolution(net):
    insides = TwinInsides(net, candidate_of(net, folded))
    inside = insides.run(BATCH)
    assert [each.name for each in insides.layers] == ["conv", "fc"]
    assert insides.unmatched == ()
    assert np.allclose(outputs(insides, ["conv"]), inside.reference["output"], atol=1e-6)
    assert not np.allclose(inside.candidate["output"], inside.reference["output"], atol=1e-3)


def test_one_that_was_left_out_elsewhere_is_named(net):
    class Later(Net):
        def forward(self, x):
            return self.fc(self.bn(torch.relu(self.conv(x))).mean((2, 3)))

    reference = Later().eval()
    reference.load_state_dict(net.state_dict())

    def without(made):
        made.bn = nn.Identity()
        coarse(made)

    insides = TwinInsides(reference, candidate_of(reference, without))
    inside = insides.run(BATCH)
    assert insides.unmatched == ("bn",)
    assert not np.allclose(inside.all_back["output"], inside.reference["output"])


def test_a_layer_in_someone_s_own_class_is_put_back_whole_and_what_it_rounds_is_not_known(net):
    def wrap(made):
        made.fc = Rounded(made.fc)

    insides = TwinInsides(net, candidate_of(net, wrap))
    inside = insides.run(BATCH)
    fc = insides.layers[-1]
    assert (fc.op, fc.is_quantized, fc.weight) == ("Rounded for Linear", True, None)
    assert np.array_equal(outputs(insides, ["fc"]), inside.reference["output"])
    errors = Errors(fc)
    errors.add(inside.layers["fc"])
    (cause,) = causes_of(Facts(fc, errors, recipe=Function(function="their.quant:all")))
    assert cause.kind == "not_known"
    assert cause.words.startswith("Rounded for Linear leaves ")
    assert cause.advice == "another way to round it in 'their.quant:all'"


def test_weights_on_no_grid_are_told_by_how_far_they_are_apart(net):
    insides = TwinInsides(net, candidate_of(net, lambda made: made.fc.weight.mul_(0.5)))
    errors = Errors(insides.layers[-1])
    errors.add(insides.run(BATCH).layers["fc"])
    (cause,) = causes_of(Facts(insides.layers[-1], errors))
    assert cause.words == "its weights are 50 % apart from the reference's, and lie on no grid"


def test_modules_of_other_names_are_refused(net):
    with pytest.raises(QuantizationError, match="no module with weights has the same name"):
        TwinInsides(net, nn.Sequential(nn.Flatten(), nn.Linear(192, 4)))


def test_a_candidate_that_is_the_reference_is_refused(net):
    with pytest.raises(QuantizationError, match="every module with weights is the reference's, value by value"):
        TwinInsides(net, copy.deepcopy(net)).run(BATCH)


def test_weights_of_the_candidate_alone_are_named(net):
    def more(made):
        coarse(made)
        made.extra = nn.Linear(2, 2)

    assert TwinInsides(net, candidate_of(net, more)).unmatched == ("extra",)


def test_a_module_that_is_given_something_else_is_one_line(net):
    class Other(Net):
        def forward(self, x):
            x = torch.relu(self.bn(self.conv(x))).mean((2, 3))
            return self.fc(torch.cat([x, x], 1))

    candidate = Other().eval()
    candidate.load_state_dict(net.state_dict())
    candidate.fc = nn.Linear(16, 4)
    line = "^'fc' cannot be put back: the reference's does not take what the candidate's is given .*RuntimeError"
    with pytest.raises(QuantizationError, match=line):
        TwinInsides(net, candidate).run(BATCH)


def test_quantized_tensors_between_layers_are_refused(net):
    class Integers(nn.Linear):
        def forward(self, x):
            return torch.quantize_per_tensor(super().forward(x), 0.1, 0, torch.qint8)

    class Other(Net):
        def forward(self, x):
            return super().forward(x).dequantize()

    candidate = Other().eval()
    candidate.load_state_dict(net.state_dict())
    candidate.fc = Integers(8, 4)
    with pytest.raises(QuantizationError, match="'fc' hands on quantized tensors"):
        TwinInsides(net, candidate).run(BATCH)


def test_steps_of_eight_bits_are_found_in_numbers_of_32_and_the_lowest_code_is_among_them():
    codes = np.random.RandomState(3).randint(-128, 128, (8, 400))
    codes[:, 0] = -128
    scales = np.random.RandomState(4).uniform(0.001, 0.01, (8, 1))
    found = grid_of((codes * scales).astype(np.float32), 0)
    assert found.scale == pytest.approx(scales, rel=1e-6)
    assert (found.first, found.last) == (-128, 127)


def test_a_channel_that_was_pruned_hides_no_grid():
    codes = np.random.RandomState(5).randint(-127, 128, (3, 200))
    values = codes * np.array([[0.5], [0.0], [0.7]])
    assert grid_of(values, 0).scale.reshape(-1) == pytest.approx([0.5, 0.6, 0.7])


@pytest.mark.parametrize("channel", [0, 1])
def test_a_grid_for_each_channel_is_found_along_its_axis(channel):
    codes = np.random.RandomState(1).randint(-127, 128, (3, 200) if channel == 0 else (200, 3))
    scales = np.array([0.5, 0.3, 0.7]).reshape((3, 1) if channel == 0 else (1, 3))
    found = grid_of(codes * scales, channel)
    assert found.axis == channel
    assert found.scale == pytest.approx(scales)


@pytest.mark.parametrize(
    "values",
    [np.random.RandomState(2).randn(4, 64), np.ones((2, 3)), np.zeros((4, 64)), np.full((4, 64), np.nan)],
    ids=["real numbers", "few", "zeros", "not finite"],
)
def test_what_lies_on_no_grid_for_sure_has_none(values):
    assert grid_of(values, 0) is None
