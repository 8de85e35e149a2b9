"""Promises of every backend in the table, held to artifacts that it makes or that were made elsewhere."""

import importlib
import pickle
import sys
from dataclasses import replace
from threading import Thread

import numpy as np
import pytest
import torch
from artifacts import named, saved
from half_backend import SPEC as HALF
from half_backend import rounded
from onnx_models import artifact_of, network
from programs import program_in
from tiny_model import tiny_cnn
from tiny_tflite import write_tflite

from quantbench.arrays import OUTPUT
from quantbench.backends.checkpoint import schema_of
from quantbench.backends.interface import Artifact, Backend, BackendSpec, Calibration
from quantbench.backends.module import ModulePredictor
from quantbench.errors import CheckpointError, QuantizationError
from quantbench.files import sha256_of_file
from quantbench.measure.reload import reload_in_fresh_process
from quantbench.quant.switchable import switchable_layers
from quantbench.recipes.spec import Fp32
from quantbench.registry import BACKENDS, RECIPES

BATCH = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
THREADS = 1
# Backends that read a file of another as well as a torch model.
OF_FILES = ("onnxruntime", "openvino")
# Those that take seconds and keep no cache of what they compiled.
LOWERED_ONCE = ("executorch",)
SPECS = [*(BackendSpec(name, {}, "here") for name in BACKENDS.names()), HALF]
EVERY_BACKEND = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
NEEDED = {"function": {"function": "own:int8"}, "ready_made": {"path": "net.onnx"}, "layers": {"layers": ["a"]}}
EVERY_RECIPE = [
    RECIPES.create(name, "here", NEEDED.get("layers" if name.endswith("_layers") else name, {}))
    for name in RECIPES.names()
]
# What each backend in the table is asked to make here; one that is not named must be added.
MAKES = {
    "eager": "static_int8_per_channel",
    "executorch": "static_int8_per_channel",
    "fx": "static_int8_per_channel",
    "litert": None,
    "low_bit": "low_bit",
    "onnxruntime": "static_int8_per_channel",
    "openvino": "static_int8_per_channel",
    "pt2e": "static_int8_per_channel",
    "torch": "fp32_baseline",
    "torchao": "dynamic_int8",
    "torchscript": None,
    HALF.name: None,
}


def tflite_in(folder, _):
    return Artifact.of_files(
        BackendSpec("litert", {}, "here"), [write_tflite(folder / "a.tflite", "int8", -1, 8)], Fp32()
    )


# What backends that make nothing load instead, of the size of the reference.
ELSEWHERE = {
    HALF.name: lambda folder, reference: rounded(folder / "half.npz", reference),
    "litert": tflite_in,
    "torchscript": lambda folder, _: program_in(folder / "program.pt", tiny_cnn().eval(), BATCH),
}


@EVERY_BACKEND
def test_what_it_quantizes_with_can_be_imported_alone_and_brings_the_library(spec):
    for name in spec.create().quantizes_with:
        importlib.import_module(name)
        library = {"onnxruntime": "torch.onnx._internal.exporter._core", "openvino": "nncf"}[spec.name]
        assert library in sys.modules
        assert "openvino_telemetry" not in sys.modules


@pytest.fixture
def reference(tmp_path):
    torch.manual_seed(0)
    return saved(tmp_path / "reference.pt", tiny_cnn().eval(), backend="torch")


def calibration(reference, backend, recipe, folder):
    """With trained weights, where the recipe is trained: those of one forward in train mode."""
    trained = None
    if hasattr(recipe, "epochs"):
        from safetensors.torch import save_file

        prepared = backend.prepare_training(reference, recipe, named(BATCH[:2]))
        prepared(BATCH)
        trained = folder / "trained.safetensors"
        save_file(prepared.state_dict(), trained)
    return Calibration(lambda: [named(BATCH)], named(BATCH[:2]), trained, "quantbench train")


@pytest.fixture(scope="session")
def lowered_once(tmp_path_factory):
    """What takes seconds to make, made once: name of the backend → what it made of the reference."""
    kept = {}

    def lowered(spec):
        if spec.name not in kept:
            torch.manual_seed(0)
            folder = tmp_path_factory.mktemp(spec.name)
            source = saved(folder / "reference.pt", tiny_cnn().eval(), backend="torch")
            backend, recipe = spec.create(), RECIPES.create(MAKES[spec.name], "here", {})
            kept[spec.name] = backend.quantize(source, recipe, given(), folder)
        return kept[spec.name]

    return lowered


