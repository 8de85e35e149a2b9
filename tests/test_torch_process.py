"""Threads and random state of the process: torch's where it is installed, counted by its rule where it is not."""

import os

import pytest
import torch

from quantbench import torch_process
from quantbench.torch_process import (
    computing,
    default_threads,
    get_threads,
    random_state_kept,
    set_threads,
)


@pytest.fixture
def threads():
    """Torch's, put back at the end."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


@pytest.fixture
def absent(monkeypatch):
    monkeypatch.setattr(torch_process, "installed", lambda *_: False)
    monkeypatch.setattr(torch_process, "_threads", [])


def test_threads_are_torch_s(threads):
    assert get_threads() == threads
    set_threads(threads + 2)
    assert torch.get_num_threads() == get_threads() == threads + 2


def test_while_something_is_timed_threads_are_pinned_and_autograd_is_off(threads):
    with computing(threads + 1):
        assert (torch.get_num_threads(), torch.is_inference_mode_enabled()) == (threads + 1, True)
    assert (torch.get_num_threads(), torch.is_inference_mode_enabled()) == (threads, False)


def test_random_numbers_of_torch_are_put_back():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with random_state_kept(another=True):
        drawn = torch.rand(3)
    assert torch.rand(3).tolist() == expected.tolist() != drawn.tolist()


def test_without_torch_threads_are_counted_once_and_kept_as_they_are_set(absent, monkeypatch, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert get_threads() == 5
    set_threads(3)
    with computing(2), random_state_kept(another=True):
        assert get_threads() == 3
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "many"}, 2),
        ({"OMP_NUM_THREADS": "0"}, 2),
        ({}, 2),
    ],
)
def test_threads_follow_the_rule_of_torch(monkeypatch, tmp_path, given, expected):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    # Two physical cores of two logical ones each, of which three may be used.
    for core, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        place = tmp_path / torch_process.SIBLINGS.format(core=core)
        place.parent.mkdir(parents=True)
        place.write_text(f"{siblings}\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert default_threads(tmp_path) == expected


def test_where_the_system_does_not_tell_each_core_counts(monkeypatch, tmp_path):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert default_threads(tmp_path) == 3
