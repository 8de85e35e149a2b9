"""What a history says of over-fitting, in figures that can be checked; and what no training could have had."""

import json

import pytest

from quantbench.errors import ConfigError
from quantbench.records.card import BaselineCard
from quantbench.report.curves import curves_of, overfitting, read_curves
from quantbench.stats.proportions import wilson_interval

TRAIN = "quantbench train configs/a.yaml"
LOSS, ACCURACY = (1.0, 0.6, 0.4, 0.2), (0.50, 0.75, 0.85, 0.95)
VALIDATION_LOSS, VALIDATION_ACCURACY = (0.9, 0.5, 0.55, 0.7), (0.55, 0.78, 0.80, 0.79)


def made_card(validated=True, best_epoch=3, **changes):
    history = [{"loss": loss, "accuracy": accuracy} for loss, accuracy in zip(LOSS, ACCURACY, strict=True)]
    for i, entry in enumerate(history if validated else []):
        entry |= {"validation_loss": VALIDATION_LOSS[i], "validation_accuracy": VALIDATION_ACCURACY[i]}
    card = {
        "workload": "a", "recipe": "fp32_baseline", "model": {}, "data": {}, "data_note": "", "data_sha256": {},
        "n_train": 2_000, "n_test": 10, "n_validation": 400 if validated else 0, "accuracy": 0.8,
        "accuracy_interval": (0.490162, 0.943318), "loss": 0.5,
        "training": {"epochs": 4}, "history": history, "seed": 0,
        "best_epoch": best_epoch if validated else None, "duration_s": 1.0, "command": TRAIN, "weights_sha256": "0",
        "environment": {
            "processor": "", "architecture": "", "isa": [], "cores": 1, "system": "", "python": "", "versions": {},
        },
    }  # fmt: skip
    return BaselineCard.model_validate(card | changes)


def sentence(**changes):
    return overfitting(curves_of("a", made_card(**changes), "a.json"))


def test_the_gap_is_told_at_the_best_epoch_and_at_the_last_with_n_and_interval():
    best, last = (wilson_interval(right, 400) for right in (320, 316))
    assert sentence().startswith(
        "a: At the best epoch (3 of 4) 85.00 % of the training samples are right and 80.00 % "
        f"[{100 * best.low:.2f}, {100 * best.high:.2f}] of the 400 validation samples, a gap of +5.00 pp; at the last "
        f"one 95.00 % of the training samples are right and 79.00 % [{100 * last.low:.2f}, {100 * last.high:.2f}] of "
        "the 400 validation samples, a gap of +16.00 pp. "
    )


def test_the_epoch_from_which_the_losses_part_is_told_with_both():
    assert sentence().endswith(
        "The validation loss was lowest at epoch 2 (0.5000) and is 0.7000 at the last: from epoch 3 on it rose while "
        "the training loss fell (0.6000 to 0.2000)."
    )


def history(**columns):
    """The made history with other columns."""
    base = made_card().history
    return [entry | {key: values[i] for key, values in columns.items()} for i, entry in enumerate(base)]


def test_a_validation_loss_that_never_rose_shows_no_over_fitting():
    told = sentence(history=history(validation_loss=(0.9, 0.8, 0.7, 0.6)))
    assert told.endswith("The validation loss was lowest at the last epoch: no over-fitting shows in it.")


def test_a_training_loss_that_did_not_fall_meanwhile_is_not_called_over_fitting():
    told = sentence(history=history(loss=(1.0, 0.3, 0.5, 0.6)))
    assert told.endswith("; the training loss did not fall meanwhile (0.3000 to 0.6000).")
    assert "while the training loss fell" not in told


def test_a_best_epoch_that_is_the_last_is_told_once():
    told = sentence(best_epoch=4)
    assert told.startswith("a: At the last epoch (4), which is the best, 95.00 % of the training samples are right")
    assert told.count("a gap of") == 1


def test_a_training_that_stopped_early_says_after_how_many_epochs_of_how_many():
    assert " Training stopped early, after 4 of 9 epochs. " in sentence(training={"epochs": 9})
    assert "stopped early" not in sentence()


def test_an_old_card_without_validation_says_that_nothing_can_be_told():
    assert sentence(validated=False) == (
        "a: no validation split was held out (data.search_pool is 0), so this history cannot tell over-fitting; the "
        "weights are those of the last epoch (4), with 95.00 % of the training samples right (n = 2,000)."
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [("loss", -0.1), ("accuracy", 1.2), ("validation_loss", float("inf")), ("validation_accuracy", float("nan"))],
)
def test_a_figure_that_no_training_could_have_had_is_named_with_its_epoch(key, value):
    columns = {key: [value if i == 1 else 0.5 for i in range(4)]}
    with pytest.raises(ConfigError, match=rf"^a\.json: history: epoch 2 has no {key}, or an impossible one; train"):
        sentence(history=history(**columns))


def test_a_missing_figure_is_named_with_its_epoch():
    entries = history()
    del entries[3]["validation_loss"]
    with pytest.raises(ConfigError, match="epoch 4 has no validation_loss, or"):
        sentence(history=entries)


@pytest.mark.parametrize("best_epoch", [0, 5])
def test_a_best_epoch_outside_of_the_history_is_refused(best_epoch):
    with pytest.raises(ConfigError, match=rf"^a\.json: best_epoch: {best_epoch} is not one of the 4 epochs"):
        sentence(best_epoch=best_epoch)


def test_curves_are_read_from_a_card_on_disk(tmp_path):
    (tmp_path / "a.json").write_text(made_card().model_dump_json())
    found = read_curves(tmp_path / "a.json", "a", TRAIN)
    assert (found.validation_accuracy, found.best_epoch, found.n_validation) == (VALIDATION_ACCURACY, 3, 400)


def test_a_card_without_history_is_refused_with_the_command_that_makes_one(tmp_path):
    (tmp_path / "a.json").write_text(made_card(history=[], validated=False).model_dump_json())
    with pytest.raises(ConfigError, match=rf"a\.json: has no history, as weights have that were adopted; .*: {TRAIN}$"):
        read_curves(tmp_path / "a.json", "a", TRAIN)


@pytest.mark.parametrize("content", [None, "{", json.dumps({"workload": "a"})], ids=["missing", "cut", "incomplete"])
def test_a_missing_or_damaged_card_is_one_message_with_the_command(tmp_path, content):
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    with pytest.raises(ConfigError, match=rf"a\.json: [^\0]*restore it from version control, or make it: {TRAIN}$"):
        read_curves(tmp_path / "a.json", "a", TRAIN)
