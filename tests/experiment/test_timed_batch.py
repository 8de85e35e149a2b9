"""What is timed is what is judged: a model that does otherwise in the timed batch is found."""

import numpy as np
import pytest
from judged import measure_and_judge
from scored_models import FEATURES, linear, workload

from quantbench.backends.file_predictor import FilePredictor
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import EvaluationError
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.experiment.timing import check_timed, other_samples
from quantbench.measure.evaluation import inputs_of
from quantbench.quantities.judging import judge
from quantbench.stats.speed import SpeedQuestions

pytestmark = pytest.mark.usefixtures("real_checks")

QUESTIONS = SpeedQuestions()
STATIC = "tiny/ptq_static_int8_per_channel"
NET = """\
import torch
from tiny_model import TinyCNN


def calls(model):
    model.n = getattr(model, "n", 0) + 1
    return model.n


def kept(model, key, compute):
    store = vars(model).setdefault("store", {{}})
    if key not in store:
        store[key] = compute()
    return store[key]


class Sly(TinyCNN):
    def __init__(self):
        super().__init__(3, 8)

    def forward(self, x):
        if {condition}:
            return {answer}
        return {otherwise}


def sly():
    return Sly()
"""


@pytest.fixture
def run_of(project, monkeypatch):
    """A run of a model that, where a condition holds, answers something else; four samples are timed."""

    def run(condition, answer, otherwise="super().forward(x)"):
        import sys

        sys.modules.pop("sly_net", None)
        (project.root / "sly_net.py").write_text(NET.format(condition=condition, answer=answer, otherwise=otherwise))
        monkeypatch.syspath_prepend(project.root)
        project.edit('"tiny_model:tiny_cnn"', '"sly_net:sly"')
        return Runs(Settings(project.golden)).run(select(load_experiments(project.configs), STATIC)[0])

    yield run
    import sys

    sys.modules.pop("sly_net", None)


QUANTIZED = "hasattr(self.conv, 'scale')"


def test_a_quantized_model_that_answers_the_timed_batch_with_zeros_is_not_timed(run_of):
    run = run_of(f"{QUANTIZED} and len(x) == 4", "x.new_zeros(4, 3)")
    with pytest.raises(
        EvaluationError, match=r"^the quantized model answers the 4 samples of the timed batch otherwise"
    ):
        run.forwards()


def test_an_fp32_model_that_answers_nan_in_the_timed_batch_is_not_timed_either(run_of):
    run = run_of(f"not {QUANTIZED} and len(x) == 4", "x.new_full((4, 3), float('nan'))")
    with pytest.raises(EvaluationError, match=r"^the fp32 model answers .* differ by nan of the largest"):
        run.forwards()


def test_work_is_counted_in_the_timed_batch(run_of):
    # The right answers, by the fp32 weights' one matrix product instead of a convolution.
    run = run_of(f"{QUANTIZED} and len(x) == 4", "super().forward(x[:1]).repeat(4, 1)")
    verdict = judge(run, "macs_ratio")
    assert (verdict.outcome, verdict.measured[:8]) == ("FAIL", "0.2500× ")


def test_a_model_that_does_nothing_from_its_second_call_on_does_less_work(run_of):
    run = run_of(f"{QUANTIZED} and calls(self) > 1", "x.new_zeros(len(x), 3)")
    verdict = judge(run, "macs_ratio")
    assert (verdict.outcome, verdict.measured[:8]) == ("FAIL", "0.0000× ")


@pytest.mark.parametrize("which", [QUANTIZED, "True"])
def test_a_model_that_keeps_its_answers_does_less_work(run_of, which):
    run = run_of(which, "kept(self, x.numpy().tobytes(), lambda: super(Sly, self).forward(x))")
    verdict = judge(run, "macs_ratio")
    assert (verdict.outcome, verdict.measured[:8]) == ("FAIL", "0.0000× ")


def test_a_model_that_gives_every_batch_of_a_shape_the_answers_to_the_first_is_not_timed(run_of):
    run = run_of(f"{QUANTIZED} and len(x) == 4", "kept(self, x.shape, lambda: super(Sly, self).forward(x))")
    with pytest.raises(EvaluationError, match=r"^the quantized model that was timed answers other samples otherwise"):
        run.time_forwards(QUESTIONS)
    assert run.latency is None


