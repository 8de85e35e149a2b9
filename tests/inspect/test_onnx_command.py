"""`quantbench inspect` of files of ONNX, from the shell."""

import onnx
import pytest
from onnx_models import artifact_of, network, onnxruntime, samples

from quantbench.backends.interface import Calibration
from quantbench.registry import RECIPES


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of the network in fp32 and of what recipes made of it."""
    folder = tmp_path_factory.mktemp("files")
    reference = artifact_of(network(), folder / "fp32.onnx")
    paths = {"fp32": reference.path}
    for name in ("static_int8", "dynamic_int8"):
        (folder / name).mkdir()
        recipe, calibration = RECIPES.create(name, "here", {}), Calibration(lambda: [samples()], samples(2))
        paths[name] = onnxruntime().create().quantize(reference, recipe, calibration, folder / name).artifact.path
    return paths


KINDS = {
    "fp32": ("floating point; 7 operators of ai.onnx 20; 5 constants", "conv1.weight  float32 [8, 3, 3, 3]"),
    "static_int8": ("static int8, pairs of QuantizeLinear and DequantizeLinear; ",
                    "conv1.weight_quantized int8 [8, 3, 3, 3] per_channel_symmetric axis 0 0.00"),
    "dynamic_int8": ("dynamic int8; ", "fc.weight_Transposed_quantized int8 [8, 3] per_tensor_symmetric"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_named_and_listed(quantbench, files, kind):
    title, row = KINDS[kind]
    status, out, err = quantbench("inspect", files[kind])
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"{files[kind]}: {title}")
    assert lines[0].endswith(" of them values")
    assert lines[1:3] == ["input 'input': float32 [n, 3, 8, 8]", "output 'output': float32 [n, 3]"]
    assert lines[3].startswith("operators: ")
    assert " ".join(row.split()) in " ".join(out.split())


def test_two_files_are_explained_in_either_order(quantbench, files):
    status, out, err = quantbench("inspect", files["fp32"], files["static_int8"])
    assert (status, err) == (0, "")
    assert out.endswith("3 of 3 int8 layers are the float weights, rounded: post-training quantization\n")
    assert "UNEXPLAINED" not in out
    status, reverse, _ = quantbench("inspect", files["static_int8"], files["fp32"])
    assert status == 0
    assert "explained from the second to the first, which is further from floating point" in reverse
    assert reverse.splitlines()[-1] == out.splitlines()[-1]


def test_a_difference_that_nothing_explains_is_listed_and_the_status_is_1(quantbench, files, tmp_path):
    other = onnx.load(files["fp32"])
    other.graph.node[1].op_type = "Sigmoid"
    path = artifact_of(other, tmp_path / "other.onnx").path
    status, out, _ = quantbench("inspect", files["fp32"], path)
    assert status == 1
    assert "UNEXPLAINED (2):\n  relu1: Relu only in the first file\n  relu1: Sigmoid only in the second file\n" in out


def test_values_beside_the_file_count_as_its_bytes(quantbench, tmp_path):
    path = tmp_path / "a.onnx"
    onnx.save_model(network(), path, save_as_external_data=True, location="values.bin", size_threshold=0)
    size = path.stat().st_size + (tmp_path / "values.bin").stat().st_size
    assert f"{size:,} bytes in 2 files, 3,308 of them values" in quantbench("inspect", path)[1]


def test_files_of_two_formats_are_not_compared(quantbench, files, tmp_path):
    other = tmp_path / "a.pt"
    other.write_bytes(b"")
    for pair in ((files["fp32"], other), (other, files["fp32"])):
        status, out, err = quantbench("inspect", *pair)
        assert (status, out, err) == (
            2,
            "",
            f"quantbench: {other}: is no .onnx; two files are compared within one format\n",
        )


def test_a_damaged_file_is_one_line(quantbench, tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(b"no model")
    status, out, err = quantbench("inspect", path)
    assert (status, out) == (2, "")
    assert err.startswith(f"quantbench: {path}: no whole ONNX model (")


def test_a_file_of_onnx_is_not_held_against_an_experiment(quantbench, files):
    status, _, err = quantbench("inspect", files["fp32"], "--as", "tiny/fp32_baseline")
    assert status == 2
    assert "is no state dict; give the file that it was made from beside it instead" in err