@pytest.fixture
def made(reference, tmp_path, lowered_once):
    """The artifact of a backend, and the predictor that it was saved from, or None."""

    def make(spec):
        name = MAKES[spec.name]
        if name is None:
            return ELSEWHERE[spec.name](tmp_path, reference), None
        if spec.name in LOWERED_ONCE:
            once = lowered_once(spec)
            path = tmp_path / once.artifact.path.name
            path.write_bytes(once.artifact.path.read_bytes())
            return replace(once.artifact, files=(path,)), once.converted
        backend, recipe = spec.create(), RECIPES.create(name, "here", {})
        # A file of its own, since torch's exporter takes seconds.
        source = artifact_of(network(), tmp_path / "reference.onnx") if spec.name in OF_FILES else reference
        quantized = backend.quantize(source, recipe, calibration(source, backend, recipe, tmp_path), tmp_path)
        return quantized.artifact, quantized.converted

    return make


def process_state():
    return (
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.backends.quantized.engine,
        torch.get_rng_state().tolist(),
        torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(),
    )


def test_every_backend_in_the_table_is_asked_to_make_something():
    assert {spec.name for spec in SPECS} == set(MAKES)


@EVERY_BACKEND
def test_constructing_it_changes_nothing_in_the_process_and_it_knows_how_to_be_made_again(spec):
    before = process_state()
    backend = spec.create()
    assert process_state() == before
    assert (backend.spec, isinstance(backend, Backend), bool(backend.engine)) == (spec, True, True)


# Another engine than the process's, of which it would be seen if it stayed.
OTHER_ENGINES = [
    BackendSpec("eager", {"engine": engine}, "here")
    for engine in torch.backends.quantized.supported_engines
    if engine in ("x86", "qnnpack")
]


@pytest.mark.parametrize("spec", [*SPECS, *OTHER_ENGINES], ids=lambda spec: f"{spec.name} {spec.params}")
def test_making_loading_running_and_counting_leave_the_process_as_it_was(spec, reference, made):
    before = process_state()[:3]
    artifact, _ = made(spec)
    backend = artifact.backend.create()
    backend.load(artifact, THREADS + 1)(named(BATCH))
    backend.kernels(artifact, named(BATCH[:1]))
    backend.describe(artifact)
    backend.forms(artifact, THREADS)
    backend.rehearse(reference, artifact.recipe, named(BATCH[:2]))
    assert process_state()[:3] == before


@pytest.mark.parametrize("spec", OTHER_ENGINES, ids=lambda spec: spec.params["engine"])
def test_layers_that_are_switched_run_on_their_backend_s_engine_and_leave_the_process_s(spec, reference, made):
    before, seen = torch.backends.quantized.engine, []
    artifact, _ = made(spec)
    switched = spec.create().switchable(reference, artifact, named(BATCH[:1]))
    for layer in switchable_layers(switched).values():
        layer.bits = 8
        layer.converted.register_forward_pre_hook(lambda *_: seen.append(torch.backends.quantized.engine))
    with torch.inference_mode():
        switched(BATCH)
    assert (seen, torch.backends.quantized.engine) == ([spec.params["engine"]] * 2, before)


@EVERY_BACKEND
def test_an_artifact_travels_to_a_fresh_process_and_gives_the_same_bits_there(spec, made):
    artifact, converted = made(spec)
    assert pickle.loads(pickle.dumps(artifact)) == artifact  # noqa: S301 — our own
    here = spec.create().load(artifact, THREADS)(named(BATCH))
    reloaded = reload_in_fresh_process(artifact, named(BATCH), THREADS)
    assert reloaded.outputs[OUTPUT].tobytes() == here[OUTPUT].tobytes()
    assert reloaded.description == spec.create().describe(artifact)
    if converted is not None:
        assert converted(named(BATCH))[OUTPUT].tobytes() == here[OUTPUT].tobytes()


@EVERY_BACKEND
def test_the_bits_are_those_of_the_threads_asked_for_whoever_set_the_number_of_the_process(spec, made):
    artifact, _ = made(spec)
    before = torch.get_num_threads()
    expected = spec.create().load(artifact, THREADS + 1)(named(BATCH))[OUTPUT].tobytes()
    # The number that torch tells is then the one asked for, and that of this thread's loops may not be.
    setting = Thread(target=torch.set_num_threads, args=(THREADS + 1,))
    setting.start()
    setting.join()
    try:
        assert spec.create().load(artifact, THREADS + 1)(named(BATCH))[OUTPUT].tobytes() == expected
    finally:
        torch.set_num_threads(before)


