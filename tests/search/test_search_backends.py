"""Searches over layers of fx, pt2e and ONNX Runtime: the ruined layer is found, and no other choice is better."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from artifacts import named, saved
from exported_programs import calibration, recipe
from planted_layer import BAD, Planted, Twice, filled, images, labelled

from quantbench.backends.interface import BackendSpec
from quantbench.backends.module import ModulePredictor
from quantbench.errors import QuantizationError
from quantbench.measure.evaluation import evaluate
from quantbench.quant.switchable import WholeModel, switchable_layers
from quantbench.recipes.spec import DynamicInt8, Fp32, ReadyMade
from quantbench.search.layer_costs import layer_costs
from quantbench.search.search import Problem, measured, search

BACKENDS = {"fx": {"engine": "x86"}, "pt2e": {}, "onnxruntime": {}}
LAYERS = ("first", "second", "third", "last")
EPSILON_PP = 5.0


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("planted") / "reference.pt"
    return saved(path, filled(), backend="torch", model="planted_layer:planted")


@pytest.fixture(scope="module")
def uncompiled():
    """Lets programs be written that are not compiled."""
    from quantbench.backends.pt2e import backend

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend.Pt2eBackend, "load", lambda *_: None)
        patch.setattr(backend, "check_same", lambda *_, **__: None)
        patch.setattr(backend, "check_compiler", lambda: None)
        yield


@pytest.fixture(scope="module")
def artifacts(reference, uncompiled, tmp_path_factory):
    """Backend → its artifact of the network, made once."""
    made = {}

    def artifact(backend, name="static_int8_per_tensor", **params):
        if (backend, name, str(params)) not in made:
            folder = tmp_path_factory.mktemp(backend)
            spec = BackendSpec(backend, BACKENDS[backend], "here")
            quantized = spec.create().quantize(reference, recipe(name, **params), calibration(images(64)), folder)
            made[backend, name, str(params)] = quantized.artifact
        return made[backend, name, str(params)]

    return artifact


@pytest.fixture
def problem(reference, artifacts, request):
    """Of the backend that a test is parametrized with."""
    return problem_of(request.param, reference, artifacts)


def problem_of(backend, reference, artifacts):
    candidate = artifacts(backend)
    model = candidate.backend.create().switchable(reference, candidate, named(images(1)))
    return Problem(model, labelled(filled()), 8, 32, tuple(switchable_layers(model)))


def accuracy_of(problem, bits):
    """By whole forwards, without anything kept."""
    for layer, width in zip(switchable_layers(problem.model).values(), bits, strict=True):
        layer.bits = width
    return evaluate(ModulePredictor(problem.model), problem.split).accuracy


every_backend = pytest.mark.parametrize("problem", BACKENDS, indirect=True)


@every_backend
def test_with_all_layers_in_fp32_it_is_the_reference(problem):
    assert tuple(switchable_layers(problem.model)) == LAYERS
    with torch.inference_mode():
        assert torch.allclose(problem.model(images(64)), filled()(images(64)), atol=1e-4)


@every_backend
def test_the_ruined_layer_alone_is_found_and_no_other_choice_within_epsilon_has_more_layers_in_int8(problem):
    found = search(problem, EPSILON_PP)
    assert dict(zip(LAYERS, found.bits, strict=True)) == {"first": 8, "second": 32, "third": 8, "last": 8}
    allowed = [bits for bits in product((8, 32), repeat=4) if accuracy_of(problem, bits) >= 1 - EPSILON_PP / 100]
    assert max(allowed, key=lambda bits: bits.count(8)) == tuple(found.bits)
    drops = {each.layer: each.drop_pp for each in found.sensitivities}
    for name in LAYERS:
        bits = [8 if each == name else 32 for each in LAYERS]
        assert drops[name] == pytest.approx(100 * (1 - accuracy_of(problem, bits)))
    assert max(drops, key=drops.get) == BAD
    assert drops[BAD] > 2 * EPSILON_PP


@every_backend
def test_the_adaptive_mode_finds_the_same(problem):
    assert search(problem, EPSILON_PP, mode="adaptive").bits == [8, 32, 8, 8]


@every_backend
def test_costs_are_those_of_the_network(problem):
    costs = {each.name: (each.macs, each.weights, each.inputs) for each in layer_costs(problem)}
    assert costs == {
        "first": (64 * 27 * 6, 162, 192),
        "second": (64 * 54 * 6, 324, 384),
        "third": (16 * 54 * 8, 432, 384),
        "last": (24, 24, 8),
    }


@pytest.mark.parametrize(
    ("problem", "kept"), [("fx", True), ("pt2e", True), ("onnxruntime", False)], indirect=["problem"]
)
def test_values_are_kept_where_the_graph_can_be_cut_and_elsewhere_it_is_said(problem, kept):
    found, reason = search(problem, EPSILON_PP), measured(problem)[1]
    assert found.full_passes == reason
    assert (reason == "") is kept
    assert (found.memory_bytes > 0) is kept
    assert (found.macs_spent < 0.8 * found.macs_naive) is kept
    if not kept:
        assert reason == (
            "the quantizers of an .onnx file are left out of its graph, which the runtime then runs as a whole"
        )
        assert [each.output_sqnr_db for each in found.sensitivities] == [None] * 4


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_found_can_be_named_in_a_recipe(backend, reference, artifacts):
    chosen = ("first", "third", "last")
    spec = BackendSpec(backend, BACKENDS[backend], "here").create()
    assert spec.takes_layers
    made = artifacts(backend, layers=chosen)
    assert sorted(made.observers) == sorted(chosen)
    again = spec.switchable(reference, made, named(images(1)))
    assert sorted(switchable_layers(again)) == sorted(chosen)
    for layer in switchable_layers(again).values():
        layer.bits = 8
    whole = problem_of(backend, reference, artifacts)
    accuracy = [accuracy_of(whole, (8, 32, 8, 8)), evaluate(ModulePredictor(again), whole.split).accuracy]
    assert np.ptp(accuracy) <= 0.02


def test_a_file_that_was_made_elsewhere_is_searched_too(reference, artifacts):
    candidate = replace(artifacts("onnxruntime"), recipe=ReadyMade("model.onnx"))
    model = candidate.backend.create().switchable(reference, candidate, named(images(1)))
    assert search(Problem(model, labelled(filled()), 8, 32, LAYERS), EPSILON_PP).bits == [8, 32, 8, 8]


def test_a_file_without_pairs_around_its_layers_is_refused(reference, artifacts, tmp_path):
    backend = BackendSpec("onnxruntime", {}, "here").create()
    floating = backend.lowered(reference, named(images(8)), tmp_path).artifact
    with pytest.raises(QuantizationError, match=r"model\.onnx: has no layer in int8 that could be left in fp32"):
        backend.switchable(reference, replace(floating, recipe=ReadyMade("model.onnx")), named(images(1)))


def test_a_file_of_another_model_is_refused(artifacts, tmp_path):
    other = Planted()
    other.second = torch.nn.Conv2d(6, 6, 5, padding=2)
    reference = saved(tmp_path / "r.pt", other.eval(), backend="torch", model="planted_layer:wider")
    for backend, words in (("pt2e", r"the weight of 'second' is \[6, 6, 3, 3\] in the file and \[6, 6, 5, 5\]"),
                           ("onnxruntime", r"its layer 'second' is none of the reference")):  # fmt: skip
        candidate = artifacts(backend)
        with pytest.raises(QuantizationError, match=words):
            candidate.backend.create().switchable(reference, candidate, named(images(1)))


def test_a_layer_that_runs_twice_is_refused(tmp_path, uncompiled):
    reference = saved(tmp_path / "r.pt", Twice().eval(), backend="torch", model="planted_layer:twice")
    spec = BackendSpec("pt2e", {}, "here").create()
    made = spec.quantize(reference, recipe("static_int8_per_channel"), calibration(images(16)), tmp_path).artifact
    with pytest.raises(QuantizationError, match="'same' runs more than once in a forward"):
        spec.switchable(reference, made, named(images(1)))


def test_sessions_of_one_pass_over_all_layers_are_kept(reference, artifacts, monkeypatch):
    from quantbench.backends.onnx_runtime import switches

    opened, own = [], switches.open_session
    monkeypatch.setattr(switches, "open_session", lambda *args: opened.append(1) or own(*args))
    problem = problem_of("onnxruntime", reference, artifacts)
    opened.clear()
    measured(problem)
    assert len(opened) == 1 + len(LAYERS)


def test_a_whole_model_of_several_outputs_is_refused():
    model = WholeModel({}, lambda _: lambda _: {"a": np.zeros(1), "b": np.zeros(1)}, 1, "so")
    with pytest.raises(Exception, match="a search compares logits, and the model gives 2 outputs"):
        model(torch.zeros(1, 1))


REFUSALS = {
    "openvino": (
        "nncf quantizes whole graphs, which no longer have the layers of the model; search the same recipe with "
        "backend: onnxruntime or pt2e"
    ),
    "litert": (
        "a .tflite file holds its quantized weights alone, and is made elsewhere; search the model that it was made "
        "from, with backend: onnxruntime or pt2e"
    ),
    "executorch": (
        "its delegate takes whole parts of a graph, which are lowered anew for each choice; search the same recipe "
        "with backend: pt2e, whose layers have the same names, and name those that it finds in layers"
    ),
    "torchscript": "it only loads and describes artifacts that were made elsewhere",
}


@pytest.mark.parametrize(("backend", "reason"), REFUSALS.items(), ids=REFUSALS)
def test_a_backend_that_cannot_says_why_and_what_to_do(backend, reason, reference):
    with pytest.raises(QuantizationError) as error:
        BackendSpec(backend, {}, "here").create().switchable(reference, reference, named(images(1)))
    assert str(error.value) == f"backend '{backend}' cannot switch layers between bit widths: {reason}"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [DynamicInt8(("Linear",)), Fp32()], ids=["dynamic", "fp32"])
def test_a_recipe_without_switchable_layers_is_refused(backend, kind, reference, artifacts):
    candidate = replace(artifacts(backend), recipe=kind)
    if backend == "fx":
        # Its files are filled into what the recipe makes.
        candidate = (
            BackendSpec("fx", BACKENDS["fx"], "here")
            .create()
            .quantize(reference, kind, calibration(images(8)), candidate.path.parent / kind.kind)
            .artifact
        )
    with pytest.raises(QuantizationError, match=rf"the recipe \({kind.kind}\) leaves no layer whose bit width"):
        candidate.backend.create().switchable(reference, candidate, named(images(1)))
