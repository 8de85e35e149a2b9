"""`quantbench sensitivity` and `quantbench search`: tables, plots and records; each mistake is one line."""

import json

import pytest

from quantbench.cli import search as module
from quantbench.records.search import BudgetRecord, SearchRecord, SensitivityRecord
from quantbench.search.journal import FileJournal

# No test looks into a picture; those of tests/report do.
pytestmark = pytest.mark.usefixtures("unrendered")

LOW_BIT, INT8 = "chain/low_bit_4", "chain/ptq_static_int8"


def pictures(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix in (".png", ".svg"))


def test_sensitivity_prints_a_row_for_each_layer_the_most_sensitive_first_and_draws_them(quantbench, chain):
    status, out, err = quantbench("sensitivity", LOW_BIT, "--json", "s.json")
    assert (status, err) == (0, "")
    record = SensitivityRecord.model_validate_json((chain.root / "s.json").read_text())
    lines = out.splitlines()
    assert lines[0].startswith(
        f"{LOW_BIT}: each layer alone at 2 bits, all others at 4 (split 'search', n = 80, accuracy"
    )
    ordered = sorted(record.sensitivities, key=lambda each: (-each.drop_pp, each.index))
    assert [line.split()[0] for line in lines[2:7]] == [each.layer for each in ordered]
    assert lines[2].split()[2] == f"{ordered[0].drop_pp:+.2f}"
    name = "sensitivity_chain_low_bit_4"
    assert pictures(chain.root / "out") == [f"{name}.png", f"{name}.svg"]
    assert lines[-4:] == [f"out/{name}.png", f"out/{name}.svg", f"out/{name}.md", "s.json"]
    assert record.command == "quantbench sensitivity chain/low_bit_4 --json s.json"


def test_sensitivity_on_the_test_split_of_layers_in_int8(quantbench, chain):
    status, out, _ = quantbench("sensitivity", INT8, "--split", "test", "--out", "mine")
    assert status == 0
    assert "each layer alone at 8 bits, all others at 32 (split 'test', n = 150" in out
    assert len(pictures(chain.root / "mine")) == 2


def test_search_prints_the_decision_log_what_was_found_and_what_it_costs_on_the_test_split(quantbench, chain):
    status, out, err = quantbench("search", LOW_BIT, "--epsilon", "0", "--json", "s.json")
    assert (status, err) == (0, "")
    record = SearchRecord.model_validate_json((chain.root / "s.json").read_text())
    lines = out.splitlines()
    at = lines.index("greedy search, total drop at most 0 pp (exact)")
    log = [line.split() for line in lines[at + 2 : at + 7]]
    assert [(row[0], row[1]) for row in log] == [(each.layer, str(each.index)) for each in record.decisions]
    assert ["accepted" in row for row in log] == [each.accepted for each in record.decisions]
    assert {each.accepted for each in record.decisions} == {True, False}
    low = record.bits.count(2)
    assert f"found: {record.bits}: {low} of 5 layers ({20 * low}.0 %) at 2 bits" in lines
    assert f"on the test split: drop {record.confirmed.drop_pp:+.2f} [" in out
    assert "times fewer than the published way's 11 passes" in out
    stem = "search_chain_low_bit_4"
    assert pictures(chain.root / "out") == sorted(
        f"{stem}{kind}.{suffix}" for kind in ("", "_layers") for suffix in ("png", "svg")
    )


def test_the_experiments_own_search_is_the_default(quantbench, chain):
    assert "total drop at most 10 pp" in quantbench("search", LOW_BIT)[1]
    chain.edit("search: {low: 2,", "search: {low: 3,")
    assert "each layer alone at 3 bits" in quantbench("search", LOW_BIT)[1]
    assert "each layer alone at 2 bits" in quantbench("search", LOW_BIT, "--low", "2")[1]


