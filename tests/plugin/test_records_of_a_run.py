"""`--json` writes what was measured, as JSON that anybody can read."""

import json

import pytest
from flipped import flip
from safetensors.torch import load_file, save_file

from quantbench.files import sha256_of_file
from quantbench.records.base import unpack_bits
from quantbench.records.run import RecordFile

STATIC = "tiny/ptq_static_int8_per_channel"
EXACT = {
    "reload",
    "determinism",
    "checkpoint",
    "accuracy_drop_pp",
    "size_ratio",
    "int8_share",
    "macs_ratio",
    "answered_classes",
}
COMPARED = {"accuracy_vs_accepted", "speedup_vs_accepted"}
VERDICTS = {*EXACT, *COMPARED, "speedup"}


def read(path):
    """The file, read by our model and by a strict JSON reader."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    json.loads(path.read_text(), parse_constant=refuse)
    return RecordFile.model_validate_json(path.read_text())


def test_ctrl_c_leaves_the_table_and_the_records_of_what_was_judged_and_accepts_nothing(
    accepted, project, pytester, monkeypatch
):
    flip(project.golden, STATIC, lost=27)
    before = {path: path.read_bytes() for path in project.golden.rglob("*.json")}
    page = project.root / "page.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    (project.root / "bench" / "test_stop.py").write_text("def test_stop(): raise KeyboardInterrupt\n")
    result = pytester.runpytest_inprocess(
        "bench", "-k", "drop_is_within or predictions or stop", "--json", "out/records.json",
        "--experiment", STATIC, "--update-golden", "--reason", "new", "-p", "no:randomly", no_reraise_ctrlc=True,
    )  # fmt: skip
    assert result.ret == pytest.ExitCode.INTERRUPTED
    (record,) = read(project.root / "out" / "records.json").records
    assert [each.quantity for each in record.verdicts] == ["accuracy_drop_pp"]
    result.stdout.fnmatch_lines([f"{STATIC} *PASS*"])
    assert STATIC in page.read_text()
    assert {path: path.read_bytes() for path in project.golden.rglob("*.json")} == before


def test_a_terminal_that_has_ascii_alone_shows_the_table_line_by_line(accepted, monkeypatch):
    from quantbench.plugin import summary

    degraded = []
    monkeypatch.setattr(summary, "degrade", degraded.append)
    assert accepted("-q", "-k", "drop_is_within", "--experiment", STATIC).ret == 0
    (stream,) = degraded
    assert hasattr(stream, "write")


@pytest.mark.usefixtures("real_processes")
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
