"""The migration page shows the record that lies beside it, of every embedded workload; gates hold it."""

from pathlib import Path

import pytest

from quantbench.config.reading import load_experiments
from quantbench.records.parity import read_parity
from quantbench.report.documents import with_sections
from quantbench.report.parity import parity_tables

REPOSITORY = Path(__file__).parents[2]
PAGE, RECORD = REPOSITORY / "docs" / "migration.md", REPOSITORY / "docs" / "results" / "parity.json"


@pytest.fixture(scope="module")
def records():
    """The committed comparisons."""
    return read_parity(RECORD)


@pytest.fixture(scope="module")
def embedded():
    """Experiments of the workloads that run anywhere; eager mode takes the classifiers among them alone."""
    found = [each for each in load_experiments(REPOSITORY / "configs") if not each.workload.config.optional]
    return [each for each in found if each.workload.config.task.name == "top1"]


def test_the_page_shows_what_was_recorded(records):
    text = PAGE.read_text(encoding="utf-8")
    assert with_sections(PAGE, ["parity"], lambda *_: parity_tables(records)) == text


def test_every_embedded_workload_is_compared_with_eager_mode(records, embedded):
    assert {each.workload for each in records} == {each.workload.name for each in embedded}
    for each in records:
        assert each.sides[0].name == "eager"
        assert {"pt2e", "onnxruntime", "openvino"} <= {side.name for side in each.sides}
        assert not [one for one in each.left_out if one.failed]


def test_every_experiment_of_torch_export_is_held_to_the_same_recipe_in_eager_mode(records, embedded):
    by_id = {each.id: each for each in embedded}
    held = [each for each in embedded if each.name == "ptq_pt2e"]
    assert len(held) == len(records)
    for experiment in held:
        ((name, bound),) = experiment.config.gates.bounds["parity_pp"].items()
        twin = by_id[f"{experiment.workload.name}/{name}"]
        assert (twin.backend.name, twin.recipe) == ("eager", experiment.recipe)
        record = next(each for each in records if each.workload == experiment.workload.name)
        change = next(each for each in record.differences if each.name == "pt2e")
        # The whole interval of what was measured is within the bound, and the bound no wider than it takes.
        assert -change.interval_pp[0] < bound <= 1.0
