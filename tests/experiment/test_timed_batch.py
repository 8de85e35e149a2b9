"""What is timed is what is judged: a model that does otherwise in the timed batch is found."""

import pytest
from judged import measure_and_judge

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import EvaluationError
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.quantities.judging import judge

STATIC = "tiny/ptq_static_int8_per_channel"
NET = """\
import torch
from tiny_model import TinyCNN


class Sly(TinyCNN):
    def __init__(self):
        super().__init__(3, 8)

    def forward(self, x):
        if {condition}:
            return {answer}
        return super().forward(x)


def sly():
    return Sly()
"""


@pytest.fixture
def run_of(project, monkeypatch):
    """A run of a model that, where a condition holds, answers something else; four samples are timed."""

    def run(condition, answer):
        import sys

        sys.modules.pop("sly_net", None)
        (project.root / "sly_net.py").write_text(NET.format(condition=condition, answer=answer))
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


def test_a_model_that_does_the_same_in_every_batch_is_timed(project):
    run = Runs(Settings(project.golden)).run(select(load_experiments(project.configs), STATIC)[0])
    assert {v.quantity: v.outcome for v in measure_and_judge(run)}["macs_ratio"] == "PASS"
    assert run.measured("coverage").int8_macs == 13_848
