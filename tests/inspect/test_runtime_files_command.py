"""`quantbench inspect` of files whose backend describes them: what one holds, and what differs between two."""

import numpy as np
import pytest
from tiny_tflite import weights, write_tflite


@pytest.fixture
def files(tmp_path):
    pytest.importorskip("ai_edge_litert")
    return {kind: write_tflite(tmp_path / f"{kind}.tflite", kind) for kind in ("float32", "int8")}


def test_a_file_of_another_runtime_is_listed(quantbench, files):
    status, out, err = quantbench("inspect", files["int8"])
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"{files['int8']}: of litert; 7 tensors, ")
    assert "operators: CONV_2D 1, FULLY_CONNECTED 1" in lines
    assert "input 'image': int8 [1, 4, 4, 3]" in lines
    assert "conv/weight  int8 [8, 3, 3, 3] per_channel_symmetric axis 0" in lines


def test_differences_of_two_files_are_listed_and_the_status_is_1(quantbench, files):
    status, out, _ = quantbench("inspect", files["float32"], files["int8"])
    assert status == 1
    assert '  fc/weight: "float32 [3, 128]" → "int8 [3, 128] per_channel_symmetric axis 0"' in out.splitlines()


def test_a_file_is_equal_to_itself(quantbench, files):
    status, out, _ = quantbench("inspect", files["int8"], files["int8"])
    assert (status, out.splitlines()[-1]) == (0, "equal in form and values: 7 of 7 keys")


def test_the_same_form_with_other_values_is_a_difference(quantbench, files, tmp_path):
    kept, other = weights(4).conv_bias.astype(np.float32), tmp_path / "other.tflite"
    content = files["float32"].read_bytes()
    assert content.count(kept.tobytes()) == 1
    other.write_bytes(content.replace(kept.tobytes(), (kept + 1).tobytes()))
    status, out, _ = quantbench("inspect", files["float32"], other)
    assert (status, out.splitlines()[2:4]) == (1, ["same form, other values (1):", "  conv/bias"])


def test_files_of_two_runtimes_are_compared_by_their_answers_alone(quantbench, files, tmp_path):
    (tmp_path / "model.xml").write_text("<net/>")
    status, _, err = quantbench("inspect", files["int8"], tmp_path / "model.xml")
    assert status == 2
    assert "is of openvino, and " in err
    assert "compare what they answer: quantbench compare" in err


def test_a_truncated_file_is_one_line(quantbench, files):
    files["int8"].write_bytes(files["int8"].read_bytes()[:100])
    status, out, err = quantbench("inspect", files["int8"])
    assert (status, out, len(err.splitlines())) == (2, "", 1)


def test_such_a_file_is_no_checkpoint_of_an_experiment(quantbench, files):
    status, _, err = quantbench("inspect", files["int8"], "--as", "cifar_cnn_shapes/ptq_openvino")
    assert status == 2
    assert "is no state dict; give the file that it was made from beside it instead" in err
