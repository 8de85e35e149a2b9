"""`quantbench accept`: what pytest's --update-golden does, from the shell."""

import json

import pytest

PTQ = "tiny/ptq_static_int8_per_channel"


def golden(project, kind):
    found = sorted((project.golden / kind / "tiny").glob("ptq_static_int8_per_channel*.json"))
    return json.loads(found[0].read_text()) if found else None


def test_what_is_found_becomes_what_is_accepted(project, quantbench):
    status, out, err = quantbench("accept", PTQ, "--reason", "first results")
    assert status == 0, err
    assert "accepted for the first time" in out
    assert golden(project, "checkpoints")["history"][-1]["reason"] == "first results"
    assert golden(project, "results")["history"][-1]["reason"] == "first results"
    assert PTQ in json.loads((project.golden / "gates.json").read_text())["experiments"]
    status, out, err = quantbench("run", PTQ)
    assert (status, "NO BASELINE" in err) == (0, False)


def test_what_is_accepted_already_is_not_written_again(project, quantbench):
    quantbench("accept", PTQ, "--reason", "first results")
    before = {path: path.read_bytes() for path in project.golden.rglob("*.json")}
    status, out, _ = quantbench("accept", PTQ, "--reason", "again")
    assert (status, "nothing to accept: all of it is what was accepted" in out) == (0, True)
    assert {path: path.read_bytes() for path in project.golden.rglob("*.json")} == before


def test_a_speed_alone_is_added_to_what_was_accepted(project, quantbench):
    quantbench("accept", PTQ, "--reason", "first results")
    results = next((project.golden / "results" / "tiny").glob("ptq_static*"))
    content = json.loads(results.read_text())
    content["speedups"] = []
    results.write_text(json.dumps(content))
    status, out, err = quantbench("accept", PTQ, "--speed-only", "--reason", "this machine")
    assert status == 0, err
    assert "speed-up on " in out
    assert len(golden(project, "results")["speedups"]) == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [((), '--reason: say why, for the history of the golden: --reason "…"'), (("--reason", " "), "--reason: say why")],
)
def test_it_asks_for_a_reason(project, quantbench, arguments, line):
    status, _, err = quantbench("accept", PTQ, *arguments)
    assert (status, line in err) == (2, True)
    assert golden(project, "results") is None


def test_it_is_refused_in_ci(project, quantbench, monkeypatch):
    monkeypatch.setenv("CI", "1")
    status, _, err = quantbench("accept", PTQ, "--reason", "x")
    assert (status, "quantbench accept is refused because CI is set" in err) == (2, True)


def test_an_unknown_experiment_is_told(project, quantbench):
    status, _, err = quantbench("accept", "tiny/ptq_static_int8", "--reason", "x")
    assert (status, "unknown experiment 'tiny/ptq_static_int8'. Did you mean" in err) == (2, True)
