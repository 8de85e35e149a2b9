"""The settings of a training are read strictly, and together: what would do nothing, or cannot be done, is named."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from quantbench.config.reading import load_workload
from quantbench.config.training import TrainingConfig
from quantbench.errors import ConfigError

GOOD = """\
workload:
  model: {name: cifar_cnn}
  data: {name: shapes}
  baseline: a
  training: {epochs: 30}
experiments:
  fp32_baseline:
    recipe: {name: fp32_baseline}
"""
PLACE = "configs/a.yaml: workload.training"


@pytest.fixture(autouse=True)
def _in_an_empty_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()


def loaded(training, data="{name: shapes}"):
    path = Path("configs/a.yaml")
    path.write_text(GOOD.replace("{epochs: 30}", training).replace("{name: shapes}", data))
    return load_workload(path)[0].workload.config.training


def refusal(training, data="{name: shapes}"):
    with pytest.raises(ConfigError) as error:
        loaded(training, data)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_schedule_can_be_said():
    assert loaded("{epochs: 30}").schedule == "warmup_cosine"
    assert loaded("{epochs: 30, schedule: constant}").schedule == "constant"
    stepped = loaded("{epochs: 30, schedule: step, step_epochs: [10, 20], step_factor: 0.2}")
    assert (stepped.step_epochs, stepped.step_factor) == ((10, 20), 0.2)
    assert loaded("{epochs: 30, schedule: step, step_epochs: [10]}").step_factor == 0.1


READ = "is read by schedule: {} only, and this is schedule: {}; remove it, or set schedule: {}"
MISTAKES = {
    "step without epochs": (
        "schedule: step", "step_epochs", "schedule: step needs the epochs after which the rate falls, such as [20]",
    ),
    "step too late": (
        "schedule: step, step_epochs: [10, 30]", "step_epochs",
        "the rate would fall after epoch 30, but there are only 30 epochs; each must be below that",
    ),
    "steps out of order": (
        "schedule: step, step_epochs: [20, 10]", "step_epochs", "the epochs must ascend, each given once",
    ),
    "a step twice": ("schedule: step, step_epochs: [9, 9]", "step_epochs", "the epochs must ascend, each given once"),
    "step zero": ("schedule: step, step_epochs: [0]", "step_epochs.0", "Input should be greater than 0"),
    "a factor that raises": (
        "schedule: step, step_epochs: [9], step_factor: 2", "step_factor", "Input should be less than 1",
    ),
    "steps of no step schedule": (
        "step_epochs: [9]", "step_epochs", READ.format("step", "warmup_cosine", "step"),
    ),
    "a factor of no step schedule": (
        "schedule: constant, step_factor: 0.2", "step_factor", READ.format("step", "constant", "step"),
    ),
    "a warm-up before steps": (
        "schedule: step, step_epochs: [9], warmup_epochs: 2", "warmup_epochs",
        READ.format("warmup_cosine", "step", "warmup_cosine"),
    ),
    "a floor under a constant": (
        "schedule: constant, min_lr: 0.1", "min_lr", READ.format("warmup_cosine", "constant", "warmup_cosine"),
    ),
    "no such schedule": (
        "schedule: cosine", "schedule", "Input should be 'warmup_cosine', 'step' or 'constant'",
    ),
    "no patience": ("patience: -1", "patience", "Input should be greater than or equal to 0"),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "key", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_with_its_key_and_what_to_do(settings, key, message):
    assert refusal(f"{{epochs: 30, {settings}}}").startswith(f"{PLACE}.{key}: {message}")


def test_patience_without_held_out_samples_is_told_with_the_setting_that_holds_them_out():
    assert refusal("{epochs: 30, patience: 5}") == (
        f"{PLACE}.patience: 5 epochs by which split? None is held out for validation; set workload.data.search_pool to "
        "the number of training samples to hold out, or remove patience"
    )


@pytest.mark.parametrize(
    ("patience", "data"), [("5", "{name: shapes, search_pool: 9}"), ("0", "{name: shapes}"), ("null", "{name: shapes}")]
)
def test_patience_is_fine_with_held_out_samples_and_0_and_null_switch_it_off(patience, data):
    assert loaded(f"{{epochs: 30, patience: {patience}}}", data).epochs == 30


def test_what_is_written_down_leaves_out_what_the_schedule_does_not_read():
    assert TrainingConfig(epochs=3, seed=1).described() == {
        "epochs": 3, "optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "schedule": "warmup_cosine",
        "warmup_epochs": 1.0, "min_lr": 0.0, "batch_size": 128, "precision": "fp32",
        "augment": ["pad_crop", "horizontal_flip"], "seed": 1,
    }  # fmt: skip
    stepped = TrainingConfig(epochs=3, schedule="step", step_epochs=(1,), patience=2).described()
    assert (stepped["step_epochs"], stepped["step_factor"], stepped["patience"]) == ([1], 0.1, 2)
    assert not {"warmup_epochs", "min_lr"} & stepped.keys()


@pytest.mark.parametrize("settings", [{}, {"schedule": "step", "step_epochs": (1,)}, {"schedule": "constant"}])
def test_what_is_written_down_can_be_read_again(settings):
    config = TrainingConfig(epochs=3, **settings)
    assert TrainingConfig(**config.described()).described() == config.described()


def test_a_change_of_schedule_drops_what_only_the_former_one_reads():
    base = TrainingConfig(epochs=9, lr=0.2, warmup_epochs=2, min_lr=1e-5)
    stepped = base.changed({"schedule": "step", "step_epochs": [4]})
    assert (stepped.lr, stepped.step_epochs) == (0.2, (4,))
    assert base.changed({"lr": 0.3}).warmup_epochs == 2
    assert stepped.changed({"schedule": "constant"}).described()["schedule"] == "constant"


@pytest.mark.parametrize("changes", [{"step_epochs": [4]}, {"momntum": 0.8}, {"epochs": 0}, {"schedule": "cosine"}])
def test_a_change_is_checked_with_all_the_rest(changes):
    with pytest.raises(ValidationError):
        TrainingConfig(epochs=9, warmup_epochs=2).changed(changes)


def test_adamw_reads_no_momentum_and_is_described_without_it():
    found = loaded("{epochs: 3, optimizer: adamw, lr: 0.001}")
    assert found.described()["optimizer"] == "adamw"
    assert "momentum" not in found.described()
    assert "momentum" in loaded("{epochs: 3}").described()
    assert "momentum: is read by optimizer: sgd only" in refusal("{epochs: 3, optimizer: adamw, momentum: 0.9}")
    assert TrainingConfig(epochs=3, momentum=0.5).changed({"optimizer": "adamw"}).optimizer == "adamw"
