"""Figures through time: from commits of goldens, from their own histories and from records; shown, never gated."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from page_structure import parsed

from quantbench.golden.timeline import timeline
from quantbench.records.base import pack_bits
from quantbench.records.trend import Observation
from quantbench.report.documents import write_records
from quantbench.report.history import of_records, rows, series_of
from quantbench.report.html.history import history_page

HASHES = dict.fromkeys(("config", "baseline", "weights", "calibration", "test"), "a" * 64)
MACHINE = {"architecture": "x86_64", "isa": ["avx2"], "engine": "x86", "torch": "2.14.1", "threads": 1}


def golden(correct, torch="2.14.1", speed=2.0, reason="first", changed=()):
    machine = MACHINE | {"torch": torch}
    speedup = {"machine": machine, "batch_size": 1, "rounds": 40, "level": 0.99, "speedup": speed,
               "speedup_interval": [0.9 * speed, 1.1 * speed], "inputs": HASHES}  # fmt: skip
    return {
        "schema_version": 1, "experiment": "w/a", "machine": machine, "versions": {"torch": torch, "numpy": "2.4"},
        "inputs": HASHES, "n": 1_000, "correct": pack_bits(np.arange(1_000) < correct),
        "metrics": {"accuracy": correct / 1_000, "drop_pp": 0.5, "other": 1.0}, "speedups": [speedup],
        "history": [{"date": "2026-01-02", "reason": reason, "changed": list(changed)}],
    }  # fmt: skip


def git(folder, *arguments):
    settings = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    environment = {"PATH": "/usr/bin:/bin", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
                   "GIT_COMMITTER_DATE": "2026-03-04T05:06:07Z", "HOME": str(folder)}  # fmt: skip
    command = ["git", "-C", str(folder), *settings, *arguments]
    subprocess.run(command, check=True, capture_output=True, env=environment)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Three versions of a result: a first one, another torch and speed, and a damaged file; then the file is good."""
    root = tmp_path_factory.mktemp("repository")
    path = root / "project" / "golden" / "results" / "w" / "a.json"
    path.parent.mkdir(parents=True)
    git(root, "init", "-q")
    versions = [
        json.dumps(golden(900)),
        json.dumps(golden(895, "2.15.0", 2.5, "torch 2.15")),
        "{}",
        json.dumps(golden(900)),
    ]
    for i, text in enumerate(versions):
        path.write_text(text)
        git(root, "add", ".")
        git(root, "commit", "-q", "-m", f"version {i}")
    return root


@pytest.fixture
def goldens(repository):
    return repository / "project" / "golden"


def test_commits_give_every_version_with_its_interval(goldens):
    found = timeline(goldens)
    assert found.is_of_git
    assert found.notes == ["1 versions of accepted results could not be read, and are left out"]
    accuracies = [each for each in found.observations if each.quantity == "accuracy, %"]
    assert [each.value for each in accuracies] == [90.0, 89.5, 90.0]
    assert accuracies[0].interval == (pytest.approx(87.99, abs=0.01), pytest.approx(91.71, abs=0.01))
    assert {each.when for each in accuracies} == {"2026-03-04"}
    assert accuracies[1].reason == "torch 2.15"
    assert len({each.source for each in accuracies}) == 3


def test_changes_of_machine_and_version_are_marked(goldens):
    series = {each.quantity: each for each in series_of(timeline(goldens).observations)}
    assert set(series) == {
        "accuracy, %", "accuracy lost, pp", "speed-up, × on x86_64 avx2, engine x86, 1 thread(s)",
    }  # fmt: skip
    listed = rows(series["speed-up, × on x86_64 avx2, engine x86, 1 thread(s)"])
    assert [row[1:3] for row in listed] == [
        ("2 [1.8, 2.2]", "first"),
        ("2.5 [2.25, 2.75]", "+0.5"),
        ("2 [1.8, 2.2]", "-0.5"),
    ]
    assert "torch 2.14.1 → 2.15.0; torch 2.15" in listed[1][3]
    assert listed[1][3].startswith("machine: x86_64 avx2, engine x86, torch 2.14.1, 1 thread(s) → ")


def test_what_does_not_change_is_not_repeated():
    same = [Observation("w/a", "size, ×", f"day {i}", 3.5, source=f"c{i}") for i in range(5)]
    assert len(rows(series_of(same)[0])) == 1


def test_without_commits_the_histories_of_the_files_are_told(tmp_path):
    speed = "speed-up on x86_64 avx2, engine x86, torch 2.14.1, 1 thread(s): – → 4.272× [4.187, 4.374]"
    changed = ["accuracy: – → 0.9", speed, "quantized_bytes: – → 310,495", "12 predictions flipped"]  # fmt: skip
    path = tmp_path / "golden" / "results" / "w" / "a.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(golden(900, changed=changed)))
    found = timeline(tmp_path / "golden")
    assert not found.is_of_git
    assert [(each.quantity, each.value, each.interval) for each in found.observations] == [
        ("accuracy, %", 90.0, None),
        ("speed-up, × on x86_64 avx2, engine x86, 1 thread(s)", 4.272, (4.187, 4.374)),
    ]


