"""One recipe through two backends: flips, answers, logits, scales, sizes, and lines and tables of them."""

import numpy as np
import pytest
from made_timings import timings

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import QuantbenchError
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.measure.latency import FP32, FP32_AGAIN, INT8
from quantbench.parity import speed
from quantbench.parity.comparison import compared
from quantbench.parity.outputs import compared_outputs
from quantbench.records.parity import Speed
from quantbench.report.parity import parity_line, parity_tables, parity_text
from quantbench.stats.paired import PairedOutcomes, tango_interval


@pytest.fixture
def run(project):
    """A run of the project, by name."""
    runs = Runs(Settings(project.golden))
    return lambda name: runs.run(select(load_experiments(project.configs), f"tiny/{name}")[0])


def test_eager_is_the_base_wherever_it_is_named_and_the_workloads_own_experiment_is_taken(record):
    assert [each.name for each in record.sides] == ["eager", "onnxruntime"]
    assert record.sides[0].experiment == "tiny/ptq_static_int8_per_channel"
    assert record.sides[1].experiment == "tiny/static_int8_per_channel-onnxruntime"
    assert record.title == "static_int8_per_channel, calibration_n 32"


def test_flips_and_their_interval_are_those_of_the_same_samples(record):
    base, other = (each.bits for each in record.sides)
    (found,) = record.differences
    assert (found.lost, found.gained) == (int((base & ~other).sum()), int((other & ~base).sum()))
    interval = tango_interval(PairedOutcomes(150, found.gained, found.lost))
    assert found.interval_pp == pytest.approx((100 * interval.low, 100 * interval.high))
    assert found.change_pp == pytest.approx(100 * (other.mean() - base.mean()))
    assert found.size_ratio == record.sides[1].size_bytes / record.sides[0].size_bytes


def test_scales_are_compared_layer_by_layer_and_what_only_one_quantizes_is_named(record):
    (found,) = record.differences
    assert {(each.layer, each.part) for each in found.scales} == {
        ("conv", "weights"), ("conv", "outputs"), ("fc", "weights"), ("fc", "outputs"), ("quant", "outputs"),
    }  # fmt: skip
    conv = next(each for each in found.scales if (each.layer, each.part) == ("conv", "weights"))
    assert (conv.n, conv.other_n, conv.matched_by) == (8, 8, "name")
    # Codes of −127..127 against −128..127.
    assert conv.ratio == pytest.approx((127.5 / 127, 127.5 / 127), abs=1e-3)
    # Seven bits of activations against eight.
    (given,) = (each for each in found.scales if each.layer == "quant")
    assert given.ratio[0] == pytest.approx(0.5, abs=0.01)
    assert all("in onnxruntime alone" in line for line in found.unmatched)


def test_logits_are_compared_on_the_same_samples(run):
    static, dynamic = run("ptq_static_int8_per_channel"), run("ptq_dynamic_int8")
    base, other = static.loaded(1), dynamic.loaded(1)
    found = compared_outputs(static.opened, base, {"other": other, "itself": base})
    batches = list(static.opened.splits.test.batches(64))
    differences = np.concatenate([(base(each)["output"] - other(each)["output"]).ravel() for each in batches])
    assert found["other"].largest == pytest.approx(np.abs(differences).max())
    assert found["other"].rms == pytest.approx(np.sqrt((differences.astype(float) ** 2).mean()))
    assert (found["itself"].largest, found["itself"].rms) == (0.0, 0.0)


def test_outputs_that_cannot_be_paired_are_told_and_the_rest_is_compared(run):
    static = run("ptq_static_int8_per_channel")
    base = static.loaded(1)

    def wider(inputs):
        return {"output": np.repeat(base(inputs)["output"], 2, axis=1)}

    found = compared_outputs(static.opened, base, {"wider": wider})
    assert found["wider"].startswith("the reference gives [")


