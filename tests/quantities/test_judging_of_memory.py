"""A model that saves too little memory fails its gate, and one whose memory cannot be measured does not pass it."""

import sys

import pytest
from tiny_model import tiny_cnn

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.experiment import costs
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.golden import baselines
from quantbench.measure.memory import PROCESSES, PeakMemories, PeakMemory
from quantbench.measure.residency import RESOLUTION_BYTES
from quantbench.quantities.judging import explain, judge, measure
from quantbench.records.card import BaselineCard
from quantbench.stats.verdicts import Outcome

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="others cannot reset a process's peak")

STATIC = "ptq_static_int8_per_channel"
CHANNELS = 256
MIB = 1 << 20

USER_MODELS = f"""\
import multiprocessing
import torch
from tiny_model import TinyCNN


def whole():
    return TinyCNN(3, {CHANNELS})


class HoldsABuffer(TinyCNN):
    # Its int8 form needs as much as its fp32 form beside the maps.
    def __init__(self):
        super().__init__(3, {CHANNELS})

    def forward(self, x):
        held = torch.ones(96 << 20, dtype=torch.uint8)
        return super().forward(x)


def holds():
    return HoldsABuffer()


class OpensNoMoreFiles(TinyCNN):
    # In the fresh process the kernel's account cannot be read any more once this has run.
    def __init__(self):
        super().__init__(3, {CHANNELS})

    def forward(self, x):
        import resource
        if multiprocessing.parent_process() is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        return super().forward(x)


def blind():
    return OpensNoMoreFiles()
"""


@pytest.fixture
def run_of(project, monkeypatch):
    """The experiment's run with one of these models, and a bound on its memory."""
    (project.root / "user_models_of_memory.py").write_text(USER_MODELS)
    monkeypatch.syspath_prepend(project.root)

    def make(model, bound):
        project.edit("size_ratio: 0.2", f"size_ratio: 0.2, memory_ratio: {bound}")
        if model is not None:
            project.edit("tiny_model:tiny_cnn", f"user_models_of_memory:{model}")
            project.edit("batch_size: 4", "batch_size: 128")
            card = BaselineCard.model_validate_json(project.weights.with_suffix(".json").read_text())
            sha256 = baselines.save_weights(project.weights, tiny_cnn(3, CHANNELS).state_dict())
            baselines.save_card(project.weights, card.model_copy(update={"weights_sha256": sha256}))
        return Runs(Settings(project.golden)).run(select(load_experiments(project.configs), f"tiny/{STATIC}")[0])

    return make


def message_of(run):
    return explain(run.experiment, judge(run, "memory_ratio")).splitlines()


@linux
@pytest.mark.usefixtures("real_memory")
def test_a_model_that_is_wholly_int8_takes_a_quarter_and_says_how_that_was_measured(run_of):
    run = run_of("whole", 3.0)
    title, measured, required, *_ = message_of(run)
    memory = run.memory
    assert title == f"tiny/{STATIC}: memory_ratio: PASS"
    low, high = memory.ratio_range
    assert 3.0 < low <= memory.ratio <= high
    figures = f"{memory.ratio:.3f}× [{low:.3f}, {high:.3f}] ({memory.fp32_bytes:,} → {memory.quantized_bytes:,} bytes)"
    forward = f"at the peak of a forward, batch 128, 1 thread(s); {PROCESSES} fresh processes each"
    assert measured == f"  measured:     {figures} {forward}"
    assert required == "  required:     at least 3×"


@linux
@pytest.mark.usefixtures("real_memory")
def test_a_buffer_that_stays_as_large_in_int8_fails_the_gate(run_of, project):
    run = run_of("holds", 3.0)
    title, measured, required, further, accept = message_of(run)
    assert title == f"tiny/{STATIC}: memory_ratio: FAIL"
    assert run.memory.quantized_bytes > 96 * MIB
    assert run.memory.ratio < 1.5
    assert measured.startswith(f"  measured:     {run.memory.ratio:.3f}× [")
    assert required == "  required:     at least 3×"
    assert further == f"  look further: quantbench run tiny/{STATIC} --json record.json"
    assert accept == (
        f"  accept:       change experiments.{STATIC}.gates.memory_ratio in {project.config}, then "
        f'quantbench gates tiny/{STATIC} --accept --reason "…"'
    )


def test_a_bound_within_the_range_of_the_processes_is_inconclusive(run_of):
    run = run_of("whole", 4.0)
    low, high = 3.9, 4.1
    run.results["memory"] = run.memory.model_copy(update={"ratio": 4.0, "ratio_range": (low, high)})
    assert message_of(run)[0] == f"tiny/{STATIC}: memory_ratio: INCONCLUSIVE"
    run.results["memory"] = run.memory.model_copy(update={"ratio_range": (4.0, high)})
    assert message_of(run)[0] == f"tiny/{STATIC}: memory_ratio: PASS"


def test_a_model_too_small_for_pages_is_inconclusive_and_says_what_to_raise(run_of):
    run = run_of(None, 0.1)
    title, measured, required, *_ = message_of(run)
    assert title == f"tiny/{STATIC}: memory_ratio: INCONCLUSIVE"
    advice = f"too few for a ratio, which needs {RESOLUTION_BYTES:,}; raise workload.latency.batch_size"
    assert measured.endswith(f"bytes at the peak of a forward, batch 4, 1 thread(s): {advice}")
    assert required == "  required:     bound 0.1"
    assert measure(run, "memory") is None, "its bytes are a figure to show all the same"


@linux
@pytest.mark.usefixtures("real_memory")
def test_memory_that_cannot_be_measured_is_inconclusive_with_the_reason_gated_or_not(run_of):
    run = run_of("blind", 0.1)
    title, measured, *_ = message_of(run)
    assert title == f"tiny/{STATIC}: memory_ratio: INCONCLUSIVE"
    reason = "peak memory: /proc/self/status cannot be read (Too many open files)"
    assert measured == f"  measured:     {reason}"
    verdict = measure(run, "memory")
    assert (verdict.outcome, verdict.measured) == (Outcome.INCONCLUSIVE, reason)
    assert run.record("here").memory is None


def test_fp32_is_measured_once_for_all_experiments_of_a_workload(run_of, project, monkeypatch):
    asked = []

    def peak_memory(artifact, *_):
        asked.append(artifact.backend.name)
        return PeakMemories((PeakMemory(*[len(asked) * MIB] * 3),) * PROCESSES)

    monkeypatch.setattr(costs, "peak_memory", peak_memory)
    run = run_of("whole", 3.0)
    found = run.memory
    project.weights.unlink()
    other = Runs(Settings(project.golden), {"tiny": run.baseline}).run(run.experiment)
    other.candidate = run.candidate
    assert other.memory.fp32_each_bytes == found.fp32_each_bytes
    assert other.memory.quantized_each_bytes != found.quantized_each_bytes, "each measurement is another"
    assert sorted(asked) == ["eager", "eager", "torch"]


def test_the_record_holds_what_was_measured(run_of):
    run = run_of("whole", 3.0)
    assert run.record("here").memory is None, "nothing is computed for it"
    message_of(run)
    record = run.record("here")
    assert record.memory == run.memory
    assert type(record).model_validate_json(record.model_dump_json()) == record
