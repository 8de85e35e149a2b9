"""An ablation file is read as strictly as a workload's: every mistake is one line with its file, row and key."""

from pathlib import Path

import pytest

from quantbench.config.ablation import find_ablation
from quantbench.config.reading import load_experiments
from quantbench.errors import ConfigError

REPOSITORY = Path(__file__).parents[2]
THREE = Path("configs/ablations/three.yaml")


def found(name="three"):
    return find_ablation(name, Path("configs"))


def refusal(name="three"):
    with pytest.raises(ConfigError) as error:
        found(name)
    return str(error.value)


def test_rows_change_the_workloads_training_and_what_all_of_them_share(three):
    ablation = found()
    assert (ablation.name, ablation.workload.name) == ("three", "tiny")
    reference, small, constant = ablation.rows
    assert [row.name for row in ablation.rows] == ["reference", "small_rate", "no_schedule"]
    assert {row.training.epochs for row in ablation.rows} == {2}, "shared"
    assert {row.training.batch_size for row in ablation.rows} == {32}, "the workload's"
    assert (reference.training.lr, small.training.lr) == (0.05, 0.001)
    assert constant.training.schedule == "constant"
    assert (small.changes, small.published) == ({"lr": 0.001}, 88.4)


def test_a_file_may_be_named_by_its_path(three):
    assert found(str(THREE)).rows == found().rows


def test_the_folder_of_ablations_holds_no_workloads(three):
    assert {experiment.workload.name for experiment in load_experiments(Path("configs"))} == {"tiny"}


def test_every_committed_ablation_is_good_and_its_rows_are_the_published_ones(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    ablation = found("resnet20_cifar10")
    assert [row.published for row in ablation.rows] == [92.8, 86.5, 89.2, 88.4, 90.3, 91.5]
    base = ablation.rows[0].training
    assert (base.lr, base.schedule, base.momentum, base.weight_decay) == (0.1, "warmup_cosine", 0.9, 5e-4)
    assert [path.stem for path in (REPOSITORY / "configs" / "ablations").glob("*.yaml")] == ["resnet20_cifar10"]


KEYS = "Known: augment, batch_size, epochs, lr, min_lr, momentum, optimizer, patience, precision, published, "
MISTAKES = {
    "row key": (
        "lr: 0.001", "momntum: 0.8",
        f"rows.small_rate: unknown key 'momntum'. Did you mean 'momentum'? {KEYS}",
    ),
    "row value": ("lr: 0.001", "lr: -1", "rows.small_rate.lr: Input should be greater than 0 (given: -1)"),
    "row schedule": ("schedule: constant", "schedule: step", "rows.no_schedule.step_epochs: schedule: step needs the"),
    "schedule that is no text": ("schedule: constant", "schedule: [a]", "rows.no_schedule.schedule: Input should be '"),
    "workload of no name": ("workload: tiny", f"workload: {'w' * 300}", "workload: configs: unknown workload 'wwww"),
    "published figure": ("published: 88.4", "published: 884", "rows.small_rate.published: Input should be less than"),
    "row name": ("small_rate:", "small/rate:", "rows.small/rate.[key]: String should match pattern"),
    "row that is none": ("{lr: 0.001, published: 88.4}", "0.001", "rows.small_rate: Input should be a mapping of keys"),
    "two rows of one name": ("small_rate:", "reference:", "line 6: not valid YAML: the key 'reference' is given twice"),
    "two rows of one training": (
        "lr: 0.001", "lr: 0.05",
        "rows.small_rate: trains exactly as row 'reference'; change a setting, or remove one",
    ),
    "shared key": ("{epochs: 2}", "{epoch: 2}", "training: unknown key 'epoch'. Did you mean 'epochs'? Known: "),
    "shared value": ("{epochs: 2}", "{epochs: 0}", "training.epochs: Input should be greater than 0 (given: 0)"),
    "top key": ("training:", "trainin:", "unknown key 'trainin'. Did you mean 'training'? Known: published, rows, "),
    "workload": ("workload: tiny", "workload: tinny", "workload: configs: unknown workload 'tinny'. Did you mean 'ti"),
    "no workload": ("workload: tiny\n", "", "workload: Field required"),
    "patience": ("lr: 0.001", "patience: -2", "rows.small_rate.patience: Input should be greater than or equal to 0"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_with_its_place(three, old, new, message):
    three.edit(old, new)
    told = refusal()
    assert told.startswith(f"{THREE}: {message}")
    assert "\n" not in told


def test_one_row_is_no_ablation(three):
    three.path.write_text("workload: tiny\nrows: {alone: {}}\n")
    assert refusal().startswith(f"{THREE}: rows: Dictionary should have at least 2 items")


def test_patience_without_held_out_samples_is_told_with_its_row(three):
    three.project.edit(", search_pool: 40", "")
    three.edit("lr: 0.001", "patience: 3")
    assert refusal().startswith(f"{THREE}: rows.small_rate.patience: 3 epochs by which split? None is held out")


def test_a_workload_that_cannot_train_is_told_with_its_file(three):
    three.project.edit("  training: {epochs: 3, lr: 0.05, batch_size: 32, augment: []}\n", "")
    assert refusal() == (
        f"{THREE}: {three.project.config.relative_to(three.project.root)}: workload.training: missing; the rows change "
        "it, so it must be there"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tree", "configs/ablations: unknown ablation 'tree'. Did you mean 'three'? Known: three"),
        ("configs/none.yaml", "configs/none.yaml: cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_is_not_there_is_named(three, name, message):
    assert refusal(name) == message
