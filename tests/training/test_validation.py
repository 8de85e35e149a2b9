"""The best epoch is found on samples held out of training, ends it early on request, and changes none of its steps."""

import pytest
import torch
from tiny_training import BATCH, CONFIG, EPOCHS, STEPS, different_keys, fit, killed, new_model, trained, weights

from quantbench.backends.module import ModulePredictor
from quantbench.config.training import TrainingConfig
from quantbench.errors import TrainingError
from quantbench.measure.evaluation import evaluate
from quantbench.progress import Progress
from quantbench.training.loop import Validation, train
from quantbench.training.state import EpochSummary, Progressed

LONG = TrainingConfig(epochs=12, batch_size=BATCH, lr=0.05, augment=())


def summary(accuracy, loss):
    """An epoch that did so on the validation split."""
    return EpochSummary(1.0, 0.5, 0.1, 0.0, loss, accuracy)


def progressed(*ranks):
    """A training whose epochs had these validation accuracies and losses."""
    made, model = Progressed(), new_model()
    for i, rank in enumerate(ranks):
        with torch.no_grad():
            model.fc.bias.fill_(float(i + 1))
        made.add(summary(*rank), model)
    return made


def test_every_epoch_is_validated_in_eval_mode_and_the_history_tells_it(split, held_out, state_file):
    model, outcome = fit(split, state_file, CONFIG, validation=held_out)
    assert len(outcome.history) == EPOCHS
    found = evaluate(ModulePredictor(model), held_out)
    best = outcome.history[outcome.best_epoch - 1]
    assert best.validation_accuracy == found.accuracy
    assert best.validation_loss == pytest.approx(found.loss, rel=1e-6)
    assert all(0 <= epoch.validation_accuracy <= 1 and epoch.seconds > 0 for epoch in outcome.history)


def test_validation_changes_no_step_of_the_training(split, held_out, tmp_path):
    plain, _ = trained(split, tmp_path / "plain.pt")
    trained(split, tmp_path / "validated.pt", validation=held_out)
    last = torch.load(tmp_path / "validated.pt", weights_only=True)["model"]
    assert different_keys(plain, last) == []


def test_the_model_ends_with_the_weights_of_its_best_epoch(split, held_out, tmp_path):
    _, outcome = fit(split, tmp_path / "whole.pt", LONG, validation=held_out)
    ranks = [(epoch.validation_accuracy, -epoch.validation_loss) for epoch in outcome.history]
    assert outcome.best_epoch == ranks.index(max(ranks)) + 1
    assert outcome.best_epoch < LONG.epochs, "a best epoch that is the last one would show nothing"
    model, _ = fit(split, tmp_path / "whole.pt", LONG, validation=held_out)
    state = torch.load(tmp_path / "whole.pt", weights_only=True)
    assert different_keys(weights(model), state["best"]) == []
    assert different_keys(weights(model), state["model"]) != []


def test_without_validation_the_model_ends_with_the_last_weights_and_no_best_epoch(split, state_file):
    model, outcome = fit(split, state_file)
    assert outcome.best_epoch is None
    assert {epoch.validation_loss for epoch in outcome.history} == {None}
    assert different_keys(weights(model), torch.load(state_file, weights_only=True)["model"]) == []


def test_the_best_epoch_is_the_most_accurate_one_then_the_one_of_lowest_loss_then_the_first():
    assert progressed((0.5, 1.0), (0.7, 2.0), (0.6, 0.1)).best_epoch == 2
    assert progressed((0.7, 1.0), (0.7, 0.5), (0.7, 0.8)).best_epoch == 2
    tied = progressed((0.7, 0.5), (0.7, 0.5), (0.7, 0.5))
    assert tied.best_epoch == 1
    assert set(tied.best["fc.bias"].tolist()) == {1.0}, "a copy, which later epochs leave alone"


@pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 6), (3, 7), (None, 9), (0, 9)])
def test_patience_ends_a_training_when_so_many_epochs_passed_without_a_better_one(patience, epochs):
    accuracies = (0.5, 0.6, 0.5, 0.7, 0.6, 0.6, 0.6, 0.6, 0.6)
    ended = [progressed(*[(a, 1.0) for a in accuracies[:n]]).has_ended(9, patience) for n in range(1, 10)]
    assert ended.index(True) + 1 == epochs


def test_a_training_stops_early_and_says_so_by_the_length_of_its_history(split, held_out, state_file):
    _, whole = fit(split, state_file.with_name("whole.pt"), LONG, validation=held_out)
    _, outcome = fit(split, state_file, LONG.model_copy(update={"patience": 1}), validation=held_out)
    assert len(outcome.history) == outcome.best_epoch + 1 < LONG.epochs
    assert outcome.history == whole.history[: len(outcome.history)]


def test_patience_without_samples_to_stop_by_is_refused_before_any_step(split, state_file):
    with pytest.raises(TrainingError, match="patience: 3 needs a validation split to stop by; hold samples out"):
        trained(split, state_file, CONFIG.model_copy(update={"patience": 3}))
    assert not state_file.exists()


@pytest.mark.parametrize("step", [1, 2 * STEPS + 3, 5 * STEPS, 5 * STEPS + 1])
def test_a_killed_training_goes_on_with_the_same_best_weights_and_the_same_patience(split, held_out, tmp_path, step):
    config = LONG.model_copy(update={"patience": 4})
    model, whole = fit(split, tmp_path / "whole.pt", config, validation=held_out)
    assert len(whole.history) > 5, "a training that ends before the kill would show nothing"
    killed(split, tmp_path / "killed.pt", step, config, held_out)
    again, outcome = fit(split, tmp_path / "killed.pt", config, validation=held_out)
    assert different_keys(weights(model), weights(again)) == []
    assert outcome == whole


def test_what_is_evaluated_may_be_another_model_than_the_one_in_training(split, held_out, state_file):
    seen = []

    def evaluated(model):
        seen.append(model)
        return new_model().eval()

    _, outcome = fit(split, state_file, validation=Validation(held_out, evaluated))
    expected = evaluate(ModulePredictor(new_model().eval()), held_out)
    assert {epoch.validation_accuracy for epoch in outcome.history} == {expected.accuracy}
    assert len(seen) == EPOCHS


def test_a_model_that_gives_nan_in_validation_ends_the_training_with_what_to_try(split, held_out, state_file):
    class Nan(torch.nn.Module):
        def forward(self, x):
            return torch.full((len(x), 3), torch.nan)

    with pytest.raises(TrainingError) as error:
        train(new_model(), split, CONFIG, state_file, Progress("test"), None, Validation(held_out, lambda _: Nan()))
    told = str(error.value)
    assert told.startswith("after epoch 1: the model's logits are not finite for 40 of 40 samples of 'search'")
    assert "Try a smaller lr than 0.05 or more than 1 warm-up epochs" in told
