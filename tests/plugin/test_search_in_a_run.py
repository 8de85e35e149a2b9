"""Searches are claims: they decide as was accepted, and what they find is accurate enough."""

import json

import pytest

LOW_BIT = "chain/low_bit_4"
WHY = ("--reason", "the first search")
UPDATE = ("--experiment", LOW_BIT, "--update-golden", *WHY)
DECIDES = ("-q", "-k", "decides_as_accepted")
COSTS = ("-q", "-k", "found_costs")


def golden_of(chain):
    return chain.golden / "searches" / f"{LOW_BIT}.json"


@pytest.fixture
def accepted_search(chain_bench, chain):
    """`bench` where the search is accepted."""
    result = chain_bench(*DECIDES, *UPDATE)
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(
        [f"golden/searches/{LOW_BIT}.json: accepted for the first time, 5 of 5 layers at 2 bits"]
    )
    return chain_bench


def rewrite(chain, change):
    """Edits the accepted search as if another one had been."""
    content = json.loads(golden_of(chain).read_text())
    change(content)
    golden_of(chain).write_text(json.dumps(content))


def test_a_search_that_was_never_accepted_fails_with_the_command_that_accepts_it(chain_bench):
    result = chain_bench(*DECIDES)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            f"{LOW_BIT}: search: FAIL",
            f"*measured:*no golden golden/searches/{LOW_BIT}.json was ever accepted",
            f"*look further: quantbench search {LOW_BIT}",
            f'*accept:*pytest bench --experiment {LOW_BIT} --update-golden --reason "…"',
        ]
    )


def test_what_was_accepted_passes_and_only_experiments_with_a_search_are_asked(accepted_search, chain):
    result = accepted_search(*DECIDES)
    result.assert_outcomes(passed=1)
    content = json.loads(golden_of(chain).read_text())
    assert content["bits"] == dict.fromkeys(["conv0", "conv1", "conv2", "conv3", "fc"], 2)
    assert [name.partition(" ")[0] for name in content["decisions"]] == ["01", "02", "03", "04", "05"]
    assert all(each.startswith("accepted, total drop ") for each in content["decisions"].values())
    assert [entry["reason"] for entry in content["history"]] == [WHY[1]]


def test_another_decision_fails_with_old_and_new_and_is_accepted_on_request(accepted_search, chain):
    chain.edit("epsilon_pp: 10.0", "epsilon_pp: 0.0")
    result = accepted_search(*DECIDES)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    expected = [
        '*bits / *: 2 → 4', '*decisions / 05 *: "accepted, total drop * pp" → "rejected"', "*epsilon_pp: 10.0 → 0.0",
    ]  # fmt: skip
    result.stdout.fnmatch_lines([f"{LOW_BIT}: search: FAIL", "*difference(s), old → new:", *expected])
    result = accepted_search(*DECIDES, *UPDATE)
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"golden/searches/{LOW_BIT}.json: updated, old → new:", *expected])
    assert accepted_search(*DECIDES).ret == 0
    assert len(json.loads(golden_of(chain).read_text())["history"]) == 2


def test_an_update_that_finds_the_same_writes_nothing(accepted_search, chain):
    before = golden_of(chain).read_bytes()
    result = accepted_search(*DECIDES, *UPDATE)
    assert (result.ret, golden_of(chain).read_bytes()) == (0, before)
    assert "updated" not in result.stdout.str()


def test_accepting_only_what_is_new_leaves_another_search_failing(accepted_search, chain):
    rewrite(chain, lambda content: content["bits"].update(conv0=4))
    before = golden_of(chain).read_bytes()
    result = accepted_search(*DECIDES, "--experiment", LOW_BIT, "--snapshot-update-new-only", *WHY)
    assert (result.ret, golden_of(chain).read_bytes()) == (pytest.ExitCode.TESTS_FAILED, before)


def test_a_difference_from_another_class_of_machine_is_no_verdict(accepted_search, chain):
    rewrite(chain, lambda content: content.update(machine="riscv64, engine none", bits={"conv0": 4}))
    result = accepted_search(*DECIDES)
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"{LOW_BIT}: search: INCONCLUSIVE", "*class of machine (riscv64, engine none →*"])
    assert accepted_search(*DECIDES, "--strict-verdicts").ret == pytest.ExitCode.TESTS_FAILED


def test_the_same_search_on_another_class_of_machine_passes(accepted_search, chain):
    rewrite(chain, lambda content: content.update(machine="riscv64, engine none"))
    accepted_search(*DECIDES).assert_outcomes(passed=1)


def test_a_damaged_golden_is_named_and_not_overwritten(accepted_search, chain):
    golden_of(chain).write_text(golden_of(chain).read_text()[:40])
    result = accepted_search(*DECIDES, *UPDATE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"{LOW_BIT}: golden/searches/{LOW_BIT}.json: not valid JSON*restore it from version*"])
    assert len(golden_of(chain).read_text()) == 40


def test_a_search_that_the_experiment_no_longer_asks_for_is_an_orphan(accepted_search, chain):
    chain.edit("    gates: {search_drop_pp: 30.0}\n    search: {low: 2, epsilon_pp: 10.0}\n", "")
    result = accepted_search("-q", "-k", "nothing of the kind")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: orphan golden, claimed by no experiment in configs: golden/searches/{LOW_BIT}.json; remove it"]
    )


def test_a_search_whose_test_vanished_ends_a_run_of_the_folder(accepted_search, chain):
    (chain.root / "bench" / "test_mixed_precision.py").unlink()
    result = accepted_search("-q", "-k", "shrinks")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: claims that no test of this run makes*: search_drop_pp of {LOW_BIT}; search of *"]
    )


def test_what_is_found_within_its_bound_passes_and_beyond_it_fails(chain_bench, chain):
    chain_bench(*COSTS).assert_outcomes(passed=1)
    chain.edit("search_drop_pp: 30.0", "search_drop_pp: -50.0")
    result = chain_bench(*COSTS)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            f"{LOW_BIT}: search_drop_pp: FAIL",
            "*measured:* pp [[]*[]] (* % → * %, n=150: * lost, * gained)*",
            "*required:*-50*",
            f"*look further: quantbench search {LOW_BIT}",
            "*accept:*change experiments.low_bit_4.gates.search_drop_pp in configs/chain.yaml, then quantbench gates *",
        ]
    )


def test_a_bound_within_the_interval_is_inconclusive(chain_bench, chain):
    chain.edit("search_drop_pp: 30.0", "search_drop_pp: 1.0")
    result = chain_bench(*COSTS)
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"{LOW_BIT}: search_drop_pp: INCONCLUSIVE", "*about * samples changing at these*"])
