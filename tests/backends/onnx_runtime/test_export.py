"""Torch models written as `.onnx`: the same answers, names of layers, one line for what stops the exporter."""

import sys

import numpy as np
import onnx
import pytest
import torch
from artifacts import named, saved
from onnx_models import artifact_of, network, onnxruntime
from tiny_model import tiny_cnn
from torch import nn

from quantbench.backends.interface import Calibration
from quantbench.backends.onnx_runtime import export
from quantbench.errors import ExtraMissingError, QuantizationError
from quantbench.recipes.spec import Fp32
from quantbench.registry import RECIPES

BATCH = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
BACKEND = onnxruntime().create()


def reference(folder, model="tiny_model:tiny_cnn", module=None):
    torch.manual_seed(0)
    return saved(folder / "reference.pt", (module or tiny_cnn()).eval(), backend="torch", model=model)


@pytest.fixture(scope="module")
def lowered(tmp_path_factory):
    """Reference, and what it was written as; made once, since the exporter takes seconds."""
    folder = tmp_path_factory.mktemp("lowered")
    torch_reference = reference(folder)
    return torch_reference, BACKEND.lowered(torch_reference, named(BATCH), folder)


def test_the_file_gives_what_the_model_gives_in_batches_of_any_size(lowered):
    torch_reference, made = lowered
    expected = torch_reference.backend.create().load(torch_reference, 1)
    found = BACKEND.load(made.artifact, 1)
    for n in (1, 3, 8):
        np.testing.assert_allclose(
            found(named(BATCH[:n]))["output"], expected(named(BATCH[:n]))["output"], rtol=1e-4, atol=1e-5
        )
    assert found.notes == ()
    assert (made.artifact.recipe, made.artifact.model) == (Fp32(), torch_reference.model)
    assert made.artifact.backend.name == "onnxruntime"


def test_nodes_have_the_names_of_layers_and_nothing_tells_of_this_machine(lowered):
    content = lowered[1].artifact.path.read_bytes()
    graph = onnx.load_from_string(content).graph
    assert [node.name for node in graph.node] == ["conv", "relu/Relu", "pool/ReduceMean", "Reshape", "fc"]
    assert b"tiny_model" not in content
    assert b"/tests/" not in content


def test_the_description_names_operators_inputs_and_outputs(lowered):
    assert BACKEND.describe(lowered[1].artifact).graph == {
        "opset": {"ai.onnx": 20},
        "inputs": {"input": "float32 [batch, 3, 8, 8]"},
        "outputs": {"output": "float32 [batch, 3]"},
        "operators": {"Conv": 1, "Gemm": 1, "ReduceMean": 1, "Relu": 1, "Reshape": 1},
    }


def test_a_lowered_reference_is_quantized_by_the_groups_of_its_model(lowered, tmp_path):
    recipe = RECIPES.create("static_int8", "here", {})
    made = BACKEND.quantize(lowered[1].artifact, recipe, Calibration(lambda: [named(BATCH)], named(BATCH)), tmp_path)
    assert list(made.artifact.observers) == ["conv", "fc"]
    assert BACKEND.kernels(made.artifact, named(BATCH)).int8_share == 1.0


def test_a_file_of_onnx_is_its_own_lowered_form(tmp_path):
    assert BACKEND.lowered(artifact_of(network(), tmp_path / "a.onnx"), named(BATCH), tmp_path) is None


def test_a_missing_exporter_is_told_with_what_installs_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ExtraMissingError, match=r"to write a torch model as \.onnx: needs onnxscript, .*\[torch\]"):
        BACKEND.lowered(reference(tmp_path), named(BATCH), tmp_path)


class Svd(nn.Module):
    """An operation that ONNX has no form of."""

    def forward(self, x):
        return torch.linalg.svdvals(x.flatten(2)).flatten(1)


class Choosing(nn.Module):
    """A forward that depends on values."""

    def forward(self, x):
        if x.sum() > 0:
            return x.flatten(1)
        return -x.flatten(1)


STOPS = {
    Svd: "^Svd cannot be written as ONNX: the operation aten::_linalg_svd has no form there; replace it, or quantize ",
    Choosing: r"^Choosing cannot be written as ONNX: .*, at test_export\.py:\d+ in forward: `if x\.sum\(\) > 0:`; ",
}


@pytest.mark.parametrize(("model", "told"), STOPS.items(), ids=lambda each: getattr(each, "__name__", ""))
def test_a_model_that_cannot_be_written_is_one_line_with_what_stops_it(model, told, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("quantbench.backends.state_dict.reference_module", lambda _: model().eval())
    with pytest.raises(QuantizationError, match=told) as error:
        BACKEND.lowered(reference(tmp_path), named(BATCH), tmp_path)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("change", [lambda logits: logits + 0.01, lambda logits: logits[:, :2], lambda _: np.nan * _])
def test_a_file_that_gives_something_else_than_the_model_is_refused_with_figures(change, lowered, tmp_path):
    proto, inputs = onnx.load(lowered[1].artifact.path), named(BATCH)
    expected = {"output": lowered[1].converted(inputs)["output"]}
    export._check_same(proto, inputs, expected, "Net", tmp_path / "a.onnx")
    told = r"^Net written as ONNX gives something else: its output 'output' differs .* \(largest .*\) on 8 samples; "
    with pytest.raises(QuantizationError, match=told):
        export._check_same(proto, inputs, {"output": change(expected["output"])}, "Net", tmp_path / "a.onnx")


def test_a_model_too_large_for_one_file_is_refused(monkeypatch):
    export._check_size(network(), "Net")
    monkeypatch.setattr(export, "LARGEST", 10)
    with pytest.raises(QuantizationError, match=r"^Net cannot be written as ONNX: [\d,]+ bytes are more than one file"):
        export._check_size(network(), "Net")


def test_an_error_that_names_neither_is_told_in_its_first_line():
    error = ValueError("outer\nmore")
    error.__cause__ = KeyError("inner")
    assert export._cause(error) == "KeyError: 'inner'; torch.onnx.export(model, …, dynamo=True) tells more"


def test_one_sample_is_taken_twice_since_a_size_of_one_never_changes():
    few = export._few({"input": np.arange(3.0)[:1], "more": np.ones((1, 2))})
    assert {name: array.shape for name, array in few.items()} == {"input": (2,), "more": (2, 2)}
    assert export._few({"input": np.arange(20)})["input"].tolist() == list(range(8))
