"""Samples that a function of the user's gives reach a model as they are, or are refused by what is wrong with them."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from quantbench.config.schema import DataConfig
from quantbench.data.opening import open_splits
from quantbench.errors import DataError, ForeignError

WHERE = "configs/a.yaml: workload.data"
N = 6
IDS, MASK, LABELS = np.arange(4 * N).reshape(N, 4), np.ones((N, 4), np.bool_), np.arange(N) % 2
FUNCTION = "own_samples:splits"


@pytest.fixture
def opened(monkeypatch):
    """Splits of what a function gives."""

    def run(given, **params):
        module = ModuleType("own_samples")
        module.splits = given if callable(given) else lambda: given
        monkeypatch.setitem(sys.modules, "own_samples", module)
        return open_splits(DataConfig(name="function", function=FUNCTION, **({"calibration_pool": 2} | params)), WHERE)

    return run


@pytest.fixture
def refusal(opened):
    def run(given, error=DataError, **params):
        with pytest.raises(error) as caught:
            opened(given, **params)
        told = str(caught.value)
        assert "\n" not in told
        return told.removeprefix(f"data.function: '{FUNCTION}': ")

    return run


class Pairs(Dataset):
    def __len__(self):
        return N

    def __getitem__(self, at):
        return torch.from_numpy(IDS[at]), int(LABELS[at])


class Named(Pairs):
    def __getitem__(self, at):
        return {"ids": IDS[at], "mask": MASK[at], "label": LABELS[at]}


class Columns:
    """Like a Dataset of Hugging Face."""

    column_names = ("input", "label")

    def with_format(self, form):
        assert form == "numpy"
        return self

    def __getitem__(self, rows):
        return {name: values[rows] for name, values in (("input", IDS), ("label", LABELS))}


def inputs_of(split):
    (batch,) = split.batches(99)
    return batch


SIDES = {
    "arrays": {"input": IDS, "targets": LABELS},
    "a pair": (IDS, LABELS),
    "a pair of tensors": (torch.from_numpy(IDS), torch.from_numpy(LABELS)),
    "a data set of torch": TensorDataset(torch.from_numpy(IDS), torch.from_numpy(LABELS)),
    "pairs of torch": Pairs(),
    "columns": Columns(),
}


@pytest.mark.parametrize("kind", SIDES)
def test_each_form_of_a_side_gives_the_same_samples(opened, kind):
    test = opened({"test": SIDES[kind]}).test
    np.testing.assert_array_equal(inputs_of(test)["input"], IDS)
    assert test.labels.tolist() == LABELS.tolist()


def test_several_inputs_are_given_by_their_names(opened):
    batch = inputs_of(opened(Named()).test)
    assert {name: array.dtype for name, array in batch.items()} == {"ids": IDS.dtype, "mask": MASK.dtype}
    batch = inputs_of(opened(({"ids": IDS, "mask": MASK}, LABELS)).test)
    np.testing.assert_array_equal(batch["mask"], MASK)


def test_a_training_side_classes_and_parameters(opened):
    def splits(first, names):
        return {"train": (IDS + 1000, LABELS), "test": (IDS + first, LABELS), "classes": names}

    found = opened(splits, first=7, names=["no", "yes"])
    assert found.classes == ("no", "yes")
    assert inputs_of(found.test)["input"][0, 0] == 7
    assert len(found.calibration) == 2


def test_groups_are_one_array_by_numbers_or_names_of_either_side(opened):
    groups = np.array(["ann", "bob", "ann", "cy", "bob", "cy"])
    side = {"input": IDS, "targets": LABELS, "speaker": groups}
    found = opened({"test": side}, groups="speaker").test
    assert (found.groups[0] == found.groups[2], found.groups[0] == found.groups[1]) == (True, False)
    assert list(inputs_of(found)) == ["input"]
    numbered = opened({"test": {**side, "speaker": np.arange(N)}}, groups="speaker").test
    assert numbered.groups.tolist() == list(range(N))


def test_a_group_on_both_sides_is_refused(refusal):
    side = {"targets": LABELS, "who": np.array(list("abcdef"))}
    given = {"test": {**side, "input": IDS}, "train": {**side, "input": IDS + 1000}}
    assert refusal(given, groups="nobody").startswith("test: has no 'nobody', as data.groups says; it holds targets ")
    assert "share 4 group(s) of samples that belong together" in refusal(given, groups="who")


def test_the_function_is_called_in_each_run_since_nothing_tells_what_it_gives(opened):
    calls = []

    def splits():
        calls.append(1)
        return {"test": (IDS + len(calls), LABELS)}

    first, second = (inputs_of(opened(splits).test)["input"][0, 0] for _ in range(2))
    assert (first, second) == (1, 2)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"test": (IDS, LABELS), "validation": (IDS, LABELS)},
         "gave 'validation' beside its sides; give 'test', 'train' and 'classes' only"),
        ({"train": (IDS, LABELS)}, "gave no 'test' side; samples to test with are needed"),
        ([IDS, LABELS], "test: is a list; give a mapping of arrays, a pair (inputs, targets), a torch Dataset, or"),
        (iter([1]), "test: is a list_iterator; give a mapping of arrays"),
        ({"input": IDS}, "test: has no targets, 'targets' or 'labels' or 'y' or 'label'; it holds input int64 [6, 4]"),
        ((IDS, LABELS[:5]), "test: arrays of different lengths: 'input' 6, 'targets' 5"),
        (([[1], [1, 2]], [0, 1]), "test: 'input': is no array of numbers ("),
        ((np.array([object()] * N), LABELS), "test: 'input': holds values of type object; give numbers"),
        ((np.full((N, 2), np.nan), LABELS), "test: input 'input' of sample 0 holds NaN or infinity"),
        ((IDS[:0], LABELS[:0]), "test: holds no sample; its arrays are empty"),
        ((torch.ones(N, 2, dtype=torch.bfloat16), LABELS), "test: 'input': is no array of numbers ("),
    ],
)  # fmt: skip
def test_what_is_no_side_of_samples_is_refused(refusal, given, told):
    assert refusal(given).startswith(told)


def test_samples_of_several_shapes_or_names_are_refused_by_their_number(refusal):
    class Ragged(Pairs):
        def __getitem__(self, at):
            return np.zeros(at + 1), 0

    class Other(Pairs):
        def __getitem__(self, at):
            return {"a" if at else "b": 1, "label": 0}

    class Single(Pairs):
        def __getitem__(self, at):
            return 3

    assert refusal(Ragged()).startswith("test: 'input' of sample 1 is [2], of sample 0 [1]; bring all to one shape")
    assert refusal(Other()) == "test: sample 1 holds a, label, sample 0 b, label"
    assert refusal(Single()) == "test: sample 0 is a int; give pairs (inputs, target), or mappings"


def test_a_function_that_raises_is_named_with_its_cause(refusal):
    def splits():
        raise KeyError("disk")

    assert "data.function: 'own_samples:splits'" in refusal(splits, error=ForeignError)
