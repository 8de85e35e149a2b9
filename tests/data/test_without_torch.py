"""Folders and arrays are decoded, normalized, evaluated and scored where torch cannot be imported."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from PIL import Image

CHILD = """
import json, sys
for name in ("torch", "torchaudio", "torchvision", "torchao"):
    sys.modules[name] = None
import numpy as np
from quantbench.config.schema import DataConfig
from quantbench.data.opening import open_splits
from quantbench.measure.evaluation import evaluate, inputs_of

def model(inputs):
    (samples,) = inputs.values()
    means = samples.reshape(len(samples), -1).mean(axis=1)
    return {"output": np.stack([-means, means], axis=1)}

found = {}
for given in json.loads(sys.argv[1]):
    for as_used in (True, False):
        splits = open_splits(DataConfig(**given), "here", as_used=as_used)
        accuracy, loss = (lambda e: (e.accuracy, e.loss))(evaluate(model, splits.test))
        calibration = [len(next(iter(batch.values()))) for batch in inputs_of(splits.calibration, 2)]
        found.setdefault(given["name"], []).append([accuracy, loss, calibration, splits.test.sha256])
print(json.dumps(found))
"""


@pytest.fixture
def data(tmp_path):
    """Dark and bright pictures, sounds below and above zero, and an array of such numbers."""
    random = np.random.RandomState(0)
    for side, n in (("train", 4), ("test", 2)):
        for label, level in (("a", 40), ("b", 200)):
            (tmp_path / "images" / side / label).mkdir(parents=True)
            (tmp_path / "sounds" / side / label).mkdir(parents=True)
            for i in range(n):
                pixels = random.randint(level - 30, level + 30, (8, 8, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / side / label / f"{i}.jpg")
                sound = (level - 120) / 240 + random.uniform(-0.1, 0.1, 2_000)
                soundfile.write(tmp_path / "sounds" / side / label / f"{i}.wav", sound, 16_000)
        values = np.array([-1.0, -2.0, 1.0, 2.0], np.float32) * (n + 1)
        np.savez(tmp_path / f"{side}.npz", x=values, labels=np.array([0, 0, 1, 1]))
    return [
        {"name": "image_folder", "root": str(tmp_path / "images"), "size": 8, "calibration_pool": 3},
        {"name": "audio_folder", "root": str(tmp_path / "sounds"), "clip_samples": 99, "calibration_pool": 3},
        {
            "name": "npz",
            "path": str(tmp_path / "test.npz"),
            "train": str(tmp_path / "train.npz"),
            "calibration_pool": 3,
        },
    ]


def test_data_needs_no_torch(data, tmp_path):
    environment = {**os.environ, "QUANTBENCH_CACHE": str(tmp_path / "cache")}
    child = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(data)], env=environment, capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr
    found = json.loads(child.stdout.splitlines()[-1])
    assert set(found) == {"image_folder", "audio_folder", "npz"}
    for as_used, whole in found.values():
        assert as_used == whole
        assert (as_used[0], as_used[2]) == (1.0, [2, 1])
