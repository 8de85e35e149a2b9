"""Backend `torchscript`: programs that somebody else wrote."""

import zipfile

import numpy as np
import pytest
import torch
from programs import program_in
from tiny_model import tiny_cnn
from torch import nn

from quantbench.backends.interface import Artifact, BackendSpec
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.errors import CheckpointError, EvaluationError
from quantbench.recipes.spec import Fp32
from quantbench.recipes.static_int8 import static_int8_per_channel

BATCH = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
INPUTS = {"input": BATCH.numpy()}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return tiny_cnn().eval()


def loaded(artifact):
    return artifact.backend.create().load(artifact, 1)


def at(path):
    return Artifact.of_files(BackendSpec("torchscript", {}, "here"), [path], Fp32())


def test_a_program_answers_as_the_model_it_was_traced_from(tmp_path, model):
    given = loaded(program_in(tmp_path / "a.pt", model, BATCH))(INPUTS)
    with torch.no_grad():
        assert np.array_equal(given["output"], model(BATCH).numpy())


def test_int8_kernels_of_a_program_are_counted_and_fp32_ones_too(tmp_path, model):
    fp32 = program_in(tmp_path / "fp32.pt", model, BATCH)
    int8 = EagerBackend(default_engine()).quantize_module(model, static_int8_per_channel(), lambda: [BATCH]).model
    shares = [
        artifact.backend.create().kernels(artifact, INPUTS)
        for artifact in (fp32, program_in(tmp_path / "int8.pt", int8, BATCH))
    ]
    assert [each.int8_share for each in shares] == [0.0, 1.0]
    assert shares[0].macs == shares[1].macs > 0


def test_keys_and_operators_are_described(tmp_path, model):
    artifact = program_in(tmp_path / "a.pt", model, BATCH)
    found = artifact.backend.create().describe(artifact)
    state = model.state_dict()
    assert {key: entry["shape"] for key, entry in found.keys.items()} == {k: list(v.shape) for k, v in state.items()}
    assert found.graph["operators"]["aten::_convolution"] >= 1
    assert found.payload_bytes == sum(each.numel() * each.element_size() for each in state.values())


class Two(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)), x.flatten(1)


def test_one_of_several_outputs_is_chosen_by_its_number(tmp_path):
    assert {k: v.shape for k, v in loaded(program_in(tmp_path / "a.pt", Two(), BATCH))(INPUTS).items()} == {
        "0": (4, 3), "1": (4, 192)
    }  # fmt: skip
    assert list(loaded(program_in(tmp_path / "b.pt", Two(), BATCH, output="1"))(INPUTS)) == ["1"]
    with pytest.raises(EvaluationError, match=r"c\.pt: has no output '2'; it has 0, 1"):
        loaded(program_in(tmp_path / "c.pt", Two(), BATCH, output="2"))(INPUTS)


def test_what_gives_no_tensor_is_told(tmp_path):
    class Nested(nn.Module):
        def forward(self, x):
            return (x, (x, x))

    with pytest.raises(EvaluationError, match=r"a\.pt: gave a tuple; expected tensors, one or several"):
        loaded(program_in(tmp_path / "a.pt", Nested(), BATCH))(INPUTS)


def state_dict(path, model):
    torch.save(model.state_dict(), path)


def truncated(path, model):
    program_in(path, model, BATCH)
    path.write_bytes(path.read_bytes()[:-300])


def flipped(path, model):
    program_in(path, model, BATCH)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def inflating(path, model):
    program_in(path, model, BATCH)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/99", bytes(1 << 22))


def foreign(path, _):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/constants.pkl", b"none")


@pytest.mark.parametrize(
    ("write", "line"),
    [
        (state_dict, "holds no program of TorchScript; a state dict becomes a workload's baseline by quantbench adopt"),
        (truncated, "no program of TorchScript"),
        (flipped, "is damaged"),
        (inflating, "is far larger inside than its"),
        (foreign, "no program that this torch can load"),
        (lambda path, _: path.write_bytes(b"{}"), "no program of TorchScript"),
    ],
)
def test_a_file_that_is_no_whole_program_is_told_in_one_line(tmp_path, model, write, line):
    path = tmp_path / "a.pt"
    write(path, model)
    with pytest.raises(CheckpointError, match=line) as refused:
        loaded(at(path))
    assert "\n" not in str(refused.value)


def test_a_program_that_was_changed_meanwhile_is_refused(tmp_path, model):
    artifact = program_in(tmp_path / "a.pt", model, BATCH)
    program_in(tmp_path / "a.pt", tiny_cnn(), BATCH)
    with pytest.raises(CheckpointError, match="was changed since it was opened first"):
        loaded(artifact)
