"""Models that are too large, not really int8 or really slower fail their gates, with the message that a user reads."""

import re

import pytest
import torch
from judged import measure_and_judge
from tiny_model import tiny_cnn

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import QuantizationError
from quantbench.experiment.baseline import Baseline
from quantbench.experiment.built import BuiltArtifact
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.golden import baselines
from quantbench.quantities.judging import explain, judge, quantities
from quantbench.quantities.speed import questions_of
from quantbench.records.card import BaselineCard

STATIC = "ptq_static_int8_per_channel"
CHANNELS = 256
# 256 output channels of 64 positions, each of 3 input channels times 3×3 taps; then 256 features to 3 classes.
CONV, HEAD = CHANNELS * 64 * 27, CHANNELS * 3

USER_MODELS = f"""\
import torch
from tiny_model import TinyCNN
from quantbench.models.quantizable import DeQuantStub, QuantStub


def whole():
    return TinyCNN(3, {CHANNELS})


class ConvolutionLeftInFloat(TinyCNN):
    def __init__(self):
        super().__init__(3, {CHANNELS})

    def fuse_model(self, is_qat=False):
        super().fuse_model(is_qat)
        self.conv.qconfig = None

    def forward(self, x):
        x = self.pool(self.relu(self.bn(self.conv(x)))).flatten(1)
        return self.dequant(self.fc(self.quant(x)))


def half():
    return ConvolutionLeftInFloat()


class QuantizedBackAndForth(TinyCNN):
    # In fp32 the stubs do nothing; in int8 each is a pass over the whole map.
    def __init__(self):
        super().__init__(3, 8)
        self.back_and_forth = torch.nn.Sequential(*[DeQuantStub() if i % 2 == 0 else QuantStub() for i in range(40)])

    def forward(self, x):
        x = self.relu(self.bn(self.conv(self.quant(x))))
        return self.dequant(self.fc(self.pool(self.back_and_forth(x)).flatten(1)))


def slow():
    return QuantizedBackAndForth()


class LeavesWorkOut(TinyCNN):
    # Twice the convolution in fp32, once in int8.
    def __init__(self):
        super().__init__(3, {CHANNELS})

    def forward(self, x):
        x = self.quant(x)
        if not x.is_quantized:
            self.conv(x)
        return self.dequant(self.fc(self.pool(self.relu(self.bn(self.conv(x)))).flatten(1)))


def lazy():
    return LeavesWorkOut()


class HasATable(TinyCNN):
    # A buffer that no recipe touches.
    def __init__(self):
        super().__init__(3, {CHANNELS})
        self.register_buffer("table", torch.zeros(100_000))


def padded():
    return HasATable()
"""


@pytest.fixture
def with_model(project, monkeypatch):
    """Makes the project's model one of the user's own, beside its configuration."""
    (project.root / "user_models_of_cost.py").write_text(USER_MODELS)
    monkeypatch.syspath_prepend(project.root)

    def use(name):
        project.edit("tiny_model:tiny_cnn", f"user_models_of_cost:{name}")
        if name != "slow":
            card = BaselineCard.model_validate_json(project.weights.with_suffix(".json").read_text())
            state = tiny_cnn(3, CHANNELS).state_dict() | ({"table": torch.zeros(100_000)} if name == "padded" else {})
            sha256 = baselines.save_weights(project.weights, state)
            baselines.save_card(project.weights, card.model_copy(update={"weights_sha256": sha256}))
        return project

    return use


def run_of(project, name=STATIC):
    """The experiment's run in a session of its own, as a new process would have it."""
    return Runs(Settings(project.golden)).run(select(load_experiments(project.configs), f"tiny/{name}")[0])


def message_of(run, gate):
    return explain(run.experiment, judge(run, gate)).splitlines()


def assert_leads_on(project, further, accept, gate):
    assert further == f"  look further: quantbench run tiny/{STATIC} --json record.json"
    assert accept == (
        f"  accept:       change experiments.{STATIC}.gates.{gate} in {project.config}, then "
        f'quantbench gates tiny/{STATIC} --accept --reason "…"'
    )


def test_a_model_that_is_wholly_int8_is_small_and_says_so(with_model):
    project = with_model("whole")
    project.edit("size_ratio: 0.2", "size_ratio: 2.0")
    run = run_of(project)
    assert message_of(run, "size_ratio")[0] == f"tiny/{STATIC}: size_ratio: PASS"
    assert message_of(run, "int8_share")[0] == f"tiny/{STATIC}: int8_share: PASS"


def test_a_layer_left_in_fp32_fails_the_size_gate(with_model):
    project = with_model("half")
    project.edit("size_ratio: 0.2", "size_ratio: 2.0")
    run = run_of(project)
    title, measured, required, further, accept = message_of(run, "size_ratio")
    assert title == f"tiny/{STATIC}: size_ratio: FAIL"
    small, large = run.artifact.path.stat().st_size, run.size.fp32_bytes
    figures = f"{large / small:.3f}× ({large:,} → {small:,} bytes)"
    # Fused, the convolution stands under another key.
    assert measured == f"  measured:     {figures}; did not shrink: 'conv.0.weight' ({CHANNELS * 27 * 4:,} bytes)"
    assert required == "  required:     at least 2×"
    assert_leads_on(project, further, accept, "size_ratio")


