"""Values inside of a model that NNCF quantized, and the model with layers put back."""

import numpy as np
import pytest
from onnx_models import artifact_of, network, samples

from quantbench.backends.interface import BackendSpec, Calibration
from quantbench.errors import QuantizationError
from quantbench.recipes.static_int8 import static_int8_per_channel


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The network in OpenVINO's own format and quantized."""
    folder = tmp_path_factory.mktemp("pair")
    for name in ("fp32", "int8"):
        (folder / name).mkdir()
    backend, onnx = BackendSpec("openvino", {}, "here").create(), artifact_of(network(), folder / "fp32.onnx")
    calibration = Calibration(lambda: [samples(32)], samples(4))
    return (
        backend,
        backend.lowered(onnx, samples(4), folder / "fp32").artifact,
        backend.quantize(onnx, static_int8_per_channel(), calibration, folder / "int8").artifact,
        onnx,
    )


def test_layers_are_matched_and_all_put_back_is_the_reference(pair):
    backend, reference, candidate, _ = pair
    insides = backend.insides(reference, candidate)
    inside = insides.run(samples(16, seed=3))
    assert insides.unmatched == ()
    assert [each.op for each in insides.layers] == [
        "input", "Convolution", "Convolution", "ReduceMean", "MatMul",
    ]  # fmt: skip
    assert all(each.weight is None or each.weight.grid.axis == 0 for each in insides.layers)
    for layer in insides.layers:
        values = inside.layers[layer.name]
        assert np.abs(values.exact - values.reference).max() < 0.1 * np.abs(values.reference).max() + 1e-6
    (expected,), (found,) = inside.reference.values(), insides.put_back([
        each.name for each in insides.layers if each.is_quantized
    ])(samples(16, seed=3)).values()  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_one_layer_put_back_is_neither(pair):
    backend, reference, candidate, _ = pair
    insides = backend.insides(reference, candidate)
    inside = insides.run(samples(16, seed=3))
    first = insides.layers[1].name
    (found,) = insides.put_back([first])(samples(16, seed=3)).values()
    assert not np.array_equal(found, next(iter(inside.candidate.values())))
    assert not np.allclose(found, next(iter(inside.reference.values())), rtol=1e-6, atol=1e-7)


def test_a_reference_of_another_format_and_one_that_is_not_quantized_are_refused(pair):
    backend, reference, candidate, onnx = pair
    with pytest.raises(QuantizationError, match="is no model of OpenVINO"):
        backend.insides(onnx, candidate)
    with pytest.raises(QuantizationError, match="none of its layers has a FakeQuantize"):
        backend.insides(reference, reference)
