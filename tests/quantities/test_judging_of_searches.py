"""Verdicts on searches outside pytest: `quantbench run` makes them of experiments that ask for one, and of no other."""

import json

import pytest
from accepting import search_document, search_path

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import ConfigError
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.files import write_json
from quantbench.quantities.judging import explain, family_of, judge, judged_of

LOW_BIT, INT8 = "chain/low_bit_4", "chain/ptq_static_int8"


@pytest.fixture
def open_run(chain):
    def open_run(experiment=LOW_BIT):
        return Runs(Settings(chain.golden)).run(select(load_experiments(chain.configs), experiment)[0])

    return open_run


def test_a_run_tells_the_verdicts_on_the_search_of_the_experiment_that_asks_for_one(quantbench, chain):
    _, _, err = quantbench("run", LOW_BIT, "--json", "r.json")
    (record,) = json.loads((chain.root / "r.json").read_text())["records"]
    outcomes = {verdict["quantity"]: verdict["outcome"] for verdict in record["verdicts"]}
    assert outcomes["search"] == "FAIL", "nothing was accepted"
    assert outcomes["search_drop_pp"] == "PASS"
    assert f"{LOW_BIT}: search: FAIL" in err


def test_a_run_searches_nothing_of_other_experiments(quantbench, chain):
    quantbench("run", INT8, "--json", "r.json")
    (record,) = json.loads((chain.root / "r.json").read_text())["records"]
    assert {"search", "search_drop_pp"}.isdisjoint(verdict["quantity"] for verdict in record["verdicts"])
    assert not (chain.root / "cache" / "searches").exists()


def test_what_was_accepted_passes_and_a_changed_log_fails_with_every_difference(open_run):
    run = open_run()
    document = search_document(run)
    write_json(search_path(run), document)
    assert judge(run, "search").outcome == "PASS"
    document["decisions"] = dict.fromkeys(document["decisions"], "rejected")
    write_json(search_path(run), document)
    verdict = judge(run, "search")
    assert verdict.outcome == "FAIL"
    assert verdict.measured.startswith("5 difference(s), old → new:\n    decisions / 01 ")
    assert '"rejected" → "accepted, total drop ' in verdict.measured


def test_other_samples_are_a_difference(open_run):
    run = open_run()
    document = search_document(run)
    document["samples"]["sha256"] = "0" * 64
    write_json(search_path(run), document)
    assert "samples / sha256: " in judge(run, "search").measured


def test_the_search_is_made_once_for_both_claims(open_run):
    run = open_run()
    found = run.measured("search")
    assert found is run.measured("search")
    assert found.command == f"quantbench search {LOW_BIT}"


def test_the_gate_is_judged_on_the_test_split_and_says_where_to_change_it(open_run):
    run = open_run()
    verdict = judge(run, "search_drop_pp")
    assert (verdict.outcome, verdict.bound) == ("PASS", 30.0)
    assert "n=150" in verdict.measured
    told = explain(run.experiment, verdict)
    assert f"look further: quantbench search {LOW_BIT}\n" in told
    assert "change experiments.low_bit_4.gates.search_drop_pp in " in told


def test_the_gate_shares_the_false_alarms_of_a_session(chain):
    experiments = load_experiments(chain.configs)
    judged = [quantity.name for experiment in experiments for quantity in judged_of(experiment)]
    assert family_of(judged).gates == len(experiments) + 1


def test_an_experiment_without_a_search_has_none_to_judge(open_run):
    run = open_run(INT8)
    with pytest.raises(ConfigError, match=r"experiments\.ptq_static_int8\.search: is not set; add search"):
        run.measured("search")


def test_searches_of_other_engines_have_files_of_their_own(open_run, chain):
    run = open_run(INT8)
    assert search_path(run) == chain.golden / "searches" / "chain" / "ptq_static_int8.json"
    other = Runs(Settings(chain.golden, "qnnpack")).run(run.experiment)
    assert search_path(other).name == "ptq_static_int8@qnnpack.json"
