"""Weights in blocks are unpacked to what can be looked into and put back."""

import numpy as np
import pytest
from onnx import helper
from onnx_models import artifact_of, constants, model, onnxruntime

from quantbench.backends.interface import Calibration
from quantbench.backends.onnx_runtime.blocks import has_blocks, unpacked
from quantbench.backends.onnx_runtime.insides import IN_FLOATING_POINT
from quantbench.backends.onnx_runtime.writing import whole
from quantbench.recipes.spec import WeightOnly

ROWS = {"x": np.random.RandomState(1).randn(16, 40).astype(np.float32)}


def network():
    """Two linear layers, as `Gemm` and as `MatMul`."""
    random = np.random.RandomState(0)
    one, two = (random.randn(*shape).astype(np.float32) / 5 for shape in ((40, 48), (48, 6)))
    nodes = [
        helper.make_node("Gemm", ["x", "one", "bias"], ["a"], "one"), helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "two"], ["y"], "two"),
    ]  # fmt: skip
    held = constants(one=one, two=two, bias=random.randn(48).astype(np.float32))
    return model(nodes, {"x": ["n", 40]}, {"y": ["n", 6]}, held, opset=21)


@pytest.fixture(scope="module", params=[4, 8])
def opened(request, tmp_path_factory):
    """What is given of a model with weights in blocks, and the backend's own predictor of it."""
    folder, backend = tmp_path_factory.mktemp("blocks"), onnxruntime().create()
    reference = artifact_of(network(), folder / "fp32.onnx")
    recipe = WeightOnly(request.param, ("Linear",), 32)
    (folder / "made").mkdir()
    candidate = backend.quantize(reference, recipe, Calibration(list, ROWS), folder / "made").artifact
    return backend.insides(reference, candidate), backend.load(candidate, 1), candidate


def test_unpacked_it_gives_what_the_kernels_give(opened):
    insides, predictor, candidate = opened
    proto = whole(candidate.path)
    assert has_blocks(proto)
    assert not has_blocks(unpacked(proto))
    np.testing.assert_allclose(insides.put_back([])(ROWS)["y"], predictor(ROWS)["y"], rtol=1e-4, atol=1e-4)
    assert insides.notes == (IN_FLOATING_POINT,)


def test_each_layer_has_its_weights_with_a_scale_for_each_block(opened):
    insides, *_ = opened
    assert [each.name for each in insides.layers if each.is_quantized] == ["one", "two"]
    for layer in insides.layers:
        if layer.weight is not None:
            assert layer.weight.grid.scale.shape == layer.weight.candidate.shape == layer.weight.reference.shape
            np.testing.assert_allclose(
                layer.weight.grid.rounded(layer.weight.candidate), layer.weight.candidate, atol=1e-6
            )
            assert (layer.weight.candidate <= layer.weight.grid.high + 1e-6).all()


def test_all_put_back_is_the_reference(opened):
    insides, *_ = opened
    inside = insides.run(ROWS)
    np.testing.assert_allclose(insides.put_back(["one", "two"])(ROWS)["y"], inside.reference["y"], rtol=1e-4, atol=1e-5)
    errors = {
        name: np.square(insides.put_back([name])(ROWS)["y"] - inside.reference["y"]).mean() for name in ("one", "two")
    }
    assert max(errors.values()) < np.square(inside.candidate["y"] - inside.reference["y"]).mean()
