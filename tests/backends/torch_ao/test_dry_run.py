"""What has no int8 kernel is found by a rehearsal, and named with its module, its line and what to use instead."""

import inspect
from pathlib import Path

import pytest
import tiny_residual
import torch
from small_models import small_model
from stepped import QCONFIG
from tiny_layers import TinyLayers
from tiny_model import TinyCNN, tiny_cnn
from tiny_residual import Residual
from torch import nn

from quantbench.backends.checkpoint import serialize
from quantbench.backends.torch_ao.dry_run import rehearse
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.errors import QuantizationError
from quantbench.models.quantizable import DeQuantStub, QuantStub
from quantbench.registry import MODELS, RECIPES

SAMPLES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
FUNCTIONAL = "use a FloatFunctional: `self.{0} = FloatFunctional()` and `self.{0}.{0}("
STUBS = "put a DeQuantStub before it and a QuantStub after it, or use a layer that has an int8 form"


def line_of(kind, text):
    """The line of a class or function that holds this text, counted in its file."""
    lines, start = inspect.getsourcelines(kind)
    return start + next(i for i, line in enumerate(lines) if text in line)


def refusal_of(model, samples=SAMPLES):
    with pytest.raises(QuantizationError) as refused:
        rehearse(model, samples, QCONFIG)
    message = str(refused.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("kind", "text", "operator", "advice"),
    [
        ("Plus", "return self.relu(out + x)", "aten::add.out", FUNCTIONAL.format("add")),
        ("PlusInPlace", "out += x", "aten::add.out", FUNCTIONAL.format("add")),
        ("Times", "return out * x", "aten::mul.out", FUNCTIONAL.format("mul")),
    ],
)
def test_an_operator_between_quantized_tensors_is_named_with_its_line_and_its_functional(kind, text, operator, advice):
    block = getattr(tiny_residual, kind)
    message = refusal_of(Residual(block))
    file = Path(tiny_residual.__file__)
    place = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    line = f"{place}:{line_of(block, text)} `{text}`"
    assert message.startswith(
        f"'layers.0' ({kind}), {line}, runs {operator} on a quantized tensor, for which there is no kernel: {advice}"
    )


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("PlusNumber", "add", "return self.functional.add(out + 1.5, x)"),
        ("TimesNumber", "mul", "return self.functional.add(2 * out, x)"),
    ],
)
def test_an_operator_that_torch_s_message_does_not_name_is_read_from_the_line(kind, name, text):
    message = refusal_of(Residual(getattr(tiny_residual, kind)))
    assert message.startswith(f"'layers.0' ({kind}), ")
    assert f"`{text}`, fails once quantized (RuntimeError: " in message
    assert FUNCTIONAL.format(name) in message
    assert f"`{name}_scalar` for a number" in message


def test_the_advice_for_a_sum_names_what_includes_the_relu():
    assert "`self.add.add_relu(x, y)` where a ReLU follows" in refusal_of(Residual(tiny_residual.Plus))


def test_tensors_of_different_scales_side_by_side_are_named_with_their_functional():
    message = refusal_of(Residual(tiny_residual.Cat))
    assert message.startswith("'layers.0' (Cat), ")
    assert (
        "`return torch.cat([out, x], dim=1)[:, : x.shape[1]]`, joins quantized tensors of different scales" in message
    )
    assert message.endswith("`self.cat.cat([x, y], dim=1)`")


def test_a_layer_without_an_int8_form_is_named_and_so_is_the_line_that_calls_it():
    message = refusal_of(Residual(tiny_residual.Activation))
    assert message.startswith("'layers.0.act' (SiLU), ")
    assert "`return self.functional.add(self.act(out), x)`, runs aten::silu.out on a quantized tensor" in message
    assert message.endswith(STUBS)


def test_a_function_outside_any_module_is_named_by_its_own_line_and_the_module_that_called_it():
    message = refusal_of(Residual(tiny_residual.Helper))
    assert message.startswith("'layers.0' (Helper), ")
    assert f":{line_of(tiny_residual._doubled, 'torch.exp')} `return torch.exp(x)`, runs aten::exp" in message
    assert message.endswith(STUBS)


def test_advice_is_given_for_no_error_that_a_line_of_ones_own_raises():
    class Own(TinyCNN):
        def forward(self, x):
            if "quantized" in type(self.conv).__module__:
                raise RuntimeError("no int8 here")
            return super().forward(x)

    assert refusal_of(Own(3, 8)).endswith("fails once quantized (RuntimeError: no int8 here)")


def test_advice_is_given_for_no_error_without_a_quantized_tensor():
    class Own(TinyCNN):
        def forward(self, x):
            return super().forward(x)[{True: 0}["quantized" not in type(self.conv).__module__] :]

    assert refusal_of(Own(3, 8)).endswith("fails once quantized (KeyError: False)")


