"""Which layer costs most: ranking, paired differences, sums and what hybrids buy back, against hand computations."""

import numpy as np
import pytest

from quantbench.errors import ConfigError
from quantbench.recipes.spec import describe
from quantbench.recipes.static_int8 import static_int8_full_range
from quantbench.records.base import unpack_bits
from quantbench.report.sensitivity import (
    ALL,
    COLUMNS,
    HYBRID_COLUMNS,
    NONE,
    difference_pp,
    hybrid_rows,
    rows,
    sensitivities,
    sensitivity_markdown,
    sensitivity_text,
)
from quantbench.stats.paired import PairedOutcomes, tango_interval

N = 1_000


@pytest.fixture
def parts(two_layer_workloads):
    return sensitivities(two_layer_workloads)["m5_spoken_words"]


def hits(seed, share):
    """Samples that are right, no two calls nested in one another."""
    return np.random.RandomState(seed).random_sample(N) < share


def table(parts):
    """Row by row: the part's name → its cells by column."""
    return {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in rows(parts)}


def hybrid_table(records, parts):
    return {row[0]: dict(zip(HYBRID_COLUMNS, row, strict=True)) for row in hybrid_rows(records, parts)}


def test_the_most_sensitive_layer_comes_first_and_the_whole_model_last(two_layer_workloads):
    expected = ["block1", "block2", "block3", "block4", NONE, ALL]
    for shuffled in (two_layer_workloads, two_layer_workloads[::-1]):
        found = sensitivities(shuffled)
        assert {name: [part.name for part in parts] for name, parts in found.items()} == {
            "m5_spoken_words": expected,
            "m5_speech_commands": expected,
        }


def test_a_layer_that_was_only_trained_follows_those_that_were_calibrated_by_its_own_drop(make_layer):
    records = [
        make_layer("w/qat_a", 905, ("a",)),
        make_layer("w/qat_b", 850, ("b",)),
        make_layer("w/ptq_c", 909, ("c",)),
    ]
    assert [part.name for part in sensitivities(records)["w"]] == ["c", "b", "a", ALL]


def test_a_workload_without_experiments_on_single_layers_has_no_sensitivity(two_workloads, make_layer):
    assert sensitivities(two_workloads) == {}
    assert sensitivities([make_layer("w/ptq_hybrid", 900, ("a", "b")), make_layer("w/qat_control", 900, ())]) == {}
    assert sensitivity_text(two_workloads) == sensitivity_markdown(two_workloads) == ""


def test_layers_of_two_backends_are_not_mixed(make_layer):
    eager = [make_layer("w/ptq_a", 900, ("a",)), make_layer("w/ptq_static", 880)]
    other = [
        make_layer(f"w/pt2e_{name}", correct, layers).model_copy(update={"backend": "pt2e"})
        for name, correct, layers in (("b", 700, ("b",)), ("ab", 690, ("a", "b")), ("static", 680, None))
    ]
    parts = sensitivities([*other, *eager])["w"]
    assert [(part.name, part.ptq.experiment) for part in parts] == [("a", "w/ptq_a"), (ALL, "w/ptq_static")]
    assert hybrid_rows([*other, *eager], parts) == []


def test_a_layer_whose_accuracy_was_not_measured_is_left_out(make_layer):
    unmeasured = make_layer("w/ptq_a", 900, ("a",)).model_copy(update={"accuracy": None})
    assert sensitivities([unmeasured]) == {}
    assert [p.name for p in sensitivities([unmeasured, make_layer("w/ptq_b", 900, ("b",))])["w"]] == ["b", ALL]


def test_the_whole_model_is_the_one_of_the_default_qconfig(make_layer):
    per_tensor = make_layer("w/ptq_static_per_tensor", 700)
    per_tensor = per_tensor.model_copy(update={"recipe": per_tensor.recipe | {"activation": {"range": "minmax"}}})
    records = [per_tensor, make_layer("w/ptq_static", 880), make_layer("w/ptq_a", 900, ("a",))]
    assert sensitivities(records)["w"][-1].ptq.experiment == "w/ptq_static"
    assert sensitivities([per_tensor, records[2]])["w"][-1].ptq is None


def test_a_drop_is_the_records_own_with_its_interval(parts):
    assert table(parts)["block1"]["PTQ drop pp [95 %]"] == "+6.20 [+4.87, +7.87]"
    assert table(parts)["block4"]["PTQ drop pp [95 %]"] == "-0.50 [-1.17, -0.12]"


