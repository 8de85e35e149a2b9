"""Beside a reference that is a file made elsewhere, only what is used of the data is decoded."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from quantbench.config.reading import load_workload
from quantbench.config.schema import ReferenceConfig
from quantbench.errors import DataError
from quantbench.experiment.artifact import probe_inputs
from quantbench.experiment.fine_tuning import rehearsal_inputs
from quantbench.experiment.result import NO_SAMPLES
from quantbench.experiment.workload import OpenWorkload

WORKLOAD = """\
workload:
  model: {{name: cifar_cnn}}
  baseline: b
  data: {{name: image_folder, root: images, size: 8, calibration_pool: 4{more}}}
experiments:
  e: {{recipe: {{name: fp32_baseline}}}}
"""


@pytest.fixture
def opened(tmp_path):
    """Opens a workload on 40 training pictures and 6 to test with."""
    for side, count in (("train", 40), ("test", 6)):
        for i in range(count):
            path = tmp_path / "images" / side / "ab"[i % 2] / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.RandomState(i + 100 * (side == "test")).randint(0, 256, (8, 8, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(path)

    def opened(more=""):
        (tmp_path / "w.yaml").write_text(WORKLOAD.format(more=more))
        (experiment,) = load_workload(tmp_path / "w.yaml")
        config = experiment.workload.config.model_copy(update={"reference": ReferenceConfig(path="net.onnx")})
        return OpenWorkload(replace(experiment.workload, config=config), tmp_path / "golden")

    return opened


def test_nothing_is_decoded_until_it_is_used(opened, tmp_path):
    (tmp_path / "images/train/a/00.png").write_bytes(b"?")
    splits = opened().splits
    assert splits.test.settle is not None
    assert len(splits.test.sha256) == 64
    with pytest.raises(DataError, match=r"train/a/00\.png: not a readable image"):
        splits.checked()


def test_a_few_samples_are_decoded_alone(opened, tmp_path):
    for side in ("train", "test"):
        for path in sorted((tmp_path / "images" / side).glob("*/*"))[-1:]:
            path.write_bytes(b"?")
    workload = opened()
    (samples,) = rehearsal_inputs(workload).values()
    assert samples.shape == (2, 3, 8, 8)
    assert workload.splits.train.settle is not None
    with pytest.raises(DataError, match=r"test/b/05\.png: not a readable image"):
        probe_inputs(workload)


def test_cache_off_is_read_from_the_workload(opened, tmp_path):
    assert opened(", cache: off").splits.test.sha256 == opened().splits.test.sha256


def test_the_hash_of_no_samples_is_that_of_an_empty_split(opened, tmp_path):
    empty = opened().splits.search
    assert (len(empty), empty.sha256) == (0, NO_SAMPLES)
    assert hashlib.sha256().hexdigest() == NO_SAMPLES
