"""Lines of JSON become samples: text by a tokenizer, numbers as they are; what cannot be one is refused by its line."""

import json
import sys
from types import ModuleType

import numpy as np
import pytest

from quantbench.config.schema import DataConfig
from quantbench.data.opening import open_splits
from quantbench.errors import DataError, DataMissingError, ForeignError

WHERE = "configs/a.yaml: workload.data"
ROWS = [{"text": f"word {at}", "label": ["bad", "good"][at % 2], "doc": at // 2} for at in range(6)]


def encode(texts):
    ids = np.array([[len(text), int(text.split()[-1])] for text in texts])
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "test.jsonl"


@pytest.fixture
def opened(path, monkeypatch):
    def run(rows, tokenizer=encode, **params):
        path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
        if tokenizer is not None:
            module = ModuleType("own_text")
            module.encode = tokenizer
            monkeypatch.setitem(sys.modules, "own_text", module)
            params["tokenizer"] = "own_text:encode"
        return open_splits(DataConfig(name="jsonl", path=str(path), **({"calibration_pool": 2} | params)), WHERE)

    return run


@pytest.fixture
def refusal(opened, path):
    def run(rows, error=DataError, **params):
        with pytest.raises(error) as caught:
            opened(rows, **params)
        told = str(caught.value)
        assert "\n" not in told
        return told.removeprefix(f"{path}: ")

    return run


def test_text_is_tokenized_and_targets_of_text_are_classes(opened):
    found = opened(ROWS, groups="doc")
    assert found.classes == ("bad", "good")
    (batch,) = found.test.batches(99)
    assert batch["input_ids"].tolist() == [[6, at] for at in range(6)]
    assert set(batch) == {"input_ids", "attention_mask"}
    assert found.test.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert found.test.groups.tolist() == [0, 0, 1, 1, 2, 2]


def test_numbers_are_inputs_by_their_names_and_other_fields_are_left_out_on_request(opened):
    rows = [{"x": [at, 0.5], "flag": bool(at % 2), "note": "n", "y": at % 2} for at in range(4)]
    (batch,) = opened(rows, tokenizer=None, ignore=["note"]).test.batches(99)
    assert {name: (array.dtype.kind, array.shape) for name, array in batch.items()} == {
        "x": ("f", (4, 2)), "flag": ("b", (4,)),
    }  # fmt: skip


def test_training_samples_lie_in_a_file_of_their_own(opened, tmp_path):
    more = tmp_path / "train.jsonl"
    more.write_text("\n".join(json.dumps({**row, "text": f"more {at + 90}"}) for at, row in enumerate(ROWS)))
    assert len(opened(ROWS, train=str(more), ignore=["doc"]).calibration) == 2


def test_a_tokenizer_is_asked_in_each_run_and_numbers_are_decoded_once(opened):
    calls = []

    def counted(texts):
        calls.append(len(texts))
        return encode(texts)

    for _ in range(2):
        opened(ROWS, tokenizer=counted, ignore=["doc"])
    assert calls == [6, 6]


@pytest.mark.parametrize(
    ("rows", "params", "told"),
    [
        ([*ROWS, "{"], {}, "line 7: "),
        ([*ROWS, "[1]"], {}, "line 7: is a list; give an object"),
        ([*ROWS, {"text": "a", "label": "bad"}], {}, "line 7: 'doc' is not in every line; give all the same"),
        ([*ROWS, {**ROWS[0], "text": 3}], {}, "line 7: 'text' is no text"),
        ([], {}, "holds no sample"),
        (ROWS, {"tokenizer": None, "ignore": ["doc"]},
         "'text' is text, which no model takes; tokenize it (data.tokenizer, and data.text: text), or leave it out"),
        (ROWS, {"text": "body"}, "has no 'body' to tokenize; name the field with data.text"),
        (ROWS, {"ignore": ["txt"]}, "has no 'txt', as data.ignore says"),
        ([{"text": "a 1", "score": 1}] * 2, {},
         "which field holds the targets? Name it with data.targets; there are text, score"),
        ([{**row, "doc": [0] * (at + 1)} for at, row in enumerate(ROWS)], {}, "'doc': is no array of numbers ("),
        ([{**row, "doc": None} for row in ROWS], {}, "'doc': holds values of type object; give numbers"),
        (['{"text": "a 1", "label": "x", "label": "y"}'], {}, "line 1: the key 'label' is given twice"),
    ],
)  # fmt: skip
def test_what_is_no_sample_is_refused_by_its_line(refusal, rows, params, told):
    assert refusal(rows, **params).startswith(told)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "gave a NoneType; give a mapping of arrays [n, …] by input name"),
        ({"ids": np.zeros((5, 2))}, "'ids' is [5, 2] for 6 texts; give one row for each"),
        ({"ids": [[1], [1, 2]]}, "'ids': is no array of numbers ("),
    ],
)
def test_what_a_tokenizer_must_not_give(refusal, given, told):
    found = refusal(ROWS, tokenizer=lambda _: given, ignore=["doc"])
    assert found.startswith(f"data.tokenizer: 'own_text:encode': {told}")


def test_a_tokenizer_that_raises_is_named(refusal):
    def broken(texts):
        raise OSError("no vocabulary")

    assert "data.tokenizer: 'own_text:encode'" in refusal(ROWS, tokenizer=broken, error=ForeignError)


def test_a_line_without_end_is_refused_before_it_fills_the_memory(refusal, monkeypatch):
    from quantbench.data import jsonl

    monkeypatch.setattr(jsonl, "LONGEST_LINE", 100)
    assert refusal([{**ROWS[0], "text": "a" * 200}]).startswith("line 1 is longer than 100 bytes; shorten it")


def test_a_file_that_is_not_there_is_missing_data(opened, path):
    with pytest.raises(DataMissingError, match="no such file"):
        open_splits(DataConfig(name="jsonl", path=str(path)), WHERE)
