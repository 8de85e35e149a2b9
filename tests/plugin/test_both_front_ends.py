"""`pytest bench` and `quantbench run` show the same session: the same verdicts and records, whatever happens."""

import json

import pytest
from made_timings import timings

from quantbench.experiment import rivals
from quantbench.golden.documents import differences

FP32, DYNAMIC, STATIC, QAT = "fp32_baseline", "ptq_dynamic_int8", "ptq_static_int8_per_channel", "qat_int8"
ALL = (FP32, DYNAMIC, STATIC)


def comparable(record):
    """A record without the command that made it, and without the bytes of fresh processes, which no two share."""
    return {**record, "command": "", "memory": sorted(record["memory"] or ())}


@pytest.fixture
def both(accepted, quantbench, project, machine, monkeypatch):
    """Runs the same experiments through both front ends; what each wrote, and its exit status."""
    # Which of two close forms of fp32 is the fastest is timed for real otherwise.
    monkeypatch.setattr(rivals, "fastest_form", lambda forms, *_: next(iter(forms.items())))

    def run(pattern="tiny/*", *options, here=None, fresh=None):
        found = []
        for front_end in (accepted, quantbench):
            machine.here, machine.fresh = list(here or [timings(2.0)]), fresh
            path = project.root / f"{len(found)}.json"
            if front_end is accepted:
                status = int(accepted("-q", "--experiment", pattern, "--json", path, *options).ret)
            else:
                status = quantbench("run", pattern, "--json", path, *options)[0]
            found.append((status, json.loads(path.read_text())))
        return found

    return run


def outcomes(file):
    return {
        record["experiment"].removeprefix("tiny/"): {v["quantity"]: v["outcome"] for v in record["verdicts"]}
        for record in file["records"]
    }


def same(found):
    """The file that both wrote, after checking that it is the same."""
    (_, by_pytest), (_, by_shell) = found
    assert [r["experiment"] for r in by_pytest["records"]] == [r["experiment"] for r in by_shell["records"]]
    for record, other in zip(by_pytest["records"], by_shell["records"], strict=True):
        assert differences(comparable(record), comparable(other)) == []
    assert by_pytest["not_run"] == by_shell["not_run"]
    return by_shell


def test_experiments_that_hold_every_gate(both):
    found = both("tiny/ptq_*")
    assert [status for status, _ in found] == [0, 0]
    verdicts = outcomes(same(found))
    assert verdicts.keys() == {DYNAMIC, STATIC}
    assert {"reload", "determinism", "checkpoint", "accuracy_vs_accepted", "speedup_vs_accepted"} < {*verdicts[DYNAMIC]}
    assert {outcome for each in verdicts.values() for outcome in each.values()} <= {"PASS", "INCONCLUSIVE"}


def test_a_bound_that_is_missed(both, project):
    project.edit("size_ratio: 0.2", "size_ratio: 9.0")
    found = both("tiny/ptq_static*")
    assert [status for status, _ in found] == [1, 1]
    assert outcomes(same(found))[STATIC]["size_ratio"] == "FAIL"


def test_a_missed_speed_up_that_a_fresh_process_confirms(both, project):
    project.edit("speedup: 0.01", "speedup: 3.0")
    found = both("tiny/ptq_*", here=[timings(2.0), timings(2.5)], fresh=timings(2.4))
    assert [status for status, _ in found] == [1, 1]
    file = same(found)
    assert outcomes(file)[STATIC]["speedup"] == "FAIL"
    assert [round(record["latency"]["speedup"], 3) for record in file["records"]] == [2.0, 2.5], "in the same order"


@pytest.mark.parametrize("strict", [(), ("--strict-verdicts",)], ids=["lenient", "strict"])
def test_a_control_that_strays(both, strict):
    found = both("tiny/ptq_*", *strict, here=[timings(2.0), timings(2.0, control=1.1)])
    assert [status for status, _ in found] == ([1, 1] if strict else [0, 0])
    verdicts = outcomes(same(found))
    assert verdicts[DYNAMIC]["speedup_vs_accepted"] == verdicts[STATIC]["speedup"] == "INCONCLUSIVE"


