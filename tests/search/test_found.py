"""What a search found as a real experiment: the backend quantizes these layers, and a fresh process loads them."""

import pytest

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.experiment.result import RunEvidence
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.golden.searches import SEARCHES
from quantbench.records.costs import Measure
from quantbench.report.search import quantized_sentences, text
from quantbench.search.found import found_experiment
from quantbench.search.run import SearchRun
from quantbench.search.settings import SearchSettings

FX = """\
  ptq_fx:
    recipe: {name: static_int8_per_tensor, calibration_n: 32}
    backend: fx
    search: {low: 8, epsilon_pp: 0.0}
"""
FOUND = "  found:\n    recipe: {{{recipe}}}\n    backend: fx\n"


@pytest.fixture
def opened(chain):
    """Opens the run of an experiment, as a new process would."""
    chain.edit("experiments:\n", f"experiments:\n{FX}")

    def opened(name="ptq_fx"):
        return Runs(Settings(chain.golden)).run(select(load_experiments(chain.configs), f"chain/{name}")[0])

    return opened


@pytest.fixture
def record(opened):
    """Of a search whose first two layers alone stay within its bound."""
    return SearchRun(opened(), layers=("conv1", "fc")).search(SearchSettings(100.0), "here")


def test_the_layers_found_are_quantized_by_the_backend_and_loaded_by_a_fresh_process(record, opened):
    found = record.artifact
    assert found.recipe == {"name": "static_int8_per_tensor", "calibration_n": 32, "layers": ["conv1", "fc"]}
    assert (found.backend, found.reload_identical) == ("fx", True)
    assert found.accuracy.fp32 == record.confirmed.fp32 == opened().baseline.evaluation.accuracy
    assert found.accuracy.n == 150
    assert found.otherwise <= 2


def test_the_lines_that_are_printed_make_an_experiment_of_the_same_file(record, opened, chain):
    line = quantized_sentences(record.artifact)[1]
    assert line.startswith(
        "as an experiment: recipe: {name: static_int8_per_tensor, calibration_n: 32, layers: [conv1, fc]}"
    )
    recipe = line.partition("{")[2].partition("}")[0]
    chain.edit("experiments:\n", f"experiments:\n{FOUND.format(recipe=recipe)}")
    run = opened("found")
    assert run.artifact.sha256[0] == record.artifact.sha256
    assert run.artifact.size_bytes == record.artifact.size_bytes
    assert run.kernels.int8_layers.keys() == {"conv1", "fc"}


def test_tables_tell_of_it_and_of_nothing_else(record):
    words = text(record)
    assert "quantized by fx: drop " in words
    assert "a fresh process gives the same bits" in words
    assert "every trial is a full pass" not in words


def test_full_passes_are_told_in_the_tables(record):
    words = text(record.model_copy(update={"full_passes": "its forward cannot be traced"}))
    assert "every trial is a full pass, since its forward cannot be traced" in words


def test_outputs_that_a_fresh_process_gives_otherwise_are_told(record):
    other = record.artifact.model_copy(update={"reload_identical": False})
    assert "a fresh process gives other outputs" in quantized_sentences(other)[0]


def test_the_golden_holds_the_recipe_that_makes_it(record, opened):
    run = opened()
    run.results["search"] = record
    assert SEARCHES.document(RunEvidence(run))["quantized by"] == {"backend": "fx", **record.artifact.recipe}
    run.results["search"] = record.model_copy(update={"artifact": None})
    assert "quantized by" not in SEARCHES.document(RunEvidence(run))


def test_a_budget_is_quantized_too(opened):
    found = SearchRun(opened()).within(Measure.BITS, 20.0, "here")
    low = [each.name for each, bits in zip(found.layers, found.bits, strict=True) if bits == 8]
    assert found.artifact.recipe["layers"] == low


def test_where_no_layer_is_in_int8_or_no_recipe_can_name_them_there_is_none(opened):
    assert found_experiment(opened(), []) is None
    assert found_experiment(opened("ptq_static_int8"), ["conv1"]) is None, "eager takes groups of layers alone"
    assert found_experiment(opened("low_bit_4"), ["conv1"]) is None
    assert found_experiment(opened(), ["conv1"]).id == "chain/ptq_fx-found"
