"""Some groups of M5's layers in int8 and the rest in fp32: what runs as int8, what is saved, and what is refused."""

import dataclasses

import pytest
import torch
from artifacts import artifact_at, named
from tiny_model import tiny_cnn
from torch import nn

from quantbench.arrays import OUTPUT
from quantbench.backends.checkpoint import serialize, write_checkpoint
from quantbench.backends.kernels import measure_coverage
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.errors import OldWordWarning, QuantizationError
from quantbench.measure.reload import reload_in_fresh_process
from quantbench.models.m5 import M5
from quantbench.registry import MODELS, RECIPES

GROUPS = ("block1", "block2", "block3", "block4", "classifier")
MODULES = dict(zip(GROUPS, ("conv1", "conv2", "conv3", "conv4", "fc1"), strict=True))
WAYS = ("static_int8_layers", "qat_int8_layers")
EVERY_WAY = pytest.mark.parametrize("way", WAYS)
# Where precision changes: before and after each group.
STUBS = dict(
    zip(GROUPS, (f"{a} {b}".split() for a, b in zip(M5.boundaries, M5.boundaries[1:], strict=False)), strict=True)
)
SAMPLE = torch.randn(1, 1, 8000, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def clips():
    return torch.randn(8, 1, 8000, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model(clips):
    """An M5 whose batch norms have seen data, so that folding one changes every weight."""
    torch.manual_seed(0)
    model = MODELS.create("m5", "here", {}).train()
    with torch.no_grad():
        for _ in range(2):
            model(3 * clips + 1)
    return model.eval()


def recipe(way, *groups):
    return RECIPES.create(way, "here", {"layers": list(groups)})


def quantize(model, clips, way, *groups):
    backend = EagerBackend(default_engine())
    if way == "static_int8_layers":
        return backend.quantize_module(model, recipe(way, *groups), lambda: [clips])
    torch.manual_seed(0)
    prepared = backend.prepare_module(model, recipe(way, *groups))
    prepared(clips)
    return backend.convert_module(prepared)


def without_versions(model):
    """The state dict's bytes; the metadata of modules is not compared."""
    return serialize(dict(model.state_dict()))


@EVERY_WAY
@pytest.mark.parametrize("group", GROUPS)
def test_a_group_quantized_alone_is_the_only_one_that_runs_as_int8(model, clips, way, group):
    quantized = quantize(model, clips, way, group).model
    all_macs = measure_coverage(model, SAMPLE).float_layers
    coverage = measure_coverage(quantized, SAMPLE)
    assert coverage.float_layers == {layer: macs for layer, macs in all_macs.items() if layer != MODULES[group]}
    assert coverage.int8_macs == all_macs[MODULES[group]]


@pytest.mark.parametrize("group", GROUPS)
def test_all_but_a_group_quantized_after_training_is_the_baseline_key_by_key(model, clips, group):
    state, before = quantize(model, clips, "static_int8_layers", group).model.state_dict(), model.state_dict()
    number = group[-1]
    inside = (f"{MODULES[group]}.", f"bn{number}.", f"{STUBS[group][0]}.")
    assert {key for key in state if not key.startswith(inside)} == {key for key in before if not key.startswith(inside)}
    assert all(torch.equal(state[key], before[key]) for key in before if not key.startswith(inside))
    assert not any(key.startswith("bn" + number) for key in state)
    assert f"{STUBS[group][0]}.scale" in state


@EVERY_WAY
@pytest.mark.parametrize("group", GROUPS)
def test_a_group_stands_between_a_stub_of_its_own_at_either_side(model, clips, way, group):
    quantized = quantize(model, clips, way, group).model
    kinds = {name: type(getattr(quantized, name)).__name__ for name in model.boundaries}
    assert kinds == dict.fromkeys(model.boundaries, "Identity") | dict(
        zip(STUBS[group], ("Quantize", "DeQuantize"), strict=True)
    )


def test_neighbours_in_int8_share_one_boundary(model, clips):
    quantized = quantize(model, clips, "static_int8_layers", "block2", "block3").model
    kinds = [type(getattr(quantized, name)).__name__ for name in model.boundaries]
    assert kinds == ["Identity", "Quantize", "Identity", "DeQuantize", "Identity", "Identity"]
    assert measure_coverage(quantized, SAMPLE).float_layers.keys() == {"conv1", "conv4", "fc1"}


@EVERY_WAY
def test_the_order_in_which_groups_are_named_means_nothing(model, clips, way):
    one, other = (quantize(model, clips, way, *named) for named in (("block2", "block4"), ("block4", "block2")))
    assert without_versions(one.model) == without_versions(other.model)
    assert one.observers == other.observers
    assert [type(m) for m in one.model.modules()] == [type(m) for m in other.model.modules()]


@pytest.mark.parametrize(("way", "whole"), [(WAYS[0], "static_int8_histogram"), (WAYS[1], "qat_int8")])
def test_all_groups_named_are_the_whole_model(model, clips, way, whole):
    named = recipe(way, *GROUPS)
    unnamed = dataclasses.replace(named, layers=None)
    assert unnamed == RECIPES.create(whole, "here", {})
    backend, models = EagerBackend(default_engine()), []
    for each in (named, unnamed):
        if way == "static_int8_layers":
            models.append(backend.quantize_module(model, each, lambda: [clips]).model)
        else:
            prepared = backend.prepare_module(model, each)
            prepared(clips)
            models.append(backend.convert_module(prepared).model)
    assert without_versions(models[0]) == without_versions(models[1])
    with torch.inference_mode():
        assert torch.equal(models[0](clips), models[1](clips))
    assert measure_coverage(models[0], SAMPLE).int8_share == 1.0


def test_no_group_named_trains_the_model_without_quantizing_it(model, clips):
    backend = EagerBackend(default_engine())
    prepared = backend.prepare_module(model, recipe("qat_int8_layers"))
    assert prepared.training
    before = {key: value.clone() for key, value in prepared.state_dict().items()}
    assert before.keys() == model.state_dict().keys()
    optimizer = torch.optim.SGD(prepared.parameters(), lr=0.1)
    nn.functional.nll_loss(prepared(clips), torch.arange(8)).backward()
    optimizer.step()
    after = prepared.state_dict()
    assert all(not torch.equal(after[f"{layer}.weight"], before[f"{layer}.weight"]) for layer in MODULES.values())
    converted = backend.convert_module(prepared)
    assert measure_coverage(converted.model, SAMPLE).int8_macs == 0
    assert converted.observers == {}
    assert converted.model.state_dict().keys() == model.state_dict().keys()


def test_freezing_stops_the_observers_and_the_batch_norm_of_a_quantized_group(model, clips):
    backend = EagerBackend(default_engine())
    prepared = backend.prepare_module(model, recipe("qat_int8_layers", "block2"))
    prepared(clips)
    backend.freeze(prepared)
    inside = ("conv2.", "boundary1.")
    watched = ("running_mean", "running_var", "min_val", "max_val", "scale")
    before = {k: v.clone() for k, v in prepared.state_dict().items() if k.startswith(inside) and k.endswith(watched)}
    assert {"conv2.bn.running_mean", "boundary1.activation_post_process.scale"} <= before.keys()
    prepared(5 * clips)
    assert all(torch.equal(prepared.state_dict()[key], value) for key, value in before.items())


@EVERY_WAY
@pytest.mark.parametrize("groups", [("block1",), ("block2", "classifier")], ids="+".join)
def test_a_model_of_some_groups_once_saved_gives_the_same_bits_in_a_fresh_process(model, clips, tmp_path, way, groups):
    quantized = quantize(model, clips, way, *groups).model
    path = tmp_path / "layers.pt"
    write_checkpoint(path, quantized.state_dict())
    artifact = artifact_at(path, recipe(way, *groups), model="m5")
    reloaded = reload_in_fresh_process(artifact, named(clips), torch.get_num_threads())
    with torch.inference_mode():
        assert reloaded.outputs[OUTPUT].tobytes() == quantized(clips).numpy().tobytes()


@EVERY_WAY
def test_the_given_model_is_left_as_it_was(model, clips, way):
    before = [(name, type(module), module.training) for name, module in model.named_modules()]
    bytes_before = serialize(model.state_dict())
    quantize(model, clips, way, "block1", "block3")
    EagerBackend(default_engine()).skeleton(model, recipe(way, "block1"))
    assert [(name, type(module), module.training) for name, module in model.named_modules()] == before
    assert serialize(model.state_dict()) == bytes_before
    assert not any(hasattr(module, "qconfig") for module in model.modules())


@EVERY_WAY
def test_a_group_that_does_not_exist_is_refused_with_the_nearest_and_all_that_do(model, clips, way):
    message = (
        r"^unknown layer of M5 'blok1'\. Did you mean 'block1'\? Known: block1, block2, block3, block4, classifier$"
    )
    with pytest.raises(QuantizationError, match=message):
        quantize(model, clips, way, "block2", "blok1")


@EVERY_WAY
def test_a_model_without_groups_is_refused_with_what_to_give_it(clips, way):
    message = (
        r"^TinyCNN names no layers to quantize one at a time: give it `layer_groups`, .* and `boundaries`, .*; M5 shows"
    )
    with pytest.raises(QuantizationError, match=message):
        quantize(tiny_cnn().eval(), clips, way, "block1")


class Unbounded(M5):
    """One boundary is missing."""

    boundaries = M5.boundaries[:-1]


def test_a_model_with_too_few_boundaries_is_refused(clips):
    with pytest.raises(QuantizationError, match=r"^Unbounded names no layers .* the modules around them, one more"):
        quantize(Unbounded().eval(), clips, "static_int8_layers", "block1")


class InOldWords(M5):
    """Names its groups of layers as models did before."""

    blocks, layer_groups = M5.layer_groups, None


def test_a_model_that_names_its_groups_by_the_old_word_is_read_with_a_hint(model, clips):
    old = InOldWords().eval()
    old.load_state_dict(model.state_dict())
    with pytest.warns(
        OldWordWarning, match=r"^InOldWords: 'blocks' is 'layer_groups' now; the old word is still read$"
    ):
        quantized = quantize(old, clips, "static_int8_layers", "block2").model
    expected = quantize(model, clips, "static_int8_layers", "block2").model
    assert serialize(quantized.state_dict()) == serialize(expected.state_dict())


class OfSubmodules(M5):
    """Holds submodules that happen to have the old name."""

    layer_groups = None

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential()


def test_submodules_called_blocks_name_no_groups(clips):
    with pytest.raises(QuantizationError, match=r"^OfSubmodules names no layers"):
        quantize(OfSubmodules().eval(), clips, "static_int8_layers", "block1")
