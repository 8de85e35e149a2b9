"""A record that contradicts itself is refused by the name of its field; counts are held to what they count."""

import json

import numpy as np
import pytest
from made_searches import published_search

from quantbench.errors import BaselineError, ConfigError
from quantbench.records.ablation import read_ablation
from quantbench.records.base import pack_bits, read_json, unpack_bits
from quantbench.records.card import BaselineCard
from quantbench.records.judged import Judged
from quantbench.records.parts import CheckpointFacts, CoverageFacts, Latency, Memory, Size, Work
from quantbench.records.search import SearchRecord
from quantbench.report.documents import read_records
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.stats.proportions import wilson_interval

LATENCY = {
    "batch_size": 1, "threads": 1, "memory_kept": True, "fastest_form": "plain", "rounds": 3, "warmup_rounds": 1,
    "looks": 1, "planned_looks": 2, "out_of_time": False, "level": 0.99, "speedup": 2.0, "speedup_interval": (1.9, 2.1),
    "speedup_over_fastest": 2.0, "speedup_over_fastest_interval": (1.9, 2.1), "control": 1.0,
    "control_interval": (0.99, 1.01), "strayed": False, "int8_s": [1.0] * 3, "fp32_s": [2.0] * 3,
    "fp32_again_s": [2.0] * 3, "fp32_fastest_s": [2.0] * 3,
}  # fmt: skip
MEMORY = {
    "batch_size": 1, "threads": 1, "processes": 3, "fp32_bytes": 20, "quantized_bytes": 10, "ratio": 2.0,
    "ratio_range": (1.0, 3.0), "fp32_each_bytes": [19, 20, 21], "quantized_each_bytes": [9, 10, 11],
    "fp32_load_bytes": 1, "quantized_load_bytes": 1, "fp32_total_bytes": 1, "quantized_total_bytes": 1,
}  # fmt: skip
COVERAGE = {
    "int8_macs": 900,
    "float_macs": 100,
    "int8_share": 0.9,
    "float_layers": {"fc": 100},
    "int8_layers": {"c": 900},
}
CHECKPOINT = {"sha256": "0", "payload_bytes": 8, "keys": {}, "reload_identical": True, "largest_difference": 0.0}
SIZE = {"fp32_bytes": 40, "quantized_bytes": 10, "ratio": 4.0}
WORK = {
    "fp32_macs": 10, "quantized_macs": 10, "ratio": 1.0, "idle_layers": {}, "fp32_uncounted": [],
    "quantized_uncounted": [],
}  # fmt: skip
JUDGED = {"estimate": 0.4, "interval": (0.1, 0.7), "level": 0.95, "bound": 1.0, "n": 1_000}
PARTS = [
    (Judged, JUDGED, {"n": -1}, "n -1 and level 0.95"),
    (Judged, JUDGED, {"level": 7.0}, "n 1000 and level 7.0"),
    (Size, SIZE, {"ratio": 4.1}, "ratio of 4.1"),
    (Size, SIZE, {"fp32_bytes": 41}, "sizes of 41 and 10 bytes"),
    (CheckpointFacts, CHECKPOINT, {"payload_bytes": -1}, "payload_bytes -1"),
    (CheckpointFacts, CHECKPOINT, {"largest_difference": 0.5}, "reload_identical True with largest_difference 0.5"),
    (CoverageFacts, COVERAGE, {"int8_share": 1.1}, "int8_share 1.1, but int8_macs 900 of 1000"),
    (CoverageFacts, COVERAGE, {"int8_share": 0.8}, "int8_share 0.8, but int8_macs 900 of 1000"),
    (CoverageFacts, COVERAGE, {"int8_macs": -900}, "int8_macs -900"),
    (CoverageFacts, COVERAGE, {"float_layers": {"fc": 200}}, "float_layers of 200"),
    (Work, WORK, {"ratio": 0.5}, "a ratio of 0.5"),
    (Latency, LATENCY, {"speedup": 2.05}, "speedup 2.05, but the median of its 3 rounds is 2.0"),
    (Latency, LATENCY, {"speedup_interval": (2.01, 2.1)}, "speedup 2.0 outside of its interval [2.01, 2.1]"),
    (Latency, LATENCY, {"strayed": True}, "strayed True with control_interval [0.99, 1.01]"),
    (Latency, LATENCY, {"looks": 3}, "look 3 of planned_looks 2"),
    (Latency, LATENCY, {"level": 1.5}, "level 1.5"),
    (Memory, MEMORY, {"fp32_bytes": 30}, "fp32_bytes 30, but the median of its processes is 20"),
    (Memory, MEMORY, {"ratio": 2.5}, "ratio 2.5, but fp32_bytes 20 and quantized_bytes 10"),
    (Memory, MEMORY, {"ratio": None}, "ratio None with ratio_range"),
    (Memory, MEMORY, {"fp32_each_bytes": [20]}, "fp32_each_bytes [20] of 3 processes"),
]


