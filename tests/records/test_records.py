"""Records as checked JSON: packed bits, and files that are damaged or of another shape."""

import json
import math

import numpy as np
import pytest
from pydantic import ValidationError

from quantbench.errors import BaselineError
from quantbench.records.base import Environment, pack_bits, read_json, unpack_bits
from quantbench.records.card import BaselineCard
from quantbench.records.run import RecordFile, RunRecord, Size

ENVIRONMENT = {
    "processor": "p", "architecture": "x86_64", "isa": ["avx2"], "cores": 2, "system": "Linux 6", "python": "3.11.1",
    "versions": {"torch": "2.14.1"},
}  # fmt: skip
CARD = {
    "workload": "w", "recipe": "fp32_baseline", "model": {"name": "m"}, "data": {"name": "d"}, "data_note": "",
    "data_sha256": {"test": "0"}, "n_train": 3, "n_test": 2, "accuracy": 0.5, "accuracy_interval": [0.094531, 0.905469],
    "loss": 1.0, "training": {}, "history": [{"loss": 1.0}], "seed": 0, "duration_s": 1.0, "command": "c",
    "environment": ENVIRONMENT, "weights_sha256": "0",
}  # fmt: skip
RECORD = {
    "experiment": "w/e", "recipe_name": "r", "recipe": {}, "backend": "eager", "engine": "x86", "threads": 1,
    "environment": ENVIRONMENT, "data_name": "d", "data_note": "", "test_sha256": "0", "baseline_sha256": "0",
    "command": "c",
}  # fmt: skip


def read(path):
    return read_json(BaselineCard, path, BaselineError, "make it again: quantbench train w")


@pytest.fixture
def card(tmp_path):
    path = tmp_path / "card.json"
    path.write_text(json.dumps(CARD))
    return path


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 10_000])
def test_packed_bits_come_back_whatever_their_number(n):
    correct = np.random.RandomState(n).rand(n) > 0.3
    unpacked = unpack_bits(pack_bits(correct), n)
    assert unpacked.dtype == np.bool_
    assert unpacked.tolist() == correct.tolist()


def test_bits_are_packed_most_significant_first():
    assert pack_bits(np.array([True] + [False] * 7)) == "gA=="


def test_ten_thousand_samples_take_less_than_two_kilobytes():
    assert len(pack_bits(np.ones(10_000, dtype=np.bool_))) < 2000


def test_a_whole_card_is_read(card):
    assert read(card) == BaselineCard.model_validate(CARD)
    assert read(card).parent_sha256 is None


def test_a_missing_file_is_named_with_what_to_do(tmp_path):
    with pytest.raises(BaselineError, match=r"absent\.json: cannot be read \(No such file.*\); make it again:"):
        read(tmp_path / "absent.json")


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_file_cut_short_is_named_with_what_to_do(card, keep):
    card.write_text(card.read_text()[:keep])
    with pytest.raises(BaselineError, match=r"card\.json: not valid JSON \(.*\); make it again: quantbench train w"):
        read(card)


def test_a_file_that_is_not_text_is_named(card):
    card.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(BaselineError, match=r"card\.json: not valid JSON"):
        read(card)


def test_every_mistake_of_a_file_is_a_line_with_its_key_and_the_last_says_what_to_do(card):
    wrong = {**CARD, "accuracy": "high", "colour": "red"}
    del wrong["seed"]
    card.write_text(json.dumps(wrong))
    with pytest.raises(BaselineError) as caught:
        read(card)
    *mistakes, advice = str(caught.value).splitlines()
    assert advice == "make it again: quantbench train w"
    assert len(mistakes) == 3
    for mistake, words in zip(
        sorted(mistakes), (("accuracy", "high"), ("colour", "red"), ("seed", "required")), strict=True
    ):
        assert mistake.startswith(str(card))
        assert all(word in mistake for word in words)


def test_a_list_in_the_place_of_a_card_is_refused(card):
    card.write_text("[]")
    with pytest.raises(BaselineError, match=r"card\.json: "):
        read(card)


def test_a_record_with_nothing_measured_survives_json():
    record = RunRecord.model_validate(RECORD)
    assert (record.accuracy, record.latency, record.verdicts) == (None, None, [])
    file = RecordFile(records=[record])
    assert RecordFile.model_validate_json(file.model_dump_json()) == file


def test_a_figure_that_is_not_finite_does_not_survive_json_unseen():
    size = Size(fp32_bytes=1, quantized_bytes=1, ratio=math.nan)
    with pytest.raises(ValidationError, match="ratio"):
        Size.model_validate_json(size.model_dump_json())


def test_a_record_is_never_changed_after_it_was_made():
    with pytest.raises(ValidationError, match="frozen"):
        Environment.model_validate(ENVIRONMENT).cores = 4
