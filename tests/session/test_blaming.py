"""Layers are looked into where a comparison fails, once for each experiment, and nowhere else."""

from types import SimpleNamespace

import pytest

from quantbench.recipes.spec import Fp32
from quantbench.registry import RECIPES
from quantbench.session import blaming
from quantbench.stats.verdicts import Outcome, Verdict

FAILED = Verdict("accuracy_drop_pp", Outcome.FAIL, 6.2, None, 1.0, 150, "6.2 pp", "at most 1 pp")
NEVER_ACCEPTED = Verdict("accuracy_vs_accepted", Outcome.FAIL, None, None, None, 0, "none was accepted", "at most 2 pp")
STATIC = RECIPES.create("static_int8_per_channel", "here", {})


def run_of(recipe):
    return SimpleNamespace(experiment=SimpleNamespace(id="tiny/static", recipe=recipe))


@pytest.fixture
def looked(monkeypatch):
    """Experiments that were looked into."""
    found = []

    def look(run, *_):
        found.append(run.experiment.id)
        return SimpleNamespace(sentence="conv1 is to blame")

    monkeypatch.setattr(blaming, "look_into", look)
    return found


def test_an_experiment_is_looked_into_once_for_all_that_fails(looked):
    made = blaming.Blaming()
    assert [made.sentence(run_of(STATIC), FAILED) for _ in range(2)] == ["conv1 is to blame"] * 2
    assert looked == ["tiny/static"]


@pytest.mark.parametrize(
    ("verdict", "recipe", "seconds"),
    [
        (FAILED, Fp32(), 20.0),
        (FAILED, STATIC, 0.0),
        (NEVER_ACCEPTED, STATIC, 20.0),
        (Verdict("size_ratio", Outcome.FAIL, 1.0, None, 3.0, 1, "1.0", "at least 3"), STATIC, 20.0),
        (Verdict("accuracy_drop_pp", Outcome.INCONCLUSIVE, 6.2, None, 1.0, 150, "6.2", "at most 1"), STATIC, 20.0),
    ],
    ids=["nothing quantized", "no time", "never accepted", "no accuracy", "undecided"],
)
def test_nothing_is_looked_into_where_no_layer_can_be_to_blame(looked, verdict, recipe, seconds):
    assert blaming.Blaming(seconds).sentence(run_of(recipe), verdict) == ""
    assert looked == []
