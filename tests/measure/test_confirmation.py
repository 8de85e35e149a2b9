"""Speed measured again by a fresh process, from the files alone: its own figures, threads, order and end."""

import dataclasses
import importlib
import inspect

import numpy as np
import pytest
import torch
from artifacts import loaded, named, saved
from tiny_model import tiny_cnn

from quantbench.backends.interface import ModelSource
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.errors import CheckpointError, ForeignError, MeasurementError
from quantbench.measure.confirmation import TimingJob, run, time_in_fresh_process
from quantbench.measure.latency import FP32, FP32_AGAIN, INT8, REPEATED, time_forwards
from quantbench.registry import RECIPES
from quantbench.stats.intervals import Interval
from quantbench.stats.sequential import Looks
from quantbench.stats.speed import SpeedQuestions, Speedup

INPUTS = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
RECIPE = RECIPES.create("static_int8_per_channel", "here", {})
# What no measurement answers: a comparison with something of which next to nothing is known.
NEVER = SpeedQuestions(accepted=Speedup(1.0, Interval(1e-9, 1e9, 0.99)), margin=0.5)

USER_MODELS = """\
import multiprocessing
import os
import time
from tiny_model import TinyCNN

class OfTheFreshProcess(TinyCNN):
    def forward(self, x):
        if multiprocessing.parent_process() is not None:
            self.there()
        return super().forward(x)

class Dies(OfTheFreshProcess):
    def there(self):
        os._exit(3)

class StopsTheClock(OfTheFreshProcess):
    def there(self):
        time.perf_counter = lambda: 5.0

class CountsThreads(OfTheFreshProcess):
    def there(self):
        import torch
        if torch.get_num_threads() != 2 or not torch.is_inference_mode_enabled():
            raise RuntimeError(f"{torch.get_num_threads()} threads")

def dies():
    return Dies(3, 8)

def stops_the_clock():
    return StopsTheClock(3, 8)

def counts_threads():
    return CountsThreads(3, 8)
"""


@pytest.fixture
def user_models(tmp_path, monkeypatch):
    """A user's own models, importable here and in the fresh process."""
    (tmp_path / "models_to_confirm.py").write_text(USER_MODELS)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("models_to_confirm")


@pytest.fixture
def job(tmp_path):
    """A small int8 model beside its fp32 weights, to be timed once."""
    torch.manual_seed(0)
    fp32 = tiny_cnn().eval()
    int8 = EagerBackend(default_engine()).quantize_module(tiny_cnn().eval(), RECIPE, lambda: [INPUTS]).model
    return TimingJob(
        candidate=saved(tmp_path / "int8.pt", int8, RECIPE),
        reference=saved(tmp_path / "fp32.pt", fp32, backend="torch"),
        inputs=named(INPUTS),
        threads=1,
        looks=Looks(12, 3, 0.99),
        budget_s=1e9,
        questions=SpeedQuestions(bound=0.001),
    )


def with_model(job, name, **changes):
    source = ModelSource(f"models_to_confirm:{name}", {}, "here")
    both = {part: dataclasses.replace(getattr(job, part), model=source) for part in ("candidate", "reference")}
    return dataclasses.replace(job, **both, **changes)


def test_a_fresh_process_times_both_models_and_the_control(job):
    timings = time_in_fresh_process(job)
    assert {form: each.wall_s.shape for form, each in timings.samples.items()} == dict.fromkeys(
        (FP32, FP32_AGAIN, INT8, REPEATED), (timings.rounds,)
    )
    assert all((each.wall_s > 0).all() for each in timings.samples.values())
    # How many looks it takes depends on how busy the machine is.
    assert (timings.rounds, timings.out_of_time) == (job.looks.rounds[timings.looks - 1], False)


def test_it_takes_every_planned_look_while_a_question_is_open(job):
    timings = time_in_fresh_process(dataclasses.replace(job, questions=NEVER))
    assert (timings.looks, timings.rounds) == (3, 48)


def test_it_stops_where_its_time_budget_ends(job):
    timings = time_in_fresh_process(dataclasses.replace(job, questions=NEVER, budget_s=1e-6))
    assert (timings.looks, timings.rounds, timings.out_of_time) == (1, 12, True)


def test_it_pins_the_threads_of_the_job(job, user_models):
    before = torch.get_num_threads()
    timings = time_in_fresh_process(with_model(job, "counts_threads", threads=2))
    assert timings.rounds in job.looks.rounds
    assert torch.get_num_threads() == before
    with pytest.raises(ForeignError, match="RuntimeError: 1 threads in CountsThreads"):
        time_in_fresh_process(with_model(job, "counts_threads", threads=1))


def test_the_order_within_rounds_is_another_than_that_of_the_first_measurement(job):
    assert job.seed != inspect.signature(time_forwards).parameters["seed"].default


def test_the_fp32_model_is_the_one_of_the_file(job):
    fp32 = loaded(job.reference)
    torch.manual_seed(0)
    with torch.inference_mode():
        assert torch.equal(fp32(INPUTS), tiny_cnn().eval()(INPUTS))
    assert not fp32.training


def test_the_same_work_can_be_done_here_and_leaves_the_process_as_it_was(job):
    threads = torch.get_num_threads()
    timings = run(dataclasses.replace(job, threads=threads + 1))
    assert timings.rounds in job.looks.rounds
    assert np.isfinite(timings.control()).all()
    assert (torch.get_num_threads(), torch.is_inference_mode_enabled()) == (threads, False)


def test_the_death_of_the_fresh_process_is_named_with_the_file(job, user_models):
    with pytest.raises(CheckpointError) as error:
        time_in_fresh_process(with_model(job, "dies"))
    assert str(error.value) == f"{job.candidate.path}: the fresh process that timed it died"


def test_a_checkpoint_that_is_gone_is_named(job):
    job.candidate.path.unlink()
    with pytest.raises(CheckpointError, match=r"int8\.pt: "):
        time_in_fresh_process(job)


def test_a_clock_that_goes_wrong_there_is_refused_in_the_same_words(job, user_models):
    with pytest.raises(MeasurementError, match=r"a forward took .* s: the clock stood still or went backwards"):
        time_in_fresh_process(with_model(job, "stops_the_clock"))
