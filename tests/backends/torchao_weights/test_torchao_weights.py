"""Weights as tensors of torchao: what is in the file, what it computes, what is refused, and that no code is run."""

import json
from dataclasses import replace

import linear_networks
import pytest
import torch
from artifacts import artifact_at, named, saved
from linear_networks import HIDDEN, INPUTS, OUTPUTS
from safetensors.torch import load_file, save_file
from torch import nn

from quantbench.arrays import OUTPUT
from quantbench.backends.interface import BackendSpec, Calibration
from quantbench.backends.torchao_weights.file import SCHEMA_KEY, packed, unpacked
from quantbench.errors import CheckpointError, ExtraMissingError, QuantizationError
from quantbench.registry import RECIPES

INT8, INT4 = RECIPES.create("weight_only_int8", "here", {}), RECIPES.create("weight_only_int4", "here", {})
DYNAMIC = RECIPES.create("dynamic_int8", "here", {})
EVERY = pytest.mark.parametrize("recipe", [INT8, INT4, DYNAMIC], ids=["int8", "int4", "dynamic"])
ROWS = torch.randn(6, INPUTS, generator=torch.Generator().manual_seed(1))


def quantized(folder, recipe, factory="two_layers"):
    """Backend, reference, and what was made of it."""
    torch.manual_seed(0)
    model = getattr(linear_networks, factory)().eval()
    reference = saved(folder / "fp32.pt", model, backend="torch", model=f"linear_networks:{factory}")
    backend = BackendSpec("torchao", {}, "here").create()
    return backend, reference, backend.quantize(reference, recipe, Calibration(list, named(ROWS)), folder)


def test_int8_codes_are_at_most_half_a_step_away_with_a_scale_per_output(tmp_path):
    _, reference, made = quantized(tmp_path, INT8)
    found, weights = load_file(made.artifact.path), torch.load(reference.path, weights_only=True)
    for layer in ("0", "3"):
        codes, scales = found[f"{layer}.weight:codes"], found[f"{layer}.weight:scales"]
        assert (codes.dtype, list(scales.shape)) == (torch.int8, [len(codes), 1])
        assert float((codes * scales - weights[f"{layer}.weight"]).abs().max()) <= float(scales.max()) / 2 * 1.01
    assert torch.equal(found["0.bias"], weights["0.bias"])
    assert made.artifact.observers["0"] == {
        "activation": "none, float32", "weight": "minmax int8 per_channel symmetric"
    }  # fmt: skip


def test_int4_codes_lie_two_in_a_byte_with_a_scale_per_block_of_inputs(tmp_path):
    _, reference, made = quantized(tmp_path, INT4)
    found, weights = load_file(made.artifact.path), torch.load(reference.path, weights_only=True)
    codes, scales = found["0.weight:codes"], found["0.weight:scales"]
    assert (codes.dtype, codes.numel(), list(scales.shape)) == (torch.uint8, HIDDEN * INPUTS // 2, [HIDDEN, 2])
    values = unpacked(codes, [HIDDEN, INPUTS]).reshape(HIDDEN, 2, 32) * scales[:, :, None]
    # Codes are −8..7: of the largest values half a step more is lost on one side.
    assert float((values.reshape(HIDDEN, INPUTS) - weights["0.weight"]).abs().max()) <= float(scales.max()) * 1.01


@EVERY
def test_the_file_gives_the_same_bits_as_the_model_that_it_was_saved_from(recipe, tmp_path):
    backend, _, made = quantized(tmp_path, recipe)
    expected = made.converted(named(ROWS))[OUTPUT]
    assert backend.load(made.artifact, 1)(named(ROWS))[OUTPUT].tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("recipe", "entry"),
    [
        (INT8, {"class": "Int8Tensor", "dtype": "int8", "block_size": [1, INPUTS]}),
        (INT4, {"class": "IntxUnpackedToInt8Tensor", "dtype": "int4", "block_size": [1, 32]}),
    ],
    ids=["int8", "int4"],
)
def test_a_file_is_described_by_class_bits_and_block_and_by_what_lies_in_it(recipe, entry, tmp_path):
    backend, _, made = quantized(tmp_path, recipe)
    described = backend.describe(made.artifact)
    shown = {key: str(value).removeprefix("torch.") if key == "dtype" else value
             for key, value in described.keys["0.weight"].items()}  # fmt: skip
    assert {key: list(shown[key]) if key == "block_size" else shown[key] for key in entry} == entry
    held = load_file(made.artifact.path).values()
    assert described.payload_bytes == sum(each.numel() * each.element_size() for each in held)


@pytest.mark.parametrize(("recipe", "int8"), [(INT8, 0), (INT4, 0), (DYNAMIC, None)], ids=["int8", "int4", "dynamic"])
def test_what_multiplies_in_int8_is_what_ran_and_weights_alone_are_not(recipe, int8, tmp_path):
    backend, _, made = quantized(tmp_path, recipe)
    coverage = backend.kernels(made.artifact, named(ROWS))
    work = len(ROWS) * (INPUTS * HIDDEN + HIDDEN * OUTPUTS)
    assert (coverage.int8_macs, coverage.macs, coverage.uncounted) == (work if int8 is None else int8, work, ())


def test_a_network_with_convolutions_is_refused_where_the_recipe_names_them(tmp_path):
    with pytest.raises(QuantizationError, match=r"'0' is a Conv1d.* set backend: onnxruntime or openvino"):
        quantized(tmp_path, INT8, "with_convolution")


