"""A training on CUDA repeats bit for bit there, continues bit for bit, and leaves torch's settings as they were."""

import pytest
import torch
from tiny_model import tiny_cnn
from tiny_training import CONFIG, STEPS, different_keys, killed, new_model, trained

from quantbench.errors import TrainingError
from quantbench.progress import Progress
from quantbench.training import loop
from quantbench.training.device import device_facts, same_bits, training_device
from quantbench.training.loop import train

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")


def settings():
    """Torch's that decide whether CUDA's bits repeat."""
    cudnn = torch.backends.cudnn
    return cudnn.deterministic, cudnn.benchmark, torch.are_deterministic_algorithms_enabled()


def test_on_the_processor_nothing_is_set_and_no_fact_is_added():
    before = settings()
    with same_bits(torch.device("cpu")):
        assert settings() == before
    assert device_facts(torch.device("cpu")) == {}


@cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_bits(split, tmp_path, precision):
    config = CONFIG.model_copy(update={"precision": precision})
    first, history = trained(split, tmp_path / "1.pt", config)
    torch.manual_seed(99)
    second, again = trained(split, tmp_path / "2.pt", config)
    assert different_keys(first, second) == []
    assert history == again


@cuda
def test_a_killed_training_ends_with_the_same_bits(split, tmp_path):
    whole, _ = trained(split, tmp_path / "whole.pt")
    killed(split, tmp_path / "killed.pt", 2 * STEPS + 3)
    continued, _ = trained(split, tmp_path / "killed.pt")
    assert different_keys(whole, continued) == []


@cuda
def test_a_training_begun_on_the_processor_is_not_continued_here(split, state_file, monkeypatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(loop, "training_device", lambda: torch.device("cpu"))
        killed(split, state_file, 2 * STEPS + 3)
    with pytest.raises(TrainingError, match="device"):
        trained(split, state_file)


@cuda
def test_settings_and_generators_are_given_back(split, state_file):
    assert training_device().type == "cuda"
    model, before = new_model(), settings()
    torch.cuda.manual_seed(5)
    expected = torch.rand(1, device="cuda")
    torch.cuda.manual_seed(5)
    train(model, split, CONFIG, state_file, Progress("test"))
    assert torch.equal(torch.rand(1, device="cuda"), expected)
    assert settings() == before


@cuda
def test_dropout_is_seeded_there_too(split, tmp_path, monkeypatch):
    def dropping():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Dropout(0.5), tiny_cnn())

    monkeypatch.setattr("tiny_training.new_model", dropping)
    first, _ = trained(split, tmp_path / "1.pt")
    second, _ = trained(split, tmp_path / "2.pt")
    assert different_keys(first, second) == []
