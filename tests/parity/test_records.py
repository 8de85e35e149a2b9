"""A comparison's record is read strictly: another version, a damaged file and figures that contradict themselves."""

import json

import pytest

from quantbench.errors import ConfigError
from quantbench.records.parity import read_parity


@pytest.fixture
def changed(recorded, tmp_path):
    """The file with one value replaced: `changed(value, *path)`."""

    def change(value, *path):
        content = json.loads((recorded / "parity.json").read_text())
        at = content
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
        found = tmp_path / "changed.json"
        found.write_text(json.dumps(content))
        return found

    return change


def test_what_was_written_is_read(recorded):
    assert len(read_parity(recorded / "parity.json")) == 1


FIRST, DIFFERENCE = ("comparisons", 0), ("comparisons", 0, "differences", 0)
WRONG = {
    "version": ((2, "schema_version"), "schema_version 2 is not 1; write it with: quantbench parity"),
    "unknown key": (("x", *FIRST, "more"), "Extra inputs are not permitted"),
    "accuracy": ((0.5, *FIRST, "sides", 1, "accuracy"), "that is not the one of its 150 samples"),
    "bits": (("AAA", *FIRST, "sides", 0, "correct"), "that is not the one of its 150 samples"),
    "own interval": (([0.0, 1.0], *FIRST, "sides", 0, "accuracy_interval"), "of 'eager' accuracy_interval [0.0, 1.0]"),
    "no bytes": ((0, *FIRST, "sides", 0, "size_bytes"), "size_bytes 0"),
    "flips": ((99, *DIFFERENCE, "lost"), "lost 99 and gained"),
    "change": ((3.0, *DIFFERENCE, "change_pp"), "change_pp 3.0 and size_ratio"),
    "size": ((3.0, *DIFFERENCE, "size_ratio"), "and size_ratio 3.0, which are not those of its sides"),
    "interval": (([-9.0, 9.0], *DIFFERENCE, "interval_pp"), "of 'onnxruntime' interval_pp [-9.0, 9.0]"),
    "answers": ((1, *DIFFERENCE, "same"), "of 'onnxruntime' same_interval ["),
    "logits": ((1e9, *DIFFERENCE, "logits", "rms"), "with a root mean square of 1000000000.0"),
    "scale": (([0.0, 1.0], *DIFFERENCE, "scales", 0, "scale"), "scales of conv (weights) of [0.0, 1.0]"),
    "another name": (("pt2e", *DIFFERENCE, "name"), "sides and differences that are not of the same experiments"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_a_figure_that_nothing_could_have_measured_is_refused(changed, change, message):
    with pytest.raises(ConfigError) as error:
        read_parity(changed(*change))
    assert message in str(error.value)


def test_a_speed_outside_of_its_interval_is_refused(changed):
    speed = {
        "ratio": 1.5, "interval": [1.3, 1.4], "level": 0.99, "rounds": 40, "batch_size": 4, "threads": 1,
        "control": 1.0, "control_interval": [0.9, 1.1], "clock": "wall", "doubt": None,
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"a ratio of 1\.5 with an interval of \[1\.3, 1\.4\]"):
        read_parity(changed(speed, *DIFFERENCE, "speed"))
