"""The GitHub Action, step by step on recorded events, with programs that only say how they were called."""

import json
import re
from pathlib import Path

import pytest
import yaml
from composite_action import DryRun

REPOSITORY = Path(__file__).parents[2]
ACTION = REPOSITORY / "action.yml"
EVENTS = Path(__file__).parent / "github_events"


def dry_run(folder, event="pull_request", status=0, writes=True, **inputs):
    made = DryRun(
        folder,
        {name.replace("_", "-"): value for name, value in inputs.items()},
        json.loads((EVENTS / f"{event}.json").read_text()),
        status,
        writes,
    )
    return made, made.run(ACTION)


def test_gates_are_run_reported_uploaded_and_commented(tmp_path):
    made, status = dry_run(tmp_path)
    records = "quantbench-out/records.json"
    assert status == 0
    assert made.calls == [
        "python -m pip install quantbench-suite",
        f"quantbench run * --json {records}",
        f"quantbench report {records} --html quantbench-out/report.html --junit quantbench-out/junit.xml",
        f"quantbench comment {records} --annotations",
        f"quantbench comment {records} --link https://github.com/a/1 --post",
    ]
    assert made.used == {
        "actions/upload-artifact@v4": {
            "name": "quantbench", "path": "./quantbench-out", "if-no-files-found": "ignore",
        },
    }  # fmt: skip
    assert (tmp_path / "quantbench-out" / "number.txt").read_text() == "12\n"


@pytest.mark.parametrize("status", [1, 2])
def test_a_gate_that_fails_ends_the_job_after_all_is_reported(tmp_path, status):
    made, ended = dry_run(tmp_path, status=status)
    assert ended == status
    assert made.calls[-1].endswith("--post")


def test_a_run_without_records_ends_with_its_status(tmp_path):
    made, status = dry_run(tmp_path, status=2, writes=False)
    assert status == 2
    assert [call.split()[1] for call in made.calls] == ["-m", "run"]


def test_records_of_an_earlier_run_are_not_taken_for_those_of_this_one(tmp_path):
    (tmp_path / "quantbench-out").mkdir()
    (tmp_path / "quantbench-out" / "records.json").write_text("{}")
    made, status = dry_run(tmp_path, status=2, writes=False)
    assert status == 2
    assert [call.split()[1] for call in made.calls] == ["-m", "run"]


def test_a_run_that_wrote_no_records_is_not_green(tmp_path):
    made, status = dry_run(tmp_path, status=0, writes=False, arguments="--help")
    assert (status, made.failed) == (2, True)
    assert [call.split()[1] for call in made.calls] == ["-m", "run"]


def test_nothing_is_commented_on_a_push_or_for_a_fork(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for made, _ in (dry_run(tmp_path / "a", "push"), dry_run(tmp_path / "b", comment="false")):
        assert not any("--post" in call for call in made.calls)
    assert not (tmp_path / "a" / "quantbench-out" / "number.txt").exists()
    assert (tmp_path / "b" / "quantbench-out" / "number.txt").exists()


def test_inputs_are_arguments_and_never_commands(tmp_path):
    made, status = dry_run(
        tmp_path, install="", experiments="a*; touch stolen", arguments="--strict-verdicts --engine $(touch stolen)"
    )
    assert status == 0
    assert made.calls[0].startswith("quantbench run a*; touch stolen --json")
    assert not list(tmp_path.rglob("stolen"))
    for step in yaml.safe_load(ACTION.read_text())["runs"]["steps"]:
        assert "${{" not in step.get("run", "")


@pytest.mark.parametrize(
    ("event", "against", "option"),
    [
        ("pull_request", "base", " --against origin/main"),
        ("push", "base", ""),
        ("push", "HEAD~1; touch stolen", " --against HEAD~1; touch stolen"),
        ("pull_request", "", ""),
    ],
)
def test_a_pull_request_is_measured_against_its_base(tmp_path, event, against, option):
    made, status = dry_run(tmp_path, event, install="", against=against)
    assert status == 0
    assert made.calls[0] == f"quantbench run * --json quantbench-out/records.json{option}"
    assert not list(tmp_path.rglob("stolen"))


def test_workflows_of_the_page_are_yaml_and_the_second_one_checks_nothing_out():
    page = (REPOSITORY / "docs" / "ci.md").read_text()
    first, against, second, gitlab, shards = (
        yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    )
    uses = [step.get("uses", "") for step in second["jobs"]["comment"]["steps"]]
    assert not any("checkout" in each for each in uses)
    assert second["permissions"] == {"actions": "read", "pull-requests": "write"}
    for job in (first["jobs"]["gates"], against["jobs"]["gates"]):
        assert set(job["steps"][-1]["with"]) <= set(yaml.safe_load(ACTION.read_text())["inputs"])
    assert against["jobs"]["gates"]["steps"][0]["with"] == {"fetch-depth": 0}
    assert shards["jobs"]["gates"]["steps"][-1]["run"] == "quantbench merge shard-*.json --json records.json"
    assert gitlab["quantbench"]["artifacts"]["reports"] == {"junit": "junit.xml"}
