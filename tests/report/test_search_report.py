"""A search as tables and sentences: the published one, had it been ours, comes out line by line."""

from made_searches import layer, published_search, sensitivity

from quantbench.records.run import Accuracy
from quantbench.records.search import BudgetRecord, Decision, SensitivityRecord
from quantbench.report.search import decision_table, found_sentences, markdown, report_of, sensitivity_table, text
from quantbench.report.search_documents import with_section

EXPERIMENT = "vgg16_cifar10/low_bit_4"


def test_sensitivities_are_listed_the_most_sensitive_first_and_ties_by_index():
    rows = sensitivity_table(published_search()).rows
    assert [row[1] for row in rows] == ["0", "5", "1", "4", "2", "3", "7", "6", "10", "11", "12", "8", "9"]
    assert rows[0] == ("conv0", "0", "+9.50 [+8.94, +10.09]", "10,000", "20.0", "15.0", "0.01")
    assert rows[-1][2].startswith("-0.06 [")


def test_the_decision_log_is_in_the_order_of_the_search():
    rows = decision_table(published_search()).rows
    assert rows[0] == ("conv9", "9", "-0.06", "accepted", "10,000", "all samples")
    assert rows[5][1:4] == ("6", "+1.36", "rejected")
    assert [row[1] for row in rows] == ["9", "8", "11", "12", "10", "6", "7", "3", "2", "4", "1", "5", "0"]


def test_of_an_early_rejection_only_a_lower_bound_of_the_drop_is_told():
    early = Decision(layer="conv0", index=0, accepted=False, drop_pp=1.01, n=512, reason="early")
    record = published_search(decisions=[early], layers=[layer("conv0")])
    assert decision_table(record).rows == [
        ("conv0", "0", "≥ +1.01", "rejected", "512", "the rest could change nothing"),
    ]


def test_what_was_found_is_told_with_its_costs_and_what_it_saved():
    record = published_search()
    lines = found_sentences(record)
    assert lines[0] == f"found: {record.bits}: 5 of 13 layers (38.5 %) at 2 bits"
    assert lines[1].startswith("costs: 3.23 bits on average (from 4.00 bits on average), ")
    assert lines[-1] == (
        "cost of the search: 1e+09 multiply-accumulates, 2.7 times fewer than the published way's 27 passes; 10 s; "
        "values kept between forwards took 500 MB at most"
    )
    assert not any("test split" in line for line in lines), "nothing was confirmed"


def test_what_was_confirmed_is_told_with_its_interval_and_counts():
    confirmed = Accuracy(
        n=10_000, fp32=0.9068, quantized=0.9035, lost=133, gained=100, drop_pp=0.33, drop_interval_pp=(0.03, 0.63),
        level=0.95, quantized_interval=(0.89, 0.91), fp32_correct="", quantized_correct="",
    )  # fmt: skip
    assert (
        "on the test split: drop +0.33 [+0.03, +0.63] pp (90.68 % → 90.35 %, n=10,000: 133 lost, 100 gained)"
        in text(published_search(confirmed=confirmed)).splitlines()
    )


def test_a_layer_without_a_figure_is_told_first_with_the_reason():
    found = [sensitivity("conv0", 0, 100, 3, 0), sensitivity("conv1", 1, 100, 0, 0, failed="logits are NaN")]
    record = published_search(sensitivities=found)
    rows = sensitivity_table(record).rows
    assert [row[0] for row in rows] == ["conv1", "conv0"]
    assert rows[0][2:] == ("logits are NaN", "100", "19.0", "–", "–")


def test_a_decision_without_a_finite_drop_has_none():
    decision = Decision(layer="conv1", index=1, accepted=False, drop_pp=None, n=100, reason="not_finite")
    assert decision_table(published_search(decisions=[decision])).rows[0][2:] == (
        "–", "rejected", "100", "logits not finite",
    )  # fmt: skip


def test_an_adaptive_search_tells_its_risk():
    assert "greedy search, total drop at most 1 pp (adaptive, risk of a wrong decision 0.05)" in text(
        published_search(mode="adaptive", delta=0.05)
    )


def test_a_budget_is_told_as_what_it_is():
    shared = {name: getattr(published_search(), name) for name in SensitivityRecord.model_fields}
    budget = BudgetRecord(
        **shared, measure="bytes", limit=5e4, bits=[4] * 8 + [2] * 5, predicted_pp=0.44, confirmed=None
    )
    told = text(budget)
    assert "least lost within 50,000 bytes, if drops add up: +0.44 pp predicted on split 'search'" in told
    assert "greedy search" not in told
    assert "cost of the search" not in told


def test_markdown_has_both_tables_and_says_where_its_figures_come_from():
    lines = markdown(report_of(published_search())).splitlines()
    assert sum(line.startswith("| conv") for line in lines) == 26
    assert "| conv9 | 9 | -0.06 | accepted | 10,000 | all samples |" in lines
    assert (
        lines[-1]
        == "- Example CPU (avx2), 2 cores, torch 2.14.1, Python 3.12; `quantbench search vgg16_cifar10/low_bit_4`"
    )


def test_of_several_sections_only_the_experiments_own_is_replaced(tmp_path):
    document = tmp_path / "doc.md"
    sections = [f"<!-- search: begin {name} -->\nold {name}\n<!-- search: end -->\n" for name in ("a/b", EXPERIMENT)]
    document.write_text("".join(sections))
    replaced = with_section(document, EXPERIMENT, "new\n")
    assert replaced == sections[0] + f"<!-- search: begin {EXPERIMENT} -->\nnew\n<!-- search: end -->\n"
    assert with_section(document, "a/b", "").startswith("<!-- search: begin a/b -->\n<!-- search: end -->")
