"""`quantbench train` and `quantbench curves` on the terminal: what they print, write and refuse."""

import json

import pytest

from quantbench.config.reading import load_experiments
from quantbench.config.selection import find_workload, select
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.experiment.workload import OpenWorkload
from quantbench.records.card import BaselineCard
from quantbench.training.state import state_path


@pytest.fixture
def held_out(project):
    """The project with samples held out."""
    project.edit("calibration_pool: 60}", "calibration_pool: 60, search_pool: 40}")
    return project


def test_train_prints_the_over_fitting_where_samples_were_held_out(quantbench, held_out):
    status, out, err = quantbench("train", "tiny")
    assert (status, err) == (0, "")
    first, second = out.splitlines()
    assert first.startswith("golden/baselines/tiny.safetensors: accuracy ")
    assert second.startswith("tiny: At the ")
    assert " of the 40 validation samples, a gap of " in second


def test_train_with_amp_writes_it_on_the_card(quantbench, project):
    assert quantbench("train", "tiny", "--amp")[0] == 0
    card = BaselineCard.model_validate_json(project.weights.with_suffix(".json").read_text())
    assert (card.training["precision"], card.command) == ("bf16", "quantbench train configs/tiny.yaml --amp")


def test_train_drops_a_damaged_state_with_one_line_and_trains_from_the_start(quantbench, project):
    state_file = state_path(OpenWorkload(find_workload("tiny", project.configs), project.golden).unfinished("tiny"))
    state_file.parent.mkdir(parents=True, exist_ok=True)
    state_file.write_bytes(b"not a state file")
    status, out, err = quantbench("train", "tiny")
    assert status == 0
    assert out.startswith("golden/baselines/tiny.safetensors: accuracy ")
    assert f"{state_file}: " in err


def test_curves_draws_the_baseline_and_every_trained_experiment_from_their_cards(quantbench, held_out):
    assert quantbench("train", "tiny")[0] == 0
    run = Runs(Settings(held_out.golden, retrain=True)).run(
        select(load_experiments(held_out.configs), "tiny/qat_int8")[0]
    )
    run.candidate  # noqa: B018 — trains
    held_out.weights.unlink()  # only the cards are read
    status, out, err = quantbench("curves", "tiny", "--out", "pictures")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert [line.split(":")[0] for line in lines[::3]] == ["tiny", "tiny.qat_int8"]
    names = [f"pictures/curves_{name}.{kind}" for name in ("tiny", "tiny.qat_int8") for kind in ("png", "svg")]
    assert [line for i, line in enumerate(lines) if i % 3] == names
    assert (held_out.root / names[0]).read_bytes().startswith(b"\x89PNG")
    assert {str(path.relative_to(held_out.root)) for path in (held_out.root / "pictures").iterdir()} == set(names)


def test_curves_of_a_training_without_validation_say_so(quantbench, project):
    status, out, _ = quantbench("curves", "tiny")
    assert status == 0
    assert out.startswith("tiny: no validation split was held out (data.search_pool is 0)")


def edited(project, **changes):
    path = project.weights.with_suffix(".json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_curves_of_adopted_weights_are_refused_with_the_command_that_trains(quantbench, project):
    edited(project, history=[])
    status, out, err = quantbench("curves", "tiny")
    assert (status, out) == (2, "")
    assert err.endswith("tiny.json: has no history, as weights have that were adopted; train some: quantbench train "
                        "configs/tiny.yaml\n")  # fmt: skip
    assert not (project.root / "out").exists()


def test_curves_without_a_card_are_refused_with_the_command_that_makes_it(quantbench, project):
    project.weights.with_suffix(".json").unlink()
    _, _, err = quantbench("curves", "tiny")
    assert "tiny.json: cannot be read (No such file or directory); " in err
    assert err.endswith("or make it: quantbench train configs/tiny.yaml\n")


def test_curves_of_an_unknown_workload_name_the_nearest(quantbench, project):
    assert "unknown workload 'tinny'. Did you mean 'tiny'?" in quantbench("curves", "tinny")[2]


def test_curves_to_a_place_that_is_a_file_is_one_line(quantbench, project):
    status, _, err = quantbench("curves", "tiny", "--out", "configs/tiny.yaml")
    assert status == 2
    assert err == "quantbench: configs/tiny.yaml: File exists; name another place\n"
