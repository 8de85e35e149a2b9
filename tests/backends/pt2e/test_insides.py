"""Values inside of an exported program in int8, and the program with layers put back; nothing is compiled."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from artifacts import named
from exported_programs import PICTURES, SOUNDS, SPEC, calibration, recipe

from quantbench.backends.exported.graphs import without_guards
from quantbench.backends.file_predictor import Binding
from quantbench.backends.interface import Artifact
from quantbench.backends.pt2e.archive import normalized
from quantbench.backends.pt2e.compiling import read_program
from quantbench.backends.pt2e.inner_layers import is_dequantizer, kind_of, layers_of
from quantbench.backends.pt2e.insides import GRAPH_ALONE, ProgramInsides
from quantbench.errors import QuantizationError

BATCH = named(PICTURES)


@pytest.fixture(scope="module")
def programs(reference, tmp_path_factory):
    """The residual network in fp32 and in int8, as files that are not compiled."""
    from quantbench.backends.pt2e import backend

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend.Pt2eBackend, "load", lambda *_: None)
        patch.setattr(backend, "check_same", lambda *_, **__: None)
        own = SPEC.create()
        static, dynamic = recipe("static_int8_per_channel"), recipe("dynamic_int8")
        return {
            "fp32": own.lowered(reference, named(PICTURES[:2]), tmp_path_factory.mktemp("fp32")).artifact,
            "static": own.quantize(reference, static, calibration(PICTURES), tmp_path_factory.mktemp("i8")).artifact,
            "dynamic": own.quantize(reference, dynamic, calibration(PICTURES), tmp_path_factory.mktemp("d8")).artifact,
        }


def opened(programs, candidate=None, compiled=None, is_trained=False, reference="fp32"):
    candidate = candidate or programs["static"]
    made = compiled or (lambda inputs: {"output": np.zeros((len(inputs["input"]), 3), np.float32)})
    return ProgramInsides(programs[reference], candidate, made, Binding(), is_trained)


def with_smaller_scale(artifact, name, folder):
    """A file in which the range of a layer's results is a twentieth."""
    program = read_program(artifact.path)
    names = {each.name for each in layers_of(without_guards(program))[name].quantizers}
    for node in program.graph.nodes:
        if names & {node.name, getattr(node.args[0] if node.args else None, "name", "")}:
            node.update_arg(1, node.args[1] / 20)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    (folder / "model.pt2").write_bytes(normalized(buffer.getvalue()))
    return Artifact.of_files(artifact.backend, [folder / "model.pt2"], artifact.recipe)


def error(insides, layers, reference):
    return float(np.square(insides.put_back(layers)(BATCH)["output"] - reference).mean())


def test_layers_come_in_the_order_of_the_graph_with_their_parameters(programs):
    layers = opened(programs).layers
    assert [(each.name, each.op) for each in layers] == [
        ("x", "input"), ("stem", "conv2d"), ("block.conv1", "conv2d"), ("block.conv2", "conv2d"), ("mean", "mean"),
        ("fc", "linear"),
    ]  # fmt: skip
    weight = layers[2].weight
    assert weight.grid.axis == 0
    # But for what lies in the middle of two codes.
    assert np.isclose(weight.grid.rounded(weight.reference), weight.candidate, atol=1e-6).mean() > 0.98
    assert layers[-1].channels_last
    # The shortcut is rounded once more, by the scale of what it is made of.
    assert [len(each.results) for each in layers] == [1, 1, 1, 0, 1, 0]


def test_all_put_back_is_the_reference_and_none_the_candidate(programs):
    insides = opened(programs)
    inside = insides.run(BATCH)
    names = [each.name for each in insides.layers]
    np.testing.assert_allclose(insides.put_back(names)(BATCH)["output"], inside.reference["output"], atol=1e-5)
    np.testing.assert_allclose(inside.all_back["output"], inside.reference["output"], atol=1e-5)
    np.testing.assert_array_equal(insides.put_back([])(BATCH)["output"], inside.candidate["output"])
    assert np.abs(inside.candidate["output"] - inside.reference["output"]).max() > 1e-3