@pytest.mark.parametrize(("part", "whole", "change", "words"), PARTS)
def test_a_part_of_a_run_that_contradicts_itself_says_so_by_the_name_of_its_field(part, whole, change, words):
    assert part(**whole).impossible() is None
    assert words in part(**{**whole, **change}).impossible()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lost": 15}, "lost 15 and gained 0, but the bits of its samples say 14 and 0"),
        ({"drop_pp": 1.5}, "drop_pp 1.5, but lost 14 and gained 0 of n 1000"),
        ({"level": 2.0}, "at level 2.0"),
        ({"quantized_interval": [0.1, 0.2]}, "quantized 0.896 with quantized_interval [0.1, 0.2]"),
        ({"quantized_interval": [0.1, 1.2]}, "quantized 0.896 with quantized_interval [0.1, 1.2]"),
        ({"drop_interval_pp": [0.8, 2.3]}, "drop_interval_pp [0.8, 2.3], but lost 14 and gained 0 of n 1000 has [0.83"),
        (
            {"quantized_interval": [0.87, 0.92]},
            "quantized_interval [0.87, 0.92], but quantized 0.896 of n 1000 has [0.8",
        ),
        ({"level": 0.9}, "drop_interval_pp ["),
        ({"n": 8_000_000_000}, "an accuracy of 0.91 that is not the one of its 8000000000 samples"),
        ({"n": -8}, "an accuracy of 0.91 that is not the one of its -8 samples"),
    ],
)
def test_accuracy_is_held_to_the_bits_of_its_samples(make_accuracy, change, words):
    assert make_accuracy().impossible() is None
    assert words in make_accuracy(**change).impossible()


@pytest.fixture
def make_accuracy():
    from quantbench.records.run import Accuracy

    before, after = np.arange(1000) < 910, np.arange(1000) < 896
    lost, own = tango_interval(PairedOutcomes(1000, 14, 0)), wilson_interval(896, 1000)
    whole = {
        "n": 1000, "fp32": 0.91, "quantized": 0.896, "lost": 14, "gained": 0, "drop_pp": 1.4,
        "drop_interval_pp": (100 * lost.low, 100 * lost.high), "level": 0.95, "quantized_interval": (own.low, own.high),
        "fp32_correct": pack_bits(before), "quantized_correct": pack_bits(after),
    }  # fmt: skip
    return lambda **change: Accuracy(**{**whole, **change})


@pytest.mark.parametrize("n", [8_000_000_000, 17, 24, 0, -1])
def test_counts_are_held_to_the_length_of_what_they_count_before_anything_is_made(n):
    with pytest.raises(ValueError, match=r"holds 2 bytes, but the bits of .* samples take"):
        unpack_bits(pack_bits(np.ones(16, np.bool_)), n)
    with pytest.raises(ValueError, match="has bits beyond the 15 samples"):
        unpack_bits(pack_bits(np.ones(16, np.bool_)), 15)
    with pytest.raises(ValueError, match="not base64"):
        unpack_bits("a", 8)


def test_an_answer_of_a_class_that_there_is_not_is_refused_before_a_count_is_made_for_each():
    from quantbench.records.classes import ClassFacts, pack_answers

    labels = np.array([0, 1, 1])
    facts = ClassFacts.of(["a", "b"], labels, labels, labels)
    assert facts.impossible() is None
    wrong = facts.model_copy(update={"labels": pack_answers(np.array([0, 1, 2**32 - 1]))})
    assert "counts of classes that are not those of its 3 answers" in wrong.impossible()


def change_of(document, place, value):
    *path, key = place.split(".")
    for each in path:
        document = document[int(each) if each.isdecimal() else each]
    document[int(key) if key.isdecimal() else key] = value


SEARCH = [
    ("n", 0, "n 0"),
    ("accuracy", 1.2, "accuracy 1.2"),
    ("accuracy", 0.5, "accuracy 0.5, but the bits of layer 'conv0' say 0.9068"),
    ("high", 2, "low 2, high 2"),
    ("bits.3", 2, "bits [4, 4, 4, 2, "),
    ("bits", [4] * 12, "bits [4, 4, "),
    ("sensitivities.0.drop_pp", 9.4, "of layer 'conv0' drop_pp 9.4, but lost 950 and gained 0 of n 10000"),
    ("sensitivities.0.drop_interval_pp", [9.6, 9.9], "drop_pp 9.5 with drop_interval_pp [9.6, 9.9]"),
    (
        "sensitivities.0.drop_interval_pp",
        [9.4, 9.6],
        "drop_interval_pp [9.4, 9.6], but lost 950 and gained 0 of n 10000 ",
    ),
    ("n", 10_000_000, "of layer 'conv0' n 10000, but n 10000000"),
    ("sensitivities.0.n", 8_000_000_000, "of layer 'conv0' "),
    ("sensitivities.0.layer", "conv1", "sensitivities of 13 layers that are not its 13 layers"),
    ("sensitivities.0.lost", 11_000, "lost 11000 and gained 0 of n 10000"),
    ("decisions.0.index", 99, "a decision on layer 'conv9' with index 99"),
    ("decisions.0.accepted", False, "that are not those of its 13 decisions"),
    ("decisions.0.drop_pp", None, "that is accepted without drop_pp"),
    ("decisions.0.drop_pp", 1.5, "drop_pp 1.5 accepted for layer 'conv9', but epsilon_pp 1.0"),
    ("macs_spent", -1, "macs_spent"),
]


