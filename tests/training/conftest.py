"""What every test of training uses."""

import pytest
import torch
from tiny_training import made_split


@pytest.fixture(autouse=True)
def _one_thread():
    """Steps this small are slowed down by threads, manyfold on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def split():
    """Samples to train on."""
    return made_split()


@pytest.fixture(scope="module")
def held_out():
    """Samples to validate on, some of them labelled wrongly, so that no epoch is perfect."""
    return made_split("search", n=40, seed=1, wrong=6)


@pytest.fixture
def state_file(tmp_path):
    """Where the unfinished training is kept."""
    return tmp_path / "training" / "a.pt"
