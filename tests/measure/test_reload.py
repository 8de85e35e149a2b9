"""The checkpoint opened in a fresh process, and what is said of one that does not fit."""

import importlib
import os

import pytest
import torch
from artifacts import artifact_at, loaded, named
from tiny_model import tiny_cnn

from quantbench.arrays import OUTPUT
from quantbench.backends.checkpoint import read_checkpoint, schema_of, write_checkpoint
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.errors import CheckpointError
from quantbench.measure.reload import reload_in_fresh_process
from quantbench.registry import RECIPES

INPUTS = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
# Recipes for some layers have tests of their own, with a model that has layers.
POST_TRAINING = [
    name
    for name in RECIPES.names()
    if not name.startswith(("qat", "low", "ready_made", "function", "weight_only")) and not name.endswith("_layers")
]

USER_MODEL = """\
import os
import torch

KNOWN = 0

class Told(torch.nn.Module):
    def forward(self, x):
        return torch.tensor([[float(os.getpid()), float(KNOWN)]])

def told():
    return Told()

def dies():
    os._exit(3)
"""


def quantize(recipe, channels=8):
    torch.manual_seed(0)
    spec = RECIPES.create(recipe, "here", {})
    return (
        EagerBackend(default_engine()).quantize_module(tiny_cnn(channels=channels).eval(), spec, lambda: [INPUTS]).model
    )


@pytest.fixture
def artifact_of(tmp_path):
    """Saves a quantized model and says how to load it again."""

    def make(made_by, model="tiny_model:tiny_cnn", recipe=None, params=None):
        path = tmp_path / f"{made_by}.pt"
        write_checkpoint(path, quantize(made_by).state_dict())
        return artifact_at(path, recipe or RECIPES.create(made_by, "here", {}), model=model, params=params)

    return make


@pytest.fixture
def user_model(tmp_path, monkeypatch):
    """A user's own module, importable as `user_model`, on a path that only this test has."""
    (tmp_path / "user_model.py").write_text(USER_MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("user_model")


def edited(artifact, edit):
    """The artifact with its file changed by `edit(state)`."""
    state = read_checkpoint(artifact.path)
    edit(state)
    write_checkpoint(artifact.path, state)
    return artifact


def reload_here(artifact):
    return reload_in_fresh_process(artifact, named(INPUTS), torch.get_num_threads())


@pytest.mark.parametrize("recipe", POST_TRAINING)
def test_a_fresh_process_finds_the_same_schema_and_the_same_bits(artifact_of, recipe):
    reloaded = reload_here(artifact_of(recipe))
    model = quantize(recipe)
    with torch.inference_mode():
        assert reloaded.outputs[OUTPUT].tobytes() == model(INPUTS).numpy().tobytes()
    assert reloaded.description.keys == schema_of(model.state_dict())


def test_the_fresh_process_is_another_one_and_knows_nothing_of_this_one(artifact_of, user_model):
    user_model.KNOWN = 1
    artifact = artifact_of("fp32_baseline", model="user_model:told")
    write_checkpoint(artifact.path, {})
    with torch.inference_mode():
        assert loaded(artifact)(INPUTS).tolist() == [[os.getpid(), 1]], "here"
    [[process, known]] = reload_here(artifact).outputs[OUTPUT].tolist()
    assert process != os.getpid()
    assert known == 0


def test_the_death_of_the_fresh_process_is_told(artifact_of, user_model):
    with pytest.raises(CheckpointError, match=r"fp32_baseline\.pt: the fresh process that loaded it died"):
        reload_here(artifact_of("fp32_baseline", model="user_model:dies"))


def test_an_error_of_the_fresh_process_arrives_as_its_own_line(artifact_of):
    artifact = artifact_of("static_int8_per_channel")
    artifact.path.write_bytes(artifact.path.read_bytes()[:300])
    with pytest.raises(CheckpointError, match=r"static_int8_per_channel\.pt: not a whole checkpoint"):
        reload_here(artifact)


def test_a_model_that_cannot_run_in_the_fresh_process_is_told_in_one_line(artifact_of):
    artifact = edited(artifact_of("dynamic_int8"), lambda state: state["bn.bias"].fill_(float("nan")))
    with pytest.raises(CheckpointError, match=r"^.*int8\.pt: the model loaded from it cannot run: .*$") as raised:
        reload_here(artifact)
    assert ": the forward raised RuntimeError: " in str(raised.value)
    assert " in layer 'fc' (Linear), batch [16, 3, 8, 8], at " in str(raised.value)


def test_missing_keys_are_named(artifact_of):
    artifact = edited(artifact_of("static_int8_per_channel"), lambda state: state.pop("conv.scale"))
    message = (
        r"per_channel\.pt: is static int8, of unknown origin \(both ways end with the same keys\), and does not fit "
        r"the model that its recipe makes: 'conv\.scale' is missing\. Quantize again"
    )
    with pytest.raises(CheckpointError, match=message):
        loaded(artifact)


def test_a_state_dict_that_lost_its_versions_is_refused(artifact_of):
    artifact = artifact_of("static_int8_per_channel")
    write_checkpoint(artifact.path, dict(read_checkpoint(artifact.path)))
    with pytest.raises(CheckpointError, match=r"channel\.pt: cannot be loaded \(KeyError: .*\); save what state"):
        loaded(artifact)


def test_foreign_keys_are_named(artifact_of):
    artifact = edited(artifact_of("dynamic_int8"), lambda state: state.update({"fc2.weight": torch.ones(1)}))
    with pytest.raises(CheckpointError, match=r"'fc2\.weight' is not of this model"):
        loaded(artifact)


def test_a_layer_left_in_fp32_is_named_with_both_dtypes(artifact_of):
    artifact = edited(
        artifact_of("static_int8_per_tensor"),
        lambda state: state.update({"conv.weight": state["conv.weight"].dequantize()}),
    )
    message = r"'conv\.weight' is float32 \[8, 3, 3, 3\] instead of qint8 \[8, 3, 3, 3\] per_tensor_affine"
    with pytest.raises(CheckpointError, match=message):
        loaded(artifact)


def test_a_checkpoint_of_a_wider_model_is_named_with_both_shapes(artifact_of):
    # Quantized modules take tensors of any shape: torch alone would load this without a word.
    artifact = artifact_of("static_int8_per_tensor", params={"channels": 4})
    with pytest.raises(CheckpointError, match=r"'conv\.weight' is qint8 \[8, .* instead of qint8 \[4, "):
        loaded(artifact)


@pytest.mark.parametrize(
    ("made_by", "expected", "message"),
    [
        (
            "fp32_baseline",
            "static_int8_per_tensor",
            r"is floating point, and .*'quant\.scale' is missing; .* more",
        ),
        ("static_int8_per_tensor", "fp32_baseline", r"is static int8, .*'bn\.weight' is missing; .*; and \d+ more\. Q"),
        ("static_int8_per_channel", "static_int8_per_tensor", r"per_channel_affine axis 0 instead of .* per_tensor"),
        ("static_int8_per_tensor", "static_int8_per_channel", r"per_tensor_affine instead of .* axis 0"),
        ("fp32_baseline", "dynamic_int8", r"'fc\.scale' is missing; .*; and 2 more\. Quantize again"),
        ("dynamic_int8", "fp32_baseline", r"is dynamic int8, and does not fit .*'fc\.weight' is missing"),
    ],
)
def test_a_checkpoint_of_another_recipe_is_refused(artifact_of, made_by, expected, message):
    artifact = artifact_of(made_by, recipe=RECIPES.create(expected, "here", {}))
    with pytest.raises(CheckpointError, match=message):
        loaded(artifact)
