"""The bound on what one layer costs: held, broken, and left open by too few samples."""

import pytest
from accepting import checkpoint_document
from judged import measure_and_judge

from quantbench.backends.checkpoint import read_checkpoint, write_checkpoint
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.quantities.judging import explain, judge

MODEL = """\
from tiny_model import TinyCNN
from torch import nn

class InLayers(TinyCNN):
    layer_groups = {"body": ("conv", "bn", "relu", "pool"), "head": ("fc",)}
    boundaries = ("quant", "between", "dequant")

    def __init__(self):
        super().__init__(3, 8)
        self.between = nn.Identity()

    def forward(self, x):
        x = self.pool(self.relu(self.bn(self.conv(self.quant(x)))))
        return self.dequant(self.fc(self.between(x).flatten(1)))

def in_layers():
    return InLayers()
"""
EXPERIMENT = """\
  ptq_body:
    recipe: {name: static_int8_layers, layers: [body], calibration_n: 32}
    gates: {layer_drop_pp: BOUND}
"""


@pytest.fixture
def run_with(project, monkeypatch):
    """The run of one layer's experiment with a bound on its drop; the weights are the project's own."""
    (project.root / "model_in_layers.py").write_text(MODEL)
    monkeypatch.syspath_prepend(project.root)
    project.edit("tiny_model:tiny_cnn", "model_in_layers:in_layers")
    project.config.write_text(project.config.read_text() + EXPERIMENT)

    def make(bound, layers="[body]"):
        project.edit("BOUND", str(bound))
        project.edit("[body]", layers)
        return Runs(Settings(project.golden)).run(select(load_experiments(project.configs), "tiny/ptq_body")[0])

    return make


def test_a_layer_that_costs_little_passes_and_runs_alone_as_int8(run_with):
    run = run_with(10)
    assert judge(run, "layer_drop_pp").outcome == "PASS"
    assert set(run.coverage.float_layers) == {"fc"}
    assert run.verdicts.keys() == {"layer_drop_pp"}


def test_a_layer_that_costs_more_than_its_bound_fails_with_the_gate_that_it_broke(run_with, project):
    run = run_with(10)
    state = read_checkpoint(run.artifact.path)
    state["fc.weight"] = -state["fc.weight"]
    write_checkpoint(run.artifact.path, state)
    verdict = judge(run, "layer_drop_pp")
    title, measured, required, further, accept = explain(run.experiment, verdict).splitlines()
    assert title == "tiny/ptq_body: layer_drop_pp: FAIL"
    a = run.accuracy
    assert measured.startswith(f"  measured:     {a.drop_pp:.2f} pp [{a.drop_interval_pp[0]:.2f}, ")
    assert a.drop_interval_pp[0] > 10
    assert "n=150" in measured
    assert required == "  required:     at most 10 pp"
    assert further == "  look further: quantbench run tiny/ptq_body --json record.json"
    assert accept == (
        f"  accept:       change experiments.ptq_body.gates.layer_drop_pp in {project.config}, then "
        f'quantbench gates tiny/ptq_body --accept --reason "…"'
    )


def test_too_few_samples_for_a_tight_bound_on_a_layer_are_inconclusive(run_with):
    run = run_with(2.0)
    verdict = judge(run, "layer_drop_pp")
    low, high = run.accuracy.drop_interval_pp
    assert low <= 2.0 < high
    assert verdict.outcome == "INCONCLUSIVE"
    assert explain(run.experiment, verdict).startswith("tiny/ptq_body: layer_drop_pp: INCONCLUSIVE\n")


def test_the_bound_on_a_layer_is_among_all_that_is_judged_and_recorded(run_with):
    run = run_with(10)
    verdicts = {verdict.quantity: verdict.outcome for verdict in measure_and_judge(run)}
    assert verdicts == {
        "layer_drop_pp": "PASS",
        "macs_ratio": "PASS",
        "answered_classes": "PASS",
        "reload": "PASS",
        "determinism": "PASS",
        "checkpoint": "FAIL",
        "accuracy_vs_accepted": "FAIL",
        "speedup_vs_accepted": "INCONCLUSIVE",
    }, "nothing was accepted yet"
    record = run.record("a command")
    assert [v.quantity for v in record.verdicts] == list(verdicts)
    assert record.recipe["layers"] == ["body"]
    assert checkpoint_document(run)["recipe"]["layers"] == ["body"]


def test_a_layer_that_does_not_exist_is_one_line_with_the_nearest(run_with):
    from quantbench.errors import QuantizationError

    with pytest.raises(
        QuantizationError, match=r"^unknown layer of InLayers 'bodi'\. Did you mean 'body'\? Known: body, h"
    ):
        judge(run_with(10, "[bodi]"), "layer_drop_pp")
