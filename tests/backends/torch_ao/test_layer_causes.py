"""A layer that has no int8 form is named with the property of it that was checked, before anything is trained."""

import pytest
import torch
from stepped import QAT_QCONFIG, QCONFIG
from tiny_model import TinyCNN, tiny_cnn
from torch import nn
from torch.ao import quantization as ao

from quantbench.backends.copying import copied
from quantbench.backends.low_bit import LowBitBackend
from quantbench.backends.torch_ao.dry_run import rehearse
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.backends.torch_ao.layer_causes import cause_in_layer
from quantbench.errors import QuantizationError
from quantbench.models.quantizable import fuse as fuse_groups
from quantbench.registry import RECIPES

SAMPLES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
PER_TENSOR = ao.QConfig(activation=ao.MinMaxObserver, weight=ao.default_weight_observer)
BOTH_WAYS = pytest.mark.parametrize("is_qat", [False, True], ids=["after training", "quantization-aware training"])


class WithLayer(TinyCNN):
    """One more layer after the first group."""

    def __init__(self, layer, is_fused=False):
        super().__init__(3, 4)
        self.layer, self.is_fused, self.after = layer, is_fused, nn.ReLU()

    def forward(self, x):
        x = self.after(self.layer(self.relu(self.bn(self.conv(self.quant(x))))))
        return self.dequant(self.fc(self.pool(x).flatten(1)))

    def fuse_model(self, is_qat=False):
        super().fuse_model(is_qat)
        fuse_groups(self, [["layer", "after"]] if self.is_fused else [], is_qat)


def refusal_of(model, is_qat=False, samples=SAMPLES):
    with pytest.raises(QuantizationError) as refused:
        rehearse(model.eval(), samples, QAT_QCONFIG if is_qat else QCONFIG, is_qat=is_qat)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@BOTH_WAYS
def test_a_transposed_convolution_with_a_scale_per_channel_is_named_before_training(is_qat):
    message = refusal_of(WithLayer(nn.ConvTranspose2d(4, 4, 2)), is_qat)
    step = "convert" if is_qat else "prepare"
    assert message.startswith(
        f"{step}: 'layer' (ConvTranspose2d) of WithLayer is a transposed convolution, whose int8 "
    )
    assert "take a per-tensor recipe" in message


def test_a_transposed_convolution_with_one_scale_is_let_through():
    rehearse(WithLayer(nn.ConvTranspose2d(4, 4, 2)).eval(), SAMPLES, PER_TENSOR)


@BOTH_WAYS
@pytest.mark.parametrize("is_fused", [False, True], ids=["alone", "fused"])
def test_padding_in_words_is_named_with_its_numbers(is_qat, is_fused):
    model = WithLayer(nn.Conv2d(4, 4, (3, 5), padding="same", dilation=(2, 1)), is_fused)
    assert "'layer' (" in refusal_of(model, is_qat)
    assert refusal_of(model, is_qat).endswith(
        "of WithLayer has padding='same', and int8 convolutions take numbers only: write padding=2"
    )


@pytest.mark.parametrize(
    ("layer", "advice"),
    [
        (nn.Conv2d(1, 1, 3, padding="valid"), "write padding=0"),
        (nn.Conv2d(1, 1, (3, 1), padding="same"), "write padding=(1, 0)"),
        (nn.Conv1d(1, 1, 4, padding="same"), "its even kernel needs one more on one side, so pad in fp32"),
    ],
)
def test_the_numbers_are_those_of_the_words(layer, advice):
    assert advice in cause_in_layer(layer)