def test_only_the_layers_that_are_named_are_tried(quantbench, chain):
    status, out, _ = quantbench("search", LOW_BIT, "--layer", "fc", "--layer", "conv1", "--json", "s.json")
    assert status == 0
    record = SearchRecord.model_validate_json((chain.root / "s.json").read_text())
    assert [each.name for each in record.layers] == ["conv1", "fc"]
    assert f"found: {record.bits}: " in out
    quantbench("sensitivity", LOW_BIT, "--json", "all.json")
    whole = SensitivityRecord.model_validate_json((chain.root / "all.json").read_text())
    alone = {each.layer: each.correct for each in whole.sensitivities}
    assert [each.correct for each in record.sensitivities] == [alone["conv1"], alone["fc"]]


def test_run_again_it_prints_the_same(quantbench, chain):
    first = quantbench("search", LOW_BIT)
    assert quantbench("search", LOW_BIT) == first


@pytest.mark.parametrize(
    ("option", "limit", "unit"),
    [("--budget-bits", "2.8", "2.80 bits on average"), ("--budget-bytes", "1300", "1,300 bytes"),
     ("--budget-bitops", "1e6", "1e+06 bit operations")],
)  # fmt: skip
def test_a_budget_takes_the_place_of_epsilon(quantbench, chain, option, limit, unit):
    status, out, err = quantbench("search", LOW_BIT, option, limit, "--json", "b.json")
    assert (status, err) == (0, "")
    record = BudgetRecord.model_validate_json((chain.root / "b.json").read_text())
    assert f"least lost within {unit}, if drops add up: " in out
    assert f"found: {record.bits}: " in out
    assert "on the test split: drop " in out
    assert "greedy search" not in out


def test_the_section_of_a_document_is_replaced(quantbench, chain):
    document = chain.root / "doc.md"
    document.write_text(f"# Mine\n<!-- search: begin {LOW_BIT} -->\nold\n<!-- search: end -->\nend\n")
    status, out, _ = quantbench("search", LOW_BIT, "--into", "doc.md")
    assert status == 0
    assert out.splitlines()[-1] == "doc.md"
    text = document.read_text()
    assert text.startswith(f"# Mine\n<!-- search: begin {LOW_BIT} -->\n**{LOW_BIT}: each layer alone")
    assert text.endswith("<!-- search: end -->\nend\n")
    assert "old" not in text
    assert "`quantbench search chain/low_bit_4 --into doc.md`" in text


def test_ctrl_c_says_what_is_kept_and_the_same_command_goes_on(quantbench, chain, monkeypatch):
    own = FileJournal.append

    def append(journal, entry):
        own(journal, entry)
        if len(journal.entries()) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FileJournal, "append", append)
        status, out, err = quantbench("search", LOW_BIT)
    assert (status, out) == (130, "")
    assert err == (
        f"quantbench: {LOW_BIT}: interrupted: 3 finished step(s) are kept in {chain.root / 'cache' / 'searches'}; the "
        "same command goes on from there\n"
    )
    assert quantbench("search", LOW_BIT)[0] == 0