def test_records_are_told_in_the_order_of_their_files(tmp_path, make_record):
    for name, correct in (("1.json", 900), ("2.json", 890)):
        write_records(tmp_path / name, [make_record("w/a", correct)], [])
    found = {each.quantity: each for each in series_of(of_records(sorted(tmp_path.glob("*.json"))))}
    assert [(each.when, each.value) for each in found["accuracy, %"].observations] == [
        ("1.json", 90.0),
        ("2.json", 89.0),
    ]
    assert found["accuracy lost, pp"].observations[0].interval is not None
    assert any(name.startswith("speed-up, × on Example CPU") for name in found)


def test_the_page_draws_every_series_and_marks_where_it_was_computed_elsewhere(goldens):
    tree = parsed(history_page(series_of(timeline(goldens).observations)))
    assert len(tree.all("svg")) == 3
    assert len(tree.all("table")) == 3
    assert all(each.attributes["role"] == "img" for each in tree.all("svg"))
    accuracy = tree.all("svg")[0]
    assert len(accuracy.of_class("estimate")) == 3
    assert len(accuracy.of_class("whisker")) == 3
    assert len(accuracy.of_class("zero")) == 2


def test_texts_of_files_are_escaped():
    hostile = "<script>alert(1)</script>"
    made = history_page(series_of([Observation(hostile, hostile, hostile, 1.0, reason=hostile)]), [hostile])
    assert "<script>alert" not in made
    assert len(parsed(made).all("script")) == 1


def test_the_command_prints_or_draws_it(quantbench, goldens, tmp_path):
    status, out, err = quantbench("history", goldens)
    assert status == 0
    assert out.startswith("w/a: accuracy, %\nwhen ")
    assert "could not be read" in err
    assert quantbench("history", goldens, "--html", tmp_path / "h.html")[0] == 0
    assert "Figures through time" in parsed((tmp_path / "h.html").read_text()).text
    assert quantbench("history", goldens, "--html", tmp_path / "h.html")[0] == 0


def test_a_folder_of_records_is_one_source(quantbench, tmp_path, make_record):
    write_records(tmp_path / "1.json", [make_record("w/a")], [])
    status, out, err = quantbench("history", tmp_path)
    assert (status, err) == (0, "")
    assert "w/a: accuracy, %" in out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["empty"], "empty: holds neither results/ of goldens nor *.json of records; name another folder"),
        ([], "golden: no such file or folder; name goldens or records, or accept a result first: quantbench accept ID"),
        (["absent.json"], "absent.json: cannot be read"),
        (["1.json", "--experiment", "w/b"], "unknown experiment 'w/b'. Did you mean 'w/a'?"),
    ],
)
def test_what_cannot_be_shown_is_one_line(quantbench, tmp_path, monkeypatch, make_record, arguments, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write_records(tmp_path / "1.json", [make_record("w/a")], [])
    status, out, err = quantbench("history", *arguments)
    assert (status, out) == (2, "")
    assert line in err
    assert err.count("\n") == 1


def test_a_folder_that_git_does_not_know_is_told(quantbench, tmp_path, repository):
    shutil.copytree(repository / "project" / "golden", tmp_path / "golden")
    status, _, err = quantbench("history", tmp_path / "golden")
    assert status == 0
    assert "no commits of it are here" in err


def test_a_shallow_clone_is_told(repository, tmp_path):
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repository}", "shallow")
    found = timeline(tmp_path / "shallow" / "project" / "golden")
    assert len({each.source for each in found.observations}) == 1
    assert any("this is a shallow clone, which lacks the commits before" in note for note in found.notes)
    assert not any("shallow" in note for note in timeline(repository / "project" / "golden").notes)


def test_numbers_of_a_history_are_read_in_each_of_their_forms_and_others_left_out(tmp_path):
    path = tmp_path / "golden" / "results" / "w" / "a.json"
    path.parent.mkdir(parents=True)
    lines = ["drop_pp: – → 6.7e-05", "accuracy: 0.9 → 0.9.1", "size_ratio: 2 → ,", "score: 1,000 → -1,234.5",
             "speed-up on m: 1 → 2.0× [1.0.0, 2]"]  # fmt: skip
    path.write_text(json.dumps(golden(900, changed=lines)))
    told = {each.quantity: each.value for each in timeline(tmp_path / "golden").observations}
    assert told == {"accuracy lost, pp": 6.7e-05, "score": -1234.5}


def test_goldens_without_a_result_are_no_records(quantbench, tmp_path):
    (tmp_path / "gates.json").write_text("{}")
    status, _, err = quantbench("history", tmp_path)
    assert (status, err) == (
        2, f"quantbench: {tmp_path}: holds neither results/ of goldens nor *.json of records; name another folder\n",
    )  # fmt: skip
