"""Programs for every runtime, run in this process: each answers as the backend's own predictor does."""

import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tiny_tflite
import torch
from tiny_ir import ir

from quantbench.backends.interface import Artifact, BackendSpec
from quantbench.backends.module import ModulePredictor
from quantbench.backends.openvino_runtime.library import openvino
from quantbench.backends.tracing import traced
from quantbench.errors import QuantizationError
from quantbench.export.programs import RUNTIMES, program
from quantbench.export.revision import revision_of
from quantbench.recipes.ready_made import ready_made
from quantbench.records.export_card import ExportedTensor


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """Answers of a backend's program to named arrays: `answers(backend, file, arrays)`."""

    def run(backend, file, arrays):
        inputs = [
            ExportedTensor(name=name, dtype=str(array.dtype), shape=[None, *array.shape[1:]])
            for name, array in arrays.items()
        ]
        (file.parent / "run.py").write_text(program(backend, file.name, "a/b", inputs))
        np.savez(tmp_path / "batch.npz", **arrays)
        monkeypatch.setattr(sys, "argv", ["run.py", str(tmp_path / "batch.npz"), str(tmp_path / "answers.npz")])
        runpy.run_path(str(file.parent / "run.py"), run_name="__main__")
        return list(np.load(tmp_path / "answers.npz").values())

    return run


def loaded(backend, *files):
    spec = BackendSpec(backend, {}, "here")
    return spec.create().load(Artifact.of_files(spec, files, ready_made(path="x")), 1)


def test_openvino_answers_as_its_backend(answers, tmp_path):
    path = tmp_path / "model.xml"
    openvino().save_model(ir("int8"), path, compress_to_fp16=False)
    predictor = loaded("openvino", path, path.with_suffix(".bin"))
    batch = np.random.default_rng(0).standard_normal((5, 3, 4, 4)).astype(np.float32)
    (found,) = answers("openvino", path, {predictor.takes[0].name: batch})
    np.testing.assert_array_equal(found, next(iter(predictor({"input": batch}).values())))


def test_litert_answers_as_its_backend(answers, tmp_path):
    path = tiny_tflite.write_tflite(tmp_path / "model.tflite")
    predictor = loaded("litert", path)
    batch = np.random.default_rng(0).standard_normal((5, 4, 4, 3)).astype(np.float32)
    (found,) = answers("litert", path, {predictor.takes[0].name: batch})
    np.testing.assert_array_equal(found, next(iter(predictor({"input": np.moveaxis(batch, -1, 1)}).values())))


def test_pt2e_answers_as_its_graph(answers, tmp_path):
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU()).eval()
    size = torch.export.Dim("n")
    torch.export.save(
        torch.export.export(module, (torch.randn(3, 4),), dynamic_shapes=({0: size},)), tmp_path / "model.pt2"
    )
    batch = torch.randn(5, 4)
    (found,) = answers("pt2e", tmp_path / "model.pt2", {"x": batch.numpy()})
    np.testing.assert_allclose(found, module(batch).detach().numpy(), rtol=1e-6)


def test_every_program_is_about_ten_lines_and_imports_its_runtime_alone():
    for backend, runtime in RUNTIMES.items():
        text = program(backend, "model.x", "a/b", [])
        compile(text, "run.py", "exec")
        assert len(text.splitlines()) <= 30
        assert "quantbench" not in text.partition('"""\n')[2]
        assert all(each.partition("-")[0].replace("ai", "ai_edge_litert") in text for each in runtime.requires)
    assert program("their.backend:own", "model.x", "a/b", []) is None


class Choosing(torch.nn.Module):
    """Answers by the size of its batch."""

    def forward(self, x):
        return x if len(x) > 1 else -x


def test_a_trace_that_answers_another_batch_otherwise_is_refused(tmp_path):
    samples = {"input": np.ones((4, 3), np.float32)}
    with pytest.raises(QuantizationError, match="Choosing answers otherwise once it is traced, so that"):
        traced(ModulePredictor(Choosing()), samples, tmp_path / "program.pt")


class Unreadable(torch.nn.Module):
    """Gives what no trace can hold."""

    def forward(self, x):
        return {"output": x, "number": x.sum().item()} if torch.jit.is_tracing() else {"output": x}


def test_a_module_that_cannot_be_traced_is_refused_in_one_line(tmp_path):
    samples = {"input": np.ones((4, 3), np.float32)}
    with pytest.raises(QuantizationError, match=r"Unreadable cannot be traced by torch\.jit\.trace: ") as error:
        traced(ModulePredictor(Unreadable()), samples, tmp_path / "program.pt")
    assert "\n" not in str(error.value)


def test_what_is_no_module_has_no_program(tmp_path):
    assert not traced(ModulePredictor(lambda x: x), {"input": np.ones((4, 3), np.float32)}, tmp_path / "program.pt")


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_revision_is_the_commit_and_whether_files_differ_from_it(tmp_path):
    assert revision_of(tmp_path) is None

    def git(*arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        command = [shutil.which("git"), *who, *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init")
    (tmp_path / "a.yaml").write_text("a")
    git("add", "a.yaml")
    git("commit", "-m", "Begin")
    commit = git("rev-parse", "HEAD").strip()
    assert revision_of(tmp_path) == commit
    (tmp_path / "a.yaml").write_text("b")
    assert revision_of(tmp_path) == f"{commit}, with changes"
    assert revision_of(tmp_path / "absent") is None