def test_a_control_that_strays_only_where_a_miss_is_confirmed(both, project):
    project.edit("gates: {accuracy_drop_pp: 10.0}\n  ptq_static", "gates: {speedup: 1.5}\n  ptq_static")
    project.edit("speedup: 0.01", "speedup: 3.0")
    found = both("tiny/ptq_*", here=[timings(2.0), timings(2.0)], fresh=timings(2.0, control=1.1))
    verdicts = outcomes(same(found))
    assert verdicts[DYNAMIC]["speedup"] == verdicts[STATIC]["speedup"] == "INCONCLUSIVE", "one of them was a PASS"


@pytest.mark.parametrize("strict", [(), ("--strict-verdicts",)], ids=["lenient", "strict"])
def test_a_bound_inside_the_interval(both, project, strict):
    project.edit("{accuracy_drop_pp: 10.0, size_ratio", "{accuracy_drop_pp: 0.0, size_ratio")
    found = both("tiny/ptq_static*", *strict)
    assert [status for status, _ in found] == ([1, 1] if strict else [0, 0])
    assert outcomes(same(found))[STATIC]["accuracy_drop_pp"] == "INCONCLUSIVE"


def test_data_that_is_not_on_this_machine(both, project):
    project.edit("root: images", 'root: photographs, obtain: "git clone photographs"')
    project.edit("  baseline: tiny", "  optional: true\n  baseline: tiny")
    file = same(both())
    assert file["records"] == []
    assert {each["experiment"] for each in file["not_run"]} == {f"tiny/{name}" for name in (*ALL, QAT)}


def test_data_of_the_users_own_that_is_not_on_this_machine_is_an_error(both, project):
    project.edit("root: images", "root: photographs")
    found = both("tiny/ptq_static*")
    assert [status for status, _ in found] == [1, 2], "a failed test, and the shell's mark of something broken"
    assert [each["experiment"] for each in same(found)["not_run"]] == [f"tiny/{STATIC}"]


def test_an_experiment_that_cannot_be_measured_loses_nothing_of_the_others(both):
    """The weights that qat_int8 is fine-tuned to are not committed."""
    found = both()
    assert [status for status, _ in found] == [1, 2], "a failed test, and the shell's mark of something broken"
    verdicts = outcomes(same(found))
    assert verdicts.keys() == {*ALL}


def test_a_measurement_that_raises_leaves_the_rest_of_its_experiment(both, project):
    (project.golden / "results" / f"tiny/{STATIC}.json").write_text("{")
    found = both("tiny/ptq_*")
    assert [status for status, _ in found] == [1, 2]
    verdicts = outcomes(same(found))
    assert "accuracy_vs_accepted" not in verdicts[STATIC]
    assert verdicts[STATIC]["size_ratio"] == verdicts[DYNAMIC]["checkpoint"] == "PASS"


def test_a_shard_is_the_same_part_with_the_same_note(both):
    found = both("tiny/*[!8]", "--shard", "2/2")
    revisions = [file["shard"].pop("revision") for _, file in found]
    assert revisions[0] == revisions[1]
    assert {"quantbench's own source", "workload files", "goldens", "code of tiny_model"} <= set(revisions[0])
    assert [file["shard"] for _, file in found] == [
        {"index": 2, "count": 2, "planned": [f"tiny/{FP32}", f"tiny/{STATIC}"]}
    ] * 2
    assert [[record["experiment"] for record in file["records"]] for _, file in found] == [[f"tiny/{STATIC}"]] * 2
    verdicts = [{v["quantity"]: v["outcome"] for v in file["records"][0]["verdicts"]} for _, file in found]
    assert verdicts[0] == verdicts[1]