def test_advice_is_given_for_no_layer_whose_own_code_raises():
    class Layer(nn.Module):
        def forward(self, x):
            if hasattr(self, "activation_post_process") or self.training:
                raise RuntimeError("never watched")
            return x

    class Own(TinyCNN):
        def __init__(self):
            super().__init__(3, 8)
            self.own, self.calls = Layer(), 0

        def forward(self, x):
            self.own.training = hasattr(self.conv, "activation_post_process")
            return super().forward(self.own(x))

    assert refusal_of(Own()).endswith("'own' (Layer) of Own failed (RuntimeError: never watched)")


@pytest.mark.parametrize(
    "model", [Residual(), Residual(after_dequant=True), tiny_cnn()], ids=["add_relu", "+ 1", "plain"]
)
def test_a_model_that_runs_in_int8_is_let_through(model):
    rehearse(model, SAMPLES, QCONFIG)


@pytest.mark.parametrize("name", [name for name in MODELS.names() if name not in ("token_transformer", "unet")])
def test_every_registered_model_is_let_through(name):
    shape = (1, 8000) if name == "m5" else (3, 32, 32)
    rehearse(small_model(name), torch.randn(2, *shape), QCONFIG)


class NoDeQuant(TinyCNN):
    """The logits stay quantized."""

    def forward(self, x):
        x = self.relu(self.bn(self.conv(self.quant(x))))
        return self.fc(self.pool(x).flatten(1))


def test_a_model_that_gives_quantized_logits_is_refused():
    message = "NoDeQuant gives a quantized tensor: put a DeQuantStub at its output"
    assert refusal_of(NoDeQuant(3, 4)) == message


class EarlyDeQuant(TinyCNN):
    """The head is int8 and is given floating point."""

    def forward(self, x):
        x = self.dequant(self.relu(self.bn(self.conv(self.quant(x)))))
        return self.fc(self.pool(x).flatten(1))


def test_an_int8_layer_that_is_given_floating_point_is_named():
    message = refusal_of(EarlyDeQuant(3, 4))
    assert message.startswith("'fc' (Linear), ")
    assert (
        "`return self.fc(self.pool(x).flatten(1))`, is int8 and is given a tensor in floating point: put a " in message
    )
    assert message.endswith("or set its qconfig to None to leave it in fp32")


class OnlyTorch(nn.Sequential):
    """No line of a forward is its author's."""

    def __init__(self):
        super().__init__(QuantStub(), nn.Conv2d(3, 4, 3), nn.Softmax(1), nn.Flatten(), DeQuantStub())

    def fuse_model(self, is_qat=False): ...


def test_a_model_without_a_line_of_its_own_is_told_the_layer():
    message = refusal_of(OnlyTorch())
    assert message.startswith("'2' (Softmax) runs aten::_softmax.out on a quantized tensor")


class Dropping(Residual):
    """Draws random numbers in eval mode, too."""

    def forward(self, x):
        return super().forward(nn.functional.dropout(x, 0.5, training=True))


def test_the_rehearsal_leaves_model_and_random_numbers_as_they_were():
    model = Dropping().train()
    before, random = serialize(model.state_dict()), torch.get_rng_state()
    rehearse(model, SAMPLES, QCONFIG)
    assert serialize(model.state_dict()) == before
    assert model.training
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(hasattr(module, "qconfig") for module in model.modules())


class PlusInOneLayer(TinyLayers):
    """The first layer ends with what has no kernel."""

    def forward(self, x):
        x = self.pool(self.relu(self.bn(self.conv(self.quant(x)))))
        return self.dequant(self.fc(self.between(x + 1).flatten(1)))


@pytest.mark.parametrize("name", ["static_int8_layers", "qat_int8_layers"])
def test_only_the_layers_that_a_recipe_quantizes_are_rehearsed(name):
    backend, model = EagerBackend(default_engine()), PlusInOneLayer(3, 4)
    classifier, features = (RECIPES.create(name, "here", {"layers": [each]}) for each in ("classifier", "features"))
    backend.rehearse_module(model, classifier, SAMPLES)
    with pytest.raises(QuantizationError, match=r"^PlusInOneLayer, .*`return .*`, fails .* `add_scalar` for"):
        backend.rehearse_module(model, features, SAMPLES)


@pytest.mark.parametrize("name", ["fp32_baseline", "dynamic_int8"])
def test_recipes_that_leave_activations_alone_have_nothing_to_rehearse(name):
    backend, model = EagerBackend(default_engine()), Residual(tiny_residual.Plus)
    backend.rehearse_module(model, RECIPES.create(name, "here", {}), SAMPLES)
    with pytest.raises(QuantizationError, match="aten::add"):
        backend.rehearse_module(model, RECIPES.create("static_int8", "here", {}), SAMPLES)


def test_an_error_of_the_fp32_model_is_its_own():
    with pytest.raises(RuntimeError, match="channels"):
        rehearse(tiny_cnn(), torch.zeros(2, 4, 8, 8), QCONFIG)
