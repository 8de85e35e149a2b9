"""A reference that is a state dict with its factory: quantized and measured as a baseline is, without a card."""

import shutil

import pytest

CONFIG = """\
workload:
  reference: {path: ../weights.safetensors, model: {name: "tiny_model:tiny_cnn"}}
  data: {name: image_folder, root: images, size: 8, calibration_pool: 60}
  latency: {batch_size: 4, runtimes: [], rounds: 12}
experiments:
  eager_int8:
    recipe: {name: static_int8_per_channel, calibration_n: 32}
    gates: {accuracy_drop_pp: 10.0, int8_share: 1.0}
"""


@pytest.fixture
def given(project):
    """The project with such a workload alone."""
    shutil.move(project.weights, project.root / "weights.safetensors")
    project.config.write_text(CONFIG)
    return project


def test_it_is_quantized_by_a_backend_of_torch(given, quantbench):
    status, out, err = quantbench("run", "tiny/*")
    (row,) = [line for line in out.splitlines() if line.startswith("tiny/eager_int8")]
    assert ("100.0 %" in row, "error" in row) == (True, False)
    assert ("int8_share: FAIL" in err, "accuracy_drop_pp: FAIL" in err) == (False, False)
    assert status == 1, "nothing was accepted yet"


def test_weights_that_change_are_another_reference(given, quantbench):
    from safetensors.torch import load_file, save_file

    quantbench("run", "tiny/*")
    path = given.root / "weights.safetensors"
    save_file({key: value * 0 if key.startswith("fc") else value for key, value in load_file(path).items()}, path)
    status, _, err = quantbench("run", "tiny/*")
    assert (status, "is not surely more than the 33.33 % of giving every sample one class" in err) == (2, True)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("../weights.safetensors", "../absent.pt", "workload.reference.path: configs/../absent.pt: No such file"),
        ("tiny_model:tiny_cnn", "resnt18", "reference.model.name: unknown model 'resnt18'. Did you mean 'resnet18'?"),
        ("model: {name", "backend: onnxruntime, model: {name", "'backend' does not go with 'model'"),
        (
            "experiments:\n",
            "  training: {epochs: 3}\nexperiments:\n",
            "'training' does not go with 'reference', which is a whole model",
        ),
        ("gates: {", "gates: {card_drift_pp: 1.0, ", "the reference is a file, which has no card"),
    ],
)
def test_a_mistake_is_one_line(given, quantbench, old, new, line):
    given.edit(old, new)
    status, _, err = quantbench("run", "tiny/*")
    assert status == 2
    assert line in err


@pytest.mark.parametrize("command", [("train", "tiny"), ("adopt", "tiny", "weights.safetensors")])
def test_nothing_is_written_over_it(given, quantbench, command):
    before = (given.root / "weights.safetensors").read_bytes()
    status, _, err = quantbench(*command)
    assert (status, "is a file made elsewhere" in err) == (2, True)
    assert (given.root / "weights.safetensors").read_bytes() == before
