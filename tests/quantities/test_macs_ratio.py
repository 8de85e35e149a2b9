"""Work of both models: less of it fails, more is told, and what is not known is no verdict."""

from types import SimpleNamespace

import pytest

from quantbench.backends.interface import Coverage
from quantbench.errors import NoEvidenceError
from quantbench.quantities.int8_share import INT8_SHARE
from quantbench.quantities.macs_ratio import MACS_RATIO
from quantbench.records.run import CoverageFacts, Work


def work(fp32, quantized, idle=None, fp32_uncounted=(), quantized_uncounted=()):
    return Work(
        fp32_macs=fp32,
        quantized_macs=quantized,
        ratio=quantized / fp32,
        idle_layers=idle or {},
        fp32_uncounted=list(fp32_uncounted),
        quantized_uncounted=list(quantized_uncounted),
    )


def outcome_of(measured, bound=1.0):
    verdict = MACS_RATIO.judge(None, measured, bound)
    return verdict.outcome.value, verdict.measured


@pytest.mark.parametrize(("quantized", "expected"), [(10_000, "PASS"), (9_990, "PASS"), (9_989, "FAIL"), (0, "FAIL")])
def test_less_work_than_fp32_fails_beyond_a_thousandth(quantized, expected):
    assert outcome_of(work(10_000, quantized))[0] == expected


@pytest.mark.parametrize(("bound", "expected"), [(0.5, "PASS"), (0.6, "FAIL")])
def test_the_configuration_may_accept_less(bound, expected):
    assert outcome_of(work(10_000, 5_000), bound)[0] == expected


def test_a_bound_is_kept_in_the_verdict_as_it_was_set():
    verdict = MACS_RATIO.judge(None, work(10_000, 5_000), 0.5)
    assert (verdict.estimate, verdict.bound, verdict.requirement) == (0.5, 0.5, "at least 0.5×, within 0.001")


def test_layers_that_do_nothing_are_named():
    found = work(1_000, 400, idle={"branch.0": 100, "branch.2": 500})
    outcome, text = outcome_of(found)
    assert outcome == "FAIL"
    assert text == (
        "0.4000× (1,000 → 400 multiply-accumulates of one sample); multiplied in fp32 alone: "
        "branch.2 (500), branch.0 (100)"
    )


def test_more_work_passes_and_is_told():
    assert outcome_of(work(1_000, 1_500)) == (
        "PASS",
        "1.5000× (1,000 → 1,500 multiply-accumulates of one sample); more work than fp32",
    )


@pytest.mark.parametrize(
    ("side", "words"),
    [
        ("fp32_uncounted", "not counted of the fp32 model: aten::cdist in head"),
        ("quantized_uncounted", "not counted of the quantized model: aten::cdist in head"),
    ],
)
def test_work_that_is_not_known_on_either_side_is_no_verdict(side, words):
    outcome, text = outcome_of(work(1_000, 400, **{side: ["aten::cdist in head"]}))
    assert outcome == "INCONCLUSIVE"
    assert text.endswith(words)


def test_a_bound_of_zero_accepts_work_that_is_not_known():
    assert outcome_of(work(1_000, 400, fp32_uncounted=["aten::cdist in head"]), bound=0)[0] == "PASS"
    silent = NoEvidenceError("backend 'half' does not tell")
    assert MACS_RATIO.unmeasured(None, 0.0, silent).outcome.value == "PASS"
    assert MACS_RATIO.unmeasured(None, 1.0, silent).outcome.value == "INCONCLUSIVE"


def test_both_models_are_measured_and_layers_of_fused_groups_are_theirs():
    fp32 = Coverage(0, 700, {"conv": 100, "fused": 200, "branch": 400})
    quantized = CoverageFacts(
        int8_macs=100, float_macs=200, int8_share=1 / 3, float_layers={"fused.0": 200}, int8_layers={"conv": 100}
    )
    run = SimpleNamespace(counterpart=SimpleNamespace(coverage=fp32), measured={"coverage": quantized}.__getitem__)
    found = MACS_RATIO.measure(run)
    assert (found.fp32_macs, found.quantized_macs, found.idle_layers) == (700, 300, {"branch": 400})


def test_a_reference_whose_kernels_are_not_known_is_no_evidence():
    backend = SimpleNamespace(name="half")
    quantized = CoverageFacts(int8_macs=1, float_macs=0, int8_share=1, float_layers={})
    counterpart = SimpleNamespace(coverage=None, backend=backend)
    run = SimpleNamespace(counterpart=counterpart, measured={"coverage": quantized}.__getitem__)
    with pytest.raises(NoEvidenceError, match="backend 'half' does not tell what its kernels multiply"):
        MACS_RATIO.measure(run)


def test_a_share_of_which_some_work_is_not_known_is_no_verdict():
    facts = CoverageFacts(
        int8_macs=160, float_macs=0, int8_share=1, float_layers={}, uncounted=["aten::_cdist_forward in head"]
    )
    verdict = INT8_SHARE.judge(None, facts, 0.95)
    assert (verdict.outcome.value, verdict.measured) == (
        "INCONCLUSIVE",
        "1.0000 (160 of 160 multiply-accumulates); not counted: aten::_cdist_forward in head",
    )
    (column,) = INT8_SHARE.columns
    assert column.cell(facts) == "not known"


def test_known_work_of_a_precision_that_is_not_told_is_work_and_no_share_of_int8():
    facts = CoverageFacts(
        int8_macs=0, float_macs=40, int8_share=0.0, float_layers={"head": 40}, unknown_layers={"fc": 60}
    )
    assert facts.impossible() is None
    fp32 = SimpleNamespace(coverage=Coverage(0, 100, {"fc": 60, "head": 40}))
    run = SimpleNamespace(counterpart=fp32, measured={"coverage": facts}.__getitem__)
    found = MACS_RATIO.measure(run)
    assert (found.ratio, found.idle_layers, found.quantized_uncounted) == (1.0, {}, [])
    verdict = INT8_SHARE.judge(None, facts, 0.0)
    assert (verdict.outcome.value, verdict.measured) == (
        "INCONCLUSIVE",
        "0.0000 (0 of 100 multiply-accumulates); in floating point: head (40); in a precision that the runtime does "
        "not tell: fc (60)",
    )
    (column,) = INT8_SHARE.columns
    assert column.cell(facts) == "not known"


def test_a_share_that_leaves_out_work_of_unknown_precision_is_impossible():
    facts = CoverageFacts(int8_macs=40, float_macs=0, int8_share=1.0, float_layers={}, unknown_layers={"fc": 60})
    assert facts.impossible() == "int8_share 1.0, but int8_macs 40 of 100"


def test_work_of_unknown_precision_is_that_of_one_sample_too():
    assert Coverage(0, 0, {}, unknown_layers={"fc": 640}).per_sample(64).unknown_layers == {"fc": 10}


def test_a_record_without_the_later_fields_is_read():
    old = {"int8_macs": 9, "float_macs": 1, "int8_share": 0.9, "float_layers": {"fc": 1}}
    assert CoverageFacts.model_validate(old).uncounted == []
