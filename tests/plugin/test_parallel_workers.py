"""Parallel workers: one run of the suite by two of them tells, judges and records what a run without them would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from flipped import flip
from tiny_layers import add_workload_of_layers, check_tables

from quantbench.records.run import RecordFile, RunRecord

FP32, DYNAMIC, STATIC = "tiny/fp32_baseline", "tiny/ptq_dynamic_int8", "tiny/ptq_static_int8_per_channel"
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
# Peak memory takes several fresh processes each, and parallel workers measure it as any process does.
CHOSEN = "not qat and not memory and (tiny or block_costs or ptq_static and accuracy)"
# As the fixture `machine` has it: a worker that needs no fresh process starts no server of them, and what is never
# timed need not be the fastest.
CONFTEST = """\
def pytest_collection_finish(session):
    if hasattr(session.config, "workerinput"):
        from made_timings import Machine

        from quantbench.experiment import repetition, rivals
        from quantbench.measure import reload

        reload.in_fresh_process = repetition.in_fresh_process = Machine.in_this_process
        rivals.fastest_form = lambda forms, *_: next(iter(forms.items()))
"""


class Finished(NamedTuple):
    """A run that has ended, and the project that it ran in."""

    process: subprocess.CompletedProcess[str]
    root: Path

    @property
    def records(self) -> dict[str, RunRecord]:
        """The records that it wrote, by experiment, read by our model and by a strict JSON reader."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        text = (self.root / "records.json").read_text()
        json.loads(text, parse_constant=refuse)
        return {record.experiment: record for record in RecordFile.model_validate_json(text).records}


def separately(root: Path, *args: str, **surroundings: str) -> subprocess.CompletedProcess[str]:
    """`pytest bench -n 2` in a process of its own."""
    command = [sys.executable, "-m", "pytest", "bench", "-n", "2", *args]
    environment = {**os.environ, **surroundings}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def finished(trained_project, accepted_golden, tmp_path_factory, prepared: Callable[..., None]) -> Finished:
    """A run of a project in which one experiment has regressed, and that has a workload with layers beside its own.

    Starting workers takes longer than all that they measure, so that every test reads the same run.
    """
    root = tmp_path_factory.mktemp("parallel") / "project"
    project = trained_project.copy_to(root)
    prepared(project, accepted_golden)
    add_workload_of_layers(project)
    flip(project.golden, DYNAMIC, lost=27)
    (root / "conftest.py").write_text(CONFTEST)
    surroundings = {
        "QUANTBENCH_DATA": str(root / "data"),
        "QUANTBENCH_CACHE": str(root / "cache"),
        "GITHUB_STEP_SUMMARY": str(root / "summary.md"),
        # The class of machine on which the fixture accepted.
        "OMP_NUM_THREADS": "1",
    }
    return Finished(separately(root, "-k", CHOSEN, "--json", "records.json", **surroundings), root)


def test_what_workers_cannot_decide_is_no_failure(finished):
    assert finished.process.returncode == pytest.ExitCode.TESTS_FAILED
    assert "= 1 failed, " in finished.process.stdout, "the regression"
    # A library may warn in one run and not in another.
    assert re.search(r" passed, (\d+ warnings?, )?6 inconclusive in ", finished.process.stdout)


def test_they_judge_no_latency_and_say_how_to_time(finished):
    assert f"{STATIC}: speedup: INCONCLUSIVE" in finished.process.stdout
    words = "nothing was timed: parallel workers disturb each other; time with -m latency and without -n"
    assert f"measured:     {words}" in finished.process.stdout
    speed = [v.outcome for record in finished.records.values() for v in record.verdicts if "speedup" in v.quantity]
    assert set(speed) == {"INCONCLUSIVE"}, "none passed"


def test_their_records_are_merged_in_the_order_of_the_configuration(finished):
    layers = [f"layers/ptq_{name}" for name in ("static", "features", "classifier")]
    assert list(finished.records) == [*layers, FP32, DYNAMIC, STATIC]
    static = finished.records[STATIC]
    expected = dict.fromkeys((*EXACT, "accuracy_vs_accepted"), "PASS")
    expected |= dict.fromkeys(("speedup", "speedup_vs_accepted"), "INCONCLUSIVE")
    assert {v.quantity: v.outcome for v in static.verdicts} == expected
    assert None not in (static.accuracy, static.size, static.coverage, static.checkpoint)
    assert static.latency is None
    assert static.command == f"pytest bench -n 2 -k '{CHOSEN}' --json records.json"


def test_the_summary_is_of_the_whole_run(finished):
    summary = finished.process.stdout.partition("= quantbench =")[2]
    assert all(experiment in summary for experiment in finished.records)
    # Of the project two bounds of drops, and three comparisons; of the workload of layers three bounds.
    assert "8 gates judged by intervals: " in summary
    page = (finished.root / "summary.md").read_text()
    assert "- 8 gates judged by intervals: " in page
    assert page.count("## quantbench") == 1
    assert f"claims of these experiments were not looked at (left out by -k '{CHOSEN}' -n 2)" in page


def test_predictions_are_compared_and_a_change_of_behaviour_is_told(finished):
    assert f"{DYNAMIC}: accuracy_vs_accepted: REGRESSED" in finished.process.stdout
    assert f"{DYNAMIC}: change of behaviour: 27 of 150" in finished.process.stdout


def test_they_leave_one_table_of_all_layers_and_its_chart(finished):
    title = "layers, layer by layer (n = 150)"
    assert finished.process.stdout.count(title) == 1
    check_tables(finished.process.stdout.splitlines(), title)
    assert sorted(path.name for path in (finished.root / "out").iterdir()) == ["sensitivity.png", "sensitivity.svg"]


def test_a_run_without_a_failure_ends_with_0_whatever_stays_undecided(accepted, project):
    # One worker, since a second would find no test left, after seconds of imports.
    result = separately(project.root, "-n", "1", "-k", "speedup_reaches and per_channel")
    assert result.returncode == 0, result.stdout
    assert "= 1 inconclusive in " in result.stdout


def test_a_mistake_is_the_same_line_and_exit_status(bench, project):
    project.edit("name: dynamic_int8", "name: dynamic_int9")
    result = bench("-n", "2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in result.outlines if "unknown recipe 'dynamic_int9'" in line]
    assert len(errors) == 1
    assert errors[0].startswith("ERROR: configs/tiny.yaml: experiments.ptq_dynamic_int8.recipe")
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