def test_blocks_that_do_not_divide_the_inputs_are_refused_by_layer(tmp_path):
    with pytest.raises(
        QuantizationError, match=r"'1' has 33 inputs, which blocks of 32 do not divide; give a block_size"
    ):
        quantized(tmp_path, INT4, "odd")


def test_a_network_without_linear_layers_is_refused(tmp_path):
    with pytest.raises(QuantizationError, match=r"no layer of the kind nn\.Linear was quantized"):
        quantized(tmp_path, INT4, "without_layers")


def test_a_file_of_another_recipe_is_refused_by_what_differs(tmp_path):
    backend, _, made = quantized(tmp_path, INT8)
    with pytest.raises(
        CheckpointError, match=r"does not fit the model that its recipe makes: '0\.weight' is Int8Tensor"
    ):
        backend.load(replace(made.artifact, recipe=INT4), 1)


def rewritten(path, change=None, raw=None):
    """A file with its tensors and schema changed."""
    tensors = load_file(path)
    header = path.read_bytes()
    size = int.from_bytes(header[:8], "little")
    schema = json.loads(json.loads(header[8 : 8 + size])["__metadata__"][SCHEMA_KEY])
    if change is not None:
        change(tensors, schema)
    save_file(tensors, path, {SCHEMA_KEY: json.dumps(schema) if raw is None else raw})


def _scale(value):
    return lambda tensors, _: tensors["0.weight:scales"].fill_(value)


def _entry(**changed):
    return lambda _, schema: schema["tensors"]["0.weight"].update(changed)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_scale(float("nan")), "has a scale that is no positive number"),
        (_scale(0.0), "has a scale that is no positive number"),
        (_entry(form="pickle"), "is of no known form"),
        (_entry(shape=[1 << 40, 64]), "has codes int8"),
        (_entry(shape=["a", 64]), "has no shape"),
        (_entry(block=[1, 48]), r"has a block \[1, 48\] that does not divide its shape"),
        (_entry(block=[1, 0]), "has no shape"),
        (lambda tensors, _: tensors.pop("0.weight:codes"), "has no codes in the file"),
        (lambda tensors, _: tensors.pop("0.weight:scales"), "has no scales in the file"),
        (lambda tensors, _: tensors.update({"0.weight:scales": torch.ones(32, 2)}), "has scales float32"),
    ],
    ids=["nan", "zero", "form", "shape", "text", "block", "no block", "codes", "scales", "scales' shape"],
)
def test_a_damaged_weight_is_refused_by_name_before_a_tensor_is_made(change, words, tmp_path):
    backend, _, made = quantized(tmp_path, INT8)
    rewritten(made.artifact.path, change)
    for step in (lambda: backend.load(made.artifact, 1), lambda: backend.describe(made.artifact)):
        with pytest.raises(CheckpointError, match=rf"model\.safetensors: '0\.weight' {words}.*; quantize again"):
            step()


@pytest.mark.parametrize(
    "raw", ["", "{", "[]", '{"version": 2, "tensors": {}}'], ids=["none", "cut", "list", "version"]
)
def test_a_file_without_this_schema_is_refused(raw, tmp_path):
    backend, _, made = quantized(tmp_path, INT8)
    rewritten(made.artifact.path, raw=raw)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: .*schema.*; quantize again with backend: torchao"):
        backend.load(made.artifact, 1)


def test_a_file_that_is_missing_is_refused_by_name(tmp_path):
    backend = BackendSpec("torchao", {}, "here").create()
    (tmp_path / "gone.safetensors").write_bytes(b"x")
    artifact = artifact_at(tmp_path / "gone.safetensors", INT8, "torchao")
    artifact.path.unlink()
    with pytest.raises(CheckpointError, match=r"gone\.safetensors: cannot be read"):
        backend.describe(artifact)


@pytest.mark.parametrize("n", [1, 4, 7])
def test_codes_of_4_bits_come_back_from_their_bytes(n):
    codes = torch.randint(-8, 8, (n, 3), dtype=torch.int8)
    assert torch.equal(unpacked(packed(codes), [n, 3]), codes)


def test_a_tensor_of_another_form_is_not_written(tmp_path):
    from torchao.quantization import IntxWeightOnlyConfig, quantize_

    from quantbench.backends.torchao_weights.file import write_file

    model = nn.Sequential(nn.Linear(8, 4))
    quantize_(model, IntxWeightOnlyConfig(weight_dtype=torch.int3))
    with pytest.raises(
        QuantizationError, match=r"'0\.weight' is a IntxUnpackedToInt8Tensor of a form that .* not write"
    ):
        write_file(tmp_path / "a.safetensors", model.state_dict())


def test_it_needs_torchao_and_says_what_installs_it(monkeypatch):
    from quantbench.backends.torchao_weights import backend

    def missing(needed_by, *libraries):
        raise ExtraMissingError(f"{needed_by}: needs {libraries[0]}")

    monkeypatch.setattr(backend, "installed", lambda *_: False)
    monkeypatch.setattr(backend, "require", missing)
    with pytest.raises(ExtraMissingError, match="backend 'torchao': needs torchao"):
        backend.torchao()


def test_recipes_of_other_kinds_are_refused_with_a_backend_that_runs_them():
    backend = BackendSpec("torchao", {}, "here").create()
    assert "set backend: eager" in backend.supports(RECIPES.create("static_int8", "here", {}))
