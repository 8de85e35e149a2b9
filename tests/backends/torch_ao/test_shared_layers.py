"""One observer for the results of several calls: refused where one scale cannot fit them, and said where it can."""

import pytest
import torch
from stepped import QAT_QCONFIG, QCONFIG
from tiny_model import TinyCNN
from torch import nn

from quantbench.backends.torch_ao.dry_run import rehearse
from quantbench.backends.torch_ao.shared_layers import aliases_of
from quantbench.errors import QuantizationError, SharedLayerWarning
from quantbench.models.quantizable import DeQuantStub, FloatFunctional, QuantStub

SAMPLES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class Around(TinyCNN):
    """Something between the ReLU and the pooling."""

    def __init__(self):
        super().__init__(3, 4)
        self.add, self.other, self.scaled = FloatFunctional(), FloatFunctional(), FloatFunctional()
        self.layer, self.second, self.act = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Hardswish()
        self.between = nn.ReLU()

    def forward(self, x):
        x = self.middle(self.relu(self.bn(self.conv(self.quant(x)))))
        return self.dequant(self.fc(self.pool(x).flatten(1)))


def network(middle, **parts):
    made = type("Net", (Around,), {"middle": middle})()
    for name, part in parts.items():
        setattr(made, name, part)
    return made.eval()


def outcome(middle, is_qat=False, unused=(), **parts):
    """Rehearses such a network; what its forward leaves out is not quantized."""
    torch.manual_seed(0)
    model = network(middle, **parts)
    for name in unused:
        getattr(model, name).qconfig = None
    rehearse(model, SAMPLES, QAT_QCONFIG if is_qat else QCONFIG, is_qat=is_qat)


def refusal(middle, is_qat=False, **parts):
    with pytest.raises(QuantizationError) as refused:
        outcome(middle, is_qat, **parts)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("is_qat", [False, True])
def test_a_functional_for_two_sums_is_named_with_both_ranges(is_qat):
    def sums(net, x):
        return net.add.add(net.add.add(x, x), net.scaled.mul_scalar(x, 100.0))

    message = refusal(sums, is_qat, unused=("layer", "second"))
    assert message.startswith("`add` of Net is called twice: give each sum its own; one scale has to fit 0..")


@pytest.mark.parametrize(("operator", "made"), [("mul", "product"), ("cat", "concatenation"), ("add_relu", "sum")])
def test_what_a_functional_makes_is_called_by_its_name(operator, made):
    def twice(net, x):
        args = ([x, x], 2) if operator == "cat" else (x, x)
        getattr(net.add, operator)(*args)
        return getattr(net.add, operator)(*args)

    assert f"`add` of Net is called twice: give each {made} its own" in refusal(twice, unused=("layer", "second"))


def test_a_functional_under_two_names_is_told_both():
    shared = FloatFunctional()

    def sums(net, x):
        return net.other.add(net.add.add(x, x), x)

    message = refusal(sums, unused=("layer", "second"), add=shared, other=shared)
    assert message.startswith("`add` (also `other`) of Net is called twice: give each sum its own")


def test_each_sum_with_a_functional_of_its_own_is_let_through(recwarn):
    outcome(lambda net, x: net.other.add(net.add.add(x, x), x), unused=("layer", "second"))
    assert not recwarn


def test_an_activation_with_a_scale_is_refused_and_one_without_may_run_as_often_as_it_likes(recwarn):
    def twice(name):
        return lambda net, x: getattr(net, name)(net.second(getattr(net, name)(net.layer(x))))

    outcome(twice("between"))
    outcome(twice("between"), between=nn.ReLU6())
    assert not recwarn
    assert "`act` of Net is called twice: give each call its own" in refusal(twice("act"))


def test_a_layer_on_inputs_of_one_range_is_let_through_with_a_warning():
    with pytest.warns(SharedLayerWarning, match=r"^`layer` of Net is called twice, and its calls share their scales"):
        outcome(lambda net, x: net.add.add(net.layer(x), net.layer(x.flip(-1))), unused=("second",))


@pytest.mark.parametrize("is_qat", [False, True])
def test_a_layer_on_inputs_of_two_ranges_is_refused_with_both(is_qat):
    def apart(net, x):
        return net.add.add(net.layer(x), net.layer(net.scaled.mul_scalar(x, 100.0)))

    message = refusal(apart, is_qat, unused=("second",))
    assert message.startswith("`layer` of Net is called twice, and one scale has to fit ")
    assert "make a copy.deepcopy of `layer` for each call" in message


def test_an_encoder_that_runs_twice_is_named_and_so_is_the_layer_inside():
    def encoded(net, x):
        return net.add.add(net.encoder(x), net.encoder(net.scaled.mul_scalar(x, 100.0)))

    parts = {"encoder": nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())}
    message = refusal(encoded, unused=("layer", "second"), **parts)
    assert message.startswith("`encoder` of Net is called twice, and one scale of `encoder.0` has to fit ")


@pytest.mark.parametrize("is_qat", [False, True])
def test_a_layer_under_two_names_of_which_torch_quantizes_one_is_told_both(is_qat):
    shared = nn.Conv2d(4, 4, 1)
    message = refusal(lambda net, x: net.second(net.layer(x)), is_qat, layer=shared, second=shared)
    assert message == (
        "'layer' and 'second' of Net are one layer under two names, of which only one is quantized: call it by one "
        "name, or make one a copy.deepcopy of the other"
    )


def test_tied_weights_of_two_layers_are_nobody_s_business(recwarn):
    tied = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
    tied[1].weight = tied[0].weight
    outcome(lambda net, x: net.second(net.layer(x)), layer=tied[0], second=tied[1])
    assert not recwarn


class TwoHeads(TinyCNN):
    """One DeQuantStub for two heads."""

    def __init__(self):
        super().__init__(3, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.pool(self.relu(self.bn(self.conv(self.quant(x))))).flatten(1)
        return self.dequant(self.fc(x)) + self.dequant(self.head(x))


def test_a_dequant_stub_has_no_scale_and_may_run_twice(recwarn):
    rehearse(TwoHeads().eval(), SAMPLES, QCONFIG)
    assert not recwarn


def test_a_quant_stub_for_two_tensors_is_refused():
    class Twice(TinyCNN):
        def forward(self, x):
            x = self.dequant(self.relu(self.bn(self.conv(self.quant(x)))))
            return self.dequant(self.fc(self.quant(x.mean((2, 3)))))

    with pytest.raises(QuantizationError, match=r"^`quant` of Twice is called twice: give each call its own"):
        rehearse(Twice(3, 4).eval(), SAMPLES, QCONFIG)


def test_a_cell_of_a_recurrent_layer_runs_once_for_each_step_and_is_not_meant(recwarn):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.quant, self.dequant = QuantStub(), DeQuantStub()
            self.rnn, self.fc = nn.LSTM(8, 4, batch_first=True), nn.Linear(4, 3)

        def forward(self, x):
            return self.dequant(self.fc(self.rnn(self.quant(x[:, 0]))[0][:, -1]))

        def fuse_model(self, is_qat=False): ...

    rehearse(Recurrent().eval(), SAMPLES, QCONFIG)
    assert not recwarn


def test_all_further_names_of_modules_are_found():
    shared = nn.Sequential(nn.ReLU())
    assert aliases_of(nn.ModuleDict({"a": shared, "b": shared, "c": nn.ReLU()})) == {"b": "a", "b.0": "a.0"}
