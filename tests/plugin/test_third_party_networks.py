"""Networks of other packages, gated by pytest through ONNX Runtime and OpenVINO as they are."""

import os
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from quantbench.config.reading import load_experiments
from quantbench.config.selection import find_workload
from quantbench.experiment.workload import OpenWorkload
from quantbench.session.gates import accept_gates
from quantbench.session.pair import accept

TESTS = Path(__file__).parents[1]
CONFIG = """\
workload:
  model: {{name: "their_networks:{network}", num_classes: 3}}
  data: {data}
  baseline: {baseline}
  training: {{epochs: 4, lr: 0.02, batch_size: 16, augment: []}}
  latency: {{batch_size: 4, runtimes: [], rounds: 12}}
  regression: {{accuracy_pp: 5.0, speedup: 0.9}}
experiments:
  onnxruntime_int8:
    recipe: {{name: static_int8_per_channel, calibration_n: 32}}
    backend: onnxruntime
    gates: {{accuracy_drop_pp: 10.0, int8_share: 1.0}}
  openvino_int8:
    recipe: {{name: static_int8_per_channel, calibration_n: 32}}
    backend: openvino
    gates: {{accuracy_drop_pp: 10.0, int8_share: 1.0}}
"""
DATA = {
    "PictureNet": "{name: image_folder, root: images, size: 8, calibration_pool: 32}",
    "SoundNet": "{name: audio_folder, root: sounds, sample_rate: 8000, clip_samples: 400, calibration_pool: 32}",
}
# Claims that take one quantization; the others are those of any experiment.
GATED = "accepted_one or predictions or accuracy or int8_share"
EXPERIMENTS = ["onnxruntime_int8", "openvino_int8"]
RATE, SAMPLES = 8000, 400


def write_sounds(root, per_class):
    """Tones of three pitches, in noise, as `<root>/<side>/<class>/NNN.wav`."""
    random = np.random.RandomState(0)
    for side, count in per_class.items():
        for name, pitch in {"high": 2400, "low": 300, "middle": 900}.items():
            folder = root / side / name
            folder.mkdir(parents=True)
            for i in range(count):
                time = (np.arange(SAMPLES) + random.randint(0, SAMPLES)) / RATE
                tone = 9000 * np.sin(2 * np.pi * pitch * time) + 1500 * random.randn(SAMPLES)
                with wave.open(str(folder / f"{i:03}.wav"), "wb") as file:
                    file.setparams((1, 2, RATE, 0, "NONE", ""))
                    file.writeframes(tone.astype("<i2").tobytes())


@pytest.fixture
def theirs(project):
    """A project with a trained network of another package for pictures, and one for sounds, both accepted."""
    project.config.unlink()
    write_sounds(project.root / "data" / "sounds", {"train": 50, "test": 60})
    for name, data in DATA.items():
        path = project.configs / f"{name}.yaml"
        path.write_text(CONFIG.format(network=name, data=data, baseline=name.lower()))
        OpenWorkload(find_workload(str(path), project.configs), project.golden).train_baseline()
    experiments = load_experiments(project.configs)
    for experiment in experiments:
        accept(experiment, project.golden, "first results")
    accept_gates(project.golden, experiments, "first results")
    add_claims(project)
    return project


def add_claims(project):
    """Gives it the folder of claims, and pytest's settings."""
    shutil.copytree(
        TESTS.parent / "bench", project.root / "bench", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
    )
    settings = f"--import-mode=importlib -p no:cacheprovider\npythonpath = {TESTS}"
    (project.root / "pytest.ini").write_text(f"[pytest]\naddopts = {settings}\n")


def gated(project):
    """Exit status of pytest and the verdicts that failed, in a process of its own.

    Runs within this process forget what they were the first to import, which runtimes do not survive.
    """
    command = [sys.executable, "-m", "pytest", "-q", "bench", "-k", GATED, "--no-blame"]
    surroundings = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    done = subprocess.run(command, cwd=project.root, env=surroundings, capture_output=True, text=True, check=False)
    return done.returncode, sorted(line for line in done.stdout.splitlines() if line.endswith(": FAIL"))


# A fault planted where users have their code: calibration sees samples that are a thousand times too small.
FAULT = """\
from quantbench.experiment import artifact

real = artifact.inputs_of


def small(*args):
    return ({name: array / 1000 for name, array in batch.items()} for batch in real(*args))


artifact.inputs_of = small
"""


def test_they_hold_as_they_are_and_fail_once_a_fault_is_planted(theirs):
    assert gated(theirs) == (0, [])
    (theirs.root / "conftest.py").write_text(FAULT)
    shutil.rmtree(theirs.root / "cache" / "quantized")
    status, failed = gated(theirs)
    assert status == 1
    lost = [f"{name}/{each}: accuracy_drop_pp: FAIL" for name in DATA for each in EXPERIMENTS]
    assert set(lost) <= set(failed), failed
