"""Blame of two files that were made elsewhere, from the shell as a user types it."""

import json

import numpy as np
import pytest
from files_made_elsewhere import COLOURS, colours, quantized, saved
from onnx import ModelProto, numpy_helper

from quantbench.errors import QuantizationError

pytestmark = pytest.mark.usefixtures("real_blame")
# Blue and green are mistaken for each other.
WRONG = COLOURS[[1, 0, 2]]
SENTENCE = "conv is responsible for "


def changed(proto, **values):
    """A copy with other constants."""
    made = ModelProto()
    made.CopyFrom(proto)
    for tensor in made.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(values[tensor.name]), tensor.name))
    return made


@pytest.fixture
def compare(project, quantbench):
    def run(candidate, *options, reference=None):
        files = saved(reference or colours(), project.root / "fp32.onnx"), saved(candidate, project.root / "int8.onnx")
        pool = ("--param", "calibration_pool=60")
        return quantbench("compare", *files, "--data", project.images, *pool, "--max-drop", 10, *options)

    return run


def test_the_message_of_a_failing_gate_names_layer_and_cause(compare, project):
    status, _, err = compare(quantized(WRONG), "--json", project.root / "record.json")
    assert status == 1
    (line,) = [line for line in err.splitlines() if line.startswith("  blame:")]
    assert SENTENCE in line
    assert "its weights are not the reference's" in line
    (record,) = json.loads((project.root / "record.json").read_text())["records"]
    (verdict,) = [each for each in record["verdicts"] if each["quantity"] == "accuracy_drop_pp"]
    assert verdict["blame"] in line


def test_no_blame_leaves_it_out(compare):
    status, _, err = compare(quantized(WRONG), "--no-blame")
    assert (status, "blame:" in err) == (1, False)


def test_a_range_far_too_wide_is_blamed(compare):
    """The one quantizer of input and results has no codes for what they hold."""
    _, _, err = compare(changed(quantized(), in_scale=np.float32(5.0)))
    assert "(x) and conv are together responsible for 56.0 [" in err
    assert "% of the range of its results is not used (range -640…635, needed " in err
    assert "recipe: static_int8_histogram" in err


def test_asked_for_in_any_case_it_shows_its_table(compare):
    status, out, _ = compare(quantized(), "--blame")
    assert status == 0
    assert "nothing to blame: " in out
    assert "layer  operator" in out


def test_a_blame_that_breaks_is_one_line_and_its_traceback_is_shown_where_asked_for(compare, monkeypatch):
    def broken(*_):
        raise KeyError("some_value")

    monkeypatch.setattr("quantbench.blame.blame.blamed", broken)
    _, out, err = compare(quantized(), "--blame")
    assert "no layer was looked into: looking for the layer to blame raised KeyError: 'some_value'" in out
    assert "Traceback" not in out + err
    _, _, err = compare(quantized(), "--blame", "--verbose")
    assert "Traceback (most recent call last):" in err


def test_both_options_are_one_too_many_and_nothing_is_made(compare, project):
    folder = project.root / "elsewhere"
    status, _, err = compare(quantized(), "--blame", "--no-blame", "--save", "pair", "--configs", folder)
    assert (status, err) == (2, "quantbench: --blame and --no-blame: give one of them\n")
    assert not folder.exists()


def test_a_candidate_without_any_layer_in_int8_has_nothing_to_put_back(tmp_path):
    from onnx_models import artifact_of, onnxruntime

    files = (artifact_of(colours(), tmp_path / f"{name}.onnx") for name in ("fp32", "int8"))
    with pytest.raises(QuantizationError, match="the model has no QuantizeLinear and DequantizeLinear"):
        onnxruntime().create().insides(*files)


def test_a_reference_of_another_architecture(compare, project):
    from onnx import helper
    from onnx_models import constants, model

    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["b"], "pool"),
        helper.make_node("Flatten", ["b"], ["f"], "flatten"),
        helper.make_node("MatMul", ["f", "eye"], ["logits"], "product"),
    ]
    other = model(nodes, {"x": ["n", 3, 8, 8]}, {"logits": ["n", 3]}, constants(eye=COLOURS))
    _, _, err = compare(quantized(WRONG), reference=other)
    assert "no layer was looked into: int8.onnx: none of its 1 quantized layers is in fp32.onnx" in err