def test_a_difference_is_paired_sample_by_sample_in_the_right_direction(make_layer):
    better, worse = hits(0, 0.93), hits(1, 0.85)
    estimate, interval = difference_pp(
        make_layer("w/a", better, ("a",)).accuracy, make_layer("w/b", worse, ("b",)).accuracy
    )
    lost, gained = int(np.sum(better & ~worse)), int(np.sum(~better & worse))
    assert min(lost, gained) > 40, "samples changed both ways, or pairing would not show"
    by_hand = tango_interval(PairedOutcomes(N, lost, gained), 0.95)
    assert estimate == pytest.approx(100 * (better.mean() - worse.mean()))
    assert (interval.low, interval.high) == pytest.approx((100 * by_hand.low, 100 * by_hand.high))
    assert interval.low < estimate < interval.high


def test_each_layer_is_compared_with_the_next_and_with_its_trained_self(make_layer):
    first, second, trained = hits(0, 0.80), hits(1, 0.88), hits(2, 0.91)
    records = [
        make_layer("w/ptq_b", second, ("b",)),
        make_layer("w/ptq_a", first, ("a",)),
        make_layer("w/qat_a", trained, ("a",)),
    ]
    found = table(sensitivities(records)["w"])

    def cell(better, worse):
        outcomes = PairedOutcomes(N, int(np.sum(better & ~worse)), int(np.sum(~better & worse)))
        limits = tango_interval(outcomes)
        return f"{100 * outcomes.drop:+.2f} [{100 * limits.low:+.2f}, {100 * limits.high:+.2f}]"

    assert found["a"]["over the next [95 %]"] == cell(second, first)
    assert found["a"]["QAT regains pp [95 %]"] == cell(trained, first)
    assert found["b"]["over the next [95 %]"] == "–"
    assert found["b"]["QAT regains pp [95 %]"] == "–"


def test_the_sum_of_the_layers_stands_beside_the_whole_model(parts):
    found = table(parts)
    assert list(found)[-3:] == ["sum of the 4 layers", ALL, "all beyond block1"]
    assert found["sum of the 4 layers"]["PTQ drop pp [95 %]"] == f"{6.2 + 2.2 + 1.3 - 0.5:+.2f}"
    assert found[ALL]["PTQ drop pp [95 %]"] == "+7.20 [+5.76, +8.97]"


def test_what_all_lose_beyond_the_most_sensitive_layer_is_paired_on_the_same_samples(parts):
    worst, whole = (unpack_bits(part.ptq_accuracy.quantized_correct, N) for part in (parts[0], parts[-1]))
    outcomes = PairedOutcomes(N, int(np.sum(worst & ~whole)), int(np.sum(~worst & whole)))
    limits = tango_interval(outcomes)
    shown = table(parts)["all beyond block1"]
    assert parts[0].name == "block1"
    expected = f"{100 * outcomes.drop:+.2f} [{100 * limits.low:+.2f}, {100 * limits.high:+.2f}]"
    assert shown["PTQ drop pp [95 %]"] == expected
    assert shown["over the next [95 %]"] == "–"


def test_a_sum_that_lacks_a_layer_is_not_given(parts):
    # block3 was never trained.
    assert table(parts)["sum of the 4 layers"]["QAT drop pp [95 %]"] == "–"


def test_a_control_that_was_only_fine_tuned_counts_as_no_layer(parts):
    assert table(parts)[NONE] == {
        "int8": NONE,
        "PTQ drop pp [95 %]": "–",
        "over the next [95 %]": "–",
        "QAT drop pp [95 %]": "-0.40 [-1.02, -0.02]",
        "QAT regains pp [95 %]": "–",
    }


def test_no_drop_is_written_as_minus_zero(make_layer):
    made = make_layer("w/ptq_a", 910, ("a",))
    accuracy = made.accuracy.model_copy(update={"drop_pp": -1e-15, "drop_interval_pp": (-0.004, 0.3)})
    row = table(sensitivities([made.model_copy(update={"accuracy": accuracy})])["w"])["a"]
    assert row["PTQ drop pp [95 %]"] == "+0.00 [+0.00, +0.30]"


def test_records_of_other_test_samples_or_weights_are_not_compared(make_layer):
    here, there = make_layer("w/ptq_a", 900, ("a",)), make_layer("w/ptq_b", 890, ("b",))
    for key in ("test_sha256", "baseline_sha256"):
        with pytest.raises(ConfigError) as refused:
            sensitivities([here, there.model_copy(update={key: "f" * 64})])
        assert str(refused.value) == (
            "w/ptq_a and w/ptq_b were measured on different test samples or weights; measure all of them again: "
            "pytest bench --experiment 'w/*' --json FILE"
        )