def test_one_that_cannot_be_made_is_named_and_the_others_are_compared(run):
    names = ("ptq_static_int8_per_channel", "qat_int8", "ptq_dynamic_int8")
    found = compared({name: run(name) for name in names}, "experiments", "here", is_timed=False)
    assert [each.name for each in found.differences] == ["ptq_dynamic_int8"]
    (left_out,) = found.left_out
    assert (left_out.name, left_out.failed) == ("qat_int8", True)
    assert "qat_int8.safetensors" in left_out.reason
    assert "not compared: qat_int8: " in parity_text(found)
    (difference,) = found.differences
    # Of the dynamic one the head alone is quantized.
    assert [each.part for each in difference.scales] == ["weights"]
    assert "conv: in ptq_static_int8_per_channel alone" in difference.unmatched


def test_where_the_first_cannot_be_made_the_next_is_the_base_unless_it_was_asked_for(run):
    names = ("qat_int8", "ptq_static_int8_per_channel", "ptq_dynamic_int8")
    runs = {name: run(name) for name in names}
    found = compared(runs, "experiments", "here", is_timed=False)
    assert [side.name for side in found.sides] == ["ptq_static_int8_per_channel", "ptq_dynamic_int8"]
    assert [(each.name, each.failed) for each in found.left_out] == [("qat_int8", True)]
    with pytest.raises(QuantbenchError, match=r"qat_int8\.safetensors"):
        compared(runs, "experiments", "here", is_timed=False, is_base_named=True)


@pytest.fixture
def times(monkeypatch):
    """Timings in the place of the instrument's, and the forms that were asked for."""
    asked = []

    def time(forwards, *_, **__):
        asked.append({name: forward() for name, forward in forwards.items()})
        return timings(1.4, rounds=40)

    monkeypatch.setattr(speed, "time_forwards", time)
    return asked


def test_both_are_timed_in_the_same_rounds_beside_the_base_itself(run, times):
    found = speed.compared_speed(run("ptq_static_int8_per_channel"), run("ptq_dynamic_int8"))
    assert found.ratio == pytest.approx(1.4)
    assert (found.rounds, found.clock, found.doubt) == (40, "wall", None)
    assert found.control == pytest.approx(1.0)
    (outputs,) = times
    assert outputs.keys() == {FP32, FP32_AGAIN, INT8}
    np.testing.assert_array_equal(outputs[FP32]["output"], outputs[FP32_AGAIN]["output"])


def test_a_base_that_strays_from_itself_puts_the_ratio_in_doubt(run, monkeypatch):
    monkeypatch.setattr(speed, "time_forwards", lambda *_, **__: timings(1.4, control=1.2))
    found = speed.compared_speed(run("ptq_static_int8_per_channel"), run("ptq_dynamic_int8"))
    assert found.doubt
    made = compared({name: run(name) for name in ("ptq_static_int8_per_channel", "ptq_dynamic_int8")}, "two", "here")
    assert "(in doubt)" in parity_line(made, made.differences[0])


def test_the_line_reads_as_it_is_documented(record):
    (found,) = record.differences
    measured = found.model_copy(
        update={"change_pp": -0.1, "interval_pp": (-0.3, 0.1), "size_ratio": 1.0, "speed": SPEED}
    )
    assert parity_line(record, measured) == (
        "eager → onnxruntime: accuracy −0.10 pp [−0.30, 0.10], n = 150, size ×1.00, speed ×1.40 [1.38, 1.42]"
    )


SPEED = Speed(
    ratio=1.4, interval=(1.38, 1.42), level=0.99, rounds=40, batch_size=4, threads=1, control=1.0,
    control_interval=(0.99, 1.01), clock="wall",
)  # fmt: skip


def test_what_is_printed_holds_the_line_the_scales_and_where_it_was_measured(record, recorded):
    text = (recorded / "printed.txt").read_text()
    assert text == parity_text(record) + "\n"
    lines = text.splitlines()
    assert lines[0] == "tiny: static_int8_per_channel, calibration_n 32"
    assert parity_line(record, record.differences[0]) in lines
    assert any(line.startswith("  conv: weights: scale ") for line in lines)
    assert "  speed: not asked for" in lines
    assert record.sides[0].environment.processor in lines[-1]


def test_the_table_has_a_row_for_each_backend_and_the_command(record):
    text = parity_tables([record])
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| eager", "| → onnxruntime"]
    assert len({row.count("|") for row in rows}) == 1
    assert f"- {parity_line(record, record.differences[0])}" in text
    assert text.splitlines()[-1].startswith("Made by `quantbench parity tiny ")
