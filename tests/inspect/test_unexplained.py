"""What quantization does not do to a checkpoint stays unexplained; foreign models are explained like our own."""

import pytest
import torch
from torch import nn

from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.inspect.explained import explain
from quantbench.models.quantizable import DeQuantStub, QuantStub, fuse
from quantbench.registry import RECIPES
from quantbench.upstream import silenced

BACKEND = EagerBackend(default_engine())
IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Twins(nn.Module):
    """Two convolutions and two batch norms of equal width, fused in the pairs that are asked for."""

    def __init__(self, pairs=(("conv1", "bn1"), ("conv2", "bn2"))):
        super().__init__()
        self.pairs = pairs
        self.quant, self.dequant = QuantStub(), DeQuantStub()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        x = self.bn1(self.conv1(self.quant(x)))
        x = self.bn2(self.conv2(x))
        return self.dequant(self.fc(x.mean((2, 3))))

    def fuse_model(self, is_qat=False):
        fuse(self, self.pairs, is_qat)


def make(*args):
    torch.manual_seed(0)
    model = Twins(*args)
    for bn in (model.bn1, model.bn2):
        nn.init.uniform_(bn.weight, 0.5, 1.5)
        nn.init.normal_(bn.bias, 0, 0.3)
        bn.running_mean.normal_(0, 0.3)
        bn.running_var.uniform_(0.5, 2)
    return model.eval()


def ptq(model, name="static_int8_per_channel", inputs=IMAGES):
    return BACKEND.quantize_module(model, RECIPES.create(name, "here", {}), lambda: [inputs]).model.state_dict()


@pytest.fixture
def fp32():
    return dict(make().state_dict())


@pytest.fixture
def int8():
    return dict(ptq(make()))


def test_nothing_is_unexplained_of_the_undamaged_pair(fp32, int8):
    assert explain(fp32, int8).unexplained == []


def test_the_wrong_one_of_two_equally_wide_batch_norms_is_said(fp32):
    found = explain(fp32, ptq(make((("conv1", "bn2"), ("conv2", "bn1")))))
    assert found.unexplained == ["conv1: bn2 is folded into it, but by its name bn1 belongs to it"]
    assert found.moved == {}


def test_a_batch_norm_that_was_forgotten_stays_unexplained(fp32):
    forgetful = make((("conv1", "bn1"),))
    # Preparing would name the pair, were it there.
    forgetful.bn2 = nn.Identity()
    found = explain(fp32, ptq(forgetful))
    assert found.moved.keys() == {"conv2"}
    assert any("conv2.bias: differs" in line for line in [*found.unexplained, *found.values])


def test_a_batch_norm_that_vanished_without_a_layer_that_took_it_is_listed_key_by_key(fp32):
    rest = {key: value for key, value in fp32.items() if not key.startswith("bn1.")}
    parts = ("weight", "bias", "running_mean", "running_var")
    assert explain(fp32, rest).unexplained == [
        *(f"bn1.{part}: only in the first file: float32 [8]" for part in parts),
        "bn1.num_batches_tracked: only in the first file: int64 []",
    ]


def test_renamed_keys_are_listed_from_both_files(fp32, int8):
    renamed = {key.replace("conv2", "convolution2"): value for key, value in int8.items()}
    lines = explain(fp32, renamed).unexplained
    assert "conv2.weight: only in the first file: float32 [8, 8, 3, 3]" in lines
    assert any(line.startswith("convolution2.weight: only in the second file: qint8") for line in lines)


def test_a_changed_shape_is_listed_with_both(fp32, int8):
    cut = torch.quantize_per_tensor(torch.ones(8, 4, 3, 3), 0.1, 0, torch.qint8)
    lines = explain(fp32, {**int8, "conv2.weight": cut}).unexplained
    assert lines[0] == "conv2.weight: float32 [8, 8, 3, 3] → qint8 [8, 4, 3, 3] per_tensor_affine"


def test_a_changed_shape_inside_of_a_packed_layer_stays_unexplained(fp32, int8):
    weight = torch.quantize_per_tensor(torch.ones(4, 8), 0.1, 0, torch.qint8)
    lines = explain(fp32, {**int8, "fc._packed_params._packed_params": (weight, None)}).unexplained
    assert "fc.weight: only in the first file: float32 [3, 8]" in lines
    assert any(
        line.startswith("fc._packed_params._packed_params: only in the second file: (qint8 [4") for line in lines
    )


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("extra.weight", torch.ones(2), "float32 [2]"),
        ("conv1.extra", torch.ones(1), "float32 [1]"),
        ("lonely.scale", torch.ones(1), "float32 [1]"),
        ("note", "by hand", "str by hand"),
        ("odd._packed_params._packed_params", (), "()"),
    ],
)
def test_a_foreign_key_is_listed(fp32, int8, key, value, words):
    found = explain(fp32, {**int8, key: value})
    assert found.unexplained == [f"{key}: only in the second file: {words}"]


