"""Programs that are lowered once for all tests: that takes seconds each."""

import pytest
import torch
from artifacts import named, saved
from exported_programs import PICTURES, calibration, recipe
from foreign_residual import residual, settled
from tiny_model import tiny_cnn

from quantbench.backends.interface import Artifact, BackendSpec
from quantbench.recipes.spec import Fp32

SPEC = BackendSpec("executorch", {}, "here")


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """The residual network as somebody else wrote it."""
    path = tmp_path_factory.mktemp("executorch") / "reference.pt"
    return saved(path, settled(residual(), (3, 8, 8)), backend="torch", model="foreign_residual:residual")


@pytest.fixture(scope="session")
def int8(reference, tmp_path_factory):
    """The same in int8."""
    folder = tmp_path_factory.mktemp("int8")
    return SPEC.create().quantize(reference, recipe("static_int8_per_channel"), calibration(PICTURES), folder)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A smaller network."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("executorch") / "small.pt"
    return saved(path, tiny_cnn().eval(), backend="torch")


@pytest.fixture(scope="session")
def small_fp32(small, tmp_path_factory):
    """It in fp32 in ExecuTorch's format."""
    return SPEC.create().lowered(small, named(PICTURES[:2]), tmp_path_factory.mktemp("fp32"))


@pytest.fixture
def unlowered(monkeypatch):
    """Lets nothing be lowered, and gives what would have been as graphs."""
    from quantbench.backends.executorch_runtime import backend, lowering

    graphs = []

    def look(graph, *_):
        graphs.append(graph)
        return b"no program"

    monkeypatch.setattr(lowering, "lowered", look)
    monkeypatch.setattr(backend.ExecutorchBackend, "load", lambda *_: None)
    monkeypatch.setattr(backend, "check_same", lambda *_, **__: None)
    return graphs


@pytest.fixture
def changed(int8, tmp_path):
    """The artifact of a copy of the int8 file in which bytes were replaced by others of the same length."""

    def change(*pairs, cut=None):
        content = int8.artifact.path.read_bytes()[:cut]
        for old, new in pairs:
            assert old in content
            assert len(old) == len(new)
            content = content.replace(old, new)
        path = tmp_path / "changed.pte"
        path.write_bytes(content)
        return Artifact.of_files(SPEC, [path], Fp32())

    return change