def test_a_hybrid_says_what_its_fp32_layers_buy_back_per_kib_and_per_millisecond(make_layer):
    whole = make_layer("w/ptq_static", hits(0, 0.80), None, kib=300, speedup=2.5)
    hybrid = make_layer("w/ptq_hybrid", hits(1, 0.90), ("b", "c"), kib=316, speedup=2.0)
    records = [whole, hybrid, make_layer("w/ptq_a", 850, ("a",))]
    found = hybrid_table(records, sensitivities(records)["w"])
    regained = 100 * (hits(1, 0.90).mean() - hits(0, 0.80).mean())
    # Shares of their own fp32 forwards are 0.5 and 0.4; the hybrid's fp32 forward takes 20 ms.
    more_ms = 20 * (1 / 2.0 - 1 / 2.5)
    assert list(found) == [ALL, "b, c"]
    assert found["b, c"]["regained pp [95 %]"].startswith(f"{regained:+.2f} [")
    assert found["b, c"]["KiB more"] == "+16.0"
    assert found["b, c"]["pp per KiB"] == f"{regained / 16:.3f}"
    assert found["b, c"]["time / fp32 [99 %]"] == f"0.50 [{1 / 2.08:.2f}, {1 / 1.9:.2f}]"
    assert found["b, c"]["ms more per batch"] == f"{more_ms:+.2f}" == "+2.00"
    assert found["b, c"]["pp per ms"] == f"{regained / more_ms:.3f}"
    assert found[ALL]["time / fp32 [99 %]"].startswith("0.40 [")
    assert found[ALL]["regained pp [95 %]"] == found[ALL]["KiB more"] == "–"


def test_a_hybrid_that_costs_nothing_or_was_not_timed_has_no_rate(make_layer):
    records = [
        make_layer("w/ptq_static", 850, None, kib=300, speedup=2.0),
        make_layer("w/ptq_free", 900, ("a", "b"), kib=300, speedup=2.2),
        make_layer("w/ptq_untimed", 900, ("b", "c"), kib=310, speedup=None),
        make_layer("w/ptq_a", 850, ("a",)),
    ]
    found = hybrid_table(records, sensitivities(records)["w"])
    assert (found["a, b"]["pp per KiB"], found["a, b"]["pp per ms"]) == ("–", "–")
    assert found["a, b"]["ms more per batch"].startswith("-")
    assert {found["b, c"][name] for name in ("time / fp32 [99 %]", "ms more per batch", "pp per ms")} == {"–"}
    assert found["b, c"]["pp per KiB"] == "0.500"


def test_hybrids_without_the_whole_model_or_of_another_workload_have_no_table(make_layer):
    hybrid, layer = make_layer("w/ptq_hybrid", 900, ("a", "b")), make_layer("w/ptq_a", 850, ("a",))
    assert hybrid_rows([hybrid, layer], sensitivities([hybrid, layer])["w"]) == []
    elsewhere = [make_layer("v/ptq_hybrid", 900, ("a", "b")), layer, make_layer("w/ptq_static", 850)]
    assert hybrid_rows(elsewhere, sensitivities(elsewhere)["w"]) == []


def test_the_texts_hold_both_tables_of_every_workload(two_layer_workloads):
    titles = [
        f"{workload}, {what}"
        for workload in ("m5_spoken_words", "m5_speech_commands")
        for what in ("layer by layer (n = 1,000)", "what layers in fp32 buy back")
    ]
    text, markdown = sensitivity_text(two_layer_workloads), sensitivity_markdown(two_layer_workloads)
    assert [line for line in text.splitlines() if ", layer by" in line or ", what" in line] == titles
    assert [line.strip("*") for line in markdown.splitlines() if line.startswith("**")] == titles
    for name in ("block1", "sum of the 4 layers", "block2, block3, block4", "block3, block4"):
        assert text.count(f"\n{name} ") == markdown.count(f"\n| {name} |") == 2


def test_a_full_range_model_is_not_taken_for_the_whole_of_its_layers(make_layer):
    whole = make_layer("m/ptq_static")
    recipe = describe(static_int8_full_range())
    full = whole.model_copy(update={"experiment": "m/ptq_full", "recipe": recipe})
    (parts,) = sensitivities([make_layer("m/ptq_block1", layers=("block1",)), full, whole]).values()
    assert parts[-1].ptq.experiment == "m/ptq_static"


def test_types_of_layers_that_a_dynamic_recipe_chooses_are_not_taken_for_names(make_layer):
    dynamic = make_layer("m/ptq_dynamic")
    dynamic = dynamic.model_copy(update={"recipe": {"kind": "dynamic_int8", "layers": ["Linear"]}})
    assert sensitivities([dynamic]) == {}
    (parts,) = sensitivities([dynamic, make_layer("m/ptq_block1", layers=("block1",))]).values()
    assert [part.name for part in parts] == ["block1", ALL]
