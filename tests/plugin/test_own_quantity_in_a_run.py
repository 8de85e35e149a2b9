"""A quantity that no claim is about, such as one from another distribution, is claimed in general."""

import pytest
import toy_quantity  # noqa: F401 — before a run in this process, which would forget it

from quantbench.records.run import RecordFile
from quantbench.registry import QUANTITIES

GATE, STATIC, DYNAMIC = "largest_tensor_bytes", "tiny/ptq_static_int8_per_channel", "tiny/ptq_dynamic_int8"
BOTH = ("-q", "--experiment", "tiny/ptq_*", "-k", "quantity_holds", "--json", "records.json")


@pytest.fixture
def toy_bench(bench, project, monkeypatch):
    """`bench` where the quantity is in the table and one of two experiments bounds it, unreachably."""
    monkeypatch.setitem(QUANTITIES.table, GATE, "toy_quantity:LARGEST_TENSOR")
    project.edit("size_ratio: 0.2", f"size_ratio: 0.2, {GATE}: 1")
    return bench


def test_it_is_judged_where_it_is_gated_and_shown_where_it_is_not(toy_bench, project):
    result = toy_bench(*BOTH)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["failed"]) == (1, 1)
    result.stdout.fnmatch_lines(
        [f"{STATIC}: {GATE}: FAIL", "  measured:     * bytes ('*')", "  required:     at most 1*"]
    )
    result.stdout.fnmatch_lines(["experiment *largest tensor*verdict*", f"{DYNAMIC} * B *–*", f"{STATIC} * B *FAIL*"])
    records = RecordFile.model_validate_json((project.root / "records.json").read_text()).records
    assert {record.experiment for record in records if "tensors" in record.parts} == {STATIC, DYNAMIC}


def test_each_pair_is_a_test_of_its_own(toy_bench):
    result = toy_bench("--collect-only", "-q", "-k", "quantity_holds")
    claims = [line for line in result.outlines if "::" in line]
    assert f"bench/test_quantities.py::test_quantity_holds[{STATIC}-{GATE}]" in claims
    assert len(claims) == 4


def test_what_no_experiment_sets_is_not_claimed_in_general(bench):
    result = bench("--collect-only", "-q")
    assert result.ret == 0
    assert not any("test_quantities" in line for line in result.outlines)
    assert result.outlines[-1].startswith("49/57 tests collected (8 deselected)"), "the gates that are not set"
