"""A runtime that crashes takes down the trial alone."""

import numpy as np
import pytest

from quantbench.backends.interface import Artifact, BackendSpec
from quantbench.errors import CheckpointError
from quantbench.measure.probe import probe_in_fresh_process
from quantbench.recipes.spec import Fp32

SAMPLES = {"input": np.zeros((2, 3), np.float32)}


def artifact(folder, when):
    path = folder / "a.bin"
    path.write_bytes(b"weights")
    return Artifact.of_files(BackendSpec("crashing_backend:crashing", {"when": when}, "here"), [path], Fp32())


@pytest.mark.parametrize("when", ["load", "run"])
def test_a_crash_in_native_code_is_one_line_and_this_process_goes_on(when, tmp_path):
    with pytest.raises(CheckpointError) as error:
        probe_in_fresh_process(artifact(tmp_path, when), SAMPLES)
    assert str(error.value) == (
        f"{tmp_path / 'a.bin'}: backend 'crashing_backend:crashing' crashed in native code while it loaded the file or "
        "ran it; this was in a process of its own, and the others go on: update the runtime, or write the file again"
    )


def test_an_error_of_the_forward_is_told_as_it_is(tmp_path):
    with pytest.raises(CheckpointError, match=r"a\.bin: the model loaded from it cannot run: a\.bin: takes two inp"):
        probe_in_fresh_process(artifact(tmp_path, "raise"), SAMPLES)


def test_a_file_that_runs_passes(tmp_path):
    probe_in_fresh_process(artifact(tmp_path, "never"), SAMPLES)