def test_a_pair_that_is_no_scale_and_zero_point_is_listed(fp32, int8):
    odd = {"odd.scale": torch.ones(3), "odd.zero_point": torch.zeros(3)}
    assert len(explain(fp32, int8 | odd).unexplained) == 2


def test_another_number_format_for_what_is_no_weight_is_listed(fp32, int8):
    counted = {**fp32, "bn1.num_batches_tracked": torch.tensor(0.0)}
    assert explain(fp32, counted).unexplained == ["bn1.num_batches_tracked: int64 [] → float32 []"]


def test_half_precision_is_a_change_of_dtype_whose_values_are_compared(fp32):
    half = {key: value.half() if value.is_floating_point() else value for key, value in fp32.items()}
    found = explain(fp32, half)
    assert (found.unexplained, found.values) == ([], [])
    assert "conv1: dtype changed: conv1.weight float32 [8, 3, 3, 3] → float16 [8, 3, 3, 3]" in found.explained
    assert len(explain(fp32, {**half, "fc.weight": half["fc.weight"] + 1}).values) == 1


def test_a_float_weight_where_there_were_integers_is_listed(int8):
    found = explain(int8, dict(ptq(make(), "dynamic_int8")))
    assert any(line.startswith("conv1.weight: qint8 [8, 3, 3, 3] per_channel_affine") for line in found.unexplained)
    assert "bn2.weight: only in the second file: float32 [8]" in found.unexplained


def test_two_schemes_of_the_same_weights_are_quantized_otherwise(int8):
    found = explain(int8, dict(ptq(make(), "static_int8_per_tensor")))
    assert found.unexplained == []
    for layer in ("conv1: quantized otherwise", "conv2: quantized otherwise", "fc: packed otherwise"):
        assert any(line.startswith(f"{layer}: ") and "per_channel" in line for line in found.explained)


def test_a_model_fused_in_floating_point_is_explained_and_a_wrong_bias_of_it_is_not(fp32):
    fused = make()
    fused.fuse_model()
    state = dict(fused.state_dict())
    found = explain(fp32, state)
    assert (found.unexplained, found.values) == ([], [])
    assert "conv2: batch norm bn2 folded into its weight and bias" in found.explained
    wrong = {**state, "conv1.bias": state["conv1.bias"] + 1}
    assert explain(fp32, wrong).unexplained == ["conv1.bias: differs by up to 1 from what the float layer gives"]


def test_a_convolution_without_a_bias_and_without_a_batch_norm_is_explained():
    class Bare(nn.Sequential):
        def fuse_model(self, is_qat=False): ...

    torch.manual_seed(0)
    model = Bare(
        QuantStub(), nn.Conv2d(3, 4, 3, bias=False), nn.Flatten(), nn.Linear(144, 2, bias=False), DeQuantStub()
    )
    found = explain(dict(model.eval().state_dict()), ptq(model))
    assert (found.unexplained, found.values, len(found.rounded)) == ([], [], 2)
    assert not any("bias inside" in line for line in found.explained)


def test_batch_norms_that_moved_and_were_trained_are_matched_by_name_and_not_by_order(fp32):
    with silenced():
        prepared = dict(BACKEND.prepare_module(make(), RECIPES.create("qat_int8", "here", {})).state_dict())
    trained = {key: value + 1 if "running_mean" in key else value for key, value in prepared.items()}
    found = explain(dict(reversed(fp32.items())), trained)
    for i in (1, 2):
        assert f"conv{i}: batch norm bn{i} moved into the fused layer, not folded" in found.explained
    assert found.unexplained == []
    assert len(found.values) == 2
    assert all(line.endswith("running_mean: values differ by up to 1") for line in found.values)


def test_torchvisions_own_resnet18_is_explained_from_fp32_to_int8():
    from torchvision.models.quantization import resnet18

    torch.manual_seed(0)
    model = resnet18(weights=None, quantize=False).eval()
    images = torch.randn(2, 3, 32, 32)
    fp32 = dict(model.state_dict())
    found = explain(fp32, ptq(model, inputs=images))
    assert (found.unexplained, found.values, found.unchanged, found.moved, len(found.rounded)) == ([], [], 0, {}, 21)
    assert "layer2.0.downsample.0: batch norm layer2.0.downsample.1 folded into its weight and bias" in found.explained
    assert "layer1.0.add_relu: scale and zero point of an operation's output added" in found.explained
    with silenced():
        prepared = BACKEND.prepare_module(model, RECIPES.create("qat_int8", "here", {})).state_dict()
    found = explain(fp32, prepared)
    assert (found.unexplained, found.values, found.unchanged) == ([], [], len(fp32))
    moved = "layer2.0.downsample.0: batch norm layer2.0.downsample.1 moved into the fused layer, not folded"
    assert moved in found.explained