def test_a_layer_left_in_fp32_fails_the_gate_on_int8_kernels_and_is_named(with_model):
    project = with_model("half")
    run = run_of(project)
    title, measured, required, further, accept = message_of(run, "int8_share")
    assert title == f"tiny/{STATIC}: int8_share: FAIL"
    figures = f"{HEAD / (CONV + HEAD):.4f} ({HEAD:,} of {CONV + HEAD:,} multiply-accumulates)"
    assert measured == f"  measured:     {figures}; in floating point: conv.0 ({CONV:,})"
    assert required == "  required:     at least 1"
    assert_leads_on(project, further, accept, "int8_share")


def test_the_key_that_does_not_shrink_is_named(with_model):
    project = with_model("padded")
    project.edit("size_ratio: 0.2", "size_ratio: 2.0")
    title, measured, *_ = message_of(run_of(project), "size_ratio")
    assert title == f"tiny/{STATIC}: size_ratio: FAIL"
    assert measured.endswith(" bytes); did not shrink: 'table' (400,000 bytes)")


# It calls one convolution twice, of which the recipe warns.
@pytest.mark.filterwarnings("ignore::quantbench.errors.SharedLayerWarning")
def test_a_quantized_model_that_does_less_work_fails_though_no_gate_is_set(with_model, monkeypatch):
    # Of another model than the card is of.
    monkeypatch.setattr(Baseline, "checked_evaluation", property(lambda baseline: baseline.evaluation))
    project = with_model("lazy")
    run = run_of(project)
    title, measured, required, further, accept = message_of(run, "macs_ratio")
    assert title == f"tiny/{STATIC}: macs_ratio: FAIL"
    before, after = 2 * CONV + HEAD, CONV + HEAD
    figures = f"{after / before:.4f}× ({before:,} → {after:,} multiply-accumulates of one sample)"
    assert measured == f"  measured:     {figures}"
    assert required == "  required:     at least 1×, within 0.001"
    assert_leads_on(project, further, accept, "macs_ratio")
    assert "macs_ratio" in [verdict.quantity for verdict in measure_and_judge(run)]


# It calls one convolution twice, of which the recipe warns.
@pytest.mark.filterwarnings("ignore::quantbench.errors.SharedLayerWarning")
def test_less_work_passes_where_the_configuration_says_so(with_model):
    project = with_model("lazy")
    project.edit("size_ratio: 0.2", "size_ratio: 0.2, macs_ratio: 0.5")
    assert message_of(run_of(project), "macs_ratio")[0] == f"tiny/{STATIC}: macs_ratio: PASS"


def test_a_quantized_model_that_is_the_fp32_one_is_an_error(project):
    run = run_of(project)
    run.backend = run.baseline.backend
    run.candidate = BuiltArtifact(run.baseline.artifact, {})
    size = f"{run.baseline.size_bytes:,}"
    words = f"nothing was quantized: the file is not smaller ({size} → {size} bytes), and every kernel computes in "
    with pytest.raises(QuantizationError, match=re.escape(words + "floating point (conv (13,824), fc (24));")):
        judge(run, "int8_share")


def test_a_recipe_that_is_fp32_on_purpose_is_no_error(project):
    run = run_of(project, "fp32_baseline")
    assert run.measured("coverage").int8_macs == 0
    assert judge(run, "macs_ratio").outcome == "PASS"


def test_dynamic_quantization_does_not_pass_for_wholly_int8(project):
    project.edit("gates: {accuracy_drop_pp: 10.0}\n  ptq_static", "gates: {int8_share: 0.5}\n  ptq_static")
    run = run_of(project, "ptq_dynamic_int8")
    title, measured, *_ = message_of(run, "int8_share")
    assert title == "tiny/ptq_dynamic_int8: int8_share: FAIL"
    assert measured.endswith("in floating point: conv (13,824)")


@pytest.mark.usefixtures("operators")
def test_an_int8_forward_that_does_more_work_fails_the_speedup_gate(with_model):
    project = with_model("slow")
    project.edit("speedup: 0.01", "speedup: 1.0")
    project.edit("rounds: 12", "rounds: 12, looks: 1")
    run = run_of(project)
    run.time_forwards(questions_of(run))
    title, measured, required, further, accept = message_of(run, "speedup")
    measured_here = run.latency
    low, high = measured_here.speedup_interval
    assert title == f"tiny/{STATIC}: speedup: FAIL"
    assert high < 1.0
    plan = "at 99 % over 12 rounds (look 1 of 1), batch 4, 1 thread(s)"
    figures = f"{measured_here.speedup:.3f}× [{low:.3f}, {high:.3f}] {plan}"
    over_fastest = f"({measured_here.fastest_form}) {measured_here.speedup_over_fastest:.3f}× ["
    assert measured.startswith(f"  measured:     {figures}; over the fastest fp32 {over_fastest}")
    confirmed = re.search(r"; confirmed in a fresh process: (0\.\d+)× \[0\.\d+, (0\.\d+)\]$", measured)
    assert all(float(figure) < 1.0 for figure in confirmed.groups())
    assert required == "  required:     at least 1×"
    assert_leads_on(project, further, accept, "speedup")


def test_only_the_gates_that_the_configuration_sets_are_judged(project):
    run = run_of(project, "ptq_dynamic_int8")
    # An experiment that is not searched makes no claim about a search, and one of scores of 0 and 1 none of others.
    not_made = {"search", "score_vs_accepted"}
    claims = {quantity.name for quantity in quantities() if quantity.bound is None} - not_made | {"macs_ratio"}
    assert {verdict.quantity for verdict in measure_and_judge(run)} == {"accuracy_drop_pp", *claims}
    record = run.record("quantbench run")
    assert None not in (record.accuracy, record.size, record.coverage, record.latency), "measured all the same"
