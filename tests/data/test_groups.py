"""Samples that belong together, such as one speaker's, stay on one side of every split and survive the cache."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from quantbench.config.schema import DataConfig
from quantbench.data.cache import open_cached
from quantbench.data.checks import check_disjoint
from quantbench.data.opening import open_splits
from quantbench.data.source import Arrays, Decoded, Normalization, Source
from quantbench.errors import DataError

WHERE = "configs/a.yaml: workload.data"
NAMES = ("train", "calibration", "search", "test")
# Samples per group of the training side: 40 in 10 groups.
SIZES = (1, 2, 3, 4, 5, 6, 7, 4, 4, 4)
N = sum(SIZES)


class Grouped(Source):
    """Sounds of ten speakers to train on and of two others to test on."""

    normalization = Normalization(32_768.0, (0.0,), (1.0,))

    def __init__(self, test_groups=(100, 101), grouped=True):
        self.test_groups = test_groups
        self.grouped = grouped

    def fingerprint(self):
        return f"grouped:{self.test_groups}:{self.grouped}"

    def decode(self, progress):
        progress(1, 1)
        random = np.random.RandomState(0)

        def side(groups):
            inputs = random.randint(-999, 1_000, (len(groups), 1, 16)).astype(np.int16)
            return Arrays(inputs, np.arange(len(groups)) % 2, groups if self.grouped else None)

        train = random.permutation(np.repeat(np.arange(len(SIZES)) * 7, SIZES))
        return Decoded(side(train), side(np.array(self.test_groups)), ("a", "b"))


@pytest.fixture
def opened(monkeypatch):
    """Opens the splits of a `Grouped` with these pools."""

    def opened(calibration=6, search=0, **params):
        monkeypatch.setattr(sys.modules[__name__], "grouped", lambda: Grouped(**params), raising=False)
        return open_splits(
            DataConfig(name=f"{__name__}:grouped", calibration_pool=calibration, search_pool=search), WHERE
        )

    return opened


def groups_of(split):
    return set(split.groups.tolist())


def refusal(opened, **pools):
    with pytest.raises(DataError) as error:
        opened(**pools)
    return str(error.value)


@pytest.mark.parametrize(("calibration", "search"), [(1, 0), (6, 0), (6, 5), (1, 1), (12, 12), (20, 5)])
def test_every_group_is_whole_in_one_split_and_every_sample_in_exactly_one(opened, calibration, search):
    splits = opened(calibration, search)
    parts = [getattr(splits, name) for name in NAMES]
    assert sum(len(groups_of(part)) for part in parts) == len(set.union(*map(groups_of, parts))) == len(SIZES) + 2
    taken = np.concatenate([part.indices for part in parts[:3]])
    assert sorted(taken.tolist()) == list(range(N))


@pytest.mark.parametrize(("calibration", "search"), [(1, 0), (6, 0), (6, 5), (12, 12), (13, 1)])
def test_as_few_groups_are_set_aside_as_hold_the_samples_asked_for(opened, calibration, search):
    splits = opened(calibration, search)
    for part, asked in ((splits.calibration, calibration), (splits.search, search)):
        assert asked <= len(part) < asked + max(SIZES)
    assert len(splits.search) == 0 or search > 0


def test_a_pool_of_exactly_the_first_groups_takes_no_further_one(opened):
    n = len(opened(calibration=1).calibration)
    assert len(opened(calibration=n).calibration) == n
    assert len(opened(calibration=n + 1).calibration) > n


def test_a_larger_calibration_pool_keeps_the_groups_of_the_smaller_one(opened):
    small, large = opened(calibration=4), opened(calibration=20)
    assert groups_of(small.calibration) < groups_of(large.calibration)


def test_what_is_set_aside_is_the_same_every_time_and_in_random_order(opened):
    first, second = opened(calibration=20).calibration, opened(calibration=20).calibration
    assert first.sha256 == second.sha256
    assert first.indices.tolist() != sorted(first.indices.tolist())


def test_without_groups_exactly_the_samples_asked_for_are_set_aside(opened):
    splits = opened(calibration=6, search=5, grouped=False)
    assert [len(getattr(splits, name)) for name in NAMES] == [29, 6, 5, 2]
    assert splits.train.groups is None


@pytest.mark.parametrize(("calibration", "search"), [(39, 0), (20, 19)])
def test_pools_that_whole_groups_cannot_leave_room_for_are_refused(opened, calibration, search):
    assert refusal(opened, calibration=calibration, search=search) == (
        f"{WHERE}: the training side has 40 samples in too few groups (speakers) to set 39 aside in whole groups; set "
        "aside fewer"
    )


def test_a_group_on_both_sides_is_refused_with_a_sample_of_it_on_each(opened):
    told = refusal(opened, calibration=1, test_groups=(100, 7))
    assert "and 'test' share 1 group(s) of samples that belong together, such as one speaker's: for example" in told
    assert told.endswith("would be flattered. Give every group to one side")
    position = int(told.split("for example number ")[1].split()[0])
    data = open_cached("grouped", Grouped((100, 7)))
    assert data.train.groups[position] == 7
    assert f"number {position} of the training side and number 1 of the test side, counted from 0" in told


@pytest.mark.parametrize("first", NAMES)
@pytest.mark.parametrize("second", NAMES)
def test_no_two_splits_may_share_a_group(opened, first, second):
    splits = opened(calibration=6, search=5)
    check_disjoint([splits.train, splits.calibration, splits.search, splits.test], WHERE)
    one, other = getattr(splits, first), getattr(splits, second)
    if first == second:
        return
    # Other samples, the same speaker.
    speakers = np.full(len(other.side.labels), one.groups[0])
    taken = replace(other, side=replace(other.side, groups=speakers))
    with pytest.raises(DataError, match=rf"splits '{first}' and '{second}' share 1 group"):
        check_disjoint([one, taken], WHERE)


def test_groups_survive_the_cache_memory_mapped(tmp_path):
    source = Grouped()
    decoded = source.decode(lambda *_: None)
    for _ in range(2):
        data = open_cached("grouped", source)
        np.testing.assert_array_equal(data.train.groups, decoded.train.groups)
        np.testing.assert_array_equal(data.test.groups, decoded.test.groups)
    assert isinstance(data.train.groups.base, np.memmap)
    assert open_cached("single", Grouped(grouped=False)).train.groups is None


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-1])])
def test_damaged_groups_are_made_again_with_a_notice(tmp_path, capsys, damage):
    open_cached("grouped", Grouped())
    (path,) = (tmp_path / "cache" / "data").glob("*/train_groups.npy")
    damage(path)
    assert len(open_cached("grouped", Grouped()).train.groups) == N
    assert "train_groups.npy is cut short or changed; making it again" in capsys.readouterr().err


def test_a_description_that_names_the_groups_of_one_side_only_is_made_again(tmp_path, capsys):
    open_cached("grouped", Grouped())
    (meta,) = (tmp_path / "cache" / "data").glob("*/meta.json")
    content = json.loads(meta.read_text())
    del content["sha256"]["train_groups.npy"]
    meta.write_text(json.dumps(content))
    assert len(open_cached("grouped", Grouped()).train.groups) == N
    assert "making it again" in capsys.readouterr().err
