"""Outputs of both models beside each other, without labels: each figure has its interval, and each gate can fail."""

from types import SimpleNamespace

import numpy as np
import pytest

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import MeasurementError
from quantbench.experiment.output_errors import _summed, output_errors, sample_errors
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.quantities.agreement import AGREEMENT
from quantbench.quantities.output_errors import COSINE, KL, MAX_ABS_ERROR, SQNR
from quantbench.records.outputs import Agreement, Estimate
from quantbench.session.plan import Plan
from quantbench.session.result import run_session
from quantbench.stats.multiplicity import Family
from quantbench.stats.proportions import wilson_interval
from quantbench.tasks.top1 import Top1

STATIC = "tiny/ptq_static_int8_per_channel"
TEST = SimpleNamespace(named=lambda at: f"number {at}")
RUN = SimpleNamespace(
    settings=SimpleNamespace(family=Family(1)), opened=SimpleNamespace(splits=SimpleNamespace(test=TEST))
)
RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0, 3, (300, 5))


def found(candidate, reference=LOGITS):
    return _summed(sample_errors(Top1(), {"output": reference}, {"output": candidate}), 0.95)


def outcome_of(quantity, measured, bound):
    verdict = quantity.judge(RUN, measured, bound)
    return verdict.outcome.value, verdict.measured


NOISY = found(LOGITS + RANDOM.normal(0, 0.03, LOGITS.shape))


def test_noise_of_a_hundredth_is_40_db():
    assert NOISY.sqnr_db.value == pytest.approx(40, abs=0.3)
    low, high = NOISY.sqnr_db.interval
    assert low < NOISY.sqnr_db.value < high < low + 1


@pytest.mark.parametrize(
    ("quantity", "bound", "outcome"),
    [
        (SQNR, 39, "PASS"), (SQNR, 40, "INCONCLUSIVE"), (SQNR, 41, "FAIL"),
        (COSINE, 0.999, "PASS"), (COSINE, 0.99999, "FAIL"),
        (KL, 0.01, "PASS"), (KL, 1e-5, "FAIL"),
        (MAX_ABS_ERROR, 0.2, "PASS"), (MAX_ABS_ERROR, 0.05, "FAIL"),
    ],
)  # fmt: skip
def test_each_gate_passes_and_fails_by_its_bound(quantity, bound, outcome):
    assert outcome_of(quantity, NOISY, bound)[0] == outcome


def test_a_wrong_scale_is_invisible_to_the_cosine_alone():
    twice = found(2 * LOGITS)
    assert outcome_of(COSINE, twice, 0.999999)[0] == "PASS"
    assert outcome_of(SQNR, twice, 1.0) == ("FAIL", "0.00 dB [0.00, 0.00] (n=300)")


def test_outputs_that_are_the_same_reach_every_bound():
    same = found(LOGITS.copy())
    assert outcome_of(SQNR, same, 1e6) == ("PASS", "no error at all in 5 outputs of each sample (n=300)")
    assert outcome_of(KL, same, 1e-12)[0] == outcome_of(MAX_ABS_ERROR, same, 1e-12)[0] == "PASS"


def test_one_sample_that_differs_tells_no_interval_and_is_named_by_the_largest_error():
    one = LOGITS.copy()
    one[17, 2] += 9.0
    measured = found(one)
    assert outcome_of(KL, measured, 0.5)[0] == "INCONCLUSIVE"
    assert "of which too few differ to tell an interval; gate max_abs_error" in outcome_of(KL, measured, 0.5)[1]
    assert outcome_of(MAX_ABS_ERROR, measured, 1.0) == ("FAIL", "9 of sample number 17 (n=300, 5 outputs each)")


def test_probabilities_and_logits_have_the_same_divergence():
    candidate = LOGITS + 0.1 * RANDOM.normal(0, 1, LOGITS.shape)
    softmax = [np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in (LOGITS, candidate)]
    assert found(softmax[1], softmax[0]).kl_nats.value == pytest.approx(found(candidate).kl_nats.value)
    expected = (softmax[0] * np.log(softmax[0] / softmax[1])).sum(axis=1).mean()
    assert found(candidate).kl_nats.value == pytest.approx(expected)