def test_values_of_a_layer_are_those_of_both_models(programs):
    insides = opened(programs)
    inside = insides.run(BATCH)
    for layer in insides.layers:
        values = inside.layers[layer.name]
        local = values.exact if layer.grid is None else layer.grid.rounded(values.exact)
        for other in (local, values.candidate):
            assert np.abs(other - values.reference).max() < 0.1 * np.abs(values.reference).max(), layer.name


@pytest.mark.parametrize("name", ["stem", "block.conv1", "mean"])
def test_a_broken_scale_is_mended_by_putting_that_layer_back_alone(programs, name, tmp_path):
    insides = opened(programs, with_smaller_scale(programs["static"], name, tmp_path))
    reference = insides.run(BATCH).reference["output"]
    errors = {each.name: error(insides, [each.name], reference) for each in insides.layers}
    assert min(errors, key=errors.get) == name
    assert errors[name] < 0.05 * error(insides, [], reference)


def test_a_scale_that_is_found_batch_by_batch_is_of_the_layer_that_reads_it(programs):
    insides = opened(programs, programs["dynamic"])
    inside = insides.run(BATCH)
    assert [each.name for each in insides.layers if each.is_quantized] == ["fc"]
    assert insides.layers[-1].grid is None
    assert error(insides, ["fc"], inside.reference["output"]) < 1e-10 < error(insides, [], inside.reference["output"])


def test_a_trained_layer_that_is_put_back_keeps_its_weights(programs):
    insides = opened(programs, is_trained=True)
    inside = insides.run(BATCH)
    assert inside.all_back is None
    assert insides.layers[1].weight.reference is None
    assert "weights were fine-tuned: a layer that is put back keeps them" in insides.notes
    everything = insides.put_back([each.name for each in insides.layers])(BATCH)["output"]
    assert np.abs(everything - inside.reference["output"]).max() > 1e-4


def test_a_compiled_program_that_gives_something_else_is_told(programs):
    honest = opened(programs)
    own = honest.put_back([])
    sound = opened(programs, compiled=own)
    sound.run(BATCH)
    assert sound.notes == (GRAPH_ALONE,)
    honest.run(BATCH)
    assert "the compiled program gives something else than its graph" in honest.notes[1]


def test_a_program_of_one_batch_size_is_run_in_parts(programs, monkeypatch):
    from quantbench.backends.pt2e import insides as module

    specs = module.specs_of

    def fixed(program):
        return [[replace(each, shape=(3, *each.shape[1:])) for each in part] for part in specs(program)]

    whole = opened(programs).run(BATCH)
    monkeypatch.setattr(module, "specs_of", fixed)
    parts = opened(programs).run(BATCH)
    for name, values in whole.layers.items():
        np.testing.assert_allclose(parts.layers[name].exact, values.exact, atol=1e-5)


def test_a_reference_that_is_no_program_is_refused(programs, reference):
    with pytest.raises(QuantizationError, match=r"reference\.pt: is no \.pt2 file"):
        SPEC.create().insides(reference, programs["static"])


def test_a_candidate_without_any_layer_in_int8_is_refused(programs):
    with pytest.raises(QuantizationError, match="no layer of it is in int8"):
        opened(programs, programs["fp32"])


def test_a_reference_of_another_architecture_is_refused(programs, sounds, tmp_path, uncompiled):
    other = SPEC.create().lowered(sounds, named(SOUNDS[:2]), tmp_path).artifact
    with pytest.raises(QuantizationError, match=r"none of its 4 layers is in model\.pt2 by name and shape"):
        opened({**programs, "other": other}, reference="other")


def test_kinds_of_nodes_are_told_apart(programs):
    kinds = {kind_of(node) for node in read_program(programs["static"].path).graph.nodes if is_dequantizer(node)}
    assert kinds == {"dequantize_per_tensor", "dequantize_per_channel"}