@EVERY_BACKEND
def test_the_description_is_that_of_the_files(spec, made):
    artifact, converted = made(spec)
    description = spec.create().describe(artifact)
    assert description.keys.keys() == description.digests.keys()
    assert 0 < description.payload_bytes < artifact.size_bytes == sum(path.stat().st_size for path in artifact.files)
    assert artifact.sha256 == tuple(sha256_of_file(path) for path in artifact.files)
    if isinstance(converted, ModulePredictor):
        assert description.keys == schema_of(converted.module.state_dict())


@EVERY_BACKEND
def test_a_file_that_is_cut_short_is_refused_by_name(spec, made):
    artifact, _ = made(spec)
    artifact.path.write_bytes(artifact.path.read_bytes()[:100])
    for step in (lambda backend: backend.load(artifact, THREADS), lambda backend: backend.describe(artifact)):
        with pytest.raises(CheckpointError, match=artifact.path.name):
            step(spec.create())


@EVERY_BACKEND
@pytest.mark.parametrize("recipe", EVERY_RECIPE, ids=RECIPES.names())
def test_a_recipe_that_is_not_supported_is_refused_with_the_same_reason(spec, recipe, reference, tmp_path):
    backend = spec.create()
    reason = backend.supports(recipe)
    if reason is None:
        assert MAKES[spec.name] is not None
        return
    with pytest.raises(QuantizationError) as error:
        backend.quantize(reference, recipe, given(), tmp_path / "none")
    assert str(error.value) == reason
    assert backend.name in reason
    assert not (tmp_path / "none").exists()


@EVERY_BACKEND
def test_every_form_computes_the_same_and_the_first_is_as_written(spec, made):
    artifact, _ = made(spec)
    expected = spec.create().load(artifact, THREADS)(named(BATCH))[OUTPUT]
    forms = spec.create().forms(artifact, THREADS)
    assert next(iter(forms)) == "as written"
    for form in forms.values():
        np.testing.assert_allclose(form(form.prepared(named(BATCH)))[OUTPUT], expected, rtol=1e-4, atol=1e-5)


def given(batch=BATCH):
    return Calibration(lambda: [named(batch)], named(batch[:2]))


CANNOT = {
    "quantize": lambda backend, artifact: backend.quantize(artifact, artifact.recipe, given(), artifact.path.parent),
    "switch layers": lambda backend, artifact: backend.switchable(artifact, artifact, named(BATCH[:1])),
    "train": lambda backend, artifact: backend.prepare_training(artifact, artifact.recipe, named(BATCH[:2])),
    "train ": lambda backend, _: backend.freeze(torch.nn.Linear(1, 1)),
    "train with": lambda backend, _: backend.convert_trained(torch.nn.Linear(1, 1)),
}


@pytest.mark.parametrize(("word", "step"), CANNOT.items(), ids=["quantize", "switch", "prepare", "freeze", "convert"])
def test_a_backend_that_only_loads_says_of_the_rest_that_and_why_it_cannot(word, step, made):
    artifact, _ = made(HALF)
    with pytest.raises(QuantizationError, match=rf"^backend 'half' cannot {word}.*: it only loads and describes"):
        step(HALF.create(), artifact)


def test_what_ran_as_int8_is_unknown_of_a_backend_that_does_not_tell(made):
    assert HALF.create().kernels(made(HALF)[0], named(BATCH[:1])) is None


def test_a_reference_that_is_no_torch_module_is_refused_by_backends_that_need_one(made, tmp_path):
    artifact, _ = made(HALF)
    recipe = RECIPES.create("dynamic_int8", "here", {})
    with pytest.raises(QuantizationError, match=r"half\.npz: is loaded by backend 'half_backend:half' and is no torch"):
        BackendSpec("eager", {}, "here").create().quantize(artifact, recipe, given(), tmp_path)


def test_a_state_dict_without_a_factory_is_no_model(reference):
    with pytest.raises(CheckpointError, match=r"reference\.pt: a state dict is no model without its factory"):
        reference.backend.create().load(replace(reference, model=None), THREADS)


def test_a_trained_recipe_without_weights_is_refused(reference, tmp_path):
    recipe = RECIPES.create("qat_int8", "here", {})
    with pytest.raises(QuantizationError, match="is trained: give the file of its fine-tuned weights"):
        BackendSpec("eager", {}, "here").create().quantize(reference, recipe, given(), tmp_path)