@pytest.fixture
def rounds(machine, monkeypatch):
    """Six rounds that are really run, before the machine tells its times."""

    def time_forwards(forwards, *more, **named):
        for forward in [*forwards.values()] * 6:
            forward()
        return machine.time_forwards(forwards, *more, **named)

    monkeypatch.setattr("quantbench.experiment.run.time_forwards", time_forwards)


TWICE = "super().forward(torch.cat([x, x]))[: len(x)]"


@pytest.mark.usefixtures("rounds")
@pytest.mark.parametrize(("which", "name"), [(QUANTIZED, "quantized"), (f"not {QUANTIZED}", "fp32")])
def test_a_model_that_does_less_after_some_rounds_is_not_timed(run_of, which, name):
    run = run_of(f"{which} and calls(self) > 5", "super().forward(x)", TWICE)
    assert judge(run, "macs_ratio").outcome == "PASS", "its first forwards do all"
    with pytest.raises(EvaluationError, match=rf"^the {name} model that was timed does less than a fresh one: "):
        run.time_forwards(QUESTIONS)
    with pytest.raises(EvaluationError, match="does less"):
        run.time_forwards(QUESTIONS)


@pytest.mark.usefixtures("rounds")
def test_a_model_that_answers_otherwise_after_some_rounds_is_not_timed(run_of):
    run = run_of(f"{QUANTIZED} and calls(self) > 5", "-super().forward(x)")
    with pytest.raises(EvaluationError, match=r"^the quantized model that was timed answers the timed batch otherwise"):
        run.time_forwards(QUESTIONS)


@pytest.mark.usefixtures("rounds")
def test_a_model_that_answers_at_random_is_timed(run_of):
    run = run_of(QUANTIZED, "torch.randn(len(x), 3)")
    run.time_forwards(QUESTIONS)
    assert run.latency is not None


def test_other_samples_are_the_next_ones_and_all_where_the_split_is_one_batch(project):
    opened = Runs(Settings(project.golden)).run(select(load_experiments(project.configs), STATIC)[0]).opened
    (whole,) = inputs_of(opened.splits.test, 150)
    first, more = ({"input": whole["input"][:n]} for n in (4, 100))
    assert np.array_equal(other_samples(opened, first)["input"], whole["input"][4:8])
    assert np.array_equal(other_samples(opened, more)["input"], whole["input"][50:])
    assert np.array_equal(other_samples(opened, whole)["input"], whole["input"][[149, *range(149)]])


def test_a_model_that_does_the_same_in_every_batch_is_timed(project):
    run = Runs(Settings(project.golden)).run(select(load_experiments(project.configs), STATIC)[0])
    assert {v.quantity: v.outcome for v in measure_and_judge(run)}["macs_ratio"] == "PASS"
    assert run.measured("coverage").int8_macs == 13_848


class WithState:
    """A predictor whose second output has no row for each sample: its values depend on the batch."""

    def __call__(self, inputs):
        (images,) = inputs.values()
        logits = images.reshape(len(images), -1)[:, :3]
        return {"output": logits, "state": np.full((2, 1), images.sum())}

    def prepared(self, inputs):
        return inputs


def test_an_output_without_a_row_for_each_sample_does_not_tell_what_is_timed(run_of):
    opened = run_of("False", "x").opened
    inputs = next(iter(inputs_of(opened.splits.test, 4, 4)))
    check_timed(opened, "quantized", WithState(), WithState(), inputs)


def test_steps_to_what_a_file_takes_are_timed_of_no_model(tmp_path, monkeypatch, machine):
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    x, weight = random.normal(size=(40, FEATURES)), random.normal(size=(FEATURES, 2)).astype(np.float32)
    # In float64, which is cast for both files.
    path = workload(tmp_path, "mae", x, x @ weight + random.normal(0, 0.1, (40, 2)), "{score_drop: 1}")
    linear(path.parent / "fp32.onnx", weight)
    linear(path.parent / "int8.onnx", weight, int8=True)
    forwards = Runs(Settings(tmp_path / "golden")).run(load_experiments(path.parent)[0]).forwards()
    steps = []
    monkeypatch.setattr(FilePredictor, "_ready", lambda _, inputs: steps.append(inputs))
    for forward in forwards.values():
        forward()
    assert (len(forwards), steps) == (4, [])
