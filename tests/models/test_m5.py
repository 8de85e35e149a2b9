"""M5: its shape, and its checkpoints key by key as they were published."""

import pytest
import torch
from torch import nn

from quantbench.backends.checkpoint import describe_entry, schema_of, serialize
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.models.m5 import M5
from quantbench.registry import MODELS, RECIPES

ON_X86 = pytest.mark.skipif(default_engine() != "x86", reason="the published checkpoints are of x86")
# Channels into and out of each group of layers, and the width of its kernel.
GROUPS = {1: (1, 32, 80), 2: (32, 32, 3), 3: (32, 64, 3), 4: (64, 64, 3)}
# Of the published files, in KB of 1,000 bytes.
FP32_KB, PTQ_KB, QAT_KB, RATIO = 116.98, 40.51, 40.01, 2.89


def fp32_keys():
    keys = {}
    for i, (before, after, kernel) in GROUPS.items():
        keys |= {f"conv{i}.weight": f"float32 [{after}, {before}, {kernel}]", f"conv{i}.bias": f"float32 [{after}]"}
        parts = ("weight", "bias", "running_mean", "running_var")
        keys |= {f"bn{i}.{part}": f"float32 [{after}]" for part in parts}
        keys[f"bn{i}.num_batches_tracked"] = "int64 []"
    return keys | {"fc1.weight": "float32 [35, 64]", "fc1.bias": "float32 [35]"}


def int8_keys():
    keys = {"quant.scale": "float32 [1]", "quant.zero_point": "int64 [1]"}
    for i, (before, after, kernel) in GROUPS.items():
        keys |= {
            f"conv{i}.weight": f"qint8 [{after}, {before}, {kernel}] per_channel_affine axis 0",
            f"conv{i}.bias": f"float32 [{after}]",
            f"conv{i}.scale": "float32 []",
            f"conv{i}.zero_point": "int64 []",
        }
    return keys | {
        "fc1.scale": "float32 []",
        "fc1.zero_point": "int64 []",
        "fc1._packed_params.dtype": "dtype torch.qint8",
        "fc1._packed_params._packed_params": "(qint8 [35, 64] per_channel_affine axis 0, float32 [35])",
    }


def described(model):
    return {key: describe_entry(entry) for key, entry in schema_of(model.state_dict()).items()}


def kilobytes(model):
    return len(serialize(model.state_dict())) / 1000


@pytest.fixture(scope="module")
def clips():
    return torch.randn(8, 1, 8000, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return MODELS.create("m5", "here", {}).eval()


@pytest.fixture(scope="module")
def ptq(model, clips):
    recipe = RECIPES.create("static_int8_histogram", "here", {})
    return EagerBackend(default_engine()).quantize_module(model, recipe, lambda: [clips]).model


@pytest.fixture(scope="module")
def qat(model, clips):
    backend = EagerBackend(default_engine())
    prepared = backend.prepare_module(model, RECIPES.create("qat_int8", "here", {}))
    prepared(clips)
    return backend.convert_module(prepared).model


def test_the_fp32_checkpoint_has_exactly_the_published_30_keys(model):
    assert described(model) == fp32_keys()
    assert len(fp32_keys()) == 30


@ON_X86
@pytest.mark.parametrize("way", ["ptq", "qat"])
def test_both_int8_checkpoints_have_exactly_the_published_22_keys(way, request):
    assert described(request.getfixturevalue(way)) == int8_keys()
    assert len(int8_keys()) == 22


def test_the_packed_classifier_holds_an_int8_weight_per_channel_and_a_float_bias(ptq, model):
    weight, bias = ptq.state_dict()["fc1._packed_params._packed_params"]
    assert (weight.dtype, tuple(weight.shape), bias.dtype) == (torch.qint8, (35, 64), torch.float32)
    assert torch.equal(bias, model.fc1.bias)


@ON_X86
def test_the_files_are_as_large_as_published(model, ptq, qat):
    assert kilobytes(model) == pytest.approx(FP32_KB, rel=0.03)
    assert kilobytes(ptq) == pytest.approx(PTQ_KB, rel=0.03)
    assert kilobytes(qat) == pytest.approx(QAT_KB, rel=0.03)
    assert kilobytes(model) / kilobytes(ptq) == pytest.approx(RATIO, rel=0.03)
    assert round(kilobytes(model) / kilobytes(ptq), 2) == RATIO


@pytest.mark.parametrize("way", ["model", "ptq", "qat"])
def test_a_clip_gives_log_probabilities_of_35_words_that_sum_to_one(way, request, clips):
    with torch.inference_mode():
        logits = request.getfixturevalue(way)(clips)
    assert (logits.shape, logits.dtype) == ((8, 35), torch.float32)
    assert logits.max() <= 0
    assert logits.exp().sum(1).tolist() == pytest.approx([1.0] * 8, abs=1e-5)


def test_the_first_convolution_steps_by_16_and_every_group_pools_by_4(model, clips):
    lengths, handles = [], []
    for i in GROUPS:
        for name in (f"conv{i}", f"pool{i}"):
            module = getattr(model, name)
            handles.append(module.register_forward_hook(lambda _module, _in, output: lengths.append(output.shape[2])))
    model(clips)
    for handle in handles:
        handle.remove()
    assert lengths == [496, 124, 122, 30, 28, 7, 5, 1]


def test_its_sizes_follow_its_parameters():
    model = MODELS.create("m5", "here", {"n_classes": 12, "stride": 4, "n_channel": 16})
    widths = [module.out_channels for module in model.modules() if isinstance(module, nn.Conv1d)]
    assert widths == [16, 16, 32, 32]
    assert (model.conv1.stride, model.fc1.in_features, model.fc1.out_features) == ((4,), 32, 12)
    assert M5(n_input=2, conv_kernel_sizes=(40, 5, 5, 5)).conv1.weight.shape == (32, 2, 40)


def test_its_layer_groups_name_every_layer_once_in_the_order_of_its_forward(model):
    named = [name for parts in model.layer_groups.values() for name in parts]
    assert named == [name for name, _ in model.named_children() if name not in model.boundaries]
    assert all(hasattr(model, name) for name in model.boundaries)
    assert len(model.boundaries) == len(model.layer_groups) + 1
