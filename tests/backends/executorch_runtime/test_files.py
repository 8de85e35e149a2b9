"""`.pte` files: read without running code, however damaged; run in batches of any size, with the threads asked for."""

import os
import sys
from dataclasses import replace

import numpy as np
import pytest
from artifacts import named
from exported_programs import PICTURES

from quantbench.backends.executorch_runtime import library, pte_file, runner
from quantbench.backends.executorch_runtime.flatbuffer import DamagedError, FlatBuffer
from quantbench.backends.executorch_runtime.library import POOL, runtime
from quantbench.backends.executorch_runtime.names import output_names
from quantbench.backends.executorch_runtime.pte_file import read_pte
from quantbench.backends.interface import Artifact, BackendSpec
from quantbench.errors import CheckpointError, EvaluationError, ExtraMissingError
from quantbench.recipes.spec import Fp32

SPEC = BackendSpec("executorch", {}, "here")
BYTES_SPOILED = 400


def refusals(artifact):
    """The line about a file, the same from whoever reads it."""
    found = set()
    for step in (lambda: SPEC.create().describe(artifact), lambda: SPEC.create().load(artifact, 1)):
        with pytest.raises(CheckpointError) as error:
            step()
        assert "\n" not in str(error.value)
        assert artifact.path.name in str(error.value)
        found.add(str(error.value))
    (line,) = found
    return line.partition(": ")[2]


@pytest.mark.parametrize("cut", [8, 40, 1000, 10_000, -1])
def test_a_file_that_is_cut_short_says_so(cut, changed):
    assert refusals(changed(cut=cut)).startswith("not a whole .pte file (")


@pytest.mark.parametrize(
    ("pairs", "line"),
    [
        (
            [(b"ET12", b"ET13")],
            "is of version ET13 of the format, and ET12 is what is read; export it again, or update",
        ),
        ([(b"ET12", b"TFL3")], "is no .pte file: it lacks the mark ET12 of that format"),
        ([(b"XnnpackBackend", b"ForeignBackend")], "a part of it is for ForeignBackend, and only XNNPACK's are run"),
        ([(b"forward\0", b"encoder\0")], "has no method 'forward' (it has encoder, quantbench_names); export one of"),
        ([(b"XN01", b"XN99")], "not a whole .pte file (the mark b'XN99' instead of XN01)"),
    ],
)
def test_what_is_not_read_is_told_in_one_line(pairs, line, changed):
    assert refusals(changed(*pairs)).startswith(line)


def test_an_operator_that_the_runtime_lacks_is_named(changed):
    with pytest.raises(CheckpointError, match=r"calls aten::moan\.out, which this build of executorch has no kernel"):
        SPEC.create().load(changed((b"aten::mean", b"aten::moan")), 1)


def test_a_file_that_is_missing_or_another_than_was_made_is_told(int8, tmp_path):
    assert refusals(replace(int8.artifact, files=(tmp_path / "gone.pte",))) == "no such file"
    assert refusals(replace(int8.artifact, sha256=("0" * 64,))).startswith("is not the file that was measured before")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.pte")
    with pytest.raises(CheckpointError, match=r"a\.pte: cannot be read \(is a named pipe"):
        read_pte(tmp_path / "a.pte")


def test_memory_that_no_model_needs_is_not_allocated(int8, monkeypatch):
    monkeypatch.setattr(pte_file, "MOST_MEMORY", 1000)
    assert "bytes; more than 1,000 are refused" in refusals(int8.artifact)


