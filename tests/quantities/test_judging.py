"""Broken checkpoints and baselines fail their gates, with the message that a user reads."""

import json

import pytest
import torch
from accepting import accept_checkpoint
from safetensors.torch import load_file

from quantbench.backends.checkpoint import read_checkpoint, write_checkpoint
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.golden import baselines
from quantbench.quantities.judging import explain, judge
from quantbench.recipes import static_int8
from quantbench.recipes.spec import MOVING_AVERAGE_ACTIVATION
from quantbench.records.card import BaselineCard
from quantbench.stats.paired import PairedOutcomes, samples_to_decide
from quantbench.stats.proportions import wilson_interval

STATIC = "ptq_static_int8_per_channel"
PACKED = "fc._packed_params._packed_params"


def run_of(project, name=STATIC):
    """The experiment's run in a session of its own, as a new process would have it."""
    return Runs(Settings(project.golden)).run(select(load_experiments(project.configs), f"tiny/{name}")[0])


def message_of(run, verdict):
    return explain(run.experiment, verdict).splitlines()


def damaged(run, edit):
    """The run with its saved checkpoint changed by `edit(state)`, as by a bug after quantization."""
    state = read_checkpoint(run.artifact.path)
    edit(state)
    write_checkpoint(run.artifact.path, state)
    return run


def integers_to(weight, change):
    """A per-channel quantized weight with other integers under the same scales."""
    scales, zeros, axis = weight.q_per_channel_scales(), weight.q_per_channel_zero_points(), weight.q_per_channel_axis()
    return torch._make_per_channel_quantized_tensor(change(weight.int_repr()), scales, zeros, axis)


def zero_head(state):
    weight, bias = state[PACKED]
    state[PACKED] = (integers_to(weight, torch.zeros_like), bias)


def zero_convolution(state):
    state["conv.weight"] = integers_to(state["conv.weight"], torch.zeros_like)


def mirror_head(state):
    weight, bias = state[PACKED]
    state[PACKED] = (integers_to(weight, lambda integers: integers.flip(0)), bias)


def one_scale_of_convolution_times_8(state):
    weight = state["conv.weight"]
    scales, zeros = weight.q_per_channel_scales().clone(), weight.q_per_channel_zero_points()
    scales[0] *= 8
    state["conv.weight"] = torch._make_per_channel_quantized_tensor(weight.int_repr(), scales, zeros, 0)


def scale_of_input_by_8(state):
    state["quant.scale"] = state["quant.scale"] / 8


DAMAGE = [zero_head, zero_convolution, mirror_head, one_scale_of_convolution_times_8, scale_of_input_by_8]


def test_an_undamaged_model_passes_every_gate_that_damage_fails(project):
    run = run_of(project)
    assert judge(run, "accuracy_drop_pp").outcome == "PASS"
    assert judge(run, "reload").outcome == "PASS"


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_checkpoint_fails_the_accuracy_gate(project, damage):
    project.edit("accuracy_drop_pp: 10.0, size_ratio", "accuracy_drop_pp: 5.0, size_ratio")
    run = damaged(run_of(project), damage)
    verdict = judge(run, "accuracy_drop_pp")
    title, measured, required, further, accept = message_of(run, verdict)
    assert title == f"tiny/{STATIC}: accuracy_drop_pp: FAIL"
    a = run.accuracy
    drop = f"{a.drop_pp:.2f} pp [{a.drop_interval_pp[0]:.2f}, {a.drop_interval_pp[1]:.2f}]"
    assert measured.startswith(f"  measured:     {drop} ({100 * a.fp32:.2f} % → {100 * a.quantized:.2f} %, n=150: ")
    least = f"a drop of {a.detectable_pp:.2f} pp would be detected (power 80 %)"
    assert measured.endswith(f"{a.lost} lost, {a.gained} gained); {least}")
    assert required == "  required:     at most 5 pp"
    assert further == f"  look further: quantbench run tiny/{STATIC} --json record.json"
    assert accept == (
        f"  accept:       change experiments.{STATIC}.gates.accuracy_drop_pp in {project.config}, then "
        f'quantbench gates tiny/{STATIC} --accept --reason "…"'
    )


