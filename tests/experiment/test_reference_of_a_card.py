"""Nothing is compared with a reference that is another than its card says, and no accuracy by chance is accepted."""

import json

import pytest
import torch
from tiny_model import TinyCNN

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import BaselineError, GoldenError
from quantbench.experiment.accuracy import ACCEPTED_ACCURACY
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.quantities.judging import judge
from quantbench.session.acceptance import Acceptances, Accepting
from quantbench.stats.proportions import wilson_interval

STATIC = "ptq_static_int8_per_channel"


def run_of(project, name=STATIC):
    return Runs(Settings(project.golden)).run(select(load_experiments(project.configs), f"tiny/{name}")[0])


def rewrite_card(project, **changed):
    path = project.weights.with_suffix(".json")
    card = json.loads(path.read_text())
    card |= {key: change(card[key]) for key, change in changed.items()}
    interval = wilson_interval(round(card["accuracy"] * card["n_test"]), card["n_test"])
    path.write_text(json.dumps({**card, "accuracy_interval": [interval.low, interval.high]}))


@pytest.fixture
def changed_code(monkeypatch):
    """The model's code answers otherwise than when its weights were trained."""
    whole = TinyCNN.forward
    monkeypatch.setattr(TinyCNN, "forward", lambda model, x: whole(model, x.roll(1, dims=1)))


@pytest.mark.parametrize("quantity", ["accuracy_drop_pp", "answered_classes"])
def test_code_of_the_model_that_changed_since_fails_what_is_compared_with_it(project, changed_code, quantity):
    with pytest.raises(BaselineError) as raised:
        judge(run_of(project), quantity)
    message = str(raised.value)
    assert message.startswith("the fp32 model: its accuracy is ")
    assert "on its card (n=150), more than 1.33333 pp apart for the same weights and samples" in message
    assert message.endswith(f"make weights for it as it is: quantbench train {project.config}")


def test_a_reference_without_a_gate_is_held_to_its_card_too(project, changed_code):
    project.edit("{card_drift_pp: 0.2}", "{}")
    with pytest.raises(BaselineError, match="on its card"):
        _ = run_of(project, "fp32_baseline").accuracy


def test_a_gate_of_the_reference_s_own_judges_it(project, changed_code):
    assert judge(run_of(project, "fp32_baseline"), "card_drift_pp").outcome == "FAIL"


@pytest.mark.parametrize(("samples", "holds"), [(2, True), (-2, True), (3, False)])
def test_two_samples_of_few_may_be_rounded_otherwise(project, samples, holds):
    rewrite_card(project, accuracy=lambda accuracy: accuracy + samples / 150)
    if holds:
        assert judge(run_of(project), "accuracy_drop_pp").outcome == "PASS"
    else:
        with pytest.raises(BaselineError, match="on its card"):
            judge(run_of(project), "accuracy_drop_pp")


@pytest.fixture
def constant(project):
    """A baseline that gives every sample one class, and whose card says so."""
    from safetensors.torch import load_file

    from quantbench.golden import baselines

    state = load_file(project.weights)
    state["fc.weight"].zero_()
    state["fc.bias"] = torch.tensor([1.0, 0.0, 0.0])
    sha256 = baselines.save_weights(project.weights, state)
    rewrite_card(project, weights_sha256=lambda _: sha256, accuracy=lambda _: 1 / 3)
    return project


def test_an_accuracy_that_takes_no_model_is_not_accepted(constant):
    acceptances = Acceptances(Accepting.ALL, "as it is")
    with pytest.raises(GoldenError, match=r"accuracy 33\.33 % \[.* more than the 33\.33 % of giving every"):
        acceptances.takes(run_of(constant), "accuracy_vs_accepted")
    assert acceptances.claims == set()


def test_it_is_accepted_where_such_weights_were_adopted_on_request(constant):
    rewrite_card(constant, training=lambda training: {**training, ACCEPTED_ACCURACY: True})
    assert Acceptances(Accepting.ALL, "as it is").takes(run_of(constant), "accuracy_vs_accepted")