@BOTH_WAYS
def test_a_padding_mode_without_a_kernel_is_named(is_qat):
    model = WithLayer(nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"))
    assert "'layer' (Conv2d) of WithLayer has padding_mode='circular'" in refusal_of(model, is_qat)


def test_padding_by_reflection_has_a_kernel_and_is_let_through():
    rehearse(WithLayer(nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")).eval(), SAMPLES, QCONFIG)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
@pytest.mark.parametrize("backend", [EagerBackend, LowBitBackend])
def test_a_weight_norm_by_a_hook_cannot_be_copied_and_is_named_with_what_can(backend):
    model = tiny_cnn().eval()
    nn.utils.weight_norm(model.fc)
    recipe = RECIPES.create("low_bit" if backend is LowBitBackend else "qat_int8", "here", {})
    with pytest.raises(QuantizationError, match=r"'fc' \(Linear\) of TinyCNN has the hook of .*parametrizations\.w"):
        backend(default_engine()).rehearse_module(model, recipe, SAMPLES)


def test_a_spectral_norm_by_a_hook_that_was_copied_is_named_where_it_fails():
    model = tiny_cnn().eval()
    nn.utils.spectral_norm(model.fc)
    with torch.inference_mode():
        model(SAMPLES)
    assert "has the hook of torch.nn.utils.spectral_norm" in refusal_of(model)


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_a_parametrized_layer_is_quantized(norm):
    model = tiny_cnn()
    getattr(nn.utils.parametrizations, norm)(model.fc)
    rehearse(model.eval(), SAMPLES, QCONFIG)


@BOTH_WAYS
def test_a_parametrized_layer_in_a_group_is_named_with_what_to_call_first(is_qat):
    model = tiny_cnn()
    nn.utils.parametrizations.weight_norm(model.conv)
    assert (
        "failed: the group 'conv', 'bn', 'relu': 'conv' computes its weight (WeightNorm), and no batch norm can be "
        "folded into it: first call torch.nn.utils.parametrize.remove_parametrizations on 'conv'"
    ) in refusal_of(model, is_qat)


class Uncopied(nn.Module):
    def __deepcopy__(self, memo):
        raise TypeError("no copies\nat all")


def test_what_cannot_be_copied_for_an_unknown_reason_is_quoted_in_a_line():
    with pytest.raises(QuantizationError, match=r"^fuse: Uncopied cannot be copied \(TypeError: no copies\); "):
        copied(Uncopied(), "fuse")


class Viewed(TinyCNN):
    """The tensor is viewed and not flattened."""

    def __init__(self):
        super().__init__(3, 4)
        self.pool, self.fc = nn.AvgPool2d(4), nn.Linear(16, 3)

    def forward(self, x):
        x = self.pool(self.relu(self.bn(self.conv(self.quant(x)))))
        return self.dequant(self.fc(x.view(len(x), -1)))


@BOTH_WAYS
def test_a_view_of_a_channels_last_tensor_is_told_to_be_flatten(is_qat):
    message = refusal_of(Viewed(), is_qat)
    assert "`return self.dequant(self.fc(x.view(len(x), -1)))`, fails once quantized: int8 activations are " in message
    assert message.endswith("`.view` needs contiguous ones: use `.flatten(1)`, or `.reshape`")


class MeanOfAPixel(TinyCNN):
    def forward(self, x):
        x = self.relu(self.bn(self.conv(self.quant(x))))
        return self.dequant(self.fc(x.mean((2, 3))))


def test_a_mean_over_maps_of_one_pixel_is_told_to_be_a_pooling():
    message = refusal_of(MeanOfAPixel(3, 4), samples=torch.randn(2, 3, 1, 1))
    assert message.endswith("there is no mean over dimensions: use nn.AdaptiveAvgPool2d(1) and `.flatten(1)`")
    rehearse(MeanOfAPixel(3, 4).eval(), SAMPLES, QCONFIG)


@BOTH_WAYS
def test_a_layer_that_torch_can_prepare_and_not_run_is_named_by_its_own_name(is_qat):
    class Recurrent(WithLayer):
        def forward(self, x):
            x = self.relu(self.bn(self.conv(self.quant(x)))).flatten(2).transpose(1, 2)
            return self.dequant(self.fc(self.layer(x)[0][:, -1]))

    message = refusal_of(Recurrent(nn.GRU(4, 4, batch_first=True)), is_qat)
    assert message.startswith("rehearsal: 'layer' (GRU) of Recurrent failed (")
    assert "set its qconfig to None and put a DeQuantStub before" in message


def test_a_fuse_model_that_raises_whatever_it_likes_is_quoted_in_a_line():
    class Raising(TinyCNN):
        def fuse_model(self, is_qat=False):
            raise RuntimeError("boom\nand more")

    assert refusal_of(Raising(3, 4)).startswith("Raising.fuse_model(is_qat=False) failed: RuntimeError: boom; ")


def test_a_layer_that_is_never_called_is_found_before_it_is_trained():
    model = tiny_cnn()
    model.spare = nn.Conv2d(3, 3, 1)
    assert refusal_of(model, is_qat=True).startswith("convert: 'spare' has seen no data")