def test_too_few_samples_for_a_tight_bound_are_inconclusive(project):
    # Even no sample lost of 150 leaves room for a drop of 2.5 pp.
    project.edit("accuracy_drop_pp: 10.0, size_ratio", "accuracy_drop_pp: 2.0, size_ratio")
    run = run_of(project)
    verdict = judge(run, "accuracy_drop_pp")
    low, high = run.accuracy.drop_interval_pp
    assert low <= 2.0 < high
    title, measured, required, *_ = message_of(run, verdict)
    assert title == f"tiny/{STATIC}: accuracy_drop_pp: INCONCLUSIVE"
    assert f"[{low:.2f}, {high:.2f}]" in measured
    assert "n=150" in measured
    a = run.accuracy
    needed = samples_to_decide(PairedOutcomes(150, a.lost, a.gained), 0.02)
    assert needed > 150
    assert measured.endswith(f"; about {needed:,} samples changing at these rates would decide")
    assert required == "  required:     at most 2 pp"


def test_a_drop_equal_to_its_bound_is_told_to_stay_undecided(project):
    run = damaged(run_of(project), zero_head)
    exactly = run.accuracy.drop_pp
    project.edit("accuracy_drop_pp: 10.0, size_ratio", f"accuracy_drop_pp: {exactly!r}, size_ratio")
    run = damaged(run_of(project), zero_head)
    measured = judge(run, "accuracy_drop_pp").measured
    assert measured.endswith("; no number of samples changing at these rates would decide")


def test_a_verdict_is_kept_with_its_run_and_record(project):
    run = damaged(run_of(project), zero_head)
    verdict = judge(run, "accuracy_drop_pp")
    assert run.verdicts == {"accuracy_drop_pp": verdict}
    [recorded] = run.record("a command").verdicts
    assert (recorded.quantity, recorded.outcome) == ("accuracy_drop_pp", "FAIL")
    assert recorded.measured == verdict.measured


def test_a_baseline_that_is_no_longer_what_its_card_says_fails(project):
    # The card fits the file, as after somebody trained anew and kept the old card's accuracy.
    state = load_file(project.weights)
    state["fc.weight"] = state["fc.weight"].flip(0).contiguous()
    card = BaselineCard.model_validate_json(project.weights.with_suffix(".json").read_text())
    sha256 = baselines.save_weights(project.weights, state)
    baselines.save_card(project.weights, card.model_copy(update={"weights_sha256": sha256}))
    run = run_of(project, "fp32_baseline")
    verdict = judge(run, "card_drift_pp")
    title, measured, required, further, accept = message_of(run, verdict)
    assert title == "tiny/fp32_baseline: card_drift_pp: FAIL"
    drift = 100 * abs(card.accuracy - run.accuracy.quantized)
    figures = f"card {100 * card.accuracy:.2f} %, here {100 * run.accuracy.quantized:.2f} %, n=150"
    assert measured == f"  measured:     {drift:.2f} pp ({figures})"
    assert required == "  required:     at most 0.2 pp"
    assert further == "  look further: quantbench run tiny/fp32_baseline --json record.json"
    assert accept == (
        f"  accept:       change experiments.fp32_baseline.gates.card_drift_pp in {project.config}, then "
        f'quantbench gates tiny/fp32_baseline --accept --reason "…"'
    )


def test_a_baseline_that_became_better_than_its_card_drifted_too(project):
    path = project.weights.with_suffix(".json")
    card = json.loads(path.read_text())
    right, n = round(card["accuracy"] * card["n_test"]) - 2, card["n_test"]
    interval = wilson_interval(right, n)
    changed = {"accuracy": right / n, "accuracy_interval": [interval.low, interval.high]}
    path.write_text(json.dumps({**card, **changed}))
    assert judge(run_of(project, "fp32_baseline"), "card_drift_pp").outcome == "FAIL"


def test_a_file_that_gives_other_logits_than_the_saved_model_fails_and_cannot_be_accepted(project):
    run = damaged(run_of(project), zero_head)
    title, measured, required, further, accept = message_of(run, judge(run, "reload"))
    assert title == f"tiny/{STATIC}: reload: FAIL"
    assert measured == f"  measured:     logits differ by up to {run.checkpoint.largest_difference:g}"
    assert run.checkpoint.largest_difference > 0
    assert required == "  required:     bit-identical logits in a fresh process"
    assert further == f"  look further: quantbench run tiny/{STATIC} --json record.json"
    assert accept == "  accept:       not possible: a checkpoint that changes when it is loaded is broken"


