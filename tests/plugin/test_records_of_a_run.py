"""`--json` writes what was measured, from this process and from parallel workers, as JSON that anybody can read."""

import json
import subprocess
import sys

import pytest
from safetensors.torch import load_file, save_file

from quantbench.files import sha256_of_file
from quantbench.records.base import unpack_bits
from quantbench.records.run import RecordFile

STATIC = "tiny/ptq_static_int8_per_channel"
EXACT = {"reload", "determinism", "checkpoint", "accuracy_drop_pp", "size_ratio", "int8_share"}
COMPARED = {"accuracy_vs_accepted", "speedup_vs_accepted"}
VERDICTS = {*EXACT, *COMPARED, "speedup"}


def read(path):
    """The file, read by our model and by a strict JSON reader."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    json.loads(path.read_text(), parse_constant=refuse)
    return RecordFile.model_validate_json(path.read_text())


def separately(project, *args):
    """`pytest bench` in a process of its own."""
    command = [sys.executable, "-m", "pytest", "bench", *args]
    return subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)


def test_the_records_hold_every_measurement_of_a_run_and_its_command(accepted, project):
    assert accepted("-q", "-k", "not qat", "--json", "out/records.json").ret == 0
    file = read(project.root / "out" / "records.json")
    assert [record.experiment for record in file.records] == ["tiny/fp32_baseline", "tiny/ptq_dynamic_int8", STATIC]
    static = file.records[-1]
    assert {v.quantity: v.outcome for v in static.verdicts} == dict.fromkeys(VERDICTS, "PASS")
    changes = {v.quantity: v.change for v in static.verdicts if v.change is not None}
    assert changes.keys() == COMPARED
    assert changes["accuracy_vs_accepted"] == "SAME"
    assert static.command == "pytest bench -q -k 'not qat' --json out/records.json"
    assert unpack_bits(static.accuracy.quantized_correct, static.accuracy.n).mean() == static.accuracy.quantized
    assert static.latency.rounds == 12
    assert static.baseline_sha256 == sha256_of_file(project.weights)


def test_a_part_that_was_not_asked_for_is_absent(bench, project):
    bench("-q", "--experiment", STATIC, "-k", "shrinks", "--json", "records.json")
    (record,) = read(project.root / "records.json").records
    assert record.size is not None
    assert (record.accuracy, record.coverage, record.checkpoint, record.latency) == (None, None, None, None)


def test_a_model_that_gives_nan_is_an_error_and_leaves_no_nan_in_the_records(bench, project):
    state = load_file(project.weights)
    state["bn.running_var"] -= 1e6
    save_file(state, project.weights)
    card = json.loads(project.weights.with_suffix(".json").read_text())
    card["weights_sha256"] = sha256_of_file(project.weights)
    project.weights.with_suffix(".json").write_text(json.dumps(card))
    result = bench("-q", "--experiment", "tiny/fp32_baseline", "--json", "records.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["tiny/fp32_baseline: *the baseline gives NaN or infinity for the first 64 test samples*"]
    )
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert read(project.root / "records.json").records == []


def test_parallel_workers_judge_no_latency_say_how_to_time_and_merge_their_records(accepted, project):
    command = ("-n", "2", "-k", "not qat", "--json", "records.json")
    result = separately(project, *command)
    assert result.returncode == 0, result.stdout
    assert "6 inconclusive" in result.stdout
    assert f"{STATIC}: speedup: INCONCLUSIVE" in result.stdout
    words = "nothing was timed: parallel workers disturb each other; time with -m latency and without -n"
    assert f"measured:     {words}" in result.stdout
    file = read(project.root / "records.json")
    assert [record.experiment for record in file.records] == ["tiny/fp32_baseline", "tiny/ptq_dynamic_int8", STATIC]
    static = file.records[-1]
    expected = dict.fromkeys(VERDICTS, "PASS") | dict.fromkeys(("speedup", "speedup_vs_accepted"), "INCONCLUSIVE")
    assert {v.quantity: v.outcome for v in static.verdicts} == expected
    assert None not in (static.accuracy, static.size, static.coverage, static.checkpoint)
    assert static.latency is None
    speed = [v.outcome for record in file.records for v in record.verdicts if v.quantity.startswith("speedup")]
    assert set(speed) == {"INCONCLUSIVE"}, "none passed"
    assert static.command == "pytest bench -n 2 -k 'not qat' --json records.json"
    summary = result.stdout.partition("= quantbench =")[2]
    assert all(record.experiment in summary for record in file.records)
    assert "5 gates judged by intervals: " in summary, "two bounds of drops, and three comparisons"


def test_a_mistake_under_parallel_workers_is_the_same_line_and_exit_status(bench, project):
    project.edit("name: dynamic_int8", "name: dynamic_int9")
    result = separately(project, "-n", "2")
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in result.stdout.splitlines() if "unknown recipe 'dynamic_int9'" in line]
    assert len(errors) == 1
    assert errors[0].startswith("ERROR: configs/tiny.yaml: experiments.ptq_dynamic_int8.recipe")
    assert "Traceback" not in result.stdout + result.stderr
