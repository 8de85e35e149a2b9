"""Data that a foreign program makes may differ on another platform: what stays sound is measured, the rest is not."""

import json

import numpy as np
import pytest

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.data.image_folder import ImageFolderSource
from quantbench.errors import BaselineError
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.experiment.workload import changed_splits
from quantbench.golden.baselines import load_card
from quantbench.quantities.judging import judge


def run_of(project, name="fp32_baseline"):
    return Runs(Settings(project.golden)).run(select(load_experiments(project.configs), f"tiny/{name}")[0])


def change_a_test_image(project):
    project.replace_image("test/red/000.png", np.full((8, 8, 3), 7, np.uint8))


def change_a_training_image(project):
    for path in sorted((project.images / "train/red").iterdir()):
        project.replace_image(path, np.random.RandomState(int(path.stem)).randint(0, 99, (8, 8, 3)))


def made_on(project, **environment):
    """Rewrites the baseline's card as if it had been written on that machine."""
    path = project.weights.with_suffix(".json")
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "environment": card["environment"] | environment}))


@pytest.fixture
def generated(monkeypatch):
    """The images pass for made by a foreign program."""
    monkeypatch.setattr(ImageFolderSource, "platform_dependent", True)


OTHER_PLATFORMS = [{"architecture": "another64"}, {"system": "Plan9 4"}]


@pytest.mark.parametrize("platform", OTHER_PLATFORMS, ids=["architecture", "system"])
def test_generated_data_of_another_platform_is_let_through_and_only_the_cards_figure_is_not_judged(
    project, generated, platform
):
    made_on(project, **platform)
    change_a_test_image(project)
    run = run_of(project)
    verdict = judge(run, "card_drift_pp")
    assert verdict.outcome == "INCONCLUSIVE"
    assert verdict.measured == "the card was measured on samples made on another platform"
    assert verdict.bound == 0.2
    drop = judge(run_of(project, "ptq_static_int8_per_channel"), "accuracy_drop_pp")
    assert drop.outcome == "PASS"


def test_generated_data_that_is_the_same_on_another_platform_is_judged_as_ever(project, generated):
    made_on(project, architecture="another64")
    assert judge(run_of(project), "card_drift_pp").outcome == "PASS"


def test_a_test_split_that_is_the_same_is_judged_though_the_training_split_is_not(project, generated):
    made_on(project, architecture="another64")
    change_a_training_image(project)
    run = run_of(project)
    card = load_card(project.weights, "")
    assert changed_splits(card, run.opened.splits) == ["calibration", "train"]
    assert judge(run, "card_drift_pp").outcome == "PASS"


@pytest.mark.parametrize("same_release", [True, False])
def test_generated_data_that_differs_on_the_same_platform_is_refused(project, generated, same_release):
    if not same_release:
        made_on(project, system=load_card(project.weights, "").environment.system.partition(" ")[0] + " 0.0.1")
    change_a_test_image(project)
    with pytest.raises(
        BaselineError, match=r"its card was written for other data than this machine has \(split test\)"
    ):
        judge(run_of(project), "card_drift_pp")


def test_data_that_people_bring_is_refused_on_every_platform_when_it_differs(project):
    made_on(project, architecture="another64")
    change_a_test_image(project)
    with pytest.raises(BaselineError, match=r"other data than this machine has \(split test\); get the data the card"):
        judge(run_of(project), "card_drift_pp")
