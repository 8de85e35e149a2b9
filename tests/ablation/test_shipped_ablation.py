"""The ablation that is shipped has the six published rows, each changing what it is named after."""

from pathlib import Path

from quantbench.config.ablation import find_ablation

CONFIGS = Path(__file__).parents[2] / "configs"
PUBLISHED = {
    "warmup_cosine": 92.8, "no_schedule": 86.5, "step_at_half": 89.2, "lr_0.01": 88.4, "no_weight_decay": 90.3,
    "momentum_0.8": 91.5,
}  # fmt: skip


def test_it_has_the_published_rows():
    assert {row.name: row.published for row in find_ablation("resnet20_cifar10", CONFIGS).rows} == PUBLISHED


def test_all_rows_train_as_long_as_each_other():
    assert len({row.training.epochs for row in find_ablation("resnet20_cifar10", CONFIGS).rows}) == 1


def test_each_row_changes_what_it_is_named_after():
    first, *others = find_ablation("resnet20_cifar10", CONFIGS).rows
    rows = {row.name: row.training for row in others}
    assert (first.training.schedule, first.training.lr, first.training.momentum) == ("warmup_cosine", 0.1, 0.9)
    assert first.training.weight_decay == 5e-4
    assert (rows["no_schedule"].schedule, rows["no_schedule"].lr) == ("constant", 0.1)
    step = rows["step_at_half"]
    assert (step.schedule, step.step_epochs) == ("step", (step.epochs // 2,))
    assert (rows["lr_0.01"].schedule, rows["lr_0.01"].lr) == ("warmup_cosine", 0.01)
    assert rows["no_weight_decay"].weight_decay == 0
    assert rows["momentum_0.8"].momentum == 0.8