@pytest.mark.parametrize(("place", "value", "words"), SEARCH)
def test_a_search_that_contradicts_itself_is_refused_in_one_line(tmp_path, place, value, words):
    path = tmp_path / "search.json"
    document = published_search().model_dump(mode="json")
    path.write_text(json.dumps(document))
    assert read_json(SearchRecord, path, ConfigError, "search again") == published_search()
    change_of(document, place, value)
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError) as refused:
        read_json(SearchRecord, path, ConfigError, "search again")
    assert str(refused.value).startswith(f"{path}: its record has ")
    assert words in str(refused.value)
    assert str(refused.value).endswith("; search again")
    assert "\n" not in str(refused.value)


def test_a_gate_that_holds_of_what_was_not_measured_is_refused(tmp_path, shipped):
    document = json.loads((shipped / "docs/results/records.json").read_text())
    record = next(each for each in document["records"] if any(v["quantity"] == "speedup" for v in each["verdicts"]))
    document["records"] = [{**record, "latency": None}]
    (tmp_path / "records.json").write_text(json.dumps(document))
    with pytest.raises(ConfigError, match="its record has a PASS on speedup without its part 'latency'; measure it"):
        read_records([tmp_path / "records.json"])


CARDS = [
    ("accuracy", 0.5, "accuracy 0.5 with accuracy_interval ["),
    ("accuracy_interval", [0.0, 1.2], "with accuracy_interval [0.0, 1.2]"),
    ("accuracy_interval", [0.1, 0.99], "accuracy_interval [0.1, 0.99], but accuracy "),
    ("n_test", 1_049, "n_test 1049"),
    ("n_test", 0, "n_test 0"),
    ("n_train", -5, "n_train, n_validation or n_per_class below zero"),
    ("best_epoch", 999, "best_epoch 999 of "),
]


@pytest.mark.parametrize(("key", "value", "words"), CARDS)
def test_a_card_that_contradicts_itself_is_refused_in_one_line(tmp_path, shipped, key, value, words):
    document = json.loads((shipped / "golden/baselines/m5_spoken_words.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps({**document, key: value}))
    with pytest.raises(BaselineError) as refused:
        read_json(BaselineCard, tmp_path / "card.json", BaselineError, "train again")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


ABLATION = [
    ("rows.0.accuracy", 0.5, "its record has accuracy 0.5"),
    ("rows.0.accuracy_interval", [0.0, 0.1], "with an interval of (0.0, 0.1)"),
    ("rows.1.difference_pp", 50.0, "difference_pp 50.0 with an interval of"),
    ("rows.1.difference_interval_pp", None, "with an interval of None"),
    ("pairs.0.difference_pp", 99.0, "difference_pp 99.0 with interval_pp"),
    ("pairs.0.separated", None, "separated"),
    ("rows.1.accuracy_interval", [0.5, 0.99], "of row 'no_schedule' accuracy_interval [0.5, 0.99], but accuracy "),
    ("rows.1.validation_interval", [0.5, 0.99], "of row 'no_schedule' validation_interval [0.5, 0.99], but "),
    (
        "rows.1.difference_interval_pp",
        [-9.5, 9.0],
        "of row 'no_schedule' difference_interval_pp [-9.5, 9.0], but lost ",
    ),
    ("pairs.0.interval_pp", [0.1, 9.0], "interval_pp [0.1, 9], but its rows say "),
    ("pairs.0.upper", "step", "a pair of 'step' and "),
    ("pairs", [], "0 pairs ranked_by 'published', but its rows make 5 of 'published'"),
    ("ranked_by", "measured", "ranked_by 'measured', but its rows make 5 of 'published'"),
    ("n_ranked", 1, "n_ranked 1, but "),
    ("tau", 1.5, "tau 1.5"),
    ("p_value", -0.1, "p_value -0.1"),
    ("level", 95, "level 95"),
    ("n_ranked", 99, "n_ranked 99"),
    ("rows.0.trained.n_test", 8_000_000_000, "its samples or its history are not whole"),
]


@pytest.mark.parametrize(("place", "value", "words"), ABLATION)
def test_an_ablation_that_contradicts_itself_is_refused(tmp_path, shipped, place, value, words):
    document = json.loads((shipped / "docs/results/ablation_resnet20_cifar10.json").read_text())
    if value is None and place.endswith("separated"):
        value = not document["pairs"][0]["separated"]
    change_of(document, place, value)
    (tmp_path / "ablation.json").write_text(json.dumps(document))
    with pytest.raises(ConfigError) as refused:
        read_ablation(tmp_path / "ablation.json")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.fixture
def shipped(request):
    return request.config.rootpath