MISTAKES = {
    "an unknown experiment": (
        "search chain/low_bit_5",
        "experiment 'chain/low_bit_5'. Did you mean 'chain/low_bit_4'?",
    ),
    "several experiments": ("search chain/*", "chain/*: 4 experiments match; name one, such as chain/fp32_baseline"),
    "dynamic int8": (
        "search chain/ptq_dynamic_int8",
        "chain/ptq_dynamic_int8: the recipe (dynamic_int8) leaves no layer",
    ),
    "fp32": ("sensitivity chain/fp32_baseline", "chain/fp32_baseline: the recipe (fp32) leaves no layer whose bit"),
    "epsilon below zero": (
        f"search {LOW_BIT} --epsilon -1",
        "epsilon is -1 pp; the accepted drop is between 0 and 100",
    ),
    "epsilon no number": (f"search {LOW_BIT} --epsilon nan", "epsilon is nan pp; the accepted drop is between 0 and"),
    "an unknown layer": (
        f"sensitivity {LOW_BIT} --layer conv9",
        f"{LOW_BIT}: unknown layer 'conv9'. Did you mean 'conv3'? Known: conv0, conv1,",
    ),
    "a split too small": (f"search {LOW_BIT} --epsilon 1", "has 80 samples, too few to decide about epsilon = 1 pp"),
    "delta": (f"search {LOW_BIT} --mode adaptive --delta 2", "risk 2 is not strictly between 0 and 1"),
    "a width out of range": (
        f"search {LOW_BIT} --low 1",
        "'conv0' cannot compute with 1 bits; its choices are 2, 3, 4, 5, 6, 7, 8",
    ),
    "a width no lower": (f"search {LOW_BIT} --low 4", "its layers have 4 bits; a search tries fewer, not 4"),
    "a width that int8 has not": (
        f"search {INT8} --low 4 --epsilon 10",
        "layer 'conv0' cannot compute with 4 bits; its choices are 8, 32",
    ),
    "too few bits": (
        f"search {LOW_BIT} --budget-bits 1.5",
        "1.50 bits on average cannot be met: the smallest possible,",
    ),
    "too few bytes": (
        f"search {LOW_BIT} --budget-bytes 10",
        "a budget of 10 bytes cannot be met: the smallest possible,",
    ),
    "one place for several": (
        "search chain/* --jobs 2 --json s.json",
        "--jobs: s.json is one place, and each search has a record; drop --json and --into",
    ),
    "an unknown place": (
        "search chain/* --jobs dusk:1",
        "--jobs 'dusk:1': unknown scheme 'dusk'. Did you mean 'dask'?",
    ),
    "two budgets": (f"search {LOW_BIT} --budget-bits 3 --budget-bytes 9", "--budget-bitops: give one of them"),
    "budget and epsilon": (f"search {LOW_BIT} --budget-bits 3 --epsilon 1", "a budget takes the place of --epsilon"),
    "no budget": (f"search {LOW_BIT} --budget-bits nan", "nan average bits is none; give a number above zero"),
    "no memory": (
        f"search {LOW_BIT} --memory two",
        "--memory two: is no number of bytes above zero; write it as 500MB",
    ),
    "records": (f"search {LOW_BIT} --json configs", "--json configs: is a folder; name a file in it"),
    "plots": (f"search {LOW_BIT} --out configs/chain.yaml", "configs/chain.yaml: File exists; name another place"),
    "no section": (f"search {LOW_BIT} --into p.md", "p.md: put the lines '<!-- search: begin chain/low_bit_4 -->'"),
    "no document": (f"search {LOW_BIT} --into none.md", "none.md: cannot be read"),
}


@pytest.mark.parametrize(("args", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_that_names_it(quantbench, chain, args, message):
    (chain.root / "p.md").write_text("# Mine\n")
    status, out, err = quantbench(*args.split())
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("quantbench: ")
    assert message in line


def test_no_samples_held_out_is_told_with_the_setting(quantbench, chain):
    chain.edit(", search_pool: 80", "")
    status, _, err = quantbench("search", INT8)
    assert status == 2
    assert err == (
        "quantbench: configs/chain.yaml: experiments.low_bit_4.search: no sample is held out to search on, and the "
        "test split is for reporting; set workload.data.search_pool to the number of training samples to hold out, "
        "such as 2000, and train again\n"
    )


def test_a_record_is_json_that_other_programs_read(quantbench, chain):
    quantbench("search", LOW_BIT, "--json", "s.json")
    content = json.loads((chain.root / "s.json").read_text())
    assert content["schema_version"] == 2
    assert [each["name"] for each in content["layers"]] == ["conv0", "conv1", "conv2", "conv3", "fc"]
    assert module.EPSILON_PP == 1.0


def measured(path):
    """A record without what tells when and by which command it was made."""
    found = json.loads(path.read_text())
    return {key: value for key, value in found.items() if key not in ("command", "seconds")}


def test_every_experiment_that_matches_is_searched_as_alone_and_one_that_cannot_be_stops_no_other(quantbench, chain):
    assert quantbench("search", LOW_BIT, "--json", "alone.json", "--out", "other")[0] == 0
    status, out, err = quantbench("search", "chain/[!p]*", "--jobs", "1", "--fresh")
    assert status == 2
    assert err.startswith("quantbench: chain/fp32_baseline: the recipe (fp32) leaves no layer whose bit")
    assert err.count("\n") == 1
    found = chain.root / "out" / "search_chain_low_bit_4.json"
    assert out.endswith("out/search_chain_low_bit_4.md\nout/search_chain_low_bit_4.json\n")
    assert measured(found) == measured(chain.root / "alone.json")
