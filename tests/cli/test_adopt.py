"""Weights trained elsewhere become a baseline with a card, or are refused with one line."""

import pytest
import torch
from safetensors.torch import load_file

from quantbench.config.selection import find_workload
from quantbench.errors import BaselineError, CheckpointError, ConfigError
from quantbench.experiment.workload import OpenWorkload


def opened(project):
    return OpenWorkload(find_workload("tiny", project.configs), project.golden)


def test_a_torch_state_dict_becomes_the_baseline_with_its_measured_accuracy(project):
    before = opened(project).load_baseline()
    original = load_file(project.weights)
    torch.save(original, project.root / "mine.pt")
    project.weights.unlink()
    card = opened(project).adopt(project.root / "mine.pt")
    assert card.training == {"adopted": "mine.pt"}
    assert card.n_test == 150
    after = opened(project).load_baseline()
    assert all(torch.equal(before.state_dict()[key], value) for key, value in after.state_dict().items())


def test_a_safetensors_file_is_adopted_without_a_training_section(project):
    project.edit("  training: {epochs: 3, lr: 0.05, batch_size: 32, augment: []}\n", "")
    mine = project.weights.rename(project.root / "mine.safetensors")
    assert opened(project).adopt(mine).accuracy > 0.4


def test_training_without_a_training_section_names_the_missing_key(project):
    project.edit("  training: {epochs: 3, lr: 0.05, batch_size: 32, augment: []}\n", "")
    with pytest.raises(ConfigError, match=r"tiny\.yaml: workload\.training: missing; .*epochs"):
        opened(project).train_baseline()


def test_weights_of_another_model_are_refused_with_the_key_that_differs(project):
    torch.save({"conv.weight": torch.zeros(1)}, project.root / "other.pt")
    kept = project.weights.read_bytes()
    with pytest.raises(BaselineError, match=r"other\.pt: does not fit the model of this workload: .*fc\.weight"):
        opened(project).adopt(project.root / "other.pt")
    assert project.weights.read_bytes() == kept, "the committed baseline must survive a refused one"


def test_a_pickle_with_code_is_refused_and_not_run(project):
    class Bomb:
        def __reduce__(self):
            return (open, (str(project.root / "exploded"), "w"))

    torch.save({"conv.weight": Bomb()}, project.root / "bomb.pt")
    with pytest.raises(CheckpointError, match=r"bomb\.pt: refused: opening it could run code"):
        opened(project).adopt(project.root / "bomb.pt")
    assert not (project.root / "exploded").exists()