def test_probabilities_that_add_up_to_more_than_1_hide_no_divergence():
    reference, candidate = np.full((20, 2), 0.5), np.tile([0.6656, 0.3744], (20, 1))
    measured = found(candidate, reference)
    assert measured.kl_nats.value == pytest.approx(0.5 * np.log(0.25 / (0.64 * 0.36)))
    assert outcome_of(KL, measured, 0.01)[0] == "FAIL"


def test_one_class_is_no_distribution():
    assert outcome_of(KL, found(np.zeros((20, 1)), np.ones((20, 1))), 0.01)[0] == "INCONCLUSIVE"


def test_sigmoids_are_no_distribution_over_classes():
    sigmoids = 1 / (1 + np.exp(-LOGITS))
    measured = found(sigmoids * 0.99, sigmoids)
    assert measured.kl_nats is None
    assert outcome_of(KL, measured, 100.0)[0] == "INCONCLUSIVE"
    # Their agreement and errors are figures all the same.
    assert outcome_of(SQNR, measured, 30.0)[0] == "PASS"


def test_logits_are_logits_in_every_batch_although_a_row_looks_like_probabilities():
    reference = np.tile([[0.25, 0.75], [-1.0, 3.0]], (10, 1))
    candidate = reference + RANDOM.normal(0, 0.1, reference.shape)
    whole = {"output": reference}, {"output": candidate}
    rows = [{"rows": np.array([at])} for at in range(20)]
    first, second = (
        SimpleNamespace(
            loaded=lambda _, own=own: lambda batch: {"output": own["output"][batch["rows"]]},
            probe=own,
            artifact=None,
            keeps_files=False,
        )
        for own in whole
    )
    opened = SimpleNamespace(
        task=Top1(),
        splits=SimpleNamespace(test=SimpleNamespace(batches=lambda _: rows)),
        workload=SimpleNamespace(config=SimpleNamespace(evaluation=SimpleNamespace(batch_size=1), reference="a file")),
    )
    run = SimpleNamespace(
        reference_evaluation=None, evaluation=None, opened=opened, baseline=first, candidate=second,
        loaded=second.loaded, settings=RUN.settings,
    )  # fmt: skip
    assert output_errors(run).kl_nats.value == pytest.approx(found(candidate, reference).kl_nats.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("who", ["reference", "candidate"])
def test_outputs_that_are_no_numbers_are_no_outputs_without_error(who, value):
    pair = {"reference": LOGITS, "candidate": LOGITS.copy()}
    pair[who] = np.where(np.arange(300)[:, None] == 3, value, LOGITS)
    with pytest.raises(MeasurementError, match=f"the outputs of the {who} are NaN or infinite, and were not when"):
        found(**pair)


def test_errors_too_small_or_too_large_to_be_squared_are_not_taken_for_none():
    reference = np.tile([1.0, 0.0], (20, 1))
    for error in ([0.0, 1e-170], [0.0, 1e170]):
        with pytest.raises(MeasurementError, match="the squares of the outputs are beyond the range of float64"):
            found(reference + error, reference)


def test_outputs_of_no_real_number_or_of_no_number_at_all_are_refused():
    with pytest.raises(MeasurementError, match="outputs of type complex128 are no real numbers"):
        found(LOGITS + 5j)
    with pytest.raises(MeasurementError, match="the outputs of both models are empty"):
        found(np.ones((20, 0)), np.ones((20, 0)))


@pytest.mark.parametrize("error", [0.0, 1e-3])
def test_of_fewer_than_10_samples_the_largest_error_alone_is_judged(error):
    reference, noise = LOGITS[:9], error * RANDOM.normal(0, 1, (9, 5))
    few = found(reference + noise, reference)
    for quantity, bound in ((SQNR, 1.0), (COSINE, 0.1), (KL, 1.0)):
        outcome, text = outcome_of(quantity, few, bound)
        assert (outcome, "which are too few" in text) == ("INCONCLUSIVE", True)
    assert outcome_of(MAX_ABS_ERROR, few, 0.1)[0] == "PASS"
    assert few.impossible() is None


def test_a_sample_without_length_is_like_itself_and_like_nothing_else():
    zero, one = np.zeros((2, 3)), np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert sample_errors(Top1(), {"o": zero}, {"o": one}).cosine.tolist() == [1.0, 0.0]


def test_outputs_of_other_shapes_or_names_are_refused():
    with pytest.raises(MeasurementError, match=r"the reference gives \[2, 3\] and the candidate \[2, 4\]"):
        sample_errors(Top1(), {"o": np.ones((2, 3))}, {"o": np.ones((2, 4))})
    pair = {name: np.ones((2, 3, 1)) for name in "ab"}, {name: np.ones((2, 3, 1)) for name in "ac"}
    with pytest.raises(MeasurementError, match=r"other names: \['a', 'b'\] and \['a', 'c'\]"):
        sample_errors(Top1(), *pair)


def test_a_reference_of_zeros_has_no_signal():
    with pytest.raises(MeasurementError, match="every output of the reference is 0"):
        found(LOGITS, np.zeros_like(LOGITS))


def agreed(same, n=1_000):
    interval = wilson_interval(same, n, 0.95)
    return Agreement(n=n, same=same, interval=(interval.low, interval.high), level=0.95)


@pytest.mark.parametrize(("same", "outcome"), [(990, "PASS"), (985, "INCONCLUSIVE"), (960, "FAIL")])
def test_agreement_is_judged_by_its_interval(same, outcome):
    assert outcome_of(AGREEMENT, agreed(same), 0.98)[0] == outcome


def test_the_text_of_an_agreement_counts_what_differs():
    assert outcome_of(AGREEMENT, agreed(990), 0.98)[1] == "0.9900 [0.9817, 0.9946] (n=1,000: 10 differ)"


@pytest.mark.parametrize(
    "change",
    [
        {"sqnr_db": None}, {"max_abs_error": 0.0}, {"max_abs_error": float("inf")}, {"worst": 300},
        {"kl_nats": Estimate(value=-1.0, interval=None, strict=None)},
        {"cosine": Estimate(value=2.0, interval=None, strict=None)},
        {"sqnr_db": Estimate(value=40.0, interval=(41.0, 42.0), strict=None)},
    ],
)  # fmt: skip
def test_a_record_that_nothing_could_have_measured_is_told(change):
    assert NOISY.impossible() is None
    assert NOISY.model_copy(update=change).impossible() is not None


@pytest.mark.parametrize("change", [{"same": 1_001}, {"same": -1}, {"interval": (0.9, 0.91)}])
def test_so_is_an_agreement_of_other_counts(change):
    assert agreed(990).impossible() is None
    assert agreed(990).model_copy(update=change).impossible() is not None


@pytest.mark.parametrize(("sqnr", "outcome"), [(3.0, "PASS"), (300.0, "FAIL")])
def test_beside_accuracy_they_are_gates_of_an_experiment(project, sqnr, outcome):
    gates = f"gates: {{agreement: 0.5, sqnr_db: {sqnr}, cosine: 0.5, kl_nats: 5, max_abs_error: 1.0e+6, "
    project.edit("gates: {accuracy_drop_pp: 10.0}\n  ptq_static", f"{gates}accuracy_drop_pp: 10.0}}\n  ptq_static")
    experiment = select(load_experiments(project.configs), "tiny/ptq_dynamic_int8")[0]
    result = run_session(Runs(Settings(project.golden)), Plan.of_experiments([experiment]), "quantbench run")
    verdicts = {verdict.quantity: verdict for verdict in result.records[0].verdicts}
    assert verdicts["sqnr_db"].outcome == outcome
    assert {verdicts[each].outcome for each in ("agreement", "cosine", "kl_nats", "max_abs_error")} == {"PASS"}
    assert result.records[0].parts["outputs"].n == 150