def test_spoiled_bytes_are_read_as_something_or_refused_and_crash_nothing(int8, tmp_path):
    content = bytearray(int8.artifact.path.read_bytes())
    path, generator = tmp_path / "spoiled.pte", np.random.default_rng(0)
    refused = 0
    for _ in range(BYTES_SPOILED):
        at, value = int(generator.integers(len(content) // 2)), int(generator.integers(256))
        spoiled = bytearray(content)
        spoiled[at] = value
        path.write_bytes(spoiled)
        try:
            read_pte(path)
        except CheckpointError:
            refused += 1
    assert 0 < refused < BYTES_SPOILED


def test_offsets_that_point_at_one_vector_over_and_over_use_up_a_budget():
    buffer = FlatBuffer(bytes(100))
    for _ in range(65):
        buffer.spend(1000)
    with pytest.raises(DamagedError, match="used over and over"):
        buffer.spend(1000)


def test_batches_of_any_size_give_each_sample_the_same_answer(int8, monkeypatch):
    predictor = SPEC.create().load(int8.artifact, 1)
    together = predictor(named(PICTURES))["output"]
    for n in (1, 3):
        assert predictor(named(PICTURES[:n]))["output"].tobytes() == together[:n].tobytes()
    # As of a file that takes three at most: in parts of 3, 3 and 2.
    monkeypatch.setattr(predictor._runner, "most", 3)
    assert predictor(named(PICTURES))["output"].tobytes() == together.tobytes()


def test_predictors_of_different_threads_take_turns(int8):
    one, two = (SPEC.create().load(int8.artifact, threads) for threads in (1, 2))
    expected = one(named(PICTURES))["output"]
    for predictor, threads in ((two, 2), (one, 1), (two, 2), (one, 1)):
        np.testing.assert_allclose(predictor(named(PICTURES))["output"], expected, atol=1e-5)
        assert runtime()._threadpool_get_thread_count() == threads


def test_a_method_never_runs_with_threads_that_are_gone(int8, monkeypatch):
    predictor = SPEC.create().load(int8.artifact, 1)
    loads, load = [], runner.PteRunner._load
    monkeypatch.setattr(runner.PteRunner, "_load", lambda self: (loads.append(self), load(self)))
    predictor(named(PICTURES))
    assert loads == []
    POOL.resize(2)
    predictor(named(PICTURES))
    assert len(loads) == 1, "the pool was made anew, and the method holds the old one"


def test_a_model_that_keeps_a_state_is_loaded_anew_for_each_batch(int8, monkeypatch):
    predictor = SPEC.create().load(int8.artifact, 1)
    file = predictor._runner.file
    monkeypatch.setattr(predictor._runner, "file", replace(file, method=replace(file.method, keeps_state=True)))
    first = predictor._runner._loaded
    predictor(named(PICTURES))
    assert predictor._runner._loaded is not first


def test_a_forward_that_fails_is_told(int8, monkeypatch):
    predictor = SPEC.create().load(int8.artifact, 1)

    def failing(_):
        raise RuntimeError("method 'forward' failed with error 0x12")

    monkeypatch.setattr(predictor._runner, "_loaded", failing)
    with pytest.raises(
        EvaluationError, match=r"model\.pte: the forward failed: method 'forward' failed with error 0x12"
    ):
        predictor(named(PICTURES))


@pytest.mark.parametrize(
    ("tree", "n", "names"),
    [
        ('[1, {"type": null, "context": null, "children_spec": []}]', 1, ["output"]),
        ('[1, {"type": "builtins.tuple", "context": "null"}]', 2, ["output_0", "output_1"]),
        ('[1, {"type": "builtins.dict", "context": "[\\"a\\", \\"b\\"]"}]', 2, ["a", "b"]),
        ('[1, {"type": "builtins.dict", "context": "[\\"a\\"]"}]', 2, ["output_0", "output_1"]),
        ("no json", 1, ["output"]),
    ],
)
def test_outputs_have_the_keys_of_a_dictionary_or_numbers(tree, n, names):
    assert list(output_names(tree, n)) == names


def test_layers_of_a_file_made_elsewhere_are_numbered(changed):
    artifact = changed((b"quantbench_names", b"quantbench_nemas"))
    found = SPEC.create().load(artifact, 1).kernels(named(PICTURES))
    assert list(found.int8_layers) == ["conv2d_0", "conv2d_1", "conv2d_2", "fullyconnected_3"]
    assert "conv2d_0.weight" in SPEC.create().describe(artifact).keys


def test_two_files_are_compared_as_any_others(quantbench, machine, real_rivals, int8, small_fp32, tmp_path):
    answers = small_fp32.converted(named(PICTURES))["output"].argmax(1)
    np.savez(tmp_path / "data.npz", image=PICTURES.numpy(), targets=answers)
    fp32, candidate = small_fp32.artifact.path, int8.artifact.path
    status, out, err = quantbench("compare", fp32, candidate, "--data", tmp_path / "data.npz", "--accept-accuracy")
    assert status in (0, 1), err
    assert "executorch" in out


def test_a_library_that_is_not_there_is_one_line_with_what_installs_it(monkeypatch):
    monkeypatch.setattr(library, "installed", lambda *_: False)
    monkeypatch.setitem(sys.modules, "executorch", None)
    line = r"backend 'executorch': needs executorch, .*; pip install 'quantbench-suite\[executorch\]'"
    with pytest.raises(ExtraMissingError, match=line):
        SPEC.create()


def test_a_file_of_any_name_is_an_artifact_of_its_own(int8, tmp_path):
    path = tmp_path / "theirs.pte"
    path.write_bytes(int8.artifact.path.read_bytes())
    predictor = SPEC.create().load(Artifact.of_files(SPEC, [path], Fp32()), 1)
    assert str(predictor.takes[0]) == "'input' float32 [?, 3, 8, 8]"