def test_a_file_that_gives_nan_fails_and_its_record_survives_json(project):
    run = damaged(run_of(project, "ptq_dynamic_int8"), lambda state: state[PACKED][1].data.fill_(float("nan")))
    _, measured, *_ = message_of(run, judge(run, "reload"))
    assert measured == "  measured:     logits differ in shape, or are NaN or infinite"
    record = run.record("a command")
    assert type(record).model_validate_json(record.model_dump_json()) == record


FORGETFUL = """\
import os
from tiny_model import TinyCNN

class Forgetful(TinyCNN):
    def __init__(self):
        super().__init__(3, 8)
        self.offset = os.getpid()

    def forward(self, x):
        return super().forward(x) + self.offset

def forgetful():
    return Forgetful()
"""


@pytest.mark.usefixtures("real_processes")
def test_a_model_whose_state_dict_leaves_something_out_fails_the_reload(project, monkeypatch):
    (project.root / "forgetful_model.py").write_text(FORGETFUL)
    monkeypatch.syspath_prepend(project.root)
    project.edit("tiny_model:tiny_cnn", "forgetful_model:forgetful")
    run = run_of(project)
    assert judge(run, "reload").outcome == "FAIL"
    assert run.checkpoint.largest_difference >= 1


DROPPING = """\
import torch
from tiny_model import TinyCNN

class Dropping(TinyCNN):
    def forward(self, x):
        return super().forward(torch.nn.functional.dropout(x, 0.5, training=True))

def dropping():
    return Dropping(3, 8)
"""


def test_a_forward_that_is_random_is_blamed_and_not_the_checkpoint(project, monkeypatch):
    (project.root / "dropping_model.py").write_text(DROPPING)
    monkeypatch.syspath_prepend(project.root)
    project.edit("tiny_model:tiny_cnn", "dropping_model:dropping")
    run = run_of(project, "ptq_dynamic_int8")
    title, measured, *_, accept = message_of(run, judge(run, "reload"))
    assert title == "tiny/ptq_dynamic_int8: reload: FAIL"
    assert "; the forward is random, or changes the model: two forwards on the same samples in one " in measured
    assert accept.startswith(
        "  accept:       not possible: no result can be compared with one that changes by itself; "
    )


def accept_golden(run):
    accept_checkpoint(run)


def test_a_checkpoint_never_accepted_fails_with_the_command_that_accepts_it(project):
    run = run_of(project)
    title, measured, required, further, accept = message_of(run, judge(run, "checkpoint"))
    assert title == f"tiny/{STATIC}: checkpoint: FAIL"
    assert measured == f"  measured:     no golden tiny/{STATIC}.json was ever accepted"
    assert required == "  required:     the accepted checkpoint golden"
    assert further == f"  look further: quantbench run tiny/{STATIC} --json record.json"
    assert accept == f'  accept:       pytest bench --experiment tiny/{STATIC} --update-golden --reason "…"'
    accept_golden(run)
    assert judge(run, "checkpoint").outcome == "PASS"


def test_changing_one_observer_of_a_recipe_fails_with_what_changed_and_how_to_accept_it(project, monkeypatch):
    accept_golden(run_of(project))
    other = MOVING_AVERAGE_ACTIVATION
    monkeypatch.setattr(static_int8, "PER_TENSOR_ACTIVATION", other)
    run = run_of(project)
    title, measured, *lines, accept = message_of(run, judge(run, "checkpoint"))
    assert title == f"tiny/{STATIC}: checkpoint: FAIL"
    assert measured == "  measured:     4 difference(s), old → new:"
    changed = 'recipe / activation / range: "minmax" → "moving_average"'
    assert f"    {changed}" in lines
    assert sum(line.startswith("    observers / ") and "→" in line for line in lines) == 3
    assert accept == f'  accept:       pytest bench --experiment tiny/{STATIC} --update-golden --reason "…"'


def test_another_recipe_under_the_same_name_fails_with_the_schemes_of_every_weight(project):
    accept_golden(run_of(project))
    project.edit("{name: static_int8_per_channel,", "{name: static_int8_per_tensor,")
    run = run_of(project)
    text = "\n".join(message_of(run, judge(run, "checkpoint")))
    weight = "qint8 [8, 3, 3, 3] per_channel_affine axis 0"
    assert f'keys / conv.weight: "{weight}" → "qint8 [8, 3, 3, 3] per_tensor_affine"' in text
    assert "payload_bytes: " in text
