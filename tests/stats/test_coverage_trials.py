"""The trials of intervals are kept, go on where they stopped, and add up."""

import json
import sys

import coverage_of_score_intervals as trials
import pytest


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Parts of trials that cost nothing; gives those that were drawn, and what runs the command."""
    drawn = []

    def covered(case, n, share, part, times):
        drawn.append((case.name, n, share, part))
        return {"trials": times, "hits": [times - part, times, 0], "methods": {"betting": times - part, "rare": part}}

    monkeypatch.setattr(trials, "covered", covered)
    monkeypatch.setattr(trials, "CASES", trials.CASES[:1])
    monkeypatch.setattr(trials, "SIZES", (200, 10_000))

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["coverage", "--kept", str(tmp_path / "kept" / "scores.json"), *options])
        trials.main()

    return drawn, run


def test_what_is_done_is_not_drawn_again_and_adds_up(quick, capsys, tmp_path):
    drawn, run = quick
    run("--trials", "50")
    first = len(drawn)
    run("--trials", "100")
    assert (first, len(set(drawn)), len(drawn)) == (3 * (2 + 1), 3 * (4 + 1), 3 * (4 + 1))
    last = capsys.readouterr().out.splitlines()[-6]
    # 0, 1, 2 and 3 of 25 missed.
    assert last.startswith("| mean in 0..1, light | 1 % | 200 | 100 | betting | 94.0 % [")
    assert len(json.loads((tmp_path / "kept" / "scores.json").read_text())) == 6


def test_it_stops_after_the_time_that_it_was_given_and_shows_what_is_done(quick, capsys):
    drawn, run = quick
    run("--trials", "50", "--seconds", "-1")
    assert (drawn, capsys.readouterr().out.count("\n")) == ([], 2)


def test_a_part_gives_the_same_hits_each_time():
    case = trials.CASES[6]
    first = trials.covered(case, 200, 0.1, 3, 2)
    assert first == trials.covered(case, 200, 0.1, 3, 2)
    assert first["trials"] == 2
    assert all(0 <= each <= 2 for each in first["hits"])
