"""The miniature project with an ablation of three rows, and trainings made by hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from quantbench.ablation.run import AblationRun, row_entry
from quantbench.config.ablation import find_ablation
from quantbench.files import cache_dir
from quantbench.jobs import places
from quantbench.records.ablation import TrainedRow
from quantbench.records.base import Environment, pack_bits

FILE = """\
workload: tiny
published: accuracy of another network, %
training: {epochs: 2}
rows:
  reference: {published: 92.8}
  small_rate: {lr: 0.001, published: 88.4}
  no_schedule: {schedule: constant, published: 86.5}
"""
ENVIRONMENT = Environment(
    processor="Example CPU", architecture="x86_64", isa=(), cores=2, system="Linux", python="3.12", versions={}
)


class AblationFile:
    """`configs/ablations/three.yaml` of a project whose workload holds samples out."""

    def __init__(self, project):
        self.project = project
        project.edit("calibration_pool: 60}", "calibration_pool: 60, search_pool: 40}")
        self.path = project.configs / "ablations" / "three.yaml"
        self.path.parent.mkdir()
        self.path.write_text(FILE)

    def edit(self, old, new):
        """Replaces text, which must be there once."""
        text = self.path.read_text()
        assert text.count(old) == 1
        self.path.write_text(text.replace(old, new))


@pytest.fixture
def three(project):
    """The ablation file."""
    return AblationFile(project)


@pytest.fixture
def two(three):
    """The same without its last row: each takes a process that imports much before it trains."""
    three.edit("  no_schedule: {schedule: constant, published: 86.5}\n", "")
    return three


def opened(**settings):
    """The ablation of the current project, as a new process would open it."""
    return AblationRun(find_ablation("three", Path("configs")), **settings)


@pytest.fixture
def run():
    """`opened` of this file."""
    return opened


@pytest.fixture(scope="session")
def trained_cache(trained_project, made_once):
    """The cache of a project after its ablation, trained once, two rows at once."""

    def train(root):
        project = trained_project.copy_to(root)
        with pytest.MonkeyPatch.context() as patch:
            project.keep_all_within(patch)
            patch.chdir(root)
            AblationFile(project)
            patch.setattr(places, "end_processes", lambda: None)
            done = opened()
            done.train(jobs="2")
            assert done.failed == {}

    return made_once("ablation", train) / "cache"


@pytest.fixture
def done(three, trained_cache):
    """The ablation file, all of its rows trained."""
    shutil.copytree(trained_cache / "ablations", cache_dir() / "ablations")
    return three


@pytest.fixture
def forget():
    """Removes the result of a row."""

    def forget(name):
        row_entry(opened().keys[name]).forget()

    return forget


def trained_row(share, n=1_000, seed=0, **changes):
    """A training that had this share of the test samples right, much the same ones as any other."""
    correct = np.random.RandomState(seed).permutation(n) < round(share * n)
    history = [
        {"loss": 1.0, "accuracy": 0.6, "lr": 0.1, "seconds": 2.0, "validation_loss": 0.9, "validation_accuracy": 0.7},
        {"loss": 0.5, "accuracy": 0.8, "lr": 0.1, "seconds": 2.0, "validation_loss": 1.0, "validation_accuracy": 0.65},
    ]
    row = TrainedRow(
        key="0" * 32, training={"epochs": 2, "seed": 0}, n_train=500, n_validation=200, n_test=n,
        correct=pack_bits(correct), loss=0.5, history=history, best_epoch=1, duration_s=4.0, threads=1,
        environment=ENVIRONMENT,
    )  # fmt: skip
    return row.model_copy(update=changes)


@pytest.fixture(scope="session")
def make_trained():
    """`trained_row` of this file."""
    return trained_row
