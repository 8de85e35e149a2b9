"""What has no int8 kernel is found before a calibration or a training is paid for."""

import pytest

from quantbench.config.reading import load_experiments
from quantbench.config.selection import find_workload, select
from quantbench.data.splits import Split
from quantbench.errors import QuantizationError
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.experiment.workload import OpenWorkload
from quantbench.files import cache_dir

LINE = r"^'layers\.0' \(Plus\), .*tiny_residual\.py:\d+ `return self\.relu\(out \+ x\)`, runs aten::add\.out .*add_relu"


@pytest.fixture
def with_plus(project):
    """The project, whose model adds by a plain `+`, trained all the same."""
    project.edit('"tiny_model:tiny_cnn"', '"tiny_residual:residual_with_plus"')
    OpenWorkload(find_workload("tiny", project.configs), project.golden).train_baseline()
    return project


def artifact_of(project, name, **settings):
    experiment = select(load_experiments(project.configs), f"tiny/{name}")[0]
    return Runs(Settings(project.golden, **settings)).run(experiment).artifact


@pytest.fixture
def read(monkeypatch):
    """The splits that samples are taken from in order, in the order in which they are."""
    names, batches = [], Split.batches

    def noting(split, *args, **kwargs):
        names.append(split.name)
        return batches(split, *args, **kwargs)

    monkeypatch.setattr(Split, "batches", noting)
    return names


def test_a_plain_sum_is_found_before_any_sample_is_calibrated_with(with_plus, read):
    with pytest.raises(QuantizationError, match=LINE):
        artifact_of(with_plus, "ptq_static_int8_per_channel")
    assert "train" in read
    assert "calibration" not in read
    assert not list((cache_dir() / "quantized").rglob("checkpoint.pt"))


def test_a_plain_sum_is_found_before_the_first_epoch_of_fine_tuning(with_plus):
    before = sorted(with_plus.golden.rglob("*"))
    with pytest.raises(QuantizationError, match=LINE):
        artifact_of(with_plus, "qat_int8", retrain=True)
    assert sorted(with_plus.golden.rglob("*")) == before
    assert not list((cache_dir() / "training").glob("*qat*"))


def test_recipes_that_leave_activations_alone_quantize_such_a_model(with_plus):
    assert artifact_of(with_plus, "ptq_dynamic_int8").path.is_file()
    assert artifact_of(with_plus, "fp32_baseline").path.is_file()


@pytest.mark.parametrize(("split", "name"), [("calibration", "ptq_static_int8_per_channel"), ("train", "qat_int8")])
def test_a_sample_that_gives_nan_is_named_as_one_of_its_side(project, monkeypatch, split, name):
    batches = Split.batches

    def damaged(self, *args, **kwargs):
        for batch in batches(self, *args, **kwargs):
            if self.name == split:
                batch["input"][1] = float("nan")
            yield batch

    splits = OpenWorkload(find_workload("tiny", project.configs), project.golden).splits
    monkeypatch.setattr(Split, "batches", damaged)
    with pytest.raises(QuantizationError) as refused:
        artifact_of(project, name, retrain=name == "qat_int8")
    sample = getattr(splits, split).named(1)
    assert str(refused.value).startswith(f"tiny/{name}: sample {sample}: TinyCNN is given NaN, which no scale fits")
